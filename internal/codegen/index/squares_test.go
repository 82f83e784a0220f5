package index

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/internal/campaign"
	"github.com/minfc/minfc/ir"
)

// squareScore is the definition: the mean of the scaled logits on the antidiagonal of a square, -inf where it does not count.
func (s blockShape) squareScore(q, k []float32, fold, m, n int) float64 {
	if fold*n > s.qOffset+min(fold*(m+1), s.sq)-1 || fold*n >= s.sk {
		return math.Inf(-1)
	}
	sum := 0.0
	for i := range fold {
		row, key := fold*m+i, fold*n+fold-1-i
		if row >= s.sq || key >= s.sk {
			continue
		}
		for d := range s.dim {
			sum += float64(q[row*s.dim+d]) * float64(k[key*s.dim+d])
		}
	}
	return sum / math.Sqrt(float64(s.dim)) / float64(fold)
}

// TestSquareScores compares every row of squares and key block with float64: all sizes of squares, ragged ends, slabs.
func TestSquareScores(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 4))
	for i, fold := range []int{2, 64, 8, 4, 16, 32, 8, 16, 4}[:campaign.Few(3, 9)] {
		s := blockShape{1 + rng.IntN(2), 2, 1 + rng.IntN(2), 1 + rng.IntN(700), 1 + rng.IntN(900), rng.IntN(500), []int{16, 64, 80, 128}[i%4]}
		t.Run(fmt.Sprint(fold, s), func(t *testing.T) { s.checkSquares(t, fold, []abi.DType{abi.BF16, abi.F16}[i%2]) })
	}
}

func (s blockShape) checkSquares(t *testing.T, fold int, f abi.DType) {
	r, value := newBlockRig(t), normal(uint64(s.sk))
	q, k := r.tensor(s.batch, s.hq, s.sq, s.dim, f, value), r.tensor(s.batch, s.hkv, s.sk, s.dim, f, value)
	kernel := r.function(SquareScores(s.dim, abi.DType(f), false))
	slab, per := max(1, (s.rowBlocks()+1)/2), ir.BlockSize/fold
	scale := float32(math.Log2E / math.Sqrt(float64(s.dim)) / float64(fold))
	for start := 0; start < s.rowBlocks(); start += slab {
		size := s.heads() * slab * per * s.pad()
		scores, sums := r.upload(make([]byte, 4*size)), r.upload(make([]byte, 4*size))
		kernel.launch(SquareScoresGrid(s.sk, slab, fold, s.heads()), kernel.Threads, args{"q": q.ptr, "k": k.ptr, "scores": scores, "sums": sums,
			"q_batch": 2 * s.hq * s.sq * q.rowElems, "q_head": 2 * s.sq * q.rowElems, "q_row": 2 * q.rowElems,
			"k_batch": 2 * s.hkv * s.sk * k.rowElems, "k_head": 2 * s.sk * k.rowElems, "k_row": 2 * k.rowElems,
			"sq": s.sq, "sk": s.sk, "q_offset": s.qOffset, "group": s.hq / s.hkv, "hq": s.hq,
			"slab_start": start, "slab": slab, "fold": fold, "scale": scale})
		got, logs := r.floats(scores, size), r.floats(sums, size)
		for h := range s.heads() {
			for row := range min(slab*per, (s.sq+fold-1)/fold-start*per) {
				m := start*per + row
				for b := range s.seen(m / per) {
					sum := 0.0
					for n := b * per; n < (b+1)*per; n++ {
						sum += math.Exp(s.squareScore(q.head(h), k.head(h/(s.hq/s.hkv)), fold, m, n))
					}
					at := (h*slab*per+row)*s.pad() + b
					have := float64(got[at])*float64(scale) + float64(logs[at])
					if want := math.Log2(sum); have != want {
						require.InDelta(t, want, have, 1e-4, "head %d, row of squares %d, key block %d", h, m, b)
					}
				}
			}
		}
	}
}
