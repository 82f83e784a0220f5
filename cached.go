package minfc

import (
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/minfc/minfc/compile"
	"github.com/minfc/minfc/internal/cache"
	"github.com/minfc/minfc/plan"
	"github.com/minfc/minfc/runtime/artifact"
)

// cached is the artifact that the cache keeps by a key, or what build compiles, which is kept then.
func cached(key []string, build func() (*artifact.Artifact, error)) (*artifact.Artifact, error) {
	c, id := cache.Default(), cache.BuildID()
	if c == nil || id == "" {
		return build()
	}
	k := cache.NewKey(cache.Artifact, append([]string{Version, id}, key...)...)
	var own *artifact.Artifact
	data, made, err := c.Make(k, func() (data []byte, err error) {
		if own, err = build(); err != nil {
			return nil, err
		}
		return own.Encode()
	})
	if err != nil || made {
		return own, err
	}
	a, err := artifact.ReadWhole(data) // the cache has compared a checksum of its own
	if err != nil {                    // no fault of the disk
		c.Remove(k)
		return build()
	}
	return a, nil
}

// keyOf is what the artifact of one pattern depends on.
func keyOf(p *Program, consts map[string]int64, opts Options) []string {
	return append(keyOfOptions(opts), p.Pattern.String(), p.Source, words(consts))
}

// keyOfPlan is what the artifact of a layer depends on.
func keyOfPlan(layer []plan.Head, opts Options) ([]string, error) {
	uses, err := plan.Uses(layer)
	if err != nil {
		return nil, err
	}
	key := append(keyOfOptions(opts), "plan")
	for _, u := range uses {
		key = append(key, u.Pattern.String(), words(u.Consts), strconv.Itoa(u.Copies))
	}
	return key, nil
}

func keyOfOptions(opts compile.Options) []string {
	return []string{opts.Target, string(opts.DType), strconv.Itoa(opts.HeadDim), strconv.FormatBool(opts.Lengths)}
}

// words are numbers by name, in one order.
func words(numbers map[string]int64) (out string) {
	for _, name := range slices.Sorted(maps.Keys(numbers)) {
		out += fmt.Sprintf("%s=%d ", name, numbers[name])
	}
	return out
}
