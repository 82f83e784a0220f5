package cost

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/internal/campaign"
	"github.com/minfc/minfc/ir"
)

// number draws one of n numbers from low on, or, one time in ten, one at the limits of the language.
func number(rng *rand.Rand, low, n int) ir.Poly {
	x := low + rng.IntN(n)
	if rng.IntN(10) == 0 {
		x = ir.MaxParam - rng.IntN(3)
		if low < 0 && rng.IntN(2) == 0 {
			x = 1 - x
		}
	}
	return ir.Int(int64(x))
}

// randomSegment has bounds of both kinds near the shape's size and up to three residue tests; it hops on one at times.
func randomSegment(rng *rand.Rand) ir.Segment {
	g := ir.Segment{Hop: -1, NeverFull: rng.IntN(8) == 0}
	for range rng.IntN(3) {
		g.Lo = append(g.Lo, ir.Bound{Row: rng.IntN(2) == 0, Off: number(rng, -200, 300)})
	}
	for range rng.IntN(3) {
		g.Hi = append(g.Hi, ir.Bound{Row: rng.IntN(2) == 0, Off: number(rng, -50, 400)})
	}
	if rng.IntN(3) == 0 {
		g.RowLo = []ir.RowBound{{FromEnd: rng.IntN(2) == 0, Off: number(rng, -200, 300)}}
		g.RowHi = []ir.RowBound{{FromEnd: rng.IntN(2) == 0, Off: number(rng, -150, 400)}}
	}
	if rng.IntN(2) == 0 {
		return g
	}
	for i := range rng.IntN(4) {
		t := ir.Test{Diag: rng.IntN(2) == 0, Off: number(rng, -50, 100), Step: number(rng, 1, 60), Not: rng.IntN(3) == 0}
		if !t.Not && rng.IntN(2) == 0 {
			g.Hop = i
		}
		g.Tests = append(g.Tests, t)
	}
	return g
}

func randomWork(rng *rand.Rand, segments int) Work {
	s := &ir.Schedule{Name: "random", Tile: ir.Tile{Rows: 1 + rng.IntN(40), Keys: 1 + rng.IntN(20)}, Order: ir.Order(rng.IntN(2))}
	for range segments {
		s.Segments = append(s.Segments, randomSegment(rng))
	}
	w := Work{
		HeadDim: 64, DType: "bf16", RowTile: s.Tile.Rows, KeyTile: s.Tile.Keys, Batch: 1, QHeads: 1, KVHeads: 1,
		SeqQ: 1 + rng.IntN(200), SeqK: 1 + rng.IntN(300), QOffset: rng.IntN(150), Schedule: s,
	}
	if rng.IntN(6) == 0 {
		w.QOffset = ir.MaxEnd - w.SeqQ
	}
	return w
}

// TestTilesAgreeWithWalk compares the tiles of every row tile, full and edge, with the tiles that ir walks one by one.
func TestTilesAgreeWithWalk(t *testing.T) {
	full, edge := int64(0), int64(0)
	for seed := range uint64(campaign.Cases(1000, 6000, 6000)) {
		rng := rand.New(rand.NewPCG(seed, 1))
		w := randomWork(rng, 1+rng.IntN(3))
		c, err := Count(w)
		require.NoError(t, err)
		shape := ir.Shape{Sq: w.SeqQ, Sk: w.SeqK, QOffset: w.QOffset}
		for i := range c.rows {
			first, last := shape.RowTile(i, w.RowTile)
			tiles, err := w.Schedule.Tiles(nil, shape, i)
			require.NoError(t, err)
			var want rowTile
			for _, x := range tiles {
				if x.Full {
					want.full++
				} else {
					want.edge++
				}
			}
			require.Equal(t, want, c.rows[c.launchIndex(i)], "seed %d, rows %d..%d of %d keys\n%s", seed, first, last, w.SeqK, w.Schedule)
			full, edge = full+want.full, edge+want.edge
		}
	}
	require.Greater(t, full, int64(50000))
	require.Greater(t, edge, int64(50000))
}

// TestHopsAgreeWithWalk goes through every step of one hopping test, so that all ways of drifting through the residues
// are met, over a stretch of many steps.
func TestHopsAgreeWithWalk(t *testing.T) {
	for step := 1; step <= 150; step++ {
		for _, diag := range []bool{false, true} {
			for _, tile := range []ir.Tile{{Rows: 1, Keys: 16}, {Rows: 32, Keys: 16}, {Rows: 16, Keys: 24}, {Rows: 50, Keys: 7}} {
				for _, off := range []int64{0, 5} {
					s := &ir.Schedule{Name: "hop", Tile: tile, Segments: []ir.Segment{{
						Tests: []ir.Test{{Diag: diag, Off: ir.Int(off), Step: ir.Int(int64(step))}}, NeverFull: true, Hop: 0,
					}}}
					w := Work{HeadDim: 64, DType: "f16", RowTile: tile.Rows, KeyTile: tile.Keys, Batch: 1, QHeads: 1, KVHeads: 1, SeqQ: tile.Rows,
						SeqK: 3001, QOffset: 40, Schedule: s}
					tiles, err := s.Tiles(nil, ir.Shape{Sq: tile.Rows, Sk: w.SeqK, QOffset: 40}, 0)
					require.NoError(t, err)
					c, err := Count(w)
					require.NoError(t, err)
					require.Equal(t, rowTile{edge: int64(len(tiles))}, c.total, "step %d, tile %v, diag %v, off %d", step, tile, diag, off)
				}
			}
		}
	}
}

// TestPairsAgreeWithRows compares the kept pairs with the rows that ir marks key by key.
func TestPairsAgreeWithRows(t *testing.T) {
	total := int64(0)
	for seed := range uint64(1500) {
		rng := rand.New(rand.NewPCG(seed, 2))
		w := randomWork(rng, 1)
		c, err := Count(w)
		require.NoError(t, err)
		want, shape := int64(0), ir.Shape{Sq: w.SeqQ, Sk: w.SeqK, QOffset: w.QOffset}
		l, err := w.Schedule.Bind(nil)
		require.NoError(t, err)
		for i := range w.SeqQ {
			row, err := l.Row(shape, i)
			require.NoError(t, err)
			for _, k := range row {
				want += int64(k)
			}
		}
		require.Equal(t, want, c.pairs, "seed %d, %d rows from %d, %d keys\n%s", seed, w.SeqQ, w.QOffset, w.SeqK, w.Schedule)
		total += want
	}
	require.Greater(t, total, int64(1e6))
}

// TestResidues checks the number theory against looking at every number.
func TestResidues(t *testing.T) {
	for seed := range uint64(3000) {
		rng := rand.New(rand.NewPCG(seed, 3))
		a, b := class{rng.IntN(80) - 40, 1 + rng.IntN(30)}, class{rng.IntN(80) - 40, 1 + rng.IntN(30)}
		both := a.and(b)
		for x := -200; x < 900; x++ {
			want := mod(x-a.off, a.step) == 0 && mod(x-b.off, b.step) == 0
			require.Equal(t, want, both.step > 0 && mod(x-both.off, max(1, both.step)) == 0, "%d in %v and %v", x, a, b)
		}
		slope, off, step, first := rng.IntN(3)-1, rng.IntN(100)-50, 1+rng.IntN(20), rng.IntN(100)-50
		last, want := first+rng.IntN(50), int64(0)
		for q := first; q <= last; q++ {
			want += int64(floorDiv(slope*q+off, step))
		}
		require.Equal(t, want, sumFloor(slope, off, step, first, last))
	}
}

// TestResiduesOfLargeSteps: steps that combine to more than there are positions leave one number at most, and the third step
// decides whether the number stays.
func TestResiduesOfLargeSteps(t *testing.T) {
	steps := []int{ir.MaxParam, ir.MaxParam - 1, 1 << 29, 99991, 3}
	for seed := range uint64(3000) {
		rng := rand.New(rand.NewPCG(seed, 4))
		x := rng.IntN(2*ir.MaxParam) - ir.MaxParam
		in := func(step int) class { return class{x - step*(x/step+rng.IntN(3)-1), step} }
		both := in(pick(rng, steps)).and(in(pick(rng, steps))).and(in(pick(rng, steps)))
		require.Zero(t, mod(x-both.off, both.step), "%d in %v", x, both)
		require.Equal(t, class{}, both.and(class{x + 1, 1 << 30}).and(class{x + 1, 1<<30 - 1}))
	}
	require.Equal(t, class{}, class{5, ir.MaxParam}.and(class{0, ir.MaxParam - 1}), "5 - 5 * 2^30 is too far")
}

func pick[T any](rng *rand.Rand, from []T) T { return from[rng.IntN(len(from))] }
