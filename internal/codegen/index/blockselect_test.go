package index

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/internal/campaign"
	"github.com/minfc/minfc/ir"
	"github.com/minfc/minfc/runtime/device"
)

// blockChoice is what block_select is asked for besides scores.
type blockChoice struct {
	budgets     []int32
	cap         int
	first, last int
}

// blockLists are the outputs of block_select.
type blockLists struct{ blocks, count device.Ptr }

func (r blockRig) lists(s blockShape, c blockChoice) blockLists {
	rows := s.heads() * s.rowBlocks()
	return blockLists{r.empty(4 * rows * c.cap), r.empty(4 * rows)}
}

func (s blockShape) choose(k loaded, workspace, budgets device.Ptr, c blockChoice, l blockLists, start, slab int) {
	grid := [3]uint32{uint32(min(slab, s.rowBlocks()-start)), uint32(s.heads()), 1}
	k.launch(grid, BlockSelectThreads(s.keyBlocks()), args{"scores": workspace, "block_n": budgets,
		"blocks": l.blocks, "block_count": l.count, "hq": s.hq, "sq": s.sq, "sk": s.sk, "q_offset": s.qOffset,
		"slab_start": start, "slab": slab, "block_cap": c.cap, "first": c.first, "last": c.last})
}

// chosenBlocks is the definition: forced blocks, then the best by score, the smaller block first; descending.
func chosenBlocks(scores []float32, n, first, last int) []int32 {
	order := make([]int32, len(scores))
	for i := range order {
		order[i] = int32(i)
	}
	value := func(i int32) float64 {
		switch x := float64(scores[i]); {
		case int(i) < first || int(i) >= len(scores)-last:
			return math.MaxFloat64
		case x != x:
			return -math.MaxFloat64
		default: // infinities are scores like others
			return max(min(x, 1e300), -math.MaxFloat64)
		}
	}
	slices.SortStableFunc(order, func(a, b int32) int {
		switch x, y := value(a), value(b); {
		case x > y:
			return -1
		case x < y:
			return 1
		}
		return 0
	})
	n = min(max(n, first+last), len(scores))
	chosen := order[:n]
	slices.Sort(chosen)
	slices.Reverse(chosen)
	return chosen
}

// valueKinds make scores: distinct ones, many equal ones, all equal, and the special values.
var valueKinds = map[string]func(rng *rand.Rand) float32{
	"normal": func(rng *rand.Rand) float32 { return float32(rng.NormFloat64()) },
	"few":    func(rng *rand.Rand) float32 { return float32(rng.IntN(5)) - 2 },
	"equal":  func(*rand.Rand) float32 { return 1.5 },
	"tiny":   func(rng *rand.Rand) float32 { return math.Float32frombits(rng.Uint32() & 0x80ffffff) },
	"special": func(rng *rand.Rand) float32 {
		inf, minusZero := float32(math.Inf(1)), float32(math.Copysign(0, -1))
		return []float32{inf, -inf, inf - inf, 0, minusZero, 1, -1}[rng.IntN(7)]
	},
}

func TestBlockSelectTakesTheBest(t *testing.T) {
	kinds := []string{"normal", "few", "equal", "tiny", "special"}
	for i, c := range []struct {
		blockShape
		blockChoice
	}{
		{blockShape{1, 1, 1, 1, 1, 0, 16}, blockChoice{[]int32{100}, 100, 0, 1}},
		{blockShape{1, 2, 1, 700, 700, 0, 16}, blockChoice{[]int32{3, 100}, 100, 0, 1}},
		{blockShape{2, 2, 1, 130, 64 * 100, 64*100 - 130, 16}, blockChoice{[]int32{17, 1}, 20, 0, 1}},
		{blockShape{1, 1, 1, 300, 64 * 1024, 64*1024 - 300, 16}, blockChoice{[]int32{100}, 100, 2, 3}},
		{blockShape{1, 1, 1, 200, 64*1024 + 1, 64*1024 - 199, 16}, blockChoice{[]int32{333}, 400, 0, 1}},
		{blockShape{1, 1, 1, 70, 64 * 5000, 64*4000 + 7, 16}, blockChoice{[]int32{1000}, 1000, 0, 0}},
		{blockShape{1, 1, 1, 64, 64 * 16384, 64 * 16383, 16}, blockChoice{[]int32{100}, 128, 1, 1}},
		{blockShape{1, 1, 1, 64, 64 * abi.MaxKeyBlocks, 64 * (abi.MaxKeyBlocks - 1), 16}, blockChoice{[]int32{77}, 77, 0, 1}},
		{blockShape{1, 2, 1, 300, 200, 0, 16}, blockChoice{[]int32{-5, 0}, 3, 0, 1}}, // budgets below what is forced
		{blockShape{1, 2, 1, 300, 300, 0, 16}, blockChoice{[]int32{0, 2}, 3, 0, 0}},  // nothing forced, nothing wanted
		{blockShape{1, 1, 1, 4000, 100, 0, 16}, blockChoice{[]int32{1}, 2, 0, 1}},    // queries past the last key
		{blockShape{1, 1, 1, 900, 900, 0, 16}, blockChoice{[]int32{9}, 9, 4, 4}},     // forced at both ends, overlapping
		{blockShape{1, 1, 1, 900, 900, 0, 16}, blockChoice{[]int32{3}, 9, 4, 2}},     // a budget below what is forced at both ends
	} {
		for _, kind := range kinds {
			t.Run(fmt.Sprint(i, kind), func(t *testing.T) {
				c.checkChoice(t, c.blockShape, valueKinds[kind])
			})
		}
	}
}

// Shapes, budgets and forced numbers at random.
func TestBlockSelectOfAnything(t *testing.T) {
	kinds, rng := []string{"normal", "few", "equal", "tiny", "special"}, rand.New(rand.NewPCG(5, 5))
	for i := range campaign.Few(25, 150) {
		hq := 1 + rng.IntN(3)
		s := blockShape{1 + rng.IntN(2), hq, hq, 1 + rng.IntN(1000), 1 + rng.IntN(64*80), rng.IntN(64 * 80), 16}
		c := blockChoice{cap: 6 + rng.IntN(60), first: rng.IntN(4), last: rng.IntN(3)}
		for range hq {
			c.budgets = append(c.budgets, int32(rng.IntN(c.cap+1)))
		}
		t.Run(fmt.Sprint(i, s, c), func(t *testing.T) { c.checkChoice(t, s, valueKinds[kinds[i%5]]) })
	}
}

// checkChoice runs block_select on scores of one kind, in two slabs where there are enough rows.
func (c blockChoice) checkChoice(t *testing.T, s blockShape, value func(*rand.Rand) float32) {
	r, rng := newBlockRig(t), rand.New(rand.NewPCG(1, uint64(s.sk)))
	k, l, budgets := r.function(BlockSelect(ir.Top, false)), r.lists(s, c), r.uploadWords(c.budgets)
	slab := max(1, (s.rowBlocks()+1)/2)
	var scores [][]float32 // by slab
	for start := 0; start < s.rowBlocks(); start += slab {
		ws := make([]float32, s.heads()*slab*s.pad())
		for i := range ws {
			ws[i] = value(rng)
		}
		scores = append(scores, ws)
		s.choose(k, r.upload(littleEndian(ws)), budgets, c, l, start, slab)
	}
	blocks, count := r.ints(l.blocks, s.heads()*s.rowBlocks()*c.cap), r.ints(l.count, s.heads()*s.rowBlocks())
	for row := range s.heads() * s.rowBlocks() {
		h, tt := row/s.rowBlocks(), row%s.rowBlocks()
		line := scores[tt/slab][(h*slab+tt%slab)*s.pad():][:s.seen(tt)]
		want := chosenBlocks(line, int(c.budgets[h%s.hq]), c.first, c.last)
		require.EqualValues(t, len(want), count[row], "head %d, row block %d", h, tt)
		got := blocks[row*c.cap:][:c.cap]
		require.Equal(t, want, got[:len(want)], "head %d, row block %d", h, tt)
		for _, x := range got[len(want):] {
			require.EqualValues(t, -1, x, "padding of head %d, row block %d", h, tt)
		}
	}
}

// The three kernels choose what the interpreter of the index stage chooses in float64.
func TestBlocksAsTheInterpreter(t *testing.T) {
	for i, s := range []blockShape{
		{1, 2, 1, 1, 1, 0, 16}, {1, 4, 2, 1000, 1000, 0, 64}, {2, 2, 2, 500, 2111, 1611, 80},
		{1, 3, 1, 700, 300, 0, 128}, {1, 1, 1, 130, 5000, 900, 256}, {2, 8, 2, 333, 333, 12, 32},
	} {
		for n, with := range []ir.Reduction{ir.ReduceMean, ir.ReduceMax} {
			if (i+i/2+n)%campaign.Few(2, 1) != 0 { // with -short they take turns, for both types
				continue
			}
			t.Run(fmt.Sprint(s, with), func(t *testing.T) { s.checkInterpreter(t, []abi.DType{abi.BF16, abi.F16}[i%2], with) })
		}
	}
}

func (s blockShape) checkInterpreter(t *testing.T, f abi.DType, with ir.Reduction) {
	const slab, n = 5, 6
	r, value := newBlockRig(t), normal(uint64(s.sk))
	q, k := r.tensor(s.batch, s.hq, s.sq, s.dim, f, value), r.tensor(s.batch, s.hkv, s.sk, s.dim, f, value)
	c := blockChoice{budgets: slices.Repeat([]int32{n}, s.hq), cap: 8, last: 1}
	qp, _ := r.pool(q, f, with, 64)
	kp, _ := r.pool(k, f, with, 64)
	score, choose, l := r.function(BlockScores(s.dim, false)), r.function(BlockSelect(ir.Top, false)), r.lists(s, c)
	ws := r.empty(4 * s.heads() * slab * s.pad())
	for start := 0; start < s.rowBlocks(); start += slab {
		s.scores(score, qp, kp, ws, start, slab)
		s.choose(choose, ws, r.uploadWords(c.budgets), c, l, start, slab)
	}
	blocks, count := r.ints(l.blocks, s.heads()*s.rowBlocks()*c.cap), r.ints(l.count, s.heads()*s.rowBlocks())
	for h := range s.heads() {
		want := s.interpret(t, q.head(h), k.head(h/(s.hq/s.hkv)), with, n)
		for tt, w := range want {
			row := h*s.rowBlocks() + tt
			require.Len(t, w, int(count[row]))
			for i, b := range w {
				require.EqualValues(t, b, blocks[row*c.cap+i], "head %d, row block %d, place %d", h, tt, i)
			}
		}
	}
}

func (s blockShape) interpret(t *testing.T, q, k []float32, with ir.Reduction, n int64) [][]int {
	defs := []ir.IndexDef{
		{Name: "pq", Value: ir.Pool{Of: ir.TensorQ, With: with, Rows: 64}},
		{Name: "pk", Value: ir.Pool{Of: ir.TensorK, With: with, Rows: 64}},
		{Name: "s", Value: ir.BlockScores{Q: "pq", K: "pk"}},
		{Name: "b", Value: ir.Select{Of: "s", Rule: ir.Top, N: ir.Int(n), First: ir.Int(0), Last: ir.Int(1)}},
	}
	sel, err := ir.EvalIndex(defs, nil, ir.HeadInputs[float32]{Q: q, K: k, Sq: s.sq, Sk: s.sk, D: s.dim, QOffset: s.qOffset, Scale: 1})
	require.NoError(t, err)
	b, err := sel.Find("b")
	require.NoError(t, err)
	return b.Blocks
}
