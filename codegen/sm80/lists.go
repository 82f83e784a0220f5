package sm80

import (
	"fmt"

	"github.com/llir/llvm/ir/enum"
	"github.com/llir/llvm/ir/types"

	"github.com/minfc/minfc/codegen/lower"
	"github.com/minfc/minfc/ir"
)

// Lists: segments whose keys the data chose. Their buffers are lower.Lists'; one list a head for runs and columns, one a
// row block for blocks. queue.go turns their entries into slots.

// checkLists refuses what lists cannot do on devices.
func checkLists(s *ir.Schedule) error {
	columns := 0
	for _, g := range s.Segments {
		if g.From.Kind == ir.SourceColumns {
			columns++
		}
		if columns > 1 {
			return fmt.Errorf("schedule %s: chosen columns (here %s) that other parts of the pattern cut into several bands are not supported on devices; unite them with one set that ends where they begin",
				s.Name, g.From.Name)
		}
		for _, x := range g.Except {
			if g.From.Kind != ir.SourceColumns || x.Kind != ir.SourceRuns {
				return fmt.Errorf("schedule %s: chosen columns can leave out what chosen diagonals keep, other overlaps of chosen sets are not supported on devices; keep only one of %s and %s",
					s.Name, g.From.Name, x.Name)
			}
		}
		if g.From.Kind != ir.SourceRange && len(g.Tests) > 0 {
			return fmt.Errorf("schedule %s: a chosen set cut by a step is not supported on devices; leave the step out beside %s", s.Name, g.From.Name)
		}
	}
	return nil
}

func (k *kernel) lists() bool { return k.hasSource(ir.SourceRuns, ir.SourceBlocks, ir.SourceColumns) }

func (k *kernel) hasColumns() bool { return k.hasSource(ir.SourceColumns) }

func (k *kernel) hasSource(kinds ...ir.SourceKind) bool {
	for _, s := range k.schedule.Segments {
		for _, kind := range kinds {
			if s.From.Kind == kind {
				return true
			}
		}
	}
	return false
}

// head is batch*heads + head: the index of this block's lists.
func (k *kernel) head() Value { return k.Add(k.Mul(k.BlockZ(), k.GridY()), k.BlockY()) }

// field is the kernel parameter for one buffer of a chosen set.
func (k *kernel) field(l ir.Source, name string) Value { return k.Param(lower.ListParam(l.Name, name)) }

// entryAt is the address of element i of list number n of a [lists, cap] i32 buffer.
func (k *kernel) entryAt(buffer, n, limit, i Value) Value {
	index := k.Add(k.Mul(k.SExt64(n), k.SExt64(limit)), k.SExt64(i))
	return k.Offset(buffer, k.Shl(index, 2))
}

// listAt reads element i of the head's list of a segment: a tile's offset, a key block or a column.
func (k *kernel) listAt(l ir.Source, i Value) Value {
	n, names := k.head(), map[ir.SourceKind][2]string{
		ir.SourceRuns: {"runs", "run_cap"}, ir.SourceBlocks: {"blocks", "block_cap"}, ir.SourceColumns: {"cols", "col_cap"},
	}[l.Kind]
	if l.Kind == ir.SourceBlocks {
		n = k.rowBlock()
	}
	return k.Load(types.I32, k.entryAt(k.field(l, names[0]), n, k.field(l, names[1]), i), 4)
}

// rowBlock is the number of this block's list of key blocks: every row tile of a head has one.
func (k *kernel) rowBlock() Value {
	return k.Add(k.Mul(k.head(), k.GridX()), k.LShr(k.row0(), 6))
}

// count is how many slots of a list matter to this row tile.
func (k *kernel) count(s lower.Segment) Value {
	length := func(name string, n Value) Value {
		return k.Load(types.I32, k.Offset(k.field(s.From, name), k.Shl(k.SExt64(n), 2)), 4)
	}
	switch s.From.Kind {
	case ir.SourceRuns: // nearest first: those that reach above the lowest key of the tile's first row
		bottom := k.LoAt(s, k.first())
		return k.prefix(length("run_count", k.head()), func(i Value) Value {
			end := k.Add(k.Add(k.first(), k.listAt(s.From, i)), lower.I32(ir.BlockSize))
			return k.ICmp(enum.IPredSGT, end, bottom)
		})
	case ir.SourceBlocks:
		return length("block_count", k.rowBlock())
	}
	// Columns, ascending: those below the highest bound.
	top := k.HiAt(s, k.last())
	n := k.prefix(length("col_count", k.head()), func(i Value) Value {
		return k.ICmp(enum.IPredSLT, k.listAt(s.From, i), top)
	})
	return k.LShr(k.Add(n, lower.I32(ir.BlockSize-1)), 6)
}

// prefix counts the leading elements below n for which holds is true, when all those come first. The lanes of a warp test 32
// places at a time, so that thousands of elements take three dependent loads.
func (k *kernel) prefix(n Value, holds func(i Value) Value) Value {
	zero := Value(lower.I32(0))
	return k.If("prefix", k.ICmp(enum.IPredSGT, n, zero), []Value{zero}, func() []Value {
		last := k.Sub(n, lower.I32(1))
		return k.Repeat("prefix.round", []Value{zero, n}, func(v []Value) ([]Value, Value) {
			known, rest := v[0], v[1]
			stride := k.LShr(k.Add(rest, lower.I32(31)), 5)
			at := k.Sub(k.Add(known, k.Mul(k.Add(k.lane, lower.I32(1)), stride)), lower.I32(1))
			good := k.And(holds(k.Min(at, last)), k.ICmp(enum.IPredSLE, at, last))
			known = k.Add(known, k.Mul(k.Popc(k.Ballot(good)), stride))
			rest = k.Min(k.Sub(stride, lower.I32(1)), k.Sub(n, known))
			return []Value{known, rest}, k.ICmp(enum.IPredSGT, rest, zero)
		})[:1]
	})[0]
}

// compacted starts the copy of a slot of columns. The copies are padded to whole slots, so there are no bounds.
func (l loader) compacted(src source, s slot) {
	k := l.kn
	list := k.columnSegment().From
	buffer := k.field(list, src.name+"c")
	row := k.Add(k.Add(s.start, l.row), k.Mul(k.head(), k.field(list, "col_cap"))) // H * col_cap stays far below 2^31
	p := k.Offset(buffer, k.Add(k.Mul(k.SExt64(row), lower.I64(int64(2*k.headDim))), k.chunkOffset(l.place)))
	for i := range k.slotKeys / k.rowsPerPass() {
		from := k.Offset(p, lower.I64(int64(i*k.rowsPerPass()*2*k.headDim)))
		l.panels(from, src.offset+i*k.rowsPerPass()*panelBytes, k.kvPanel, nil)
	}
}

// columnSegment is the segment of slots of columns. checkLists sees to it that there is one at most.
func (k *kernel) columnSegment() lower.Segment {
	for _, s := range k.segments {
		if s.From.Kind == ir.SourceColumns {
			return s
		}
	}
	panic("internal: a slot of columns without a segment")
}

// noColumn pads the lists of columns.
const noColumn = 0x7fffffff

func (k *kernel) isColumns(s slot) Value {
	return k.ICmp(enum.IPredNE, k.And(s.flags, lower.I32(flagColumns)), lower.I32(0))
}

// wordsBytes is what a slot of columns has in shared memory: two words of columns that count for this row block, and two of
// those among them whose place must be compared with each row's bounds.
const wordsBytes = 16

// columnWordsOf finds the words of the step at p, in three parts, so that the caller can put other work behind each of its two
// dependent loads: it reads which columns, look reads whether runs cover them, vote writes the words. A lane takes one
// column, a warp half a slot.
func (k *kernel) columnWordsOf(p position) (look, vote func()) {
	if !k.hasColumns() {
		return func() {}, func() {}
	}
	var halves []*columnHalf
	slots := k.walk.slots(p)
	for i := 0; i < 2*len(slots); i += k.warps {
		halves = append(halves, k.newColumnHalf(p, slots, i))
	}
	each := func(f func(*columnHalf)) func() {
		return func() {
			for _, h := range halves {
				f(h)
			}
		}
	}
	return each((*columnHalf).look), each((*columnHalf).vote)
}

// columnHalf is half a slot's columns, as one warp sees them.
type columnHalf struct {
	k       *kernel
	columns Value // the slot has columns
	at      Value // shared address of the half's first word
	id      Value // of the lane's column
	covered []Value
}

// newColumnHalf starts on half slot number first+warp of a step.
func (k *kernel) newColumnHalf(p position, slots []slot, first int) *columnHalf {
	n := k.Add(k.warp, lower.I32(int64(first)))
	index, half := k.LShr(n, 1), k.And(n, lower.I32(1))
	s := slots[0]
	for i, x := range slots[1:] {
		mine := k.ICmp(enum.IPredEQ, index, lower.I32(int64(i+1)))
		s.start, s.flags = k.Select(mine, x.start, s.start), k.Select(mine, x.flags, s.flags)
	}
	h := &columnHalf{k: k, at: k.Add(k.shared, k.Add(k.Shl(index, 4), k.Shl(half, 2)))}
	h.columns = k.And(k.isColumns(s), k.ICmp(enum.IPredEQ, p.done(), lower.I32(0)))
	h.columns = k.And(h.columns, k.ICmp(enum.IPredSLT, index, lower.I32(int64(len(slots)))))
	h.id = k.If("ids", h.columns, []Value{lower.I32(noColumn)}, func() []Value {
		return []Value{k.listAt(k.columnSegment().From, k.Add(k.Add(s.start, k.lane), k.Shl(half, 5)))}
	})[0]
	return h
}

// look reads the words of the runs that tell whether the column is covered.
func (h *columnHalf) look() {
	for _, x := range h.k.columnSegment().Except {
		h.covered = append(h.covered, h.k.coverWord(x, h.id))
	}
}

// vote writes the half's words.
func (h *columnHalf) vote() {
	k, s := h.k, h.k.columnSegment()
	kept := k.ICmp(enum.IPredNE, h.id, lower.I32(noColumn))
	for _, word := range h.covered {
		kept = k.And(kept, k.uncovered(word, h.id))
	}
	inside := k.And(k.ICmp(enum.IPredSGE, h.id, k.LoAt(s, k.last())), k.ICmp(enum.IPredSLT, h.id, k.HiAt(s, k.first())))
	keptWord, openWord := k.Ballot(kept), k.Ballot(k.And(kept, k.Xor(inside, lower.Bool(true))))
	k.If("words", k.And(k.ICmp(enum.IPredEQ, k.lane, lower.I32(0)), h.columns), nil, func() []Value {
		k.Store(keptWord, k.SharedAt(h.at, k.layout.words), 4)
		k.Store(openWord, k.SharedAt(h.at, k.layout.words+8), 4)
		return nil
	})
}

// columnMask are the mask words of a slot of columns: those that count, the same for all rows, unless one of them lies where
// rows differ.
func (k *kernel) columnMask(s slot, index, strip int) []Value {
	v := k.Load(lower.Vec4, k.SharedAt(k.shared, k.layout.words+index*wordsBytes), 16)
	shift := k.Shl(k.And(k.lane, lower.I32(3)), 1)
	lo, hi := k.ShrClamp(k.Lane4(v, 0), shift), k.ShrClamp(k.Lane4(v, 1), shift)
	words := []Value{lo, hi, lo, hi}
	open := k.ICmp(enum.IPredNE, k.Or(k.Lane4(v, 2), k.Lane4(v, 3)), lower.I32(0))
	return k.If("open", open, words, func() []Value { return k.columnBounds(s, strip, words) })
}

// coverWord is the word of a head's runs that has a column's bit for this row block; 0 for columns after the block, which are
// left to the bounds.
func (k *kernel) coverWord(runs ir.Source, id Value) Value {
	delta := k.coverDelta(id)
	reach := k.ICmp(enum.IPredSGE, delta, lower.I32(0))
	return k.If("covered", reach, []Value{lower.I32(0)}, func() []Value {
		at := k.entryAt(k.field(runs, "covered"), k.head(), k.field(runs, "cover_words"), k.LShr(delta, 5))
		return []Value{k.Load(types.I32, at, 4)}
	})[0]
}

// coverDelta is the distance of a column from the row block's end, which is where runs have their bits.
func (k *kernel) coverDelta(id Value) Value {
	return k.Add(k.Sub(k.first(), id), lower.I32(ir.BlockSize-1))
}

// uncovered tests a column's bit.
func (k *kernel) uncovered(word, id Value) Value {
	bit := k.And(k.ShrClamp(word, k.And(k.coverDelta(id), lower.I32(31))), lower.I32(1))
	return k.ICmp(enum.IPredEQ, bit, lower.I32(0))
}

// columnBounds cuts the words of a slot of columns by the bounds of the thread's two rows of a strip, column by column. Few
// slots need it: those with columns near the diagonal.
func (k *kernel) columnBounds(s slot, strip int, words []Value) []Value {
	seg := k.columnSegment()
	first := k.Add(s.start, k.Shl(k.And(k.lane, lower.I32(3)), 1))
	var lo, hi [2]Value
	for r := range 2 {
		q := k.Add(k.first(), k.rowOf(strip, r))
		lo[r], hi[r] = k.LoAt(seg, q), k.HiAt(seg, q)
	}
	in := make([]Value, 4)
	for i := range in {
		in[i] = lower.I32(0)
	}
	for col := 0; col < k.slotKeys; col += 8 {
		for c := range 2 {
			id := k.listAt(seg.From, k.Add(first, lower.I32(int64(col+c))))
			for r := range 2 {
				ok := k.And(k.ICmp(enum.IPredSGE, id, lo[r]), k.ICmp(enum.IPredSLT, id, hi[r]))
				bit := lower.I32(1 << ((col + c) % 32))
				in[2*r+col/32] = k.Or(in[2*r+col/32], k.Select(ok, bit, lower.I32(0)))
			}
		}
	}
	for i := range in {
		in[i] = k.And(in[i], words[i])
	}
	return in
}
