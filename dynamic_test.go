package minfc_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/internal/half"
	"github.com/minfc/minfc/internal/qkv"
	"github.com/minfc/minfc/internal/selfcheck"
	"github.com/minfc/minfc/ir"
	"github.com/minfc/minfc/runtime"
	"github.com/minfc/minfc/runtime/emu"
)

// dynamicLengths has every kind of ragged block up to ten blocks.
var dynamicLengths = []int{1, 2, 31, 63, 64, 65, 100, 127, 128, 129, 191, 200, 256, 300, 449, 513, 600}

// dynamicSettings are small budgets, larger ones than there are members, and those between.
var dynamicSettings = map[string][]map[string]int64{
	"vertical_slash": {{"vertical": 0, "slash": 0}, {"vertical": 31, "slash": 104}, {"vertical": 150, "slash": 130}, {"vertical": 1 << 30, "slash": 101}, nil},
	"block_sparse":   {{"topk": 0}, {"topk": 1}, {"topk": 3}, nil},
	"columns_window": {{"vertical": 0, "window": 1}, {"vertical": 40, "window": 65}, {"vertical": 100, "window": 20}, nil},
}

// runDynamic runs a case and holds all of it against float64: the output under the device's own cover, the cover against
// what was asked for, and that against the index stage's meaning.
func (c attentionCase) runDynamic(t *testing.T, dev runtime.Device, a *runtime.Artifact) {
	in := c.input(t)
	h := c.host(in)
	h.Chosen = true
	res, err := runtime.RunHost(dev, a, runtime.Select{}, h)
	require.NoError(t, err)
	s := in.Shape
	require.Len(t, res.Chosen, s.Batch*s.QHeads)
	values, err := ir.CheckLaunch(c.program.Pattern.Params, c.program.Pattern.Requires, c.params)
	require.NoError(t, err)
	scale := 1 / math.Sqrt(float64(c.headDim))
	check := selfcheck.Case{In: in, Scale: scale, O: res.O, LSE: res.LSE}
	for _, chosen := range res.Chosen {
		keep, err := c.program.Pattern.CoverWith(values, chosen.Kept)
		require.NoError(t, err)
		check.Keeps = append(check.Keeps, keep)
	}
	report, err := selfcheck.Compare(check)
	require.NoError(t, err)
	require.True(t, report.OK(), "%s", report)
}

func TestDynamicPatternsAgreeWithFloat64(t *testing.T) {
	const shapes = 6
	dev := device(t, emu.Options{})
	for name, settings := range dynamicSettings {
		program := library(t, name)
		for _, d := range []int{64, 128} {
			for _, f := range []half.Format{half.BF16, half.F16} {
				c := attentionCase{program: program, headDim: d, dtype: f}
				artifact := c.compile(t)
				rng := rand.New(rand.NewPCG(uint64(d), uint64(len(name))))
				for range shapes {
					c.shape, c.params, c.seed = dynamicShape(rng), pick(rng, settings), rng.Uint64()
					t.Run(c.String(), func(t *testing.T) { c.runDynamic(t, dev, artifact) })
				}
			}
		}
	}
}

func dynamicShape(rng *rand.Rand) qkv.Shape {
	g := pick(rng, [][2]int{{1, 1}, {2, 1}, {3, 1}, {4, 2}, {5, 1}})
	s := qkv.Shape{Batch: 1 + rng.IntN(2), QHeads: g[0], KVHeads: g[1], SeqQ: pick(rng, dynamicLengths)}
	s.SeqK = s.SeqQ
	switch rng.IntN(3) {
	case 0:
		s.SeqK = pick(rng, dynamicLengths)
		s.QOffset = max(0, s.SeqK-s.SeqQ)
	case 1:
		s.SeqK, s.QOffset = pick(rng, dynamicLengths), rng.IntN(200)
	}
	return s
}
