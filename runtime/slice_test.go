package runtime_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/compile"
	"github.com/minfc/minfc/internal/campaign"
	"github.com/minfc/minfc/internal/qkv"
	"github.com/minfc/minfc/runtime"
	"github.com/minfc/minfc/runtime/artifact"
	"github.com/minfc/minfc/runtime/emu"
)

// twoProbes has sums of both kinds of probes.
const twoProbes = `
pattern two(n = 20) {
  index cols = top(n, sum(softmax(q[::50] * k), queries))
  index diags = top(n, sum(softmax(q[-64:] * k), diagonals)) with last 2
  keep causal & (columns(cols) | diagonals(diags))
}
`

// Sums are held for as many heads at a time as there is room: less memory, the same choices, every head with its own budget.
func TestSumsOfHeadsInParts(t *testing.T) {
	t.Run("distances", func(t *testing.T) { sumsInParts(t, twoProbes) })
	t.Run("runs of distances", func(t *testing.T) { sumsInParts(t, strings.Replace(twoProbes, "diagonals)", "diagonals(16))", 1)) })
}

func sumsInParts(t *testing.T, source string) {
	dev, err := emu.Open(emu.Options{})
	require.NoError(t, err)
	defer dev.Close()
	a, err := compile.Source("two.minf", []byte(source), "", compile.Options{Target: "sm_80", DType: "bf16", HeadDim: 32}, nil)
	require.NoError(t, err)
	for _, s := range []qkv.Shape{
		{Batch: 2, QHeads: 6, KVHeads: 3, SeqQ: 300, SeqK: 300, HeadDim: 32},
		{Batch: 1, QHeads: 5, KVHeads: 5, SeqQ: 130, SeqK: 333, QOffset: 203, HeadDim: 32},
	}[campaign.Few(1, 0):] {
		k, err := runtime.Load(dev, a, artifact.Select{})
		require.NoError(t, err)
		in, err := qkv.Generate(s, abi.BF16, 3)
		require.NoError(t, err)
		h := in.Call()
		h.Parts = []runtime.Part{{HeadParams: map[string][]int64{"n": []int64{3, 20, 50, 0, 100, 7}[:s.QHeads]}}}
		h.Chosen, h.NoFallback = true, true
		whole, err := k.RunHost(t.Context(), h)
		require.NoError(t, err)
		call := runtime.Call{Shape: s.CallShape(), Part: h.Parts[0]}
		all, err := k.Workspace(call)
		require.NoError(t, err)
		for _, scratch := range []int64{20_000, 1, 40_000}[:campaign.Few(1, 3)] {
			k.Patterns()[0].HoldScratch(scratch)
			less, err := k.Workspace(call)
			require.NoError(t, err)
			require.Less(t, less, all, "%d bytes of scratch", scratch)
			parts, err := k.RunHost(t.Context(), h)
			require.NoError(t, err)
			require.Equal(t, whole.Chosen, parts.Chosen, "%d bytes of scratch", scratch)
			require.Equal(t, whole.O, parts.O)
		}
		require.NoError(t, k.Close())
	}
}
