package sm80

import (
	"github.com/llir/llvm/ir/enum"
	"github.com/llir/llvm/ir/types"

	"github.com/minfc/minfc/internal/codegen/lower"
	"github.com/minfc/minfc/ir"
)

// queue walks schedules with lists. A row tile's slots are numbered through all segments. The block's threads resolve the
// next ones at once, one each, into shared memory: the list entries of a whole queue are in flight together,
// and a step of the loop reads its slots with one load. Walking entry by entry, all threads alike, took a fifth of the time.
//
// The piece table holds, of every non-empty piece: number of its first slot, top (of a range: the key after its first slot),
// flags, segment, and the bounds between which a slot of a list is full. It ends with a piece that begins at the total.
type queue struct{ k *kernel }

const (
	slotBytes = 8

	wordFirst      = 0
	wordQueueTop   = 1
	wordFullBottom = 4
	wordFullTop    = 5
)

func (w *queue) slotsPerStep() int { return w.k.keys / w.k.SlotKeys }

// within is the number of a slot within the queue, which has one for each thread.
func (w *queue) within(n Value) Value { return w.k.And(n, lower.I32(int64(32*w.k.warps-1))) }

func (w *queue) start() position {
	k := w.k
	at, first := Value(k.Add(k.shared, lower.I32(int64(k.table)))), Value(lower.I32(0))
	for i, s := range k.Segs {
		for _, p := range k.SlotPieces(s) {
			some := k.ICmp(enum.IPredSGT, p.Slots, lower.I32(0))
			k.put(at, k.And(some, k.writer()), first, p.Top, lower.I32(p.Flags), lower.I32(int64(i)),
				k.FullBottom(s), k.FullTop(s), lower.I32(0), lower.I32(0))
			at = k.Select(some, k.Add(at, lower.I32(pieceBytes)), at)
			first = k.Add(first, k.Max(p.Slots, lower.I32(0)))
		}
	}
	k.put(at, k.writer(), first, lower.I32(0), lower.I32(0), lower.I32(0))
	k.If("total", k.writer(), func() {
		k.Store(first, w.totalAt(), 4)
	})
	k.Barrier()
	w.fill(lower.I32(0))
	return w.at(lower.I32(0))
}

// total is the number of slots, read where it is needed.
func (w *queue) total() Value { return w.k.Load(types.I32, w.totalAt(), 4) }

func (w *queue) totalAt() Value { return w.k.SharedAt(w.k.shared, w.k.layout.slots) }

// at is the position of slot n.
func (w *queue) at(n Value) position {
	k := w.k
	return position{at: n, done: k.Select(k.ICmp(enum.IPredSLT, n, w.total()), lower.I32(0), lower.I32(1))}
}

func (w *queue) next(p position) position {
	k := w.k
	n := k.Add(p.at, lower.I32(int64(w.slotsPerStep())))
	wrapped := k.ICmp(enum.IPredEQ, w.within(n), lower.I32(0))
	refill := k.And(wrapped, k.ICmp(enum.IPredSLT, n, w.total()))
	k.If("refill", refill, func() {
		w.fill(n)
	})
	return w.at(n)
}

func (w *queue) slots(p position) []lower.Slot {
	var out []lower.Slot
	for i := range w.slotsPerStep() {
		out = append(out, w.read(w.k.Add(p.at, lower.I32(int64(i)))))
	}
	return out
}

func (w *queue) entry(n Value) Value {
	k := w.k
	return k.SharedAt(k.Add(k.shared, k.Shl(w.within(n), 3)), k.layout.queue)
}

func (w *queue) read(n Value) lower.Slot {
	k := w.k
	v := k.Load(pair, w.entry(n), slotBytes)
	flags := k.Lane4(v, 1)
	return lower.Slot{Start: k.Lane4(v, 0), Flags: flags, Segment: func() Value { return k.LShr(flags, lower.SegmentShift) }}
}

var pair = types.NewVector(2, types.I32)

// fill resolves the slots from base on, one a thread, and lets the block see them.
func (w *queue) fill(base Value) {
	k := w.k
	tid := k.ThreadX()
	n := k.Add(base, tid)
	live := k.ICmp(enum.IPredSLT, n, w.total())
	none := lower.Slot{Start: lower.I32(lower.FarBelow), Flags: lower.I32(lower.FlagEdge)}
	out := lower.Choose(k.Builder, "resolve", live, none, func() lower.Slot { return w.resolve(n) })
	k.Store(k.PackVector(out.Start, out.Flags), w.entry(n), slotBytes)
	k.Barrier()
}

// resolve is the start and flags of slot n.
func (w *queue) resolve(n Value) lower.Slot {
	k := w.k
	table := k.Add(k.shared, lower.I32(int64(k.table)))
	word := func(at Value, i int) Value { return k.Load(types.I32, k.SharedAt(at, 4*i), 4) }
	at := k.Repeat("piece", k.Sub(table, lower.I32(pieceBytes)), func(at Value) (Value, Value) {
		next := k.Add(at, lower.I32(pieceBytes))
		return next, k.ICmp(enum.IPredSGE, n, word(next, pieceBytes/4+wordFirst))
	})
	i := k.Sub(n, word(at, wordFirst))
	segment := word(at, wordSegment)
	number := k.Shl(segment, lower.SegmentShift)
	start := k.Sub(word(at, wordQueueTop), k.Shl(k.Add(i, lower.I32(1)), 6))
	out := lower.Slot{Start: start, Flags: k.Or(number, word(at, wordFlags))}
	for j, s := range k.Segs {
		if s.From.Kind == ir.SourceRange {
			continue
		}
		mine := k.ICmp(enum.IPredEQ, segment, lower.I32(int64(j)))
		out = lower.Choose(k.Builder, "list", mine, out, func() lower.Slot {
			return k.ListSlot(s, i, func() Value { return k.ListAt(s.From, i) }, number, word(at, wordFullBottom), word(at, wordFullTop))
		})
	}
	return out
}
