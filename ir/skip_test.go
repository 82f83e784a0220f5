package ir_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/ir"
)

// TestSkipLoss: rows whose pairs are met in any order, in tiles of any size, lose no more than the bound.
func TestSkipLoss(t *testing.T) {
	lost := 0
	for seed := range uint64(400) {
		rng := rand.New(rand.NewPCG(seed, 4))
		n, share := 2+rng.IntN(200), math.Pow(10, -4*rng.Float64())
		logits, values := make([]float64, n), make([]float64, n)
		for i := range logits {
			logits[i], values[i] = 6*rng.NormFloat64(), rng.NormFloat64()
		}
		var all, kept, out, outKept float64
		skipped, top := 0, math.Inf(-1)
		for at := 0; at < n; {
			tile := logits[at:min(n, at+1+rng.IntN(8))]
			most := math.Inf(-1)
			for _, s := range tile {
				most = max(most, s)
			}
			left := most < top+math.Log(share)
			for i, s := range tile {
				w := math.Exp(s)
				all, out = all+w, out+w*values[at+i]
				if left {
					skipped++
				} else {
					kept, outKept = kept+w, outKept+w*values[at+i]
				}
			}
			if at += len(tile); !left {
				top = max(top, most)
			}
		}
		mass, lse := ir.SkipLoss(skipped, share)
		require.LessOrEqual(t, 1-kept/all, mass+1e-12, "seed %d", seed)
		require.LessOrEqual(t, math.Log(all/kept), lse+1e-12, "seed %d", seed)
		low, high := math.Inf(1), math.Inf(-1)
		for _, v := range values {
			low, high = min(low, v), max(high, v)
		}
		require.LessOrEqual(t, math.Abs(outKept/kept-out/all), mass*(high-low)+1e-12, "seed %d", seed)
		lost += skipped
	}
	require.Greater(t, lost, 1000)
	mass, lse := ir.SkipLoss(0, 0.5)
	require.Zero(t, mass)
	require.Zero(t, lse)
}

func TestSkipLog2(t *testing.T) {
	s := ir.Skip{Share: ir.Var("n").Mul(ir.Int(2))}
	v, err := s.Log2(map[string]int64{"n": ir.SkipUnits / 2})
	require.NoError(t, err)
	require.Zero(t, v)
	v, err = s.Log2(map[string]int64{"n": 0})
	require.NoError(t, err)
	require.True(t, math.IsInf(v, -1))
	_, err = s.Log2(map[string]int64{"n": ir.MaxParam})
	require.Error(t, err)
}
