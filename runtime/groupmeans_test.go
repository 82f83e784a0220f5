package runtime_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/compile"
	"github.com/minfc/minfc/dsl"
	"github.com/minfc/minfc/internal/qkv"
	"github.com/minfc/minfc/plan"
)

// Heads with means share a launch with others: of blocks beside a dense kernel and without one, of ranges alone.
const groupedMeans = `
pattern kept(topk = 2) {
  index best = top(topk, mean(q, 64) * mean(k, 64)) with last 1
  keep causal & blocks(best) else mean(64)
}
pattern near(topk = 2) {
  index best = top(topk, mean(q, 64) * mean(k, 64)) with last 1
  keep causal & window(300) & blocks(best) else mean(128)
}
pattern local(window = 70) { keep causal & window(window) else mean(64) }
`

func TestHeadsWithMeansShareALaunch(t *testing.T) {
	_, patterns, err := dsl.Load("means.minf", []byte(groupedMeans))
	require.NoError(t, err)
	heads := sharedPatterns([]plan.Head{
		{Pattern: patterns[0]}, head(t, "a_shape", "sink", 3, "window", 70), {Pattern: patterns[1], Params: map[string]int64{"topk": 3}},
		{Pattern: patterns[2]}, head(t, "block_sparse", "topk", 2), {Pattern: patterns[0], Params: map[string]int64{"topk": 4}},
		head(t, "dense"), {Pattern: patterns[2], Params: map[string]int64{"window": 9}},
	})
	program := func(name string) (*compile.Program, error) {
		if p, err := compile.Load("means.minf", []byte(groupedMeans), name, nil); err == nil {
			return p, nil
		}
		return compile.LoadLibrary(name)
	}
	for _, target := range compile.Targets() {
		a, err := compile.Plan([][]plan.Head{heads}, program, compile.Options{Target: target, DType: "bf16", HeadDim: 64}, &compile.Observer{Verify: true})
		require.NoError(t, err)
		for _, noFallback := range []bool{false, true} {
			shape := qkv.Shape{Batch: 2, QHeads: 8, KVHeads: 4, SeqQ: 200, SeqK: 700, QOffset: 500, HeadDim: 64}
			g := newGrouped(t, a, shape, heads)
			res := g.run(t, noFallback)
			require.Len(t, g.attentions(), 1, "%s", target)
			g.check(t, res)
		}
	}
}
