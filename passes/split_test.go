package passes

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/ir"
)

// TestSplit: hop and never-full for 128x64 tiles.
func TestSplit(t *testing.T) {
	for _, c := range []struct {
		name, set string
		hop       int
		neverFull bool
	}{
		{"window", "window left n right 0", -1, false},
		{"window of 63", "window left 63 right 0", -1, true},
		{"window of 64", "window left 64 right 0", -1, false}, // full in a row tile of one row
		{"sink of 63", "sink 63", -1, true},
		{"sink of 64", "sink 64", -1, false},
		{"columns within a tile", "columns from 0 step 64", -1, true},
		{"columns beyond a tile", "columns from 0 step 65", 0, true},
		{"diagonals within a tile", "diagonals from 0 step 191", -1, true},
		{"diagonals beyond a tile", "diagonals from 0 step 192", 0, true},
		{"unknown step", "columns from 0 step n", 0, true},
		{"all but columns", "minus\n      all\n      columns from 0 step n", -1, true},
		{"the wider gap first", "intersect\n      columns from 0 step 300\n      columns from 10 step 70\n      window left n right 0", 0, true},
		{"the wider gap, of a diagonal", "intersect\n      columns from 0 step 70\n      diagonals from 10 step 700\n      columns from 10 step 80", 1, true},
		{"the wider gap", "intersect\n      columns from 0 step 70\n      columns from 10 step 300\n      window left n right 0", 1, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, err := Run(parsePattern(t, "  param n = 9 min 1\n  keep\n    "+c.set+"\n"), Options{Tile: Fixed(tile128x64), Verify: true})
			require.NoError(t, err)
			require.NotEmpty(t, s.Segments)
			g := s.Segments[0]
			require.Equal(t, c.hop, g.Hop)
			require.Equal(t, c.neverFull, g.NeverFull)
		})
	}
}

// TestHopSkipsEmptyTiles counts what a wide stride costs with and without it.
func TestHopSkipsEmptyTiles(t *testing.T) {
	s, err := Run(parsePattern(t, "  param step = 4096 min 1\n  keep\n    intersect\n      causal\n      columns from 0 step step\n"), Options{Tile: Fixed(tile128x64)})
	require.NoError(t, err)
	count := func(step int64) int {
		tiles, err := s.Tiles(map[string]int64{"step": step}, ir.Shape{Sq: 128, Sk: 1 << 17, QOffset: 1<<17 - 128}, 0)
		require.NoError(t, err)
		return len(tiles)
	}
	require.Equal(t, 32, count(4096))
	require.Equal(t, 2048, count(64))
	s.Segments[0].Hop = -1
	require.Equal(t, 2048, count(4096))
	require.Equal(t, ir.OrderLongestFirst, s.Order)
}
