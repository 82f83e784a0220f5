package index

import (
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/half"
	"github.com/minfc/minfc/internal/campaign"
	"github.com/minfc/minfc/ir"
	"github.com/minfc/minfc/runtime/emu"
)

// repeating makes keys that repeat with a period, so that columns and distances that are a period apart are worth the same.
func repeating(period, dim int, size float32) func(q, k []float32) {
	return func(q, k []float32) {
		for i := range q {
			q[i] *= size
		}
		for i := range k {
			if k[i] *= size; i >= period*dim {
				k[i] = k[i-period*dim]
			}
		}
	}
}

// requireEqualApart compares sums that are a period apart bit by bit, sums that all rows of the probe see.
func requireEqualApart(t *testing.T, what string, sums []float64, from, end, period int) {
	for i := from; i+period < end; i++ {
		require.Equal(t, sums[i], sums[i+period], "%s %d and %d", what, i, i+period)
	}
	require.Positive(t, slices.Max(sums[from:min(from+period, end)]), what)
}

// TestEqualTermsHaveEqualSums: sums differ by nothing but their terms, whatever the place of a column or a distance in tiles, pieces,
// chunks and warps.
func TestEqualTermsHaveEqualSums(t *testing.T) {
	for i, period := range []int{1, 7, 24, 100, 2, 8, 40, 64}[:campaign.Few(3, 8)] {
		cfg := EstimateConfig{HeadDim: []int{16, 64, 80, 128}[i%4], DType: abi.BF16, HeadsPerBlock: []int{1, 2, 4}[i%3]}
		k, r := newEstimateKernels(t, cfg), newEstimateRig(t, emu.Options{})
		for j, size := range []float32{0, 1, 3, 1e8} {
			if (i+j)%campaign.Few(2, 1) != 0 { // with -short periods and sizes take turns
				continue
			}
			c := estimateCase{EstimateConfig: cfg, batch: 1, kvHeads: 1, group: 2, sq: []int{64, 150, 30, 64}[j], sk: 1300 + 37*j, seed: uint64(i)}
			c.fill, c.chunkTiles = repeating(period, cfg.HeadDim, size), []int{2, 4, 16}[(i+j)%3]
			c.qOffset = c.sk - c.sq
			t.Run(fmt.Sprint(c, " every ", period, " times ", size), func(t *testing.T) {
				q, kk, qv, kv := c.input(t)
				got := c.run(r, k, q, kk)
				if size < 1e8 { // beyond, float32 products differ from float64 by too much
					want := c.reference(qv, kv)
					requireClose(t, "distance", want.diag, got.diag)
				}
				rows := min(64, c.sq)
				q0 := c.qOffset + c.sq - rows
				for h := range c.heads() {
					requireEqualApart(t, "column", got.cols[h*((c.sk+63)/64*64):], 0, q0+1, period)
					requireEqualApart(t, "distance", got.diag[h*DistPad(c.qOffset, c.sq):], rows-1, q0+1, period)
				}
			})
		}
	}
}

// TestEqualTermsOfSpreadProbes is the same for rows that lie a step apart, and for several parts of a probe.
func TestEqualTermsOfSpreadProbes(t *testing.T) {
	clear, err := Clear()
	clearPTX := compilePTX(t, clear, err)
	for i, step := range []int{1, 2, 5, 16}[:campaign.Few(3, 4)] {
		cfg := EstimateConfig{HeadDim: 64, DType: abi.F16, HeadsPerBlock: 1 + i%2, Spread: true}
		k, period := newEstimateKernels(t, cfg), []int{1, 8, 24, 36}[i]
		n := 70
		c := spreadCase{estimateCase: estimateCase{EstimateConfig: cfg, batch: 1, kvHeads: 1, group: 1, sq: n * step, sk: 1500 + n*step, qOffset: 1500, seed: 3}, step: step, n: n}
		c.fill = repeating(period, cfg.HeadDim, 1)
		t.Run(c.String(), func(t *testing.T) {
			cols, diag := c.check(t, newEstimateRig(t, emu.Options{}), k, clear, clearPTX)
			requireEqualApart(t, "column", cols, 0, 1500, period)
			requireEqualApart(t, "distance", diag, (n-1)*step, 1500, period)
		})
	}
}

// hugeFills are queries and keys with products up to 1e36 that float32 holds exactly or far apart.
var hugeFills = map[string]func(rng *rand.Rand, size float32, dim int) func(q, k []float32){
	"equal": func(_ *rand.Rand, size float32, _ int) func(q, k []float32) { return allEqual(size, size) },
	"equal and negative": func(_ *rand.Rand, size float32, _ int) func(q, k []float32) {
		return allEqual(size, -size)
	},
	"few values": func(rng *rand.Rand, size float32, dim int) func(q, k []float32) {
		return func(q, k []float32) {
			allEqual(size, 0)(q, k)
			for i := range k {
				if i%dim == 0 {
					k[i] = size * []float32{1, 1, -1, -0.5, 0.25}[rng.IntN(5)]
				}
			}
		}
	},
	"rows of all sizes": func(rng *rand.Rand, size float32, dim int) func(q, k []float32) {
		return func(q, k []float32) {
			for i := range q {
				q[i] = float32(math.Exp2(float64(i / dim % 120)))
				if q[i] > size {
					q[i] /= size * size
				}
			}
			for i := range k {
				k[i] = 0
				if i%dim == 0 {
					k[i] = size * []float32{1, -1}[i/dim/5%2]
				}
			}
		}
	},
}

func allEqual(a, b float32) func(q, k []float32) {
	return func(q, k []float32) {
		for i := range q {
			q[i] = a
		}
		for i := range k {
			k[i] = b
		}
	}
}

// TestEstimateOfHugeProducts: an exponent is not off by the rounding of a maximum that is beyond what float32 holds a unit of.
func TestEstimateOfHugeProducts(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 3))
	cfg := EstimateConfig{HeadDim: 64, DType: abi.BF16, HeadsPerBlock: 2}
	k, r := newEstimateKernels(t, cfg), newEstimateRig(t, emu.Options{})
	for name, fill := range hugeFills {
		for i, size := range []float32{30, 1 << 7, 35160, 1 << 20, 1e9, 1e17} {
			if i%campaign.Few(2, 1) != campaign.Few(1, 0) { // with -short every second one, the largest too
				continue
			}
			c := estimateCase{EstimateConfig: cfg, batch: 1, kvHeads: 1, group: 2, sq: 150, sk: 400, qOffset: 250, seed: 5}
			c.fill = fill(rng, size, c.HeadDim)
			t.Run(fmt.Sprint(name, size), func(t *testing.T) { c.check(t, r, k) })
		}
	}
}

// Keys that no row sees reach no sum, whatever their bytes are; keys that rows see leave all other sums as they are.
func TestEstimateOfKeysThatNobodySees(t *testing.T) {
	cfg := EstimateConfig{HeadDim: 64, DType: abi.F16, HeadsPerBlock: 1}
	k, r := newEstimateKernels(t, cfg), newEstimateRig(t, emu.Options{})
	nan := float32(math.NaN())
	for _, sk := range []int{200, 230, 300} {
		c := estimateCase{EstimateConfig: cfg, batch: 1, kvHeads: 1, group: 1, sq: 100, sk: sk, qOffset: 90, seed: 5, spoil: map[int]float32{}}
		for i := 64 * 190; i < 64*sk; i++ {
			c.spoil[i] = []float32{nan, float32(math.Inf(1)), 60000}[i%3]
		}
		t.Run(c.String(), func(t *testing.T) { c.check(t, r, k) })
	}
}

// TestEqualBlocksHaveEqualScores: blocks of equal keys are worth the same, wherever they lie and however short the last one is, with
// products up to 1e36.
func TestEqualBlocksHaveEqualScores(t *testing.T) {
	for _, size := range []float32{0.3, 7, 1e4, 1e17} {
		for _, fold := range []int{2, 8, 64} {
			s := blockShape{1, 1, 1, 200, 1000, 799, 64}
			q, k := make([]float32, s.sq*s.dim), make([]float32, s.sk*s.dim)
			for i := range q {
				q[i] = size * float32(1+i%s.dim%3)
			}
			for i := range k {
				k[i] = size * float32(1+i%s.dim%5)
			}
			t.Run(fmt.Sprint(size, fold), func(t *testing.T) { s.checkEqualShares(t, fold, q, k) })
		}
	}
}

// checkEqualShares runs square_scores and block_shares on tensors whose blocks are all equal.
func (s blockShape) checkEqualShares(t *testing.T, fold int, q, k []float32) {
	r, per := newBlockRig(t), ir.BlockSize/fold
	encode := func(x []float32) []byte {
		b, err := half.Encode(abi.BF16, x)
		require.NoError(t, err)
		return b
	}
	size := s.rowBlocks() * per * s.pad()
	scores, sums := r.upload(make([]byte, 4*size)), r.upload(make([]byte, 4*size))
	shares := r.upload(make([]byte, 4*s.rowBlocks()*s.pad()))
	both := args{"scores": scores, "sums": sums, "sq": s.sq, "sk": s.sk, "q_offset": s.qOffset,
		"slab_start": 0, "slab": s.rowBlocks(), "fold": fold, "scale": float32(math.Log2E / math.Sqrt(float64(s.dim)) / float64(fold))}
	forSquares, forShares := args{"q": r.upload(encode(q)), "k": r.upload(encode(k)), "group": 1, "hq": 1,
		"q_batch": 0, "q_head": 0, "q_row": 2 * s.dim, "k_batch": 0, "k_head": 0, "k_row": 2 * s.dim}, args{"shares": shares}
	maps.Copy(forSquares, both)
	maps.Copy(forShares, both)
	squares, share := r.function(SquareScores(s.dim, abi.BF16, false)), r.function(BlockShares(false))
	squares.launch(SquareScoresGrid(s.sk, s.rowBlocks(), fold, 1), squares.Threads, forSquares)
	share.launch([3]uint32{uint32(s.rowBlocks()), 1, 1}, share.Threads, forShares)
	got := r.floats(shares, s.rowBlocks()*s.pad())
	for block := range s.rowBlocks() {
		whole := (s.qOffset + ir.BlockSize*block) / ir.BlockSize // key blocks that every row of the block sees all of
		for b := range whole {
			require.Equal(t, got[block*s.pad()], got[block*s.pad()+b], "row block %d, key block %d", block, b)
		}
		require.InDelta(t, 1./float64(whole), got[block*s.pad()], 0.15/float64(whole), "row block %d", block)
	}
}

// TestMeanOfEqualRows: equal rows have themselves as mean, also few, and huge ones.
func TestMeanOfEqualRows(t *testing.T) {
	for _, x := range []float32{0.3, 1e-3, 77, 3e38, -3e38} {
		for n := 1; n <= 140; n += campaign.Few(12, 3) {
			for _, over := range ir.PoolRows {
				r := newBlockRig(t)
				in := r.tensor(1, 1, n, 16, abi.BF16, func() float32 { return x })
				out, blocks := r.pool(in, abi.BF16, ir.ReduceMean, over)
				for _, got := range r.floats(out, 16*blocks) {
					require.Equal(t, in.values[0], got, "%d rows", n)
				}
			}
		}
	}
}
