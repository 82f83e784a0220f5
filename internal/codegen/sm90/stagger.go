package sm90

import (
	"github.com/llir/llvm/ir/enum"

	"github.com/minfc/minfc/internal/codegen/lower"
	"github.com/minfc/minfc/ir"
)

// Schedules with runs or columns, for a tile of two row blocks. A tile at offset L of a run lies at first+L for the first row
// block and 64 keys further for the second, so a stage of three slots serves both:
//
//	two neighbours L, L-64    [first+L-64 | first+L | first+L+64]       slots 0-1 and 1-2
//	one alone                 [first+L | a slot of columns | first+L+64]     "
//	columns, ranges           [one | the next]                          slots 0-1 for both
//
// The columns beside lone tiles cost no loads or steps of their own; without columns left, nothing is there.

// columnCursor is the next slot of columns, and how many there are.
type columnCursor struct{ next, total Value }

// produceStaggered loads all stages of a tile and returns where the next one's start. Pairs come first: they need nothing that is
// not there, and what is known of the columns arrives beside them.
func (k *kernel) produceStaggered(c cursor, sources []source, ahead func()) pipelineSlot {
	for _, s := range sources {
		switch s.segment.From.Kind {
		case ir.SourceRuns:
			c = k.producePairs(s, c)
		case ir.SourceRange:
			c = k.producePiece(s, c)
		}
	}
	ahead()
	cols := columnCursor{next: lower.I32(0), total: lower.I32(0)}
	for _, s := range sources {
		if s.segment.From.Kind == ir.SourceColumns {
			cols.total = k.countColumns(s)
		}
	}
	for _, s := range sources {
		if s.segment.From.Kind == ir.SourceRuns {
			c, cols = k.produceAlone(s, c, cols)
		}
	}
	if k.HasColumns() {
		c = k.produceColumns(c, cols)
	}
	return k.stageIf("nothing", k.ICmp(enum.IPredNE, c.first, lower.I32(0)), c, []slot{emptySlot, emptySlot})
}

// countColumns is the number of slots of columns that matter to the tile.
func (k *kernel) countColumns(x source) Value {
	start := countedBatch{lower.I32(0), lower.I32(0), x.entry}
	return lower.Repeat(k.Builder, "count", start, func(b countedBatch) (countedBatch, Value) {
		live := k.Popc(k.Ballot(k.live(x, k.Add(b.base, k.Lane), b.entry)))
		b.base = k.Add(b.base, lower.I32(batch))
		again := k.ICmp(enum.IPredEQ, live, lower.I32(batch))
		b.entry = k.entryIf(again, x, b.base)
		b.count = k.Add(b.count, live)
		return b, again
	}).count
}

// countedBatch is a batch of a source's entries: number of the first one, how many before it count, and this lane's entry.
type countedBatch struct{ base, count, entry Value }

func (b *countedBatch) Values() []*Value { return []*Value{&b.base, &b.count, &b.entry} }

// entryIf reads this lane's entry of the batch at base, if more holds.
func (k *kernel) entryIf(more Value, x source, base Value) Value {
	return k.Choose("more", more, lower.I32(0), func() Value { return k.entryOf(x, k.Add(base, k.Lane)) })
}

// columnSlot is slot n of the columns, an empty one from total on.
func (k *kernel) columnSlot(n, total Value) slot {
	if !k.HasColumns() {
		return emptySlot
	}
	there := k.ICmp(enum.IPredSLT, n, total)
	number := 0
	for i, s := range k.Segs {
		if s.From.Kind == ir.SourceColumns {
			number = i
		}
	}
	flags := lower.I32(int64(number)<<lower.SegmentShift | lower.FlagColumns)
	return slot{k.Select(there, k.Shl(n, 6), emptySlot.start), k.Select(there, flags, emptySlot.flags), copies}
}

// eachBatch walks the entries of a list of runs that matter, 32 at a time. body gets this lane's entry, and as words of lanes
// which begin a pair of neighbours and which are alone; it takes state on.
func eachBatch[T any, P lower.State[T]](k *kernel, x source, state T, body func(entry, pairs, alone Value, state T) T) T {
	type entries = batchOf[T, P]
	return lower.Repeat(k.Builder, "batch", entries{lower.I32(0), x.entry, state}, func(b entries) (entries, Value) {
		live := k.Ballot(k.live(x, k.Add(b.base, k.Lane), b.entry))
		full := k.ICmp(enum.IPredEQ, live, lower.I32(-1))
		base := k.Add(b.base, lower.I32(batch))
		next := k.entryIf(full, x, base)
		pairs, alone := k.pair(b.entry, live)
		return entries{base, next, body(b.entry, pairs, alone, b.state)}, full
	}).state
}

// batchOf is a batch of a list's entries: number of the first one, this lane's entry, and what is carried beside them.
type batchOf[T any, P lower.State[T]] struct {
	base, entry Value
	state       T
}

func (b *batchOf[T, P]) Values() []*Value {
	return append([]*Value{&b.base, &b.entry}, P(&b.state).Values()...)
}

// pair tells of the lanes' entries which begin a pair of neighbours and which stay alone, as words of lanes. Entries follow each
// other downwards; in a run of neighbours every second one begins a pair.
func (k *kernel) pair(entry, live Value) (pairs, alone Value) {
	before := k.ShuffleFrom(entry, k.Sub(k.Lane, lower.I32(1)))
	follows := k.And(k.ICmp(enum.IPredEQ, k.Sub(before, entry), lower.I32(ir.BlockSize)), k.ICmp(enum.IPredSGT, k.Lane, lower.I32(0)))
	followers := k.And(k.Ballot(follows), live)
	// The run's first lane is the highest one up to this that does not follow.
	upTo := k.Or(k.LanesBelow(k.Lane), k.ShlClamp(lower.I32(1), k.Lane))
	head := k.HighBit(k.And(k.Not(followers), upTo))
	even := k.ICmp(enum.IPredEQ, k.And(k.Sub(k.Lane, head), lower.I32(1)), lower.I32(0))
	evens := k.And(k.Ballot(even), live)
	followed := k.LShr(followers, 1)
	return k.And(evens, followed), k.And(evens, k.Not(followed))
}

// eachLane runs body for every bit of a word, lowest first; it takes state on.
func eachLane[T any, P lower.State[T]](k *kernel, name string, word Value, state T, body func(lane Value, state T) T) T {
	type walk = lower.Walk[T, P]
	return lower.While(k.Builder, name, lower.Walking[T, P](word, state),
		func(bits walk) Value { return k.ICmp(enum.IPredNE, bits.At, lower.I32(0)) },
		func(bits walk) walk {
			lane := k.LowBit(bits.At)
			rest := k.And(bits.At, k.Sub(bits.At, lower.I32(1)))
			return lower.Walking[T, P](rest, body(lane, bits.Of))
		}).Of
}

// runSlot is a slot at an offset from the tile's first query.
func (k *kernel) runSlot(x source, offset Value) slot {
	of := k.ListSlot(x.segment, nil, func() Value { return offset }, lower.I32(int64(x.number)<<lower.SegmentShift),
		k.FullBottom(x.segment), k.FullTop(x.segment))
	return slot{of.Start, of.Flags, keys}
}

// staggered marks the first slot of a stage.
func (k *kernel) staggered(s slot) slot {
	return slot{s.start, k.Or(s.flags, lower.I32(flagStagger)), s.from}
}

// producePairs loads the stages of all pairs of a list.
func (k *kernel) producePairs(x source, c cursor) cursor {
	return eachBatch(k, x, c, func(entry, pairs, _ Value, c cursor) cursor {
		return eachLane(k, "pair", pairs, c, func(lane Value, c cursor) cursor {
			upper := k.ShuffleFrom(entry, lane)
			var slots []slot
			for i := range 3 {
				slots = append(slots, k.runSlot(x, k.Add(upper, lower.I32(int64(ir.BlockSize*(i-1))))))
			}
			slots[0] = k.staggered(slots[0])
			return k.wholeStage(c, slots)
		})
	})
}

// produceAlone loads the stages of all tiles of a list that are alone, a slot of columns beside each.
func (k *kernel) produceAlone(x source, c cursor, cols columnCursor) (cursor, columnCursor) {
	end := eachBatch(k, x, slotCursor{c, cols.next}, func(entry, _, alone Value, c slotCursor) slotCursor {
		return eachLane(k, "alone", alone, c, func(lane Value, c slotCursor) slotCursor {
			offset := k.ShuffleFrom(entry, lane)
			slots := []slot{
				k.staggered(k.runSlot(x, offset)),
				k.columnSlot(c.slot, cols.total),
				k.runSlot(x, k.Add(offset, lower.I32(ir.BlockSize))),
			}
			return slotCursor{k.stage(c.cursor, slots), k.Add(c.slot, lower.I32(1))}
		})
	})
	return end.cursor, columnCursor{end.slot, cols.total}
}

// slotCursor is where the next stage goes and, of columns or a range, the number of its first slot.
type slotCursor struct {
	cursor
	slot Value
}

func (c *slotCursor) Values() []*Value { return append(c.cursor.Values(), &c.slot) }

// produceColumns loads the columns that are left, two slots a stage.
func (k *kernel) produceColumns(c cursor, cols columnCursor) cursor {
	return lower.While(k.Builder, "columns", slotCursor{c, cols.next},
		func(c slotCursor) Value { return k.ICmp(enum.IPredSLT, c.slot, cols.total) },
		func(c slotCursor) slotCursor {
			after := k.Add(c.slot, lower.I32(1))
			next := k.stage(c.cursor, []slot{k.columnSlot(c.slot, cols.total), k.columnSlot(after, cols.total)})
			return slotCursor{next, k.Add(c.slot, lower.I32(2))}
		}).cursor
}

// producePiece walks a piece of a range from its top down, two slots a stage.
func (k *kernel) producePiece(x source, c cursor) cursor {
	flags := lower.I32(x.piece.Flags | int64(x.number)<<lower.SegmentShift)
	return lower.While(k.Builder, "piece", slotCursor{c, lower.I32(0)},
		func(c slotCursor) Value { return k.ICmp(enum.IPredSLT, c.slot, x.piece.Slots) },
		func(c slotCursor) slotCursor {
			upper := slot{k.Sub(x.piece.Top, k.MulBy(k.Add(c.slot, lower.I32(1)), ir.BlockSize)), flags, keys}
			more := k.ICmp(enum.IPredSLT, k.Add(c.slot, lower.I32(1)), x.piece.Slots)
			below := k.Sub(upper.start, lower.I32(ir.BlockSize))
			lowerSlot := slot{k.Select(more, below, emptySlot.start), k.Select(more, flags, emptySlot.flags), keys}
			next := k.stage(c.cursor, []slot{lowerSlot, upper})
			return slotCursor{next, k.Add(c.slot, lower.I32(2))}
		}).cursor
}
