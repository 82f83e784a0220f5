package e2e

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/compile"
	"github.com/minfc/minfc/internal/campaign"
	"github.com/minfc/minfc/internal/qkv"
	"github.com/minfc/minfc/internal/selfcheck"
	"github.com/minfc/minfc/ir"
	"github.com/minfc/minfc/patterns"
	"github.com/minfc/minfc/plan"
	"github.com/minfc/minfc/runtime/artifact"
	"github.com/minfc/minfc/runtime/emu"
)

// A block has 99 KB of shared memory on GPUs of compute capability 8.6, 8.9 and 12.x. The whole library runs there, at every kind of tile
// that head dims have.

// littleShared is an emulated GPU of that kind.
var littleShared = emu.Options{Capability: 89}

var (
	littleDims   = [2][]int{{64, 96, 128, 192, 256, 112, 144, 208}, {112, 256, 144, 208, 64, 96, 128, 192}}
	littleShapes = []qkv.Shape{
		{Batch: 1, QHeads: 1, KVHeads: 1, SeqQ: 130, SeqK: 130},
		{Batch: 1, QHeads: 4, KVHeads: 1, SeqQ: 65, SeqK: 129, QOffset: 64},
	}
)

func TestLibraryWithLittleSharedMemory(t *testing.T) {
	for p, name := range patterns.Names() {
		program := library(t, name)
		for i, d := range littleDims[p%2][:campaign.Cases(1, 4, 8)] { // patterns take turns but in a campaign
			c := attentionCase{program: program, headDim: d, dtype: []abi.DType{abi.BF16, abi.F16}[(i+p/2)%2], random: true}
			t.Run(c.kernel(), func(t *testing.T) {
				t.Parallel()
				l := c.load(t, littleShared)
				for n, shape := range littleShapes[:campaign.Few(1, 2)] {
					c.shape, c.seed = shape, uint64(n)
					if len(program.Pattern.Index) == 0 {
						c.params = settings[name][0]
						c.run(t, l)
						continue
					}
					c.params = dynamicSettings[name][1]
					c.launch(t, l, c.input(t), nil).check(t)
				}
			})
		}
	}
}

// Probes of any rows have kernels of their own, of several sizes too: a block takes as many heads as both kernels of a probe have room for.
func TestProbesWithLittleSharedMemory(t *testing.T) {
	program, err := compile.Load("probes.minf", []byte(probes), "two", nil)
	require.NoError(t, err)
	for _, d := range []int{96, 128, 256}[:campaign.Few(1, 3)] {
		c := attentionCase{program: program, headDim: d, dtype: abi.BF16, random: true, shape: littleShapes[1]}
		t.Run(c.kernel(), func(t *testing.T) {
			t.Parallel()
			c.launch(t, c.load(t, littleShared), c.input(t), nil).check(t)
		})
	}
}

// A layer of all library patterns, with budgets that keep all that is causal. Its groups need as much as the largest of their sections.
func TestPlanWithLittleSharedMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("a group of the whole library at once")
	}
	var layer []plan.Head
	var keeps []func(q, k int) bool
	for _, name := range patterns.Names() {
		p := library(t, name).Pattern
		values, err := ir.CheckLaunch(p.Params, p.Requires, nil)
		require.NoError(t, err)
		keep := func(q, k int) bool { return k <= q }
		if len(p.Index) == 0 {
			keep, err = p.EndingAt(60 + 70).Keeps(values)
			require.NoError(t, err)
		}
		layer, keeps = append(layer, plan.Head{Pattern: p}), append(keeps, keep)
	}
	for _, d := range []int{256, 192, 128, 64} {
		dev := openEmulator(t, littleShared)
		a, err := compile.Plan([][]plan.Head{layer}, nil, compile.Options{Target: "sm_80", DType: "bf16", HeadDim: d}, nil)
		require.NoError(t, err)
		k, err := plan.Load(dev, a, artifact.Select{})
		require.NoError(t, err)
		l, err := k.Bind(layer)
		require.NoError(t, err)
		in, err := qkv.Generate(qkv.Shape{Batch: 1, QHeads: len(layer), KVHeads: 1, SeqQ: 70, SeqK: 130, QOffset: 60, HeadDim: d}, abi.BF16, 1)
		require.NoError(t, err)
		call := in.Call()
		call.NoFallback = true
		res, err := l.RunHost(t.Context(), call)
		require.NoError(t, err)
		report, err := selfcheck.Compare(selfcheck.Case{In: in, Keeps: keeps, Scale: 1 / math.Sqrt(float64(d)), O: res.O, LSE: res.LSE})
		require.NoError(t, err)
		require.True(t, report.OK(), "D %d: %s", d, report)
		require.NoError(t, k.Close())
	}
}
