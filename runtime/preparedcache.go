package runtime

import (
	"maps"
	"slices"
	"sync/atomic"
)

// preparedKept is how many prepared calls are remembered: kernels may serve all layers of a model, some with several sets of parameters,
// and a server goes through them again and again.
const preparedKept = 512

// recordsKept bounds the memory of what is remembered: a call of a strided probe over a million tokens has thousands of records.
const recordsKept = 1 << 16

// preparedCache remembers prepared calls, the last one first. It is safe for concurrent use.
type preparedCache struct {
	list atomic.Pointer[[]*keptCall]
}

// keptCall is a prepared call and what it was prepared from.
type keptCall struct {
	shape Shape
	parts []Part
	*Prepared
}

// find returns the prepared call of a shape and parts, which prepare makes if it is not remembered.
func (c *preparedCache) find(s Shape, parts []Part, prepare func() (*Prepared, error)) (*Prepared, error) {
	kept := c.list.Load()
	if kept != nil {
		for _, p := range *kept {
			if p.shape == s && sameParts(p.parts, parts) {
				return p.Prepared, nil
			}
		}
	}
	p, err := prepare()
	if err != nil {
		return nil, err
	}
	list := []*keptCall{{s, cloneParts(parts), p}}
	if kept != nil {
		list = append(list, *kept...)
	}
	n := keptOf(list)
	clear(list[n:]) // so that nothing holds what is forgotten
	list = list[:n]
	c.list.Store(&list)
	return p, nil
}

// keptOf is how many of the calls are still remembered: the last one, whatever its size, and what fits beside it.
func keptOf(list []*keptCall) int {
	n, records := 1, list[0].Commands()
	for n < min(len(list), preparedKept) {
		if records += list[n].Commands(); records > recordsKept {
			break
		}
		n++
	}
	return n
}

// forget drops all.
func (c *preparedCache) forget() { c.list.Store(nil) }

func sameParts(a, b []Part) bool {
	return slices.EqualFunc(a, b, func(x, y Part) bool {
		return x.Pattern == y.Pattern && (x.Heads == nil) == (y.Heads == nil) && slices.Equal(x.Heads, y.Heads) &&
			maps.Equal(x.Params, y.Params) && maps.EqualFunc(x.HeadParams, y.HeadParams, slices.Equal[[]int64])
	})
}

// cloneParts copies parts, which their caller may change.
func cloneParts(parts []Part) (out []Part) {
	for _, p := range parts {
		p.Heads, p.Params = slices.Clone(p.Heads), maps.Clone(p.Params)
		values := map[string][]int64{}
		for name, v := range p.HeadParams {
			values[name] = slices.Clone(v)
		}
		p.HeadParams = values
		out = append(out, p)
	}
	return out
}
