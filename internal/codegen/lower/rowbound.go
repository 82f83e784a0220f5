package lower

import (
	"github.com/llir/llvm/ir/enum"

	"github.com/minfc/minfc/ir"
)

// Bounds on rows, and the sides of a segment for a row tile. Segments without such bounds pay nothing for them.

// RowBoundValue is an ir.RowBound with its offset in a register.
type RowBoundValue struct {
	FromEnd bool
	Off     Value
}

func (b *Builder) rowBounds(bounds []ir.RowBound) (out []RowBoundValue) {
	for _, x := range bounds {
		out = append(out, RowBoundValue{x.FromEnd, b.Poly(x.Off)})
	}
	return out
}

func (s Segment) boundsRows() bool { return len(s.RowLo)+len(s.RowHi) > 0 }

// end is the position after the last query. With the largest number of the language it stays below 2^31.
func (k *RowTile) end() Value { return k.Add(k.Length("q_offset"), k.Length("sq")) }

func (k *RowTile) rowAt(x RowBoundValue) Value {
	if x.FromEnd {
		return k.Add(k.end(), x.Off)
	}
	return x.Off
}

// rowFrom and rowTo are the positions of the segment's rows: rowFrom <= q < rowTo.
func (k *RowTile) rowFrom(s Segment) Value {
	from := Value(I32(0))
	for _, x := range s.RowLo {
		from = k.Max(from, k.rowAt(x))
	}
	return from
}

func (k *RowTile) rowTo(s Segment) Value {
	to := k.end()
	for _, x := range s.RowHi {
		to = k.Min(to, k.rowAt(x))
	}
	return to
}

// ofRow is hi for a query of the segment's rows, 0 for another: no key is below it.
func (k *RowTile) ofRow(s Segment, q, hi Value) Value {
	if !s.boundsRows() {
		return hi
	}
	in := k.And(k.ICmp(enum.IPredSGE, q, k.rowFrom(s)), k.ICmp(enum.IPredSLT, q, k.rowTo(s)))
	return k.Select(in, hi, I32(0))
}

// firstOf and lastOf are the first and the last query of the tile among the segment's rows; where there is none, another one of the tile.
func (k *RowTile) firstOf(s Segment) Value {
	if !s.boundsRows() {
		return k.First()
	}
	return k.Min(k.Last(), k.Max(k.First(), k.rowFrom(s)))
}

func (k *RowTile) lastOf(s Segment) Value {
	if !s.boundsRows() {
		return k.Last()
	}
	return k.Max(k.First(), k.Min(k.Last(), k.Sub(k.rowTo(s), I32(1))))
}

// Top and Bottom are the sides of the keys that some row of the tile keeps, FullTop and FullBottom the sides of the keys that all rows
// keep. Top is at most 0 if no row is the segment's, FullTop if one is not.
func (k *RowTile) Top(s Segment) Value        { return k.HiAt(s, k.lastOf(s)) }
func (k *RowTile) Bottom(s Segment) Value     { return k.LoAt(s, k.firstOf(s)) }
func (k *RowTile) FullBottom(s Segment) Value { return k.LoAt(s, k.Last()) }

func (k *RowTile) FullTop(s Segment) Value {
	top := k.HiAt(s, k.First())
	if !s.boundsRows() {
		return top
	}
	return k.Min(top, k.HiAt(s, k.Last()))
}

// ListLength is the number of entries of the segment's list that this row tile may read: none if no row of the tile is the segment's. Of means it is
// their number.
func (k *RowTile) ListLength(s Segment) Value {
	if s.From.Kind == ir.SourceMeans {
		return k.pools(s)
	}
	n := k.listLength(s.From)
	if !s.boundsRows() {
		return n
	}
	some := k.ICmp(enum.IPredSLT, k.Max(k.First(), k.rowFrom(s)), k.Min(k.Add(k.Last(), I32(1)), k.rowTo(s)))
	return k.Select(some, n, I32(0))
}
