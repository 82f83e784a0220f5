package index

import (
	"fmt"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/ir"
	"github.com/minfc/minfc/runtime/device"
)

// blockShape is a call of the block kernels.
type blockShape struct{ batch, hq, hkv, sq, sk, qOffset, dim int }

func (s blockShape) heads() int     { return s.batch * s.hq }
func (s blockShape) rowBlocks() int { return (s.sq + ir.BlockSize - 1) / ir.BlockSize }
func (s blockShape) keyBlocks() int { return (s.sk + ir.BlockSize - 1) / ir.BlockSize }
func (s blockShape) pad() int       { return (s.keyBlocks() + 63) / 64 * 64 }

// seen is the number of key blocks that begin no later than the last query of row block t.
func (s blockShape) seen(t int) int {
	last := s.qOffset + min(ir.BlockSize*(t+1), s.sq) - 1
	return min(s.keyBlocks(), last/ir.BlockSize+1)
}

// scores runs block_scores for a slab into a workspace.
func (s blockShape) scores(k loaded, q, kk, workspace device.Ptr, start, slab int) {
	k.launch(BlockScoresGrid(s.keyBlocks(), slab, s.heads()), k.Threads, args{"pooled_q": q, "pooled_k": kk, "scores": workspace,
		"sq": s.sq, "sk": s.sk, "q_offset": s.qOffset, "group": s.hq / s.hkv, "slab_start": start, "slab": slab})
}

var scoreShapes = []struct {
	blockShape
	slab int
}{
	{blockShape{1, 1, 1, 1, 1, 0, 16}, 64},
	{blockShape{1, 2, 2, 500, 500, 0, 80}, 64},
	{blockShape{2, 4, 2, 200, 9000, 8800, 32}, 64},
	{blockShape{1, 2, 1, 9000, 9000, 0, 64}, 70},
	{blockShape{1, 3, 1, 700, 300, 0, 16}, 5},
	{blockShape{1, 1, 1, 640, 640, 37, 128}, 3},
	{blockShape{1, 1, 1, 130, 64 * 70, 100, 256}, 2},
}

func TestBlockScoresAreProducts(t *testing.T) {
	for _, c := range scoreShapes {
		t.Run(fmt.Sprint(c), func(t *testing.T) {
			r, value := newBlockRig(t), normal(3)
			q := make([]float32, c.heads()*c.rowBlocks()*c.dim)
			k := make([]float32, c.batch*c.hkv*c.keyBlocks()*c.dim)
			for _, x := range [][]float32{q, k} {
				for i := range x {
					x[i] = value()
				}
			}
			kernel := r.function(BlockScores(c.dim, false))
			qp, kp := r.upload(littleEndian(q)), r.upload(littleEndian(k))
			for start := 0; start < c.rowBlocks(); start += c.slab {
				size := c.heads() * c.slab * c.pad()
				ws := r.upload(make([]byte, 4*size)) // zeros, to tell what was not written
				c.scores(kernel, qp, kp, ws, start, c.slab)
				c.check(t, r.floats(ws, size), q, k, start, c.slab)
			}
		})
	}
}

func (s blockShape) check(t *testing.T, got, q, k []float32, start, slab int) {
	group := s.hq / s.hkv
	for h := range s.heads() {
		for row := range min(slab, s.rowBlocks()-start) {
			a := q[(h*s.rowBlocks()+start+row)*s.dim:][:s.dim]
			line := got[(h*slab+row)*s.pad():][:s.pad()]
			for kb := range s.seen(start + row) {
				b, sum := k[(h/group*s.keyBlocks()+kb)*s.dim:][:s.dim], 0.0
				for i := range a {
					sum += float64(a[i]) * float64(b[i])
				}
				require.InDelta(t, sum, line[kb], 1e-5*math.Sqrt(float64(s.dim)), "head %d row block %d key block %d", h, start+row, kb)
			}
			for kb := s.seen(start + row); kb < s.pad(); kb++ {
				require.False(t, line[kb] != 0 && !math.IsInf(float64(line[kb]), -1), "found %v at a block that row %d does not see", line[kb], start+row)
			}
		}
	}
}
