package sm90

import (
	"slices"

	"github.com/llir/llvm/ir/enum"

	"github.com/minfc/minfc/codegen/lower"
	"github.com/minfc/minfc/ir"
)

// Schedules with lists. A segment's slots are taken 32 at a time, one a lane: all lanes read their entries at once, see which
// matter to this row tile (those come first) and which slots they are. The entries of the next 32 are under way meanwhile. Slots of different segments share a stage: one that is left over waits
// for the next segment.

// batch is the number of slots that are resolved at once.
const batch = 32

// source is a piece of a segment as the walk sees it: what lane values of a batch cost memory is loaded ahead.
type source struct {
	segment lower.Segment
	number  int
	piece   lower.SlotPiece // of ranges
	length  Value           // of lists, in entries
	entry   Value           // of lists: this lane's entry of the first batch
}

// walk is what the producer's loops carry: where the next stage goes, and the slot that waits for a second one.
type walk struct {
	cursor
	waiting Value // 1 or 0
	slot
}

func (w walk) values() []Value {
	return []Value{w.buffer, w.parity, w.first, w.waiting, w.start, w.flags}
}

func walkOf(v []Value) walk {
	return walk{cursor{place{v[0], v[1]}, v[2]}, v[3], slot{start: v[4], flags: v[5]}}
}

func (k *kernel) produceSlots(c cursor, sources []source) place {
	w := walk{c, lower.I32(0), emptySlot}
	for _, s := range sources {
		w = k.walkSource(s, w)
	}
	waits := k.ICmp(enum.IPredNE, w.waiting, lower.I32(0))
	last := slot{start: k.Select(waits, w.start, emptySlot.start), flags: k.Select(waits, w.flags, emptySlot.flags)}
	slots := []slot{last, emptySlot}[:k.perStage()]
	return k.stageIf("last", k.ICmp(enum.IPredNE, k.Or(w.waiting, w.first), lower.I32(0)), w.cursor, slots)
}

func (k *kernel) perStage() int { return k.keys / k.SlotKeys }

// listHeads are, of each list that the segments read, its length for a row tile and this lane's entry of the first batch.
type listHeads struct{ length, entry []Value }

func (h listHeads) values() []Value { return slices.Concat(h.length, h.entry) }

// with is h with other values, in the order of values.
func (h listHeads) with(v []Value) listHeads {
	n := len(h.length)
	return listHeads{v[:n], v[n : 2*n]}
}

// lengths starts to read the lists of the tile at k.At, entries goes on.
func (k *kernel) lengths() (h listHeads) {
	for _, s := range k.listSegments() {
		h.length = append(h.length, k.ListLength(s.From))
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

// entryOf reads what decides on slot i of a list: its entry, or the first of its 64 columns; 0 beyond the end.
func (k *kernel) entryOf(x source, i Value) Value {
	at := k.indexOf(x, i)
	inside := k.ICmp(enum.IPredSLT, at, x.length)
	return k.If("entry", inside, []Value{lower.I32(0)}, func() []Value { return []Value{k.ListAt(x.segment.From, at)} })[0]
}

// indexOf is where that is in the list.
func (k *kernel) indexOf(x source, i Value) Value {
	if x.segment.From.Kind == ir.SourceColumns {
		return k.Shl(i, 6)
	}
	return i
}

// walkSource walks the batches of one source; the first that is not full is the last.
func (k *kernel) walkSource(x source, w walk) walk {
	entry := x.entry
	if entry == nil {
		entry = lower.I32(0)
	}
	start := append(w.values(), lower.I32(0), entry)
	v := k.Repeat("batch", start, func(v []Value) ([]Value, Value) {
		w, base, entry := walkOf(v), v[6], v[7]
		i := k.Add(base, k.Lane)
		live := k.live(x, i, entry)
		n, own := k.Popc(k.Ballot(live)), k.slotOf(x, i, entry)
		own.flags = k.Select(live, own.flags, emptySlot.flags) // its columns are looked at even if it is not loaded
		base = k.Add(base, lower.I32(batch))
		if x.entry != nil {
			entry = k.entryOf(x, k.Add(base, k.Lane))
		}
		w = k.stagesOf(own, n, w)
		return append(w.values(), base, entry), k.ICmp(enum.IPredEQ, n, lower.I32(batch))
	})
	return walkOf(v)
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
	v := k.ListSlot(s, i, func() Value { return entry }, lower.I32(number), k.LoAt(s, k.Last()), k.HiAt(s, k.First()))
	return slot{start: v[0], flags: v[1]}
}

// stagesOf loads the n slots that the lanes hold, as many a stage as fit; the one that is left over waits.
func (k *kernel) stagesOf(own slot, n Value, w walk) walk {
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
	ahead := k.cover(k.look(stageAt(lower.I32(0))))
	start := append([]Value{lower.I32(0), w.buffer, w.parity, w.first}, ahead.values()...)
	v := k.While("slots", start,
		func(v []Value) Value { return k.ICmp(enum.IPredSLE, k.Add(v[0], per), total) },
		func(v []Value) []Value {
			c, slots, next := cursor{place{v[1], v[2]}, v[3]}, stageAt(v[0]), k.Add(v[0], per)
			c = k.stage(c, slots, k.words(slots, ahead.with(v[4:])))
			return append([]Value{next, c.buffer, c.parity, c.first}, k.cover(k.look(stageAt(next))).values()...)
		})
	left := at(v[0])
	return walk{cursor{place{v[1], v[2]}, v[3]}, k.Sub(total, v[0]), left}
}

// columns are those of a stage's slots, as the lanes see them while it is found out which count: first their ids are read (look),
// then whether runs cover them (cover), then the lanes vote (words). A stage's first two are done as soon as the copies of the
// stage before are under way: their loads are over when its buffer is free.
type columns struct {
	ids     []Value   // of each half slot, this lane's
	covered [][]Value // of each half slot and row block, its lower.CoverWords
}

func (c columns) values() []Value {
	out := slices.Clone(c.ids)
	for _, words := range c.covered {
		out = append(out, words...)
	}
	return out
}

// with is c with other values, in the order of values.
func (c columns) with(v []Value) columns {
	out := columns{ids: v[:len(c.ids)]}
	v = v[len(c.ids):]
	for _, words := range c.covered {
		out.covered = append(out.covered, v[:len(words)])
		v = v[len(words):]
	}
	return out
}

func (k *kernel) isColumns(s slot) Value {
	return k.ICmp(enum.IPredNE, k.And(s.flags, lower.I32(lower.FlagColumns)), lower.I32(0))
}

// look reads the ids; slots that are no columns have none.
func (k *kernel) look(slots []slot) columns {
	var out columns
	if !k.HasColumns() {
		return out
	}
	for _, s := range slots {
		none := lower.I32(lower.NoColumn)
		out.ids = append(out.ids, k.If("columns", k.isColumns(s), []Value{none, none}, func() []Value {
			at := k.Add(s.start, k.Lane)
			list := k.ColumnSegment().From
			return []Value{k.ListAt(list, at), k.ListAt(list, k.Add(at, lower.I32(32)))}
		})...)
	}
	return out
}

func (k *kernel) cover(c columns) columns {
	for _, id := range c.ids {
		for b := range k.blocks() {
			c.covered = append(c.covered, k.CoverWords(id, b))
		}
	}
	return c
}

// words are those of each slot's columns, for each row block two that count and two that are open (lower.KeptColumns and OpenColumns); zeros for
// other slots.
func (k *kernel) words(slots []slot, c columns) [][]Value {
	if !k.HasColumns() {
		return nil
	}
	var out [][]Value
	for i, s := range slots {
		none := make([]Value, 4*k.blocks())
		for n := range none {
			none[n] = lower.I32(0)
		}
		out = append(out, k.If("vote", k.isColumns(s), none, func() []Value { return k.slotWords(c, i) }))
	}
	return out
}

func (k *kernel) slotWords(c columns, slot int) []Value {
	var open, out []Value
	for half := range 2 {
		open = append(open, k.OpenColumns(c.ids[2*slot+half]))
	}
	for b := range k.blocks() {
		for half := range 2 {
			n := 2*slot + half
			out = append(out, k.KeptColumns(c.ids[n], c.covered[n*k.blocks()+b], b))
		}
		out = append(out, open...)
	}
	return out
}

// dropFull takes the flag of columns off a slot of which all count for all rows: the consumers need not look.
func (k *kernel) dropFull(flags Value, words []Value) Value {
	all, open := Value(lower.I32(-1)), k.Or(words[2], words[3])
	for b := range k.blocks() {
		all = k.And(all, k.And(words[4*b], words[4*b+1]))
	}
	full := k.And(k.ICmp(enum.IPredEQ, all, lower.I32(-1)), k.ICmp(enum.IPredEQ, open, lower.I32(0)))
	return k.Select(full, k.And(flags, lower.I32(^lower.FlagColumns)), flags)
}
