package e2e

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/compile"
	"github.com/minfc/minfc/internal/campaign"
	"github.com/minfc/minfc/internal/qkv"
	"github.com/minfc/minfc/ir"
	"github.com/minfc/minfc/ir/irtest"
	"github.com/minfc/minfc/runtime/emu"
)

// Random patterns with means, from the pattern to the output of its kernels, against float64: on both targets, of ranges alone and of blocks.
// A failure prints its pattern and its seed.
func TestRandomMeansAgreeWithFloat64(t *testing.T) {
	patterns, refused, seen := campaign.Cases(10, 60, 300), 0, map[string]int{}
	for seed := range uint64(patterns) {
		rng := rand.New(rand.NewPCG(seed, 23))
		c := attentionCase{target: compile.Targets()[seed%2], dtype: pick(rng, []abi.DType{abi.BF16, abi.F16}),
			headDim: pick(rng, []int{16, 32, 64, 64, 80, 128, 128, 192, 256})}
		for c.program = nil; c.program == nil; {
			p := irtest.RowsBySeed(rng.Uint64(), irtest.RandomMeans(rng, seed/2%3 > 0))
			require.NoError(t, p.Verify(), "%s", p)
			c.program = &compile.Program{Pattern: p}
			a, err := c.artifact()
			if err != nil {
				var why *ir.Unsupported
				require.ErrorAs(t, err, &why, "everything else is a fault\n%s", p)
				c.program, refused = nil, refused+1
				continue
			}
			parts, err := a.ReadParts()
			require.NoError(t, err)
			if len(p.Index) > 0 && len(parts[0][0].Schedule.Index) == 0 { // no choice matters
				c.program = nil
			}
		}
		c.shape = meanShape(rng)
		c.params, _ = irtest.RandomBudgets(rng, c.program.Pattern, c.shape.QHeads)
		c.random, c.seed = rng.IntN(2) == 0, rng.Uint64()
		ok := t.Run(fmt.Sprintf("%d/%s", seed, c.launched()), func(t *testing.T) {
			l := c.load(t, emu.Options{Seed: seed})
			if len(l.Patterns()[0].Schedule().Index) == 0 {
				c.run(t, l)
				seen["static"]++
				c.countDropped(t, seen, &ir.Selection{QOffset: c.shape.QOffset})
				return
			}
			e := c.launch(t, l, c.input(t), nil)
			e.checkDropped(t)
			seen["chosen"]++
			c.countDropped(t, seen, e.res.Chosen[0].Asked)
		})
		require.True(t, ok, "%s", c.program.Pattern)
	}
	t.Logf("met %v, refused %d", seen, refused)
	require.Less(t, refused, 2*patterns)
	if patterns >= 60 {
		for _, what := range []string{"static", "chosen", "whole pools", "parts of pools", "all computed"} {
			require.Greater(t, seen[what], patterns/12, what)
		}
	}
}

// meanShape has some pools before its queries most of the time.
func meanShape(rng *rand.Rand) qkv.Shape {
	s := randomDynamicShape(rng)
	if rng.IntN(3) > 0 {
		s.SeqK = 300 + rng.IntN(900)
		s.QOffset = max(0, s.SeqK-s.SeqQ+rng.IntN(100)-50)
	}
	return s
}

// countDropped notes what a head drops that chose a selection.
func (c attentionCase) countDropped(t *testing.T, seen map[string]int, sel *ir.Selection) {
	values, err := ir.CheckLaunch(c.program.Pattern.Params, c.program.Pattern.Requires, c.params)
	require.NoError(t, err)
	p := c.program.Pattern.EndingAt(c.shape.QOffset + c.shape.SeqQ)
	keep, err := p.KeepsWith(values, sel)
	require.NoError(t, err)
	shape := ir.Shape{Sq: c.shape.SeqQ, Sk: c.shape.SeqK, QOffset: c.shape.QOffset}
	met := map[string]bool{}
	for n := range (shape.Sq + ir.BlockSize - 1) / ir.BlockSize {
		for _, keys := range ir.DroppedKeys(p.Pool, keep, shape, n) {
			switch keys {
			case 0:
				met["all computed"] = true
			case p.Pool:
				met["whole pools"] = true
			default:
				met["parts of pools"] = true
			}
		}
	}
	for what := range met {
		seen[what]++
	}
}
