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

// recallCase looks at n rows that lie a step apart, in chunks of some tiles of keys.
type recallCase struct {
	estimateCase
	row0, step, n, tilesOfChunk int
}

func (c recallCase) String() string {
	return fmt.Sprintf("%s/rows%d+%d*%d/tiles%d", c.estimateCase, c.row0, c.n, c.step, c.tilesOfChunk)
}

// keys is how many keys some row sees.
func (c recallCase) keys() int { return min(c.sk, c.qOffset+c.row0+(c.n-1)*c.step+1) }

func (c recallCase) chunks() int { return max(1, ((c.keys()+63)/64+c.tilesOfChunk-1)/c.tilesOfChunk) }

// loops says which loop walks each chunk: of a strip, or the one for any.
func (c recallCase) loops(count map[string]int) {
	q0, tiles := c.qOffset+c.row0, (c.keys()+63)/64
	for chunk := range c.chunks() {
		first, end, loop := 64*chunk*c.tilesOfChunk, 64*min(tiles, (chunk+1)*c.tilesOfChunk), "any"
		for strip := strips - 1; strip >= 0; strip-- {
			before := strip == 0 || first > q0+(16*strip-1)*c.step
			after := strip == strips-1 || end-1 <= q0+16*(strip+1)*c.step && end <= c.sk
			if c.n == 64 && before && after {
				loop = fmt.Sprint("strip ", strip)
			}
		}
		count[loop]++
	}
}

// lse is the log2 of a row's sum over the keys that it sees, in float64, without logits that are NaN or +inf.
func (c recallCase) lse(q, k []float32, head, row int) float64 {
	sum, top := 0.0, math.Inf(-1)
	var logits []float64
	for j := range min(c.sk, c.qOffset+row+1) {
		x := 0.0
		for i := range c.HeadDim {
			x += float64(q[(head*c.sq+row)*c.HeadDim+i]) * float64(k[(head/c.group*c.sk+j)*c.HeadDim+i])
		}
		if x /= math.Sqrt(float64(c.HeadDim)); !math.IsNaN(x) && !math.IsInf(x, 1) {
			logits, top = append(logits, x), max(top, x)
		}
	}
	for _, x := range logits {
		sum += math.Exp(x - top)
	}
	return (top + math.Log(sum)) / math.Ln2
}

func (c recallCase) check(t *testing.T, r *estimateRig, stats, combine *lower.Kernel, statsPTX, combinePTX []byte) {
	q, kk, qv, kv := c.input(t)
	r.upload("q", q)
	r.upload("k", kk)
	r.alloc("probe_stats", 8*64*c.heads()*c.chunks())
	r.alloc("probe_lse", 8*64*c.heads())
	s := c.scalars()
	for name, v := range map[string]int{"row0": c.row0, "probe_rows": c.n, "step": c.step, "chunk_tiles": c.tilesOfChunk, "chunks": c.chunks()} {
		s[name] = uint64(v)
	}
	grid := c.launch().Grid
	grid[0] = uint32(c.chunks())
	r.launch(stats, statsPTX, grid, s)
	r.launch(combine, combinePTX, [3]uint32{1, uint32(c.kvHeads * c.group), uint32(c.batch)}, s)
	got, scale := r.floats("probe_lse", 2*64*c.heads()), float64(math.Float32frombits(uint32(s["scale_log2"])))
	for h := range c.heads() {
		for i := range c.n {
			at := 2 * (64*h + i)
			require.InDelta(t, c.lse(qv, kv, h, c.row0+i*c.step), got[at]*scale+got[at+1], 1e-4, "head %d, row %d", h, i)
		}
		for i := c.n; i < 64; i++ {
			require.True(t, math.IsInf(got[2*(64*h+i)+1], 1), "a row that is not looked at sees nothing")
		}
	}
}

// TestRecallStats compares with float64: steps of all sizes, so that chunks are walked by every loop, few rows, positions behind the first,
// fewer keys than positions, numbers that are none, and all sizes of blocks.
func TestRecallStats(t *testing.T) {
	combine, err := ProbeCombine(false)
	combinePTX := compilePTX(t, combine, err)
	rng, walked := rand.New(rand.NewPCG(9, 8)), map[string]int{}
	for _, cfg := range []EstimateConfig{
		{HeadDim: 64, DType: abi.BF16, HeadsPerBlock: 1}, {HeadDim: 128, DType: abi.F16, HeadsPerBlock: 2},
		{HeadDim: 80, DType: abi.BF16, HeadsPerBlock: 4}, {HeadDim: 16, DType: abi.F16, HeadsPerBlock: 2},
	}[:campaign.Few(1, 4)] {
		stats, err := RecallStats(cfg)
		statsPTX, r := compilePTX(t, stats, err), newEstimateRig(t, emu.Options{Seed: rng.Uint64()})
		for _, step := range []int{1, 2, 5, 12, 13, 16, 17, 21}[:campaign.Few(7, 8)] {
			for _, tiles := range []int{1, 2, 5} {
				c := recallCase{estimateCase: estimateCase{EstimateConfig: cfg, batch: 1 + rng.IntN(2), kvHeads: 1, group: 1 + rng.IntN(3), qOffset: rng.IntN(3) * rng.IntN(100),
					seed: rng.Uint64()}, row0: rng.IntN(40), step: step, n: []int{64, 64, 64, 1 + rng.IntN(64)}[rng.IntN(4)], tilesOfChunk: tiles}
				c.sq = c.row0 + (c.n-1)*step + 1 + rng.IntN(30)
				c.sk = max(1, c.qOffset+c.sq-rng.IntN(2)*rng.IntN(c.sq))
				if rng.IntN(5) == 0 {
					c.spoil = map[int]float32{rng.IntN(c.batch * c.sk * cfg.HeadDim): float32(math.Inf(1)), rng.IntN(c.batch * c.sk * cfg.HeadDim): float32(math.NaN())}
				}
				c.loops(walked)
				t.Run(c.String(), func(t *testing.T) { c.check(t, r, stats, combine, statsPTX, combinePTX) })
			}
		}
	}
	for _, loop := range []string{"strip 0", "strip 1", "strip 2", "strip 3", "any"} {
		require.GreaterOrEqual(t, walked[loop], 3, "%s: %v", loop, walked)
	}
	_, err = RecallStats(EstimateConfig{HeadDim: 24, DType: abi.BF16, HeadsPerBlock: 1})
	require.Error(t, err)
}
