package ir_test

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/ir"
)

// TestTilesByHand pins the cutting rules on one row tile, computed by hand: rows 256..383, window 400, sink 100.
func TestTilesByHand(t *testing.T) {
	s, err := ir.ParseSchedule(aShape)
	require.NoError(t, err)
	values := map[string]int64{"window": 300, "sink": 50}
	got, err := s.Tiles(values, ir.Shape{Sq: 128, Sk: 1000, QOffset: 256}, 0)
	require.NoError(t, err)
	require.Equal(t, []ir.KeyTile{
		// top 384, bottom 0 (256-299 < 0), fullTop 257, fullBottom 84
		{Start: 320}, {Start: 256}, // upper edge: ceil((384-257)/64) = 2
		{Start: 192, Full: true}, {Start: 128, Full: true}, // floor((384-128-84)/64) = 2
		{Start: 64}, {Start: 0}, // lower edge
		// top min(50, 84), bottom 0, fullTop -43: one upper edge tile
		{Start: -14, Segment: 1},
	}, got)
	// Fewer keys than queries: the tiles hang from sk, and all rows reach it.
	got, err = s.Tiles(values, ir.Shape{Sq: 128, Sk: 130, QOffset: 256}, 0)
	require.NoError(t, err)
	require.Equal(t, []ir.KeyTile{{Start: 66}, {Start: 2}, {Start: -62}, {Start: -14, Segment: 1}}, got)
}

// TestFullTilesAreExact: on a segment without tests a tile is full exactly if all its pairs are kept, and tiles lie back to
// back from the top down to the bottom.
func TestFullTilesAreExact(t *testing.T) {
	fulls := 0
	for seed := range uint64(3000) {
		rng := rand.New(rand.NewPCG(seed, 4))
		g := ir.Segment{Hop: -1}
		for range rng.IntN(3) {
			g.Lo = append(g.Lo, ir.Bound{Row: rng.IntN(2) == 0, Off: ir.Int(int64(rng.IntN(150) - 100))})
		}
		for range rng.IntN(3) {
			g.Hi = append(g.Hi, ir.Bound{Row: rng.IntN(2) == 0, Off: ir.Int(int64(rng.IntN(200) - 50))})
		}
		s := &ir.Schedule{Name: "x", Tile: ir.Tile{Rows: 32, Keys: 16}, Segments: []ir.Segment{g}}
		first, sk := rng.IntN(100), 1+rng.IntN(200)
		last := first + rng.IntN(32)
		tiles, err := s.Tiles(nil, ir.Shape{Sq: last - first + 1, Sk: sk, QOffset: first}, 0)
		require.NoError(t, err)
		holds := func(q, k int) bool { return 0 <= k && k < sk && holdsBounds(g, q, k) }
		for i, tile := range tiles {
			if i > 0 {
				require.Equal(t, tiles[i-1].Start-16, tile.Start, "seed %d", seed)
			}
			all := true
			for q := first; q <= last; q++ {
				for k := tile.Start; k < tile.Start+16; k++ {
					all = all && holds(q, k)
				}
			}
			require.Equal(t, all, tile.Full, "seed %d, tile %d at %d\n%s", seed, i, tile.Start, s)
			if all {
				fulls++
			}
		}
		require.Empty(t, keptOutside(tiles, holds, first, last, sk), "seed %d\n%s", seed, s)
	}
	require.Greater(t, fulls, 1000)
}

// keptOutside lists the kept pairs that no tile covers.
func keptOutside(tiles []ir.KeyTile, holds func(q, k int) bool, first, last, sk int) [][2]int {
	var out [][2]int
	for q := first; q <= last; q++ {
		for k := range sk {
			if holds(q, k) && (len(tiles) == 0 || k >= tiles[0].Start+16 || k < tiles[len(tiles)-1].Start) {
				out = append(out, [2]int{q, k})
			}
		}
	}
	return out
}

func holdsBounds(g ir.Segment, q, k int) bool {
	at := func(b ir.Bound) int {
		off, _ := b.Off.Const()
		if b.Row {
			return q + int(off)
		}
		return int(off)
	}
	for _, b := range g.Lo {
		if k < at(b) {
			return false
		}
	}
	for _, b := range g.Hi {
		if k >= at(b) {
			return false
		}
	}
	return true
}

// TestNextTop compares hops with looking at every key one by one: a tile without a kept pair gives way to the one whose
// topmost key is the next kept one, so nothing kept is skipped and no tile walked for nothing.
func TestNextTop(t *testing.T) {
	hopped := 0
	for seed := range uint64(20000) {
		rng := rand.New(rand.NewPCG(seed, 5))
		r := ir.Residue{Diag: rng.IntN(2) == 0, Off: rng.IntN(200) - 100, Step: 1 + rng.IntN(120)}
		keys, first := 1+rng.IntN(32), rng.IntN(100)
		last, e := first+rng.IntN(32), rng.IntN(300)-50
		want := e
		if !holdsSomewhere(r, e, keys, first, last) {
			for !holdsSomewhere(r, want, 1, first, last) {
				want--
			}
		}
		require.Equal(t, want, r.NextTop(e, keys, first, last), "seed %d: %+v, tile %d x %d, rows %d..%d", seed, r, e, keys, first, last)
		if want != e {
			hopped++
		}
	}
	require.Greater(t, hopped, 2000)
}

func holdsSomewhere(r ir.Residue, e, keys, first, last int) bool {
	for q := first; q <= last; q++ {
		for k := e - keys; k < e; k++ {
			if r.Holds(q, k) {
				return true
			}
		}
	}
	return false
}

// TestRowFindsPairsThatCountTwice: the interpreter does not trust the verifier.
func TestRowFindsPairsThatCountTwice(t *testing.T) {
	s, err := ir.ParseSchedule("schedule x\n  tile 16x16 ascending\n  segment 0\n    hi   q + 1\n  segment 1\n    hi   3\n")
	require.NoError(t, err)
	require.Error(t, s.Verify())
	_, err = s.Row(nil, ir.Shape{Sq: 20, Sk: 20}, 5)
	require.ErrorContains(t, err, "the pair of query 5 and key 0 counts twice")
	_, err = s.Row(nil, ir.Shape{Sq: 20, Sk: 20}, 20)
	require.ErrorContains(t, err, "query row 20 does not exist, there are 20")
}
