package e2e

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/half"
	"github.com/minfc/minfc/internal/campaign"
	"github.com/minfc/minfc/internal/qkv"
	"github.com/minfc/minfc/runtime/emu"
)

// growing are inputs whose scores change by so many powers of two from one 64 keys to the next, from the last key down, which is how
// kernels walk. Every fourth row sees it the other way round, so that rows of one warp differ.
func growing(t *testing.T, shape qkv.Shape, f abi.DType, step float64) *qkv.Input {
	rng := rand.New(rand.NewPCG(5, uint64(int64(step))))
	in := &qkv.Input{Shape: shape, Format: f}
	d := shape.HeadDim
	fill := func(rows int, first func(row int) float64) []byte {
		values := make([]float32, rows*d)
		for i := range values {
			values[i] = float32(rng.NormFloat64() / 4)
			if i%d == 0 {
				values[i] = float32(first(i / d))
			}
		}
		out, err := half.Encode(f, values)
		require.NoError(t, err)
		return out
	}
	unit := math.Sqrt(math.Sqrt(float64(d)) * math.Ln2) // of q and of k: a score of 1 in the log2 domain
	in.Q = fill(shape.Batch*shape.QHeads*shape.SeqQ, func(row int) float64 {
		if row%4 == 3 {
			return -unit
		}
		return unit
	})
	in.K = fill(shape.Batch*shape.KVHeads*shape.SeqK, func(row int) float64 {
		key := row % shape.SeqK
		return unit * step * float64(shape.SeqK-key) / 64
	})
	in.V = fill(shape.Batch*shape.KVHeads*shape.SeqK, func(int) float64 { return rng.NormFloat64() })
	return in
}

// Kernels do not rescale for every new maximum. Whether scores creep up below what makes them, leap over it or fall, every row must
// come out as if they did.
func TestScoresThatGrow(t *testing.T) {
	shape := qkv.Shape{Batch: 1, QHeads: 2, KVHeads: 1, SeqQ: 130, SeqK: 500, QOffset: 370}
	for _, name := range []string{"dense", "vertical_slash", "block_sparse"}[:campaign.Few(1, 3)] {
		for _, target := range []string{"sm_80", "sm_90a"} {
			c := attentionCase{program: library(t, name), target: target, headDim: 64, dtype: abi.F16, shape: shape}
			t.Run(c.kernel(), func(t *testing.T) {
				t.Parallel()
				l := c.load(t, emu.Options{})
				for _, step := range []float64{0.5, 3, 7.9, 8.1, 20, -3, -20} {
					s := shape
					s.HeadDim = c.headDim
					in := growing(t, s, c.dtype, step)
					t.Logf("2^%g every 64 keys", step)
					if len(l.Patterns()[0].Schedule().Index) > 0 {
						c.launch(t, l, in, nil).check(t)
					} else {
						c.compare(t, l, in)
					}
				}
			})
		}
	}
}
