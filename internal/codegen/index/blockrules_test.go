package index

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/internal/campaign"
	"github.com/minfc/minfc/ir"
	"github.com/minfc/minfc/runtime/device"
)

// scoreKinds are scores of rows: as data gives them, all equal, of one block alone, and with numbers that say nothing.
var scoreKinds = map[string]func(rng *rand.Rand) float32{
	"normal": func(rng *rand.Rand) float32 { return float32(4 * rng.NormFloat64()) },
	"equal":  func(*rand.Rand) float32 { return 3 },
	"sharp":  func(rng *rand.Rand) float32 { return float32(300 * rng.NormFloat64()) },
	"masked": func(rng *rand.Rand) float32 {
		return []float32{1, 2, float32(math.NaN()), float32(math.Inf(1)), float32(math.Inf(-1))}[rng.IntN(5)]
	},
}

// blockRules runs block_shares and then the kernels that choose from shares.
type blockRules struct {
	blockRig
	blockShape
	fold   int
	scale  float32
	shares []float32 // [heads, row blocks, pad], as the device computed them
	at     device.Ptr
}

func (b *blockRules) share(t *testing.T, rng *rand.Rand, value func(*rand.Rand) float32) {
	rows := ir.BlockSize / b.fold
	scores := make([]float32, b.heads()*b.rowBlocks()*rows*b.pad())
	for i := range scores {
		scores[i] = value(rng)
	}
	from, sums := b.upload(littleEndian(scores)), device.Ptr(0)
	more := make([]float32, len(scores))
	if rng.IntN(2) == 0 { // as square_scores leaves them
		for i := range more {
			more[i] = 5 * rng.Float32()
		}
		sums = b.upload(littleEndian(more))
	}
	n := b.heads() * b.rowBlocks() * b.pad()
	if b.at = from; rows > 1 {
		b.at = b.upload(make([]byte, 4*n))
	}
	k := b.function(BlockShares(false))
	k.launch([3]uint32{uint32(b.rowBlocks()), uint32(b.heads()), 1}, k.Threads, args{"scores": from, "sums": sums, "shares": b.at, "sq": b.sq, "sk": b.sk,
		"q_offset": b.qOffset, "slab_start": 0, "slab": b.rowBlocks(), "fold": b.fold, "scale": b.scale})
	b.shares = b.floats(b.at, n)
	for i := range b.heads() * b.rowBlocks() {
		at := i * rows * b.pad()
		b.checkShares(t, scores[at:][:rows*b.pad()], more[at:][:rows*b.pad()], b.line(i), i%b.rowBlocks())
	}
}

// line are the shares of row block i, counted over heads.
func (b *blockRules) line(i int) []float32 {
	return b.shares[i*b.pad():][:b.seen(i%b.rowBlocks())]
}

// checkShares compares with softmaxes in float64.
func (b *blockRules) checkShares(t *testing.T, scores, sums, got []float32, block int) {
	rows := (min(ir.BlockSize, b.sq-ir.BlockSize*block) + b.fold - 1) / b.fold
	want := make([]float64, len(got))
	for r := range rows {
		p, sum := make([]float64, len(got)), 0.0
		top := math.Inf(-1)
		for i := range p {
			if p[i] = float64(scores[r*b.pad()+i])*float64(b.scale) + float64(sums[r*b.pad()+i]); math.IsNaN(p[i]) || math.IsInf(p[i], 1) {
				p[i] = math.Inf(-1)
			}
			top = max(top, p[i])
		}
		for i := range p {
			p[i] = math.Exp2(p[i] - max(top, -1e30))
			sum += p[i]
		}
		for i := range p {
			if sum > 0 {
				want[i] += p[i] / sum / float64(rows)
			}
		}
	}
	for i := range want {
		require.InDelta(t, want[i], got[i], 1e-4*want[i]+1e-7, "row block %d, key block %d", block, i)
	}
}

// choose runs one rule and checks every row block.
func (b *blockRules) choose(t *testing.T, rule ir.Rule, x ruled, cap int) {
	k, l := b.function(BlockSelect(rule, false)), b.lists(b.blockShape, blockChoice{cap: cap})
	grid := [3]uint32{uint32(b.rowBlocks()), uint32(b.heads()), 1}
	least := device.Ptr(0)
	if x.least != nil {
		least = b.uploadWords(x.least)
	}
	k.launch(grid, BlockSelectThreads(b.keyBlocks()), args{"scores": b.at, "block_n": b.uploadWords(x.budget), "block_most": b.uploadWords(x.most),
		"block_least": least,
		"blocks":      l.blocks, "block_count": l.count, "hq": b.hq, "sq": b.sq, "sk": b.sk, "q_offset": b.qOffset,
		"slab_start": 0, "slab": b.rowBlocks(), "block_cap": cap, "first": x.first, "last": x.last})
	blocks, count := b.ints(l.blocks, b.heads()*b.rowBlocks()*cap), b.ints(l.count, b.heads()*b.rowBlocks())
	for i, n := range count {
		x.values, x.n = [][]float32{b.line(i)}, b.seen(i%b.rowBlocks())
		head := i / b.rowBlocks() % b.hq
		one := x
		one.budget, one.most = x.budget[head:head+1], []int32{min(x.most[head], int32(cap))}
		if x.least != nil {
			one.least = x.least[head : head+1]
		}
		bits := make([]uint32, (x.n+31)/32)
		list := blocks[i*cap:][:cap]
		for j, block := range list {
			require.Equal(t, j >= int(n), block == -1, "row block %d, place %d of %d: %d", i, j, n, block)
			if block >= 0 {
				require.True(t, j == 0 || block < list[j-1], "row block %d is not descending", i)
				bits[block/32] |= 1 << (block % 32)
			}
		}
		one.check(t, 0, bits)
	}
}

// TestBlocksByRule compares shares, masses and thresholds with the definition.
func TestBlocksByRule(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 9))
	for i := range campaign.Few(16, 48) {
		hq := 1 + rng.IntN(2)
		s := blockShape{1, hq, hq, 1 + rng.IntN(400), 1 + rng.IntN(64*80), rng.IntN(64 * 80), 16}
		if i == 0 {
			s = blockShape{1, 1, 1, 70, 64 * 5000, 64*4990 + 7, 16}
		}
		kind := []string{"normal", "equal", "sharp", "masked"}[i%4]
		b := &blockRules{blockRig: newBlockRig(t), blockShape: s, fold: []int{64, 64, 16, 4}[rng.IntN(4)], scale: []float32{1, 0.25}[rng.IntN(2)]}
		t.Run(fmt.Sprint(i, kind, s, b.fold), func(t *testing.T) {
			b.share(t, rng, scoreKinds[kind])
			for _, rule := range []ir.Rule{ir.TopP, ir.Above, ir.NearMax} {
				x := ruled{rule: rule}
				x.first, x.last = rng.IntN(3), rng.IntN(3)
				bounded := rng.IntN(2) == 0
				for range hq {
					x.most = append(x.most, int32([]int{1 << 30, 0, 5, rng.IntN(50)}[rng.IntN(4)]))
					if bounded {
						x.least = append(x.least, int32([]int{1 << 30, 0, 3, rng.IntN(50)}[rng.IntN(4)]))
					}
					budget := int32(1 + rng.IntN(1000))
					switch rule {
					case ir.Above:
						budget = int32(math.Float32bits(float32(math.Exp(-8 * rng.Float64()))))
					case ir.NearMax:
						budget = int32(math.Float32bits(float32(budget) / 1000))
					}
					x.budget = append(x.budget, budget)
				}
				b.choose(t, rule, x, max(5, b.keyBlocks()))
			}
		})
	}
}
