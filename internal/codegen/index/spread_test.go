package index

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/internal/campaign"
	"github.com/minfc/minfc/internal/codegen/lower"
	"github.com/minfc/minfc/runtime/emu"
)

// spreadCase is a probe of n rows that lie a step apart.
type spreadCase struct {
	estimateCase
	row0, step, n int
}

func (c spreadCase) String() string {
	return fmt.Sprintf("%s/rows%d+%d*%d", c.estimateCase, c.row0, c.n, c.step)
}

// reference is the definition in float64.
func (c spreadCase) reference(q, k []float32) (cols, diag []float64) {
	keysPad, distPad := (c.sk+63)/64*64, DistPad(c.qOffset, c.sq)
	cols, diag = make([]float64, keysPad*c.heads()), make([]float64, distPad*c.heads())
	for h := range c.heads() {
		for r := range c.n {
			row := c.row0 + r*c.step
			position := c.qOffset + row
			p, sum := make([]float64, min(c.sk, position+1)), 0.0
			for j := range p {
				for i, x := range q[(h*c.sq+row)*c.HeadDim:][:c.HeadDim] {
					p[j] += float64(x) * float64(k[((h/c.group)*c.sk+j)*c.HeadDim+i])
				}
				if p[j] = math.Exp(p[j] / math.Sqrt(float64(c.HeadDim))); math.IsNaN(p[j]) || math.IsInf(p[j], 1) {
					p[j] = 0
				}
				sum += p[j]
			}
			for j, x := range p {
				cols[h*keysPad+j] += x / sum
				diag[h*distPad+position-j] += x / sum
			}
		}
	}
	return cols, diag
}

func (c spreadCase) check(t *testing.T, r *estimateRig, k estimateKernels, clear *lower.Kernel, clearPTX []byte) (gotCols, gotDiag []float64) {
	q, kk, qv, kv := c.input(t)
	keysPad, distPad := (c.sk+63)/64*64, DistPad(c.qOffset, c.sq)
	r.upload("q", q)
	r.upload("k", kk)
	r.alloc("probe_lse", 8*64*c.heads())
	for name, floats := range map[string]int{"col_sum": keysPad * c.heads(), "diag_sum": distPad * c.heads()} {
		r.alloc(name, 4*floats)
		r.ptr["to"] = r.ptr[name]
		r.launch(clear, clearPTX, [3]uint32{3, 1, 1}, map[string]uint64{"n": uint64(floats / 4)})
	}
	for from := 0; from < c.n; from += 64 {
		row0, rows := c.row0+from*c.step, min(64, c.n-from)
		visible := min(c.sk, c.qOffset+row0+(rows-1)*c.step+1)
		classTiles := max(1, ((visible+c.step-1)/c.step+63)/64)
		if q0 := c.qOffset + row0; q0-64*c.step*(classTiles-1) >= c.step {
			classTiles++
		}
		tiles := min(c.step, visible) * classTiles
		chunkTiles := 2 + 2*(from/64%3)
		grid := c.launch().Grid
		grid[0] = uint32(max(1, (tiles+chunkTiles-1)/chunkTiles))
		r.alloc("probe_stats", 8*64*c.heads()*int(grid[0]))
		s := c.scalars()
		for name, v := range map[string]int{"row0": row0, "probe_rows": rows, "step": c.step, "class_tiles": classTiles, "tiles": tiles,
			"chunk_tiles": chunkTiles, "chunks": int(grid[0])} {
			s[name] = uint64(v)
		}
		r.launch(k.stats, k.statsPTX, grid, s)
		r.launch(k.combine, k.combinePTX, [3]uint32{1, uint32(c.kvHeads * c.group), uint32(c.batch)}, s)
		r.launch(k.sums, k.sumsPTX, grid, s)
	}
	cols, diag := c.reference(qv, kv)
	gotCols, gotDiag = r.floats("col_sum", keysPad*c.heads()), r.floats("diag_sum", distPad*c.heads())
	requireClose(t, "column", cols, gotCols)
	requireClose(t, "distance", diag, gotDiag)
	return gotCols, gotDiag
}

// TestSpreadProbes compares with float64: every step from 1 to more than there are rows, several parts, all sizes of blocks.
func TestSpreadProbes(t *testing.T) {
	clear, err := Clear()
	clearPTX := compilePTX(t, clear, err)
	rng := rand.New(rand.NewPCG(8, 8))
	for i, cfg := range []EstimateConfig{
		{HeadDim: 64, DType: abi.BF16, HeadsPerBlock: 1}, {HeadDim: 128, DType: abi.F16, HeadsPerBlock: 2},
		{HeadDim: 80, DType: abi.BF16, HeadsPerBlock: 4}, {HeadDim: 16, DType: abi.F16, HeadsPerBlock: 2},
	}[:campaign.Few(1, 4)] {
		cfg.Spread = true
		k, r := newEstimateKernels(t, cfg), newEstimateRig(t, emu.Options{})
		for j, step := range []int{1, 2, 3, 7, 16, 64, 65, 100, 400} {
			c := spreadCase{estimateCase: estimateCase{EstimateConfig: cfg, batch: 1 + rng.IntN(2), kvHeads: 1 + rng.IntN(2), group: 1 + rng.IntN(3),
				sq: 1 + rng.IntN(400), sk: 1 + rng.IntN(500), seed: rng.Uint64()}, step: step}
			if c.qOffset = max(0, c.sk-c.sq); i%2 == 1 {
				c.qOffset = rng.IntN(200)
			}
			if c.n = (c.sq + step - 1) / step; step == 1 { // the last ones
				c.n = min(c.sq, 1+rng.IntN(200))
				c.row0 = c.sq - c.n
			}
			if j%campaign.Few(2, 1) == 0 { // with -short every second step
				t.Run(c.String(), func(t *testing.T) { c.check(t, r, k, clear, clearPTX) })
			}
		}
	}
	require.NoError(t, err)
}
