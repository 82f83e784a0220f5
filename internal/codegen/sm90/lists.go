package sm90

import (
	"slices"

	"github.com/llir/llvm/ir/enum"

	"github.com/minfc/minfc/internal/codegen/lower"
	"github.com/minfc/minfc/ir"
)

// Schedules with lists. A segment's slots are taken 32 at a time, one a lane: all lanes read their entries at once, see which
// matter to this row tile (they come first) and which slots they are. The entries of the next 32 are under way meanwhile.
// Slots of different segments share a stage: one that is left over waits for the next segment. This is the walk where a tile
// is one row block; stagger.go has the walk for two.

// batch is the number of slots that are resolved at once.
const batch = 32

// source is a piece of a range or a list, as the walk sees it.
type source struct {
	segment lower.Segment
	number  int
	piece   lower.SlotPiece // of ranges
	length  Value           // of lists, in entries
	entry   Value           // of lists: this lane's entry of the first batch
}

// listState is what the loops carry: where the next stage goes, and the slot that waits for a second one.
type listState struct {
	cursor
	waiting Value // 1 or 0
	slot
}

func (l *listState) Values() []*Value {
	return append(append(l.cursor.Values(), &l.waiting), l.slot.Values()...)
}

// listBatch is a batch of a source's slots: number of the first one, and this lane's entry.
type listBatch struct {
	listState
	base, entry Value
}

func (b *listBatch) Values() []*Value { return append(b.listState.Values(), &b.base, &b.entry) }

func (k *kernel) walkSources(c cursor, sources []source) listState {
	w := listState{c, lower.I32(0), emptySlot}
	for _, s := range sources {
		w = k.walkSource(s, w)
	}
	return w
}

// lastSlot loads the slot that still waits. There is a stage even if there are no slots.
func (k *kernel) lastSlot(w listState) pipelineSlot {
	waits := k.ICmp(enum.IPredNE, w.waiting, lower.I32(0))
	last := slot{start: k.Select(waits, w.start, emptySlot.start), flags: k.Select(waits, w.flags, emptySlot.flags)}
	slots := []slot{last, emptySlot}[:k.perStage()]
	return k.stageIf("last", k.ICmp(enum.IPredNE, k.Or(w.waiting, w.first), lower.I32(0)), w.cursor, slots)
}

func (k *kernel) perStage() int { return k.keys / k.SlotKeys }

// listHeads are, of each list that the segments read, its length for a row tile and this lane's entry of the first batch.
type listHeads struct{ length, entry []Value }

func (h *listHeads) Values() []*Value { return lower.Pointers(h.length, h.entry) }

func (h listHeads) Clone() listHeads { return listHeads{slices.Clone(h.length), slices.Clone(h.entry)} }

// unread is h with zeros for what has not been read.
func (h listHeads) unread() listHeads {
	none := slices.Repeat([]Value{lower.I32(0)}, len(h.length))
	return listHeads{none, none}.Clone()
}

// lengths starts to read the lists of the tile at k.At, entries goes on.
func (k *kernel) lengths() (h listHeads) {
	for _, s := range k.listSegments() {
		h.length = append(h.length, k.ListLength(s))
	}
	return h
}

func (k *kernel) entries(h listHeads) listHeads {
	for i, s := range k.listSegments() {
		h.entry = append(h.entry, k.entryOf(source{segment: s, length: h.length[i]}, k.Lane))
	}
	return h
}

func (k *kernel) listSegments() (out []lower.Segment) {
	for _, s := range k.Segs {
		if !isRange(s) {
			out = append(out, s)
		}
	}
	return out
}

// sources are all pieces of ranges and all lists.
func (k *kernel) sources(heads listHeads) []source {
	var out []source
	lists := 0
	for i, s := range k.Segs {
		if isRange(s) {
			for _, p := range k.SlotPieces(s) {
				out = append(out, source{segment: s, number: i, piece: p})
			}
			continue
		}
		out = append(out, source{segment: s, number: i, length: heads.length[lists], entry: heads.entry[lists]})
		lists++
	}
	return out
}

// entryOf reads what decides on slot i of a list: its entry, or the first of its 64 columns; 0 beyond the end. Single keys that the caller
// gives stand in no order, so that one of them decides nothing, and means are there as far as their number goes.
func (k *kernel) entryOf(x source, i Value) Value {
	if x.segment.From.Kind == ir.SourceKeys || x.segment.From.Kind == ir.SourceMeans {
		return lower.I32(0)
	}
	at := k.indexOf(x, i)
	inside := k.ICmp(enum.IPredSLT, at, x.length)
	return k.Choose("entry", inside, lower.I32(0), func() Value { return k.ListAt(x.segment.From, at) })
}

// indexOf is where that is in the list.
func (k *kernel) indexOf(x source, i Value) Value {
	if x.segment.From.Kind.RowWise() {
		return k.Shl(i, 6)
	}
	return i
}

// walkSource walks the batches of one source; the first that is not full is the last.
func (k *kernel) walkSource(x source, w listState) listState {
	entry := x.entry
	if entry == nil {
		entry = lower.I32(0)
	}
	return lower.Repeat(k.Builder, "batch", listBatch{w, lower.I32(0), entry}, func(b listBatch) (listBatch, Value) {
		i := k.Add(b.base, k.Lane)
		n, own := k.Popc(k.Ballot(k.live(x, i, b.entry))), k.slotOf(x, i, b.entry)
		b.base = k.Add(b.base, lower.I32(batch))
		if x.entry != nil {
			b.entry = k.entryOf(x, k.Add(b.base, k.Lane))
		}
		b.listState = k.stagesOf(own, n, b.listState)
		return b, k.ICmp(enum.IPredEQ, n, lower.I32(batch))
	}).listState
}

// live says whether slot i is there and matters.
func (k *kernel) live(x source, i, entry Value) Value {
	if x.entry == nil {
		return k.ICmp(enum.IPredSLT, i, x.piece.Slots)
	}
	return k.And(k.ICmp(enum.IPredSLT, k.indexOf(x, i), x.length), k.Matters(x.segment, entry))
}

// slotOf is slot i of a source.
func (k *kernel) slotOf(x source, i, entry Value) slot {
	number := int64(x.number) << lower.SegmentShift
	if x.entry == nil {
		start := k.Sub(x.piece.Top, k.Shl(k.Add(i, lower.I32(1)), 6))
		return slot{start: start, flags: lower.I32(x.piece.Flags | number)}
	}
	s := x.segment
	of := k.ListSlot(s, i, func() Value { return entry }, lower.I32(number), k.FullBottom(s), k.FullTop(s))
	return slot{start: of.Start, flags: of.Flags}
}

// stagesOf loads the n slots that the lanes hold, as many a stage as fit; the one that is left over waits.
func (k *kernel) stagesOf(own slot, n Value, w listState) listState {
	per := lower.I32(int64(k.perStage()))
	total := k.Add(n, w.waiting)
	// Slot j of the batch with the waiting one in front.
	at := func(j Value) slot {
		lane := k.Sub(j, w.waiting)
		x := slot{start: k.ShuffleFrom(own.start, lane), flags: k.ShuffleFrom(own.flags, lane)}
		first := k.ICmp(enum.IPredSLT, lane, lower.I32(0))
		return slot{start: k.Select(first, w.start, x.start), flags: k.Select(first, w.flags, x.flags)}
	}
	stageAt := func(j Value) []slot {
		var slots []slot
		for i := range k.perStage() {
			slots = append(slots, at(k.Add(j, lower.I32(int64(i)))))
		}
		return slots
	}
	end := lower.While(k.Builder, "slots", lower.Walking(lower.I32(0), w.cursor),
		func(j cursorWalk) Value { return k.ICmp(enum.IPredSLE, k.Add(j.At, per), total) },
		func(j cursorWalk) cursorWalk {
			c := k.stage(j.Of, stageAt(j.At))
			return lower.Walking(k.Add(j.At, per), c)
		})
	left := at(end.At)
	return listState{end.Of, k.Sub(total, end.At), left}
}
