package lower

import (
	"fmt"
	"slices"

	"github.com/llir/llvm/ir/enum"
	"github.com/llir/llvm/ir/types"

	"github.com/minfc/minfc/ir"
)

// Lists: segments whose keys the data chose. abi.ListFields has their buffers; one list a head for runs and columns, one a row block
// for blocks.

// CheckLists refuses, with an *ir.Unsupported, what lists cannot do on devices.
func CheckLists(s *ir.Schedule) error {
	if err := checkMeans(s); err != nil {
		return err
	}
	var columns []ir.Source
	for _, g := range s.Segments {
		if g.From.Kind.SingleKeys() {
			columns = append(columns, g.From)
		}
		if len(columns) > 1 {
			return refuseColumns(columns[0], columns[1])
		}
		for _, x := range g.Except {
			if g.From.Kind != ir.SourceColumns || x.Kind != ir.SourceRuns {
				return refuseLists(fmt.Sprintf("%s and %s may keep the same pair, and of chosen sets kernels unite columns with diagonals alone",
					written(g.From), written(x)),
					"keep one of the two, or cut both with sets of the language so that they lie apart", g.From, x)
			}
		}
		if g.From.Kind != ir.SourceRange && len(g.Tests) > 0 {
			return refuseLists(written(g.From)+" is cut by a set with a step, which kernels do not do",
				"leave the step out, or unite the two with |", g.From)
		}
	}
	return nil
}

func refuseColumns(a, b ir.Source) error {
	if a.Name != b.Name {
		return refuseLists(fmt.Sprintf("%s and %s are two choices of columns, and a kernel reads one", written(a), written(b)),
			"choose once, with a larger budget", a, b)
	}
	return refuseLists(fmt.Sprintf("other parts of the pattern cut %s into several bands, and a kernel reads chosen columns in one",
		written(a)),
		"unite them with one set that ends where they begin, as in columns(c) | window(n)", a)
}

func refuseLists(found, help string, sources ...ir.Source) error {
	e := &ir.Unsupported{Reason: ir.ChosenSets, Found: found, Help: help}
	for _, s := range sources {
		if c, ok := s.Chosen(); ok && !slices.Contains(e.Chosen, c) {
			e.Chosen = append(e.Chosen, c)
		}
	}
	return e
}

// written is a source as a pattern writes it: "columns(cols)".
func written(s ir.Source) string {
	if c, ok := s.Chosen(); ok {
		return ir.FormatSet(c)
	}
	return s.String()
}

// NoColumn pads the lists of columns.
const NoColumn = 0x7fffffff

func (k *RowTile) IsColumns(s Slot) Value {
	return k.ICmp(enum.IPredNE, k.And(s.Flags, I32(FlagColumns)), I32(0))
}

// columnMask are the mask words of a slot of columns: the columns that count, the same for all rows, unless one of them lies where
// rows differ. v holds two words of KeptColumns, then two of OpenColumns.
func (k *RowTile) columnMask(s Slot, strip int, v Value) []Value {
	shift := k.Shl(k.And(k.Lane, I32(3)), 1)
	lo, hi := k.ShrClamp(k.Lane4(v, 0), shift), k.ShrClamp(k.Lane4(v, 1), shift)
	words := []Value{lo, hi, lo, hi}
	open := k.ICmp(enum.IPredNE, k.Or(k.Lane4(v, 2), k.Lane4(v, 3)), I32(0))
	return k.ChooseAll("open", open, words, func() []Value { return k.columnBounds(s, strip, words) })
}

// columnBounds cuts the words of a slot of columns by the bounds of the thread's two rows of a strip, column by column. Few
// slots need it: slots with columns near the diagonal.
func (k *RowTile) columnBounds(s Slot, strip int, words []Value) []Value {
	seg := k.ColumnSegment()
	first := k.Add(s.Start, k.Shl(k.And(k.Lane, I32(3)), 1))
	var lo, hi [2]Value
	for r := range 2 {
		q := k.Query(strip, r)
		lo[r], hi[r] = k.LoAt(seg, q), k.HiAt(seg, q)
	}
	in := make([]Value, 4)
	for i := range in {
		in[i] = I32(0)
	}
	column := k.ColumnsOf(seg.From)
	for col := 0; col < k.SlotKeys; col += 8 {
		for c := range 2 {
			id := column(k.Add(first, I32(int64(col+c))))
			for r := range 2 {
				ok := k.And(k.ICmp(enum.IPredSGE, id, lo[r]), k.ICmp(enum.IPredSLT, id, hi[r]))
				bit := I32(1 << ((col + c) % 32))
				in[2*r+col/32] = k.Or(in[2*r+col/32], k.Select(ok, bit, I32(0)))
			}
		}
	}
	for i := range in {
		in[i] = k.And(in[i], words[i])
	}
	return in
}

// ColumnSegment is the segment of slots of columns, or of means. CheckLists sees to it that there is one at most.
func (k *RowTile) ColumnSegment() Segment {
	for _, s := range k.Segs {
		if s.From.Kind.RowWise() {
			return s
		}
	}
	panic("internal: a slot of columns without a segment")
}

func (k *RowTile) hasSource(kinds ...ir.SourceKind) bool {
	for _, s := range k.Schedule.Segments {
		for _, kind := range kinds {
			if s.From.Kind == kind {
				return true
			}
		}
	}
	return false
}

func (k *RowTile) HasColumns() bool { return k.hasSource(ir.SourceColumns, ir.SourceKeys) }

func (k *RowTile) HasLists() bool {
	return k.hasSource(ir.SourceRuns, ir.SourceBlocks, ir.SourceColumns, ir.SourceSpans, ir.SourceKeys, ir.SourceMeans)
}

// HeadIndex is batch*heads + head: the index of this tile's lists, but for lists by group.
func (k *RowTile) HeadIndex() Value { return k.Add(k.Mul(k.At.Batch(), k.At.Heads()), k.At.Head()) }

// ListHead is the index of the tile's list, or of its lists by row block. Lists by group are counted by kv head. A part of a launch begins
// with a kv head and ends with one, or lies within one.
func (k *RowTile) ListHead(l ir.Source) Value {
	switch {
	case !k.Schedule.ByGroup(l.Name):
		return k.HeadIndex()
	case k.At.listHead != nil:
		return k.At.listHead()
	}
	return k.GroupListHead()
}

// HoldListHead makes a value the index of the tile's lists by group, for kernels that ask for it again and again.
func (k *RowTile) HoldListHead(held func() Value) { k.At.listHead = held }

// GroupListHead computes the index of the tile's lists by group.
func (k *RowTile) GroupListHead() Value {
	group := k.Param("group")
	if k.At.Head0 == nil {
		return k.UDiv(k.HeadIndex(), group)
	}
	lists := k.UDiv(k.Sub(k.Add(k.At.Heads(), group), I32(1)), group) // of a batch entry
	return k.Add(k.Mul(k.At.Batch(), lists), k.Sub(k.KVHead(), k.UDiv(k.At.Head0(), group)))
}

// ListField is the kernel parameter for one buffer of a chosen set.
func (k *RowTile) ListField(l ir.Source, name string) Value {
	return k.Param(ir.ListName(l.Name, name))
}

// lists names, of a kind of list, the parameters that the start of a tile's entries follows from: the buffer and the room of
// one list in it.
var lists = map[ir.SourceKind]listBuffer{
	ir.SourceRuns:    {"runs", "run_cap"},
	ir.SourceBlocks:  {"blocks", "block_cap"},
	ir.SourceColumns: {"cols", "col_cap"},
	ir.SourceSpans:   {"spans", "span_cap"},
	ir.SourceKeys:    {"keys", "key_cap"},
}

// cover is the buffer with a bit for every distance that runs cover.
var cover = listBuffer{"covered", "cover_words"}

type listBuffer struct{ buffer, limit string }

// ListStarts computes where the lists of the tile begin that tell which columns count, for code that reads them again and again
// under WithStarts.
func (k *RowTile) ListStarts() (starts []Value) {
	for _, l := range k.columnLists() {
		starts = append(starts, k.listStart(l.Source, l.listBuffer))
	}
	return starts
}

// WithStarts is the tile with the values of ListStarts in registers.
func (k *RowTile) WithStarts(tile WorkTile, starts []Value) WorkTile {
	tile.starts = map[string]Value{}
	for i, l := range k.columnLists() {
		tile.starts[ir.ListName(l.Name, l.buffer)] = starts[i]
	}
	return tile
}

type sourceBuffer struct {
	ir.Source
	listBuffer
}

// columnLists are the ids of chosen columns and the bits of what the segment leaves out.
func (k *RowTile) columnLists() []sourceBuffer {
	s := k.ColumnSegment()
	out := []sourceBuffer{{s.From, lists[s.From.Kind]}}
	for _, x := range s.Except {
		out = append(out, sourceBuffer{x, cover})
	}
	return out
}

// listStart is the address of the first entry that belongs to the tile's head, or to its row block where each has a list.
func (k *RowTile) listStart(l ir.Source, b listBuffer) Value {
	if v := k.At.starts[ir.ListName(l.Name, b.buffer)]; v != nil {
		return v
	}
	n := k.ListHead(l)
	if l.Kind.ByRowBlock() {
		n = k.RowBlock(l)
	}
	entries := k.Mul(k.SExt64(n), k.SExt64(k.ListField(l, b.limit)))
	return k.Offset(k.ListField(l, b.buffer), k.Shl(entries, 2))
}

// entry reads element i (i32) of a list.
func (k *RowTile) entry(start, i Value) Value {
	return k.Load(types.I32, k.Offset(start, k.Shl(k.SExt64(i), 2)), 4)
}

// ListAt reads element i of the head's list of a segment: a tile's offset, a key block or a column.
func (k *RowTile) ListAt(l ir.Source, i Value) Value {
	return k.entry(k.listStart(l, lists[l.Kind]), i)
}

// ColumnsOf gives the key at an element of a list of single keys, NoColumn for none: the lists of the index stage are padded with it, and of what
// the caller gives nothing else counts than keys that are there. A list of which there is a slot has room for an entry.
func (k *RowTile) ColumnsOf(l ir.Source) func(i Value) Value {
	if !l.Kind.Given() {
		return func(i Value) Value { return k.ListAt(l, i) }
	}
	length := k.listLength(l)
	return func(i Value) Value {
		last := k.Sub(k.ListField(l, lists[l.Kind].limit), I32(1)) // known sooner than the length
		id := k.ListAt(l, k.Min(i, last))
		there := k.And(k.ICmp(enum.IPredSLT, i, length), k.ICmp(enum.IPredULT, id, k.Length("sk")))
		return k.Select(there, id, I32(NoColumn))
	}
}

// GivenKeys says whether slots of columns are keys that the caller gives, which kernels copy one by one.
func (k *RowTile) GivenKeys() bool { return k.hasSource(ir.SourceKeys) }

// RowBlock is the number of this block's list where row blocks have lists of their own: every row tile of a head has one.
func (k *RowTile) RowBlock(l ir.Source) Value {
	return k.Add(k.Mul(k.ListHead(l), k.At.Tiles()), k.LShr(k.Row0(), 6))
}

// Count is how many slots of a list matter to this row tile.
func (k *RowTile) Count(s Segment) Value {
	length := k.ListLength(s)
	switch s.From.Kind {
	case ir.SourceBlocks, ir.SourceSpans:
		return length
	case ir.SourceKeys, ir.SourceMeans:
		return k.LShr(k.Add(length, I32(ir.BlockSize-1)), 6)
	}
	n := k.leading(length, func(i Value) Value { return k.Matters(s, k.ListAt(s.From, i)) })
	if s.From.Kind == ir.SourceColumns {
		return k.LShr(k.Add(n, I32(ir.BlockSize-1)), 6)
	}
	return n
}

// listLength is the number of entries of the list that this row tile reads. A count that the caller gives may be any number.
func (k *RowTile) listLength(l ir.Source) Value {
	n, name := k.ListHead(l), map[ir.SourceKind]string{
		ir.SourceRuns: "run_count", ir.SourceBlocks: "block_count", ir.SourceColumns: "col_count",
		ir.SourceSpans: "span_count", ir.SourceKeys: "key_count",
	}[l.Kind]
	if l.Kind.ByRowBlock() {
		n = k.RowBlock(l)
	}
	length := k.Load(types.I32, k.Offset(k.ListField(l, name), k.Shl(k.SExt64(n), 2)), 4)
	if l.Kind.Given() {
		length = k.Min(k.Max(length, I32(0)), k.ListField(l, lists[l.Kind].limit))
	}
	return length
}

// Matters says whether an entry of a list has keys that the row tile's bounds keep. Such entries come first: runs are
// sorted nearest first, columns ascending; all blocks of a list matter, all entries that the caller gives, and all means.
func (k *RowTile) Matters(s Segment, entry Value) Value {
	switch s.From.Kind {
	case ir.SourceRuns: // a run that, seen from the tile's last row block, reaches above the lowest key of its first row
		end := k.Add(k.Add(k.First(), entry), I32(int64(k.Rows)))
		return k.ICmp(enum.IPredSGT, end, k.Bottom(s))
	case ir.SourceColumns: // a column below the highest bound
		return k.ICmp(enum.IPredSLT, entry, k.Top(s))
	}
	return Bool(true)
}

// leading counts the elements below n for which holds is true, when all of them come first. The lanes of a warp test 32
// elements at a time, so that thousands of them take three dependent loads.
func (k *RowTile) leading(n Value, holds func(i Value) Value) Value {
	zero := Value(I32(0))
	return k.Choose("prefix", k.ICmp(enum.IPredSGT, n, zero), zero, func() Value {
		last := k.Sub(n, I32(1))
		end := Repeat(k.Builder, "prefix.round", prefix{zero, n}, func(p prefix) (prefix, Value) {
			stride := k.LShr(k.Add(p.rest, I32(31)), 5)
			at := k.Sub(k.Add(p.known, k.Mul(k.Add(k.Lane, I32(1)), stride)), I32(1))
			good := k.And(holds(k.Min(at, last)), k.ICmp(enum.IPredSLE, at, last))
			p.known = k.Add(p.known, k.Mul(k.Popc(k.Ballot(good)), stride))
			p.rest = k.Min(k.Sub(stride, I32(1)), k.Sub(n, p.known))
			return p, k.ICmp(enum.IPredSGT, p.rest, zero)
		})
		return end.known
	})
}

// prefix is how many leading elements are known to hold, and of how many after them it is not known.
type prefix struct{ known, rest Value }

func (p *prefix) Values() []*Value { return []*Value{&p.known, &p.rest} }

// CoverWord is the word of a head's runs that has a column's bit for a row block of the tile.
func (k *RowTile) CoverWord(runs ir.Source, id Value, block int) Value {
	delta := k.Max(k.coverDelta(id, block), I32(0))
	return k.entry(k.listStart(runs, cover), k.LShr(delta, 5))
}

// coverDelta is the distance of a column from the row block's end, which is where runs have their bits.
func (k *RowTile) coverDelta(id Value, block int) Value {
	return k.Sub(k.Add(k.First(), I32(int64(ir.BlockSize*(block+1)-1))), id)
}

// CoverWords are the cover words for every set of runs that the segment of columns leaves out.
func (k *RowTile) CoverWords(id Value, block int) []Value {
	var out []Value
	for _, x := range k.ColumnSegment().Except {
		out = append(out, k.CoverWord(x, id, block))
	}
	return out
}

// KeptColumns tells of 32 columns, one a lane, which are there and not covered by runs in a row block of the tile. words are the
// column's CoverWords. Columns after the block are left to the bounds.
func (k *RowTile) KeptColumns(id Value, words []Value, block int) Value {
	kept := k.ICmp(enum.IPredNE, id, I32(NoColumn))
	for _, word := range words {
		delta := k.coverDelta(id, block)
		bit := k.And(k.FunnelRight(word, word, delta), I32(1))
		after := k.ICmp(enum.IPredSLT, delta, I32(0))
		kept = k.And(kept, k.Or(after, k.ICmp(enum.IPredEQ, bit, I32(0))))
	}
	return k.Ballot(kept)
}

// OpenColumns tells of 32 columns, one a lane, whose place must be compared with each row's bounds.
func (k *RowTile) OpenColumns(id Value) Value {
	s := k.ColumnSegment()
	inside := k.And(k.ICmp(enum.IPredSGE, id, k.FullBottom(s)), k.ICmp(enum.IPredSLT, id, k.FullTop(s)))
	return k.Ballot(k.Xor(k.Or(inside, k.ICmp(enum.IPredEQ, id, I32(NoColumn))), Bool(true)))
}

// AllColumns says whether all columns of a slot count for all rows. words are, for every row block of the tile, two of KeptColumns
// and two of OpenColumns.
func (k *RowTile) AllColumns(words []Value) Value {
	all, open := Value(I32(-1)), k.Or(words[2], words[3])
	for b := 0; b < len(words); b += 4 {
		all = k.And(all, k.And(words[b], words[b+1]))
	}
	return k.And(k.ICmp(enum.IPredEQ, all, I32(-1)), k.ICmp(enum.IPredEQ, open, I32(0)))
}

// SlotPiece is a piece by its number of slots. Top is the end of a range's first slot.
type SlotPiece struct {
	Slots, Top Value
	Flags      int64
}

// SlotPieces are the pieces of a segment: three of a range, one of a list.
func (k *RowTile) SlotPieces(s Segment) []SlotPiece {
	if s.From.Kind != ir.SourceRange {
		return []SlotPiece{{Slots: k.Count(s), Top: I32(0)}}
	}
	var out []SlotPiece
	for _, p := range k.Cut(s) {
		n := k.LShr(k.Add(k.above(p.Top, p.Bottom), I32(ir.BlockSize-1)), 6)
		out = append(out, SlotPiece{n, p.Top, p.Flags})
	}
	return out
}

// ListSlot is slot i of a list, which has an entry there (it is not asked for columns). It is an edge unless all rows keep all its keys.
// number is the segment's, where it stands in flags. What the caller gives may be any number: spans without keys are moved to where their
// sums stay within 32 bits.
func (k *RowTile) ListSlot(s Segment, i Value, entry func() Value, number, fullBottom, fullTop Value) Slot {
	if s.From.Kind.RowWise() {
		return Slot{Start: k.Shl(i, 6), Flags: k.Or(number, I32(FlagColumns))}
	}
	start := entry()
	switch s.From.Kind {
	case ir.SourceBlocks:
		start = k.Shl(start, 6)
	case ir.SourceSpans:
		start = k.Min(k.Max(start, I32(-ir.BlockSize)), k.Length("sk"))
	default:
		start = k.Add(start, k.First())
	}
	end := k.Add(start, I32(ir.BlockSize))
	full := k.And(k.ICmp(enum.IPredSGE, start, fullBottom), k.ICmp(enum.IPredSLE, end, fullTop))
	return Slot{Start: start, Flags: k.Select(full, number, k.Or(number, I32(FlagEdge)))}
}
