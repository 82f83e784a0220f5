package passes

import (
	"math"

	"github.com/minfc/minfc/ir"
)

// split decides, for all lengths and parameters at once, which segments have no full tiles (their kernel code is left
// out) and which test lets a segment skip empty tiles. Which tiles of the others are full follows from the bounds when
// the kernel runs.
func split(u *Unit) error {
	f := u.facts()
	for i := range u.Schedule.Segments {
		g := &u.Schedule.Segments[i]
		g.NeverFull = f.NeverFull(*g, u.Schedule.Tile)
		g.Hop = -1
		if !isListed(*g) { // a list says itself which tiles are visited
			g.Hop = chooseHop(g.Tests, u.Schedule.Tile)
		}
	}
	return nil
}

// chooseHop picks the positive test with the widest gaps, -1 where none can leave a tile empty. A step that only the launch
// knows counts as wide.
func chooseHop(tests []ir.Test, tile ir.Tile) int {
	best, widest := -1, int64(0)
	for i, t := range tests {
		if t.Not {
			continue
		}
		if gap := emptyKeys(t, tile); gap > widest {
			best, widest = i, gap
		}
	}
	return best
}

// emptyKeys is how far the kept residues lie apart beyond what one tile spans: Keys on columns, Rows+Keys-1 on diagonals.
func emptyKeys(t ir.Test, tile ir.Tile) int64 {
	span := int64(tile.Keys)
	if t.Diag {
		span += int64(tile.Rows) - 1
	}
	step, known := t.Step.Const()
	if !known {
		return math.MaxInt64
	}
	return step - span
}
