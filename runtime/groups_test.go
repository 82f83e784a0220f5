package runtime_test

import (
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

// groupSources choose by group from sums of single heads, from sums of one pack and of several, from shares and from products of blocks.
var groupSources = map[string]string{
	"sums": `pattern p(n = 20) {
		index cols = top(n, sum(softmax(q[::50] * k), queries)) shared by group
		index diags = top(2, sum(softmax(q[-64:] * k), diagonals(16))) shared by group with last 2
		keep causal & (columns(cols) | diagonals(diags)) }`,
	"packs": `pattern p(n = 20) {
		index cols = top(n, sum(softmax(q[-32:] * k), queries)) shared by group
		index diags = top(9, sum(softmax(q[-7:] * k), diagonals)) shared by group
		keep causal & (columns(cols) | diagonals(diags)) }`,
	"shares":   `pattern p(n = 2) { index b = top(n, softmax(mean(q, 64) * mean(k, 64))) shared by group keep causal & blocks(b) }`,
	"products": `pattern p(n = 2) { index b = top(n, mean(q, 64) * mean(k, 64)) shared by group keep causal & blocks(b) }`,
	"squares":  `pattern p(n = 2) { index b = top(n, sum(softmax(mean(q * k, antidiagonals(16))), blocks)) shared by group keep causal & blocks(b) }`,
}

// Whatever memory there is for sums and scores, choices by group are the same, of every kv head with its own budget.
func TestGroupsInParts(t *testing.T) {
	for name, source := range groupSources {
		t.Run(name, func(t *testing.T) {
			dev, err := emu.Open(emu.Options{})
			require.NoError(t, err)
			defer dev.Close()
			a, err := compile.Source("p.minf", []byte(source), "", compile.Options{Target: "sm_80", DType: "bf16", HeadDim: 32}, nil)
			require.NoError(t, err)
			k, err := runtime.Load(dev, a, artifact.Select{})
			require.NoError(t, err)
			defer k.Close()
			s := qkv.Shape{Batch: 1, QHeads: 9, KVHeads: 3, SeqQ: 140, SeqK: 140, HeadDim: 32}
			in, err := qkv.Generate(s, abi.BF16, 3)
			require.NoError(t, err)
			h := in.Call()
			h.Parts = []runtime.Part{{HeadParams: map[string][]int64{"n": {3, 3, 3, 20, 20, 20, 1, 1, 1}}}}
			h.Chosen, h.NoFallback = true, true
			whole, err := k.RunHost(t.Context(), h)
			require.NoError(t, err)
			call := runtime.Call{Shape: s.CallShape(), Part: h.Parts[0]}
			all, err := k.Workspace(call)
			require.NoError(t, err)
			for _, scratch := range []int64{10_000, 1, 30_000}[:campaign.Few(1, 3)] {
				k.Patterns()[0].HoldScratch(scratch)
				less, err := k.Workspace(call)
				require.NoError(t, err)
				require.LessOrEqual(t, less, all, "%d bytes of scratch", scratch)
				parts, err := k.RunHost(t.Context(), h)
				require.NoError(t, err)
				require.Equal(t, whole.Chosen, parts.Chosen, "%d bytes of scratch", scratch)
				require.Equal(t, whole.O, parts.O)
			}
		})
	}
}

// What a server with a piece of the sequence on each device cannot exchange is said, not computed wrongly.
func TestGroupsAreNotShared(t *testing.T) {
	dev, err := emu.Open(emu.Options{})
	require.NoError(t, err)
	defer dev.Close()
	a, err := compile.Source("p.minf", []byte(groupSources["packs"]), "", compile.Options{Target: "sm_80", DType: "bf16", HeadDim: 32}, nil)
	require.NoError(t, err)
	k, err := runtime.Load(dev, a, artifact.Select{})
	require.NoError(t, err)
	defer k.Close()
	p, err := k.Prepare(runtime.Shape{Batch: 1, QHeads: 4, KVHeads: 2, SeqQ: 100, SeqK: 100, NoFallback: true})
	require.NoError(t, err)
	parts, err := p.Describe()
	require.NoError(t, err)
	require.Contains(t, parts[0].Why, "the query heads of a kv head choose index")
	require.Contains(t, parts[0].Why, "leave `shared by group` out")
}
