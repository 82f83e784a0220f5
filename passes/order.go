package passes

import (
	"cmp"
	"slices"

	"github.com/minfc/minfc/ir"
)

// order sorts the segments: ranges before segments with tests, and among them segments that move with the row first.
// A row's running maximum settles early near the diagonal, and kernels fall into their longest plain loop at once. Lists come
// after all ranges, in the order of their kinds.
func order(u *Unit) error {
	s := u.Schedule
	slices.SortStableFunc(s.Segments, func(a, b ir.Segment) int {
		return cmp.Or(
			cmp.Compare(a.From.Kind, b.From.Kind),
			cmp.Compare(min(len(a.Tests), 1), min(len(b.Tests), 1)),
			cmp.Compare(boundMotion(a), boundMotion(b)))
	})
	s.Order = rowOrder(s.Segments)
	return nil
}

// boundMotion is the Motion of a segment's bounds.
func boundMotion(g ir.Segment) Motion {
	row, fixed := anyBound(g, true), anyBound(g, false)
	switch {
	case row && fixed || len(g.RowLo)+len(g.RowHi) > 0:
		return Mixed
	case row:
		return WithRow
	case fixed:
		return Constant
	}
	return Still
}

func anyBound(g ir.Segment, row bool) bool {
	is := func(b ir.Bound) bool { return b.Row == row }
	return slices.ContainsFunc(g.Lo, is) || slices.ContainsFunc(g.Hi, is)
}

// rowOrder starts with the row tiles that have the most keys, so that no long one is left over at the end. Keys grow with
// the position under an upper bound that moves and shrink under such a lower bound; where both move (a window),
// the first rows are the short ones, cut off at key 0. Bounds on rows give the last rows keys, or the first ones.
func rowOrder(segments []ir.Segment) ir.Order {
	isRow := func(b ir.Bound) bool { return b.Row }
	growth := 0
	for _, g := range segments {
		if slices.ContainsFunc(g.Hi, isRow) {
			growth += 3
		}
		if slices.ContainsFunc(g.Lo, isRow) {
			growth -= 2
		}
		if len(g.RowLo) > 0 {
			growth += 3
		}
		if len(g.RowHi) > 0 {
			growth -= 3
		}
	}
	if growth > 0 {
		return ir.OrderLongestFirst
	}
	return ir.OrderAscending
}
