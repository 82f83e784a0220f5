package plan_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/compile"
	"github.com/minfc/minfc/internal/campaign"
	"github.com/minfc/minfc/internal/qkv"
	"github.com/minfc/minfc/runtime/device"
	"github.com/minfc/minfc/runtime/emu"
)

// Heads of a kv head choose together if they run one pattern with the same parameters, wherever they lie among heads of other patterns: behind
// them, or within the heads of one kv head.
func TestHeadsOfAPartChooseTogether(t *testing.T) {
	shared, other := entry("slash_tiles_shared", "vertical", 40, "runs", 2), entry("slash_tiles_shared", "vertical", 60, "runs", 1)
	single, near, dense := entry("slash_tiles", "vertical", 35, "runs", 2), entry("a_shape", "window", 30), entry("dense")
	for n, layer := range []struct {
		kvHeads int
		heads   []string
	}{
		{2, []string{near, near, single, dense, single, shared, shared, near}},
		{1, []string{shared, single, shared, near, dense, shared, shared, single, shared}}, // three packs
		{3, []string{dense, near, near, near, shared, single, shared, shared, other, other, near, other}},
		{2, []string{shared, single, shared, near, other, other, other, other}},
		{1, []string{dense, shared, shared, single}},
	}[:campaign.Few(2, 5)] {
		heads := layer.heads
		for i, target := range compile.Targets() {
			dev, err := emu.Open(emu.Options{Seed: uint64(n), Multiprocessors: 1 + n})
			require.NoError(t, err)
			c := newCompiler(dev)
			c.target, c.headDim = target, []int{64, 128}[(i+n)%2]
			in, err := qkv.Generate(qkv.Shape{Batch: 2 - n/3, QHeads: len(heads), KVHeads: layer.kvHeads, SeqQ: 200, SeqK: 333, QOffset: 133, HeadDim: c.headDim}, abi.BF16, 5)
			require.NoError(t, err)
			ran, l := bind(t, c, heads...)
			res, err := l.RunHost(t.Context(), host(in))
			require.NoError(t, err)
			compare(t, in, ran, res)
			require.NoError(t, dev.Close())
		}
	}
}

// Heads that choose together have one budget: another one is refused, by name.
func TestOneBudgetAGroup(t *testing.T) {
	budgets := func(vertical ...int) (heads []string) {
		for _, v := range vertical {
			heads = append(heads, entry("slash_tiles_shared", "vertical", v, "runs", 2))
		}
		return heads
	}
	c := newCompiler(emulator(t))
	in, err := qkv.Generate(qkv.Shape{Batch: 1, QHeads: 4, KVHeads: 2, SeqQ: 70, SeqK: 70, HeadDim: headDim}, abi.BF16, 5)
	require.NoError(t, err)
	_, l := bind(t, c, budgets(40, 40, 60, 60)...)
	_, err = l.RunHost(t.Context(), host(in))
	require.NoError(t, err, "kv heads may differ")
	_, l = bind(t, c, budgets(40, 40, 60, 61)...)
	_, err = l.RunHost(t.Context(), host(in))
	require.ErrorIs(t, err, device.ErrBadCall)
	require.ErrorContains(t, err, "heads 2 and 3 choose cols together, by group, and have the budgets 60 and 61 of it; give all heads of a kv head one budget")
	_, l = bind(t, c, append(budgets(40, 40, 60), entry("slash_tiles", "vertical", 61))...)
	_, err = l.RunHost(t.Context(), host(in))
	require.NoError(t, err, "a head of another pattern has budgets of its own")
}
