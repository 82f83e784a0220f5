package lower

import (
	"github.com/llir/llvm/ir/enum"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/ir"
)

// RowTile is what every attention kernel computes of the schedule for the query rows of one block: which keys the rows meet, and
// which of these keys count. The backends embed it.
type RowTile struct {
	*Builder
	Schedule *ir.Schedule
	Segs     []Segment
	Rows     int       // queries of the tile
	SlotKeys int       // keys of one slot, the unit in which a schedule's segments are walked
	DType    abi.DType // of q, k, v and o
	Lane     Value     // the thread's number in its warp
	Scores   *Scores   // nil: products as they are

	At WorkTile // which tile: the block's, or another one's within In

	// Query is the absolute position of the thread's row r (0 or 1) of a 16-row strip: accumulators of 16x8 tiles give each
	// thread two rows.
	Query func(strip, r int) Value

	RowOf func(i int) Value // the row within the tile of the thread's row i, of two a strip
}

// WorkTile is a row tile among all that a launch computes. Its values are asked for where they are used: some are cheaper to
// compute again than to keep. Heads are counted as lists and routes count them; Head0 is which head of the tensors number 0 is,
// nil for the first.
type WorkTile struct {
	Tile, Tiles, Head, Heads, Head0, Batch func() Value

	kvHead   Value            // see Loading
	listHead func() Value     // see HoldListHead
	starts   map[string]Value // see WithStarts

	lengths map[string]Value // see HoldLengths
}

// In emits body for another row tile.
func (k *RowTile) In(tile WorkTile, body func()) {
	was := k.At
	k.At = tile
	body()
	k.At = was
}

// Loading is the tile with its kv head in a register, for code that copies K and V of it again and again.
func (t WorkTile) Loading(kvHead Value) WorkTile {
	t.kvHead = kvHead
	return t
}

// BlockWorkTile is the tile of a block when every tile has one: tiles along x, heads along y, batch along z.
func (b *Builder) BlockWorkTile() WorkTile {
	return WorkTile{Tile: b.BlockX, Tiles: b.GridX, Head: b.BlockY, Heads: b.GridY, Batch: b.BlockZ}
}

// TensorHead is the tile's q head in q, o and lse.
func (k *RowTile) TensorHead() Value {
	head := k.At.Head()
	if k.At.Head0 == nil {
		return head
	}
	return k.Add(head, k.At.Head0())
}

// KVHead is the kv head of the tile's q head.
func (k *RowTile) KVHead() Value {
	if v := k.At.kvHead; v != nil {
		return v
	}
	return k.UDiv(k.TensorHead(), k.Param("group"))
}

// Slot is a run of SlotKeys keys that a step computes.
type Slot struct {
	Start   Value        // first key, or first row of compacted columns; it may be negative
	Flags   Value        // FlagEdge, FlagColumns
	Segment func() Value // number of its segment; not carried by loops
}

func (s *Slot) Values() []*Value { return []*Value{&s.Start, &s.Flags} }

// Flags of slots.
const (
	FlagEdge    = 1 // not every row keeps every key
	FlagColumns = 2 // the keys are compacted columns

	SegmentShift = 7 // a segment's number stands above the flags where they share a word

	// FarBelow is the start of slots beyond the end: no key is there, copies write zeros. It is below every slot, and not lower:
	// lower bounds reach almost 2^31, and their distance from it must fit 32 bits.
	FarBelow = -512
)

// Piece is a run of slots from Top down to Bottom that share a segment and Flags.
type Piece struct {
	Top, Bottom Value
	Flags       int64
}

// First and Last are the absolute positions of the tile's first and last query. Like Row0 they are computed where they are
// needed: registers are what attention kernels are short of, and few places need them.
func (k *RowTile) First() Value { return k.Add(k.Length("q_offset"), k.Row0()) }

func (k *RowTile) Last() Value {
	rows := k.Min(I32(int64(k.Rows)), k.Sub(k.Length("sq"), k.Row0()))
	return k.Sub(k.Add(k.First(), rows), I32(1))
}

// Row0 is the tile's first query row, computed again where it is needed rather than kept. Long tiles come first, so that
// the last blocks to finish are short ones.
func (k *RowTile) Row0() Value {
	tile := k.At.Tile()
	if k.Schedule.Order == ir.OrderLongestFirst {
		tile = k.Sub(k.Sub(k.At.Tiles(), I32(1)), tile)
	}
	return k.Mul(tile, I32(int64(k.Rows)))
}

// Cut splits a segment's tiles for this row tile: upper edge, full, lower edge. The formulas are ir.Segment's.
func (k *RowTile) Cut(s Segment) []Piece {
	top, bottom := k.Top(s), k.Bottom(s)
	if s.NeverFull {
		return []Piece{{Top: top, Bottom: bottom, Flags: FlagEdge}}
	}
	fullTop, fullBottom := k.FullTop(s), k.FullBottom(s)
	upper := k.UDivBy(k.Add(k.Sub(top, fullTop), I32(int64(k.SlotKeys-1))), k.SlotKeys)
	p1 := k.Sub(top, k.MulBy(upper, k.SlotKeys))
	full := k.UDivBy(k.above(p1, fullBottom), k.SlotKeys)
	p2 := k.Sub(p1, k.MulBy(full, k.SlotKeys))
	return []Piece{{Top: top, Bottom: k.Max(p1, bottom), Flags: FlagEdge}, {Top: p1, Bottom: p2}, {Top: p2, Bottom: bottom, Flags: FlagEdge}}
}

// above is how far top lies above bottom, 0 if it does not. Sides of a segment may lie more than 2^31 apart, top far below
// bottom, so they are compared before they are subtracted.
func (k *RowTile) above(top, bottom Value) Value { return k.Sub(k.Max(top, bottom), bottom) }

// Hopped is the rule of ir.NextTop for one test.
func (k *RowTile) Hopped(t TestValue, end Value) Value {
	keys := I32(int64(k.SlotKeys))
	if !t.Diag {
		rem := k.FloorMod(k.Sub(k.Sub(end, I32(1)), t.Off), t.Step)
		return k.Select(k.ICmp(enum.IPredSGE, rem, keys), k.Sub(end, rem), end)
	}
	rem := k.FloorMod(k.Sub(k.Add(k.Sub(k.Last(), end), keys), t.Off), t.Step)
	reach := k.Add(k.Sub(k.Last(), k.First()), I32(int64(k.SlotKeys-1)))
	jump := k.Add(I32(int64(k.SlotKeys-1)), k.Sub(t.Step, rem))
	return k.Select(k.ICmp(enum.IPredSGT, rem, reach), k.Sub(end, jump), end)
}

// NonEmpty gives a schedule that keeps nothing one segment without keys, so that there is always a segment to speak of.
func NonEmpty(s *ir.Schedule) *ir.Schedule {
	if len(s.Segments) > 0 {
		return s
	}
	c := *s
	c.Segments = []ir.Segment{{Hi: []ir.Bound{{Off: ir.Int(0)}}, Hop: -1, NeverFull: true}}
	return &c
}

// SumQuads brings each row's sum, of which the four lanes of a row have a part each, to all of them.
func (k *RowTile) SumQuads(l []Value) {
	for i := range l {
		for _, lanes := range []int64{1, 2} {
			l[i] = k.FAdd(l[i], k.ShuffleXor(l[i], lanes))
		}
	}
}

// MaxQuad is the maximum of x over the four lanes of a row.
func (k *RowTile) MaxQuad(x Value) Value {
	for _, lanes := range []int64{1, 2} {
		x = k.FMax(x, k.ShuffleXor(x, lanes))
	}
	return x
}

// Inverse is 1/l, or 0 for the l = 0 of a row that kept nothing: its output becomes zeros.
func (k *RowTile) Inverse(l Value) Value {
	return k.Select(k.FCmp(enum.FPredOEQ, l, F32(0)), F32(0), k.Rcp(l))
}
