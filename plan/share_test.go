package plan_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/compile"
	"github.com/minfc/minfc/internal/campaign"
	"github.com/minfc/minfc/internal/qkv"
	"github.com/minfc/minfc/runtime"
	"github.com/minfc/minfc/runtime/device"
	"github.com/minfc/minfc/runtime/emu"
)

// interleaved alternates four patterns over eight heads, with other budgets each time.
var interleaved = []string{
	entry("a_shape", "sink", 4, "window", 40), entry("vertical_slash", "vertical", 40, "slash", 110),
	entry("block_sparse", "topk", 1), entry("columns_window", "vertical", 30, "window", 20),
	entry("vertical_slash", "vertical", 10, "slash", 70), entry("a_shape", "sink", 4, "window", 40),
	entry("columns_window", "vertical", 50, "window", 20), entry("block_sparse", "topk", 3),
}

// counting opens an emulator that counts the launches of attention kernels.
func counting(t *testing.T) (device.Device, *int) {
	n := new(int)
	dev, err := emu.Open(emu.Options{Observe: func(s emu.Stats) {
		if strings.HasPrefix(s.Kernel, "attention") {
			*n++
		}
	}})
	require.NoError(t, err)
	t.Cleanup(func() { dev.Close() })
	return dev, n
}

// alone is the input of one head, twice.
func alone(in *qkv.Input, h int) *qkv.Input {
	one := *in
	one.QHeads, one.KVHeads = 2, 1
	cut := func(x []byte, head, heads int) (out []byte) {
		size := len(x) / (in.Batch * heads)
		for b := range in.Batch {
			out = append(out, x[(b*heads+head)*size:][:size]...)
		}
		return out
	}
	kv := h / (in.QHeads / in.KVHeads)
	one.K, one.V = cut(in.K, kv, in.KVHeads), cut(in.V, kv, in.KVHeads)
	q := cut(in.Q, h, in.QHeads)
	one.Q = nil
	for head := range slices.Chunk(q, len(q)/in.Batch) {
		one.Q = append(append(one.Q, head...), head...)
	}
	return &one
}

// Heads that share tensors, launches and index stages with others come out as each does by itself, bit by bit. By itself is beside
// one head with lists: that cuts ranges to other tiles on some targets.
func TestInterleavedHeadsAreAsAlone(t *testing.T) {
	for _, target := range compile.Targets()[campaign.Few(1, 0):] {
		for _, s := range []qkv.Shape{
			{Batch: 1, QHeads: 8, KVHeads: 1, SeqQ: 66, SeqK: 300, QOffset: 230},
			{Batch: 1, QHeads: 8, KVHeads: 2, SeqQ: 200, SeqK: 200},
			{Batch: 2, QHeads: 8, KVHeads: 4, SeqQ: 150, SeqK: 190, QOffset: 40},
		}[:campaign.Few(1, 3)] {
			t.Run(fmt.Sprint(target, s.KVHeads), func(t *testing.T) {
				dev, launches := counting(t)
				c := newCompiler(dev)
				c.target = target
				s.HeadDim = headDim
				in, err := qkv.Generate(s, abi.BF16, 5)
				require.NoError(t, err)
				heads, l := bind(t, c, interleaved...)
				res, err := l.RunHost(t.Context(), host(in))
				require.NoError(t, err)
				require.Equal(t, 1, *launches, "all heads in one")
				compare(t, in, heads, res)
				for h, text := range interleaved[:campaign.Few(4, 8)] { // each pattern once at least
					compareAlone(t, c, in, res, h, text)
				}
			})
		}
	}
}

func compareAlone(t *testing.T, c *compiler, in *qkv.Input, res runtime.HostResult, h int, text string) {
	_, l := bind(t, c, text, entry("vertical_slash", "vertical", 1, "slash", 1))
	one, err := l.RunHost(t.Context(), host(alone(in, h)))
	require.NoError(t, err)
	size, rows := len(one.O)/in.Batch/2, in.SeqQ
	for b := range in.Batch {
		at := b*in.QHeads + h
		require.Equal(t, one.O[2*b*size:][:size], res.O[at*size:][:size], "head %d: %s", h, text)
		require.Equal(t, one.LSE[2*b*rows:][:rows], res.LSE[at*rows:][:rows], "head %d: %s", h, text)
		require.Equal(t, one.Chosen[2*b], res.Chosen[at], "head %d: %s", h, text)
	}
}

// A million tokens and 32 heads of patterns that take turns: what one index stage used on its way, the next one uses, so that together
// they take a gigabyte at most.
func TestInterleavedPlanOfAMillionTokensFits(t *testing.T) {
	c := newCompiler(emulator(t))
	c.headDim = 128
	var heads []string
	for range 16 {
		heads = append(heads, entry("vertical_slash", "vertical", 1000, "slash", 6096), entry("block_sparse", "topk", 100))
	}
	_, l := bind(t, c, heads...)
	p, err := l.Prepare(runtime.Shape{Batch: 1, QHeads: 32, KVHeads: 8, SeqQ: 1 << 20, SeqK: 1 << 20})
	require.NoError(t, err)
	require.LessOrEqual(t, p.Workspace(), int64(1e9))
	require.Equal(t, 1, p.Launches())
}

// A layer of a million tokens takes few launches, index stages included: each costs the host microseconds.
func TestLayerOfAMillionTokensTakesFewLaunches(t *testing.T) {
	c := newCompiler(emulator(t))
	c.headDim = 128
	_, l := bind(t, c, realHeads()...)
	for _, noFallback := range []bool{true, false} {
		p, err := l.Prepare(runtime.Shape{Batch: 1, QHeads: 32, KVHeads: 8, SeqQ: 1 << 20, SeqK: 1 << 20, NoFallback: noFallback})
		require.NoError(t, err)
		require.LessOrEqual(t, p.Commands(), 60)
		require.Less(t, p.Workspace(), int64(1e9))
	}
}
