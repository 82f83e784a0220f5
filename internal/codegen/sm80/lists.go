package sm80

import (
	"github.com/llir/llvm/ir/enum"

	"github.com/minfc/minfc/internal/codegen/lower"
)

// Lists: segments whose keys the data chose. abi.ListFields has their buffers; one list a head for runs and columns, one a
// row block for blocks. queue.go turns their entries into slots.

// compacted starts the copy of a slot of columns. The copies are padded to whole slots, so there are no bounds.
func (l loader) compacted(src source, s lower.Slot) {
	k := l.kn
	list := k.ColumnSegment().From
	buffer := k.ListField(list, src.rows.Tensor+"c")
	row := k.Add(k.Add(s.Start, l.row), k.Mul(k.ListHead(list), k.ListField(list, "col_cap"))) // H * col_cap stays far below 2^31
	p := k.Offset(buffer, k.Add(k.Mul(k.SExt64(row), lower.I64(int64(2*k.headDim))), k.chunkOffset(l.copyLane)))
	for i := range k.SlotKeys / k.rowsPerPass() {
		from := k.Offset(p, lower.I64(int64(i*k.rowsPerPass()*2*k.headDim)))
		l.panels(from, src.offset+i*k.rowsPerPass()*panelBytes, k.kvPanel, nil)
	}
}

// gathered starts the copy of a slot of keys that the caller gives, each from its own row. What is no key becomes zeros. A round asks the list
// for few rows: registers are short here, and after the first round the list is in the L1 cache.
func (l loader) gathered(src source, s lower.Slot) {
	k := l.kn
	const passes = 2 // of a round
	k.Repeat("gather", lower.I32(0), func(first Value) (Value, Value) {
		at := l
		at.shared = k.Add(l.shared, k.MulBy(first, panelBytes))
		for i := range passes {
			at.gatherRow(src, k.Add(k.Add(s.Start, first), k.Add(l.row, lower.I32(int64(i*k.rowsPerPass())))), i*k.rowsPerPass()*panelBytes)
		}
		next := k.Add(first, lower.I32(int64(passes*k.rowsPerPass())))
		return next, k.ICmp(enum.IPredSLT, next, lower.I32(int64(k.SlotKeys)))
	})
}

// gatherRow copies the row of element n of the list to an offset.
func (l loader) gatherRow(src source, n Value, offset int) {
	k := l.kn
	id := k.ColumnsOf(k.ColumnSegment().From)(n)
	there := k.ICmp(enum.IPredNE, id, lower.I32(lower.NoColumn))
	from := src.rows.At(k.Sub(k.Select(there, id, lower.I32(0)), l.row)) // the rows begin at the thread's
	l.panels(from, src.offset+offset, k.kvPanel, k.Select(there, lower.I32(chunkBytes), lower.I32(0)))
}

// wordsBytes is what a slot of columns has in shared memory: two words of columns that count for this row block, and two of
// the columns among them whose position must be compared with each row's bounds.
const wordsBytes = 16

// columnWordsOf finds the words of the step at p, in three parts, so that the caller can put other work behind each of its two
// dependent loads: it reads which columns, look reads whether runs cover them, vote writes the words. A lane takes one
// column, a warp half a slot.
func (k *kernel) columnWordsOf(p position) (look, vote func()) {
	if !k.HasColumns() {
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
func (k *kernel) newColumnHalf(p position, slots []lower.Slot, first int) *columnHalf {
	n := k.Add(k.warp, lower.I32(int64(first)))
	index, half := k.LShr(n, 1), k.And(n, lower.I32(1))
	s := slots[0]
	for i, x := range slots[1:] {
		mine := k.ICmp(enum.IPredEQ, index, lower.I32(int64(i+1)))
		s.Start, s.Flags = k.Select(mine, x.Start, s.Start), k.Select(mine, x.Flags, s.Flags)
	}
	h := &columnHalf{k: k, at: k.Add(k.shared, k.Add(k.Shl(index, 4), k.Shl(half, 2)))}
	h.columns = k.And(k.IsColumns(s), k.ICmp(enum.IPredEQ, p.done, lower.I32(0)))
	h.columns = k.And(h.columns, k.ICmp(enum.IPredSLT, index, lower.I32(int64(len(slots)))))
	h.id = k.Choose("ids", h.columns, lower.I32(lower.NoColumn), func() Value {
		return k.ColumnsOf(k.ColumnSegment().From)(k.Add(k.Add(s.Start, k.Lane), k.Shl(half, 5)))
	})
	return h
}

// look reads the words of the runs that tell whether the column is covered.
func (h *columnHalf) look() {
	h.covered = h.k.CoverWords(h.id, 0)
}

// vote writes the half's words.
func (h *columnHalf) vote() {
	k := h.k
	keptWord, openWord := k.KeptColumns(h.id, h.covered, 0), k.OpenColumns(h.id)
	k.If("words", k.And(k.ICmp(enum.IPredEQ, k.Lane, lower.I32(0)), h.columns), func() {
		k.Store(keptWord, k.SharedAt(h.at, k.layout.words), 4)
		k.Store(openWord, k.SharedAt(h.at, k.layout.words+8), 4)
	})
}
