package search

import (
	"fmt"
	"math"
	"slices"

	"github.com/minfc/minfc/internal/headplan"
	"github.com/minfc/minfc/plan"
)

// shares are the parts of the causal pairs that candidates are made for, where lists come out clustered. Lists that come out scattered keep
// more: what a candidate keeps is measured.
var shares = []float64{1. / 64, 1. / 32, 1. / 16, 1. / 8, 1. / 4, 1. / 2}

// columnParts are the parts of a budget that candidates of vertical_slash spend on columns. The rest goes to diagonals.
var columnParts = []float64{0.1, 0.5, 0.9}

// What vertical_slash keeps of a head whatever its budgets are (patterns/vertical_slash.minf).
const (
	leastColumns   = 30
	leastDiagonals = 100
)

// Runs of distances that slash_tiles keeps at least, and the keys that a run takes of a row block: 64 where it has neighbours, 128 where it has
// none (docs/slash-tiles.md).
const (
	leastRuns = 2
	runKeys   = 96
)

// Built-in candidates as functions of the length n and of a share of the pairs. A candidate stands here once for each of shares.
var builtIn = []struct {
	pattern string
	params  func(n int, share float64) map[string]int64
}{
	{"a_shape", func(n int, share float64) map[string]int64 {
		return map[string]int64{"sink": int64(min(max(n/256, 4), 128)), "window": across(n, share)}
	}},
	{"vertical_slash", verticalSlash(columnParts[0])},
	{"vertical_slash", verticalSlash(columnParts[1])},
	{"vertical_slash", verticalSlash(columnParts[2])},
	{"slash_tiles", slashTiles(columnParts[0])},
	{"slash_tiles", slashTiles(columnParts[1])},
	{"block_sparse", blocks},
	{"sink_blocks", blocks},
}

// across is the width of a causal band that keeps a share of the pairs: of n rows with w keys each, but for the first w rows, n^2 share is
// n^2 - (n-w)^2.
func across(n int, share float64) int64 {
	return max(1, int64(math.Round(float64(n)*(1-math.Sqrt(1-share)))))
}

// verticalSlash spends a part on columns, each of which half of the rows see on average, and the rest on diagonals, which most rows see.
func verticalSlash(columns float64) func(n int, share float64) map[string]int64 {
	return func(n int, share float64) map[string]int64 {
		pairs := share * float64(n) // in columns
		return map[string]int64{"vertical": max(leastColumns, int64(columns*pairs)), "slash": max(leastDiagonals, int64((1-columns)*pairs/2))}
	}
}

// slashTiles is verticalSlash with diagonals in runs, whose cost is known beforehand.
func slashTiles(columns float64) func(n int, share float64) map[string]int64 {
	return func(n int, share float64) map[string]int64 {
		pairs := share * float64(n) // in columns
		return map[string]int64{"vertical": max(leastColumns, int64(columns*pairs)), "runs": max(leastRuns, int64((1-columns)*pairs/2/runKeys))}
	}
}

func blocks(n int, share float64) map[string]int64 {
	const blockKeys = 64
	return map[string]int64{"topk": across((n+blockKeys-1)/blockKeys, share)}
}

// BuiltIn are the candidates for prompts of n tokens, the cheap ones of a pattern first. Dense attention is the first of all.
func BuiltIn(known plan.Known, n int) []plan.Head {
	out := []plan.Head{{Pattern: known[denseName]}}
	for _, b := range builtIn {
		for _, share := range shares {
			out = append(out, plan.Head{Pattern: known[b.pattern], Params: b.params(n, share)})
		}
	}
	return distinct(out)
}

// denseName is the pattern that candidates are compared with.
const denseName = "dense"

// distinct leaves out candidates that are there already.
func distinct(heads []plan.Head) (out []plan.Head) {
	for _, h := range heads {
		if !slices.ContainsFunc(out, func(o plan.Head) bool { return o.Pattern == h.Pattern && o.String() == h.String() }) {
			out = append(out, h)
		}
	}
	return out
}

// withDense puts dense attention in front, which is a candidate of every search: some plan then meets every error.
func withDense(known plan.Known, heads []plan.Head) []plan.Head {
	return distinct(append([]plan.Head{{Pattern: known[denseName]}}, heads...))
}

// Default stands for the built-in candidates in a list of files.
const Default = "default"

// ReadCandidates reads lists of heads from files, of which Default is the built-in ones for prompts of n tokens; nil for no files.
func ReadCandidates(paths []string, patterns *headplan.Patterns, n int) (out []plan.Head, err error) {
	for _, path := range paths {
		own := BuiltIn(patterns.Known, n)
		if path != Default {
			if own, err = patterns.ReadHeads(path); err != nil {
				return nil, err
			}
			if err := checkChoices(own); err != nil {
				return nil, fmt.Errorf("%s: %w", path, err)
			}
		}
		out = append(out, own...)
	}
	return out, nil
}

// checkChoices refuses heads that choose together with others: a search finds a pattern and budgets for each head by itself.
func checkChoices(heads []plan.Head) error {
	for _, h := range heads {
		for _, d := range h.Pattern.Index {
			if h.Pattern.ByGroup(d.Name) {
				return fmt.Errorf("the heads of a kv head choose %q of %s together, and a search decides for each head by itself; take a pattern without `shared by group`",
					d.Name, h.Pattern.Name)
			}
		}
	}
	return nil
}
