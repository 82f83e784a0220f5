package index

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/ir"
)

// decideCase is one head's lists and bounds, with what decide makes of them counted row block by row block.
type decideCase struct {
	sq, offset           int
	low, reach           int
	high, near           int
	runs, cols, perBlock []int
}

func randomDecideCase(rng *rand.Rand, sq, offset, high, near, low, reach int) decideCase {
	c := decideCase{sq: sq, offset: offset, low: low, reach: reach, high: high, near: near}
	for l := rng.IntN(40); l < sq+offset+63; l += 64 + rng.IntN(200)*rng.IntN(2) {
		c.runs = append(c.runs, l)
	}
	for id := rng.IntN(50); id < sq+offset+100; id += 1 + rng.IntN(1+sq/200) {
		c.cols = append(c.cols, id)
	}
	for range (sq + 63) / 64 {
		c.perBlock = append(c.perBlock, rng.IntN(7))
	}
	return c
}

// slots walks every row block as the attention kernel does.
func (c decideCase) slots() (tiles, columns int) {
	for s := c.offset; s < c.offset+c.sq; s += 64 {
		last := min(s+64, c.offset+c.sq) - 1
		for _, l := range c.runs {
			if s-l+64 > c.low && l < c.reach {
				tiles++
			}
		}
		n := 0
		for _, id := range c.cols {
			if id < c.high && id < last+c.near {
				n++
			}
		}
		columns += (n + 63) / 64
	}
	return tiles, columns
}

// TestDecide: one launch of several heads counts what row blocks walk, and routes by it.
func TestDecide(t *testing.T) {
	k, err := Decide(false)
	b := newListBench(t, k, err)
	rng := rand.New(rand.NewPCG(7, 8))
	for _, sq := range []int{1, 63, 64, 65, 200, 5000, 70000} {
		for _, offset := range []int{0, 1, 100, 6400} {
			for _, bounds := range [][4]int{{1 << 30, 1, 0, math.MaxInt32}, {sq / 2, 1, 70, 1000}, {1 << 30, -130, 0, math.MaxInt32}, {77, 1 << 30, 300, 65}} {
				t.Run(fmt.Sprint(sq, offset, bounds), func(t *testing.T) {
					testDecide(t, b, rng, sq, offset, bounds)
				})
			}
		}
	}
}

// decideLists are the lists of all heads as the kernel reads them, each head with room for the most runs and columns.
func decideLists(cases []decideCase) (most [2]int, runs, cols, counts, colCounts, blocks []int32) {
	most = [2]int{1, 1}
	for _, c := range cases {
		most = [2]int{max(most[0], len(c.runs)), max(most[1], len(c.cols))}
	}
	for _, c := range cases {
		runs, cols = append(runs, make([]int32, most[0])...), append(cols, make([]int32, most[1])...)
		for i, l := range c.runs {
			runs[len(runs)-most[0]+i] = int32(-l)
		}
		for i, id := range c.cols {
			cols[len(cols)-most[1]+i] = int32(id)
		}
		counts, colCounts = append(counts, int32(len(c.runs))), append(colCounts, int32(len(c.cols)))
		for _, n := range c.perBlock {
			blocks = append(blocks, int32(n))
		}
	}
	return most, runs, cols, counts, colCounts, blocks
}

func testDecide(t *testing.T, b listBench, rng *rand.Rand, sq, offset int, bounds [4]int) {
	const heads = 3
	var cases []decideCase
	for range heads {
		cases = append(cases, randomDecideCase(rng, sq, offset, bounds[0], bounds[1], bounds[2], bounds[3]))
	}
	most, runs, cols, counts, colCounts, blocks := decideLists(cases)
	route, nanos := b.empty(heads), b.empty(heads)
	const slot, column, start = 3, 5, 7
	a := listArgs{"route": route, "nanos": nanos, "row_blocks": (sq + 63) / 64, "sq": sq, "q_offset": offset, "slot": float32(slot), "column": float32(column),
		"runs": words(b, runs), "run_count": words(b, counts), "run_cap": most[0], "run_low": bounds[2], "run_reach": bounds[3],
		"cols": words(b, cols), "col_count": words(b, colCounts), "col_cap": most[1], "col_high": bounds[0], "col_near": bounds[1], "start": float32(start)}
	var want []float64
	for _, c := range cases {
		tiles, columns := c.slots()
		want = append(want, float64(start+slot*tiles+column*columns))
	}
	a["dense"] = float32(want[1] + 0.5)
	check := func() {
		got, routes := b.read(nanos, heads), b.read(route, heads)
		for h := range cases {
			require.InEpsilon(t, want[h], math.Float32frombits(got[h]), 1e-6, "head %d", h)
			wantRoute := ir.RouteSparse
			if want[h] > want[1] {
				wantRoute = ir.RouteDense
			}
			require.EqualValues(t, wantRoute, routes[h], "head %d", h)
		}
	}
	b.launch(heads, 1, a)
	check()
	carry := listArgs{"route": route, "nanos": nanos, "row_blocks": (sq + 63) / 64, "sq": sq, "q_offset": offset, "slot": float32(slot),
		"block_count": words(b, blocks), "carry": 1, "start": float32(1e6)}
	for h, c := range cases {
		for _, n := range c.perBlock {
			want[h] += slot * float64(n)
		}
	}
	carry["dense"] = float32(want[1] + 0.5)
	b.launch(heads, 1, carry)
	check()
}

// TestDecideNothing: without lists a head costs what it starts with, and what is not below dense is dense.
func TestDecideNothing(t *testing.T) {
	k, err := Decide(false)
	b := newListBench(t, k, err)
	for dense, want := range map[float32]uint32{10: ir.RouteDense, 10.5: ir.RouteSparse} {
		route, nanos := b.empty(1), b.empty(1)
		b.launch(1, 1, listArgs{"route": route, "nanos": nanos, "row_blocks": 4, "sq": 256, "start": float32(10), "dense": dense})
		require.Equal(t, want, b.read(route, 1)[0])
		require.InDelta(t, 10, math.Float32frombits(b.read(nanos, 1)[0]), 0)
	}
}
