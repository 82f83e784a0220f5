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
	v := k.Repeat("count", []Value{lower.I32(0), lower.I32(0), x.entry}, func(v []Value) ([]Value, Value) {
		live := k.Popc(k.Ballot(k.live(x, k.Add(v[0], k.Lane), v[2])))
		base := k.Add(v[0], lower.I32(batch))
		again := k.ICmp(enum.IPredEQ, live, lower.I32(batch))
		entry := k.If("more", again, []Value{lower.I32(0)}, func() []Value {
			return []Value{k.entryOf(x, k.Add(base, k.Lane))}
		})
		return []Value{base, k.Add(v[1], live), entry[0]}, again
	})
	return v[1]
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
// which begin a pair of neighbours and which are alone.
func (k *kernel) eachBatch(x source, v []Value, body func(entry, pairs, alone Value, v []Value) []Value) []Value {
	out := k.Repeat("batch", append([]Value{lower.I32(0), x.entry}, v...), func(v []Value) ([]Value, Value) {
		base, entry := v[0], v[1]
		live := k.Ballot(k.live(x, k.Add(base, k.Lane), entry))
		full := k.ICmp(enum.IPredEQ, live, lower.I32(-1))
		base = k.Add(base, lower.I32(batch))
		next := k.If("more", full, []Value{lower.I32(0)}, func() []Value { return []Value{k.entryOf(x, k.Add(base, k.Lane))} })
		pairs, alone := k.pair(entry, live)
		return append([]Value{base, next[0]}, body(entry, pairs, alone, v[2:])...), full
	})
	return out[2:]
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

// eachLane runs body for every bit of a word, lowest first; v are the values it carries.
func (k *kernel) eachLane(name string, word Value, v []Value, body func(lane Value, v []Value) []Value) []Value {
	out := k.While(name, append([]Value{word}, v...),
		func(v []Value) Value { return k.ICmp(enum.IPredNE, v[0], lower.I32(0)) },
		func(v []Value) []Value {
			lane := k.LowBit(v[0])
			rest := k.And(v[0], k.Sub(v[0], lower.I32(1)))
			return append([]Value{rest}, body(lane, v[1:])...)
		})
	return out[1:]
}

// runSlot is a slot at an offset from the tile's first query.
func (k *kernel) runSlot(x source, offset Value) slot {
	v := k.ListSlot(x.segment, nil, func() Value { return offset }, lower.I32(int64(x.number)<<lower.SegmentShift),
		k.FullBottom(x.segment), k.FullTop(x.segment))
	return slot{v[0], v[1], keys}
}

// staggered marks the first slot of a stage.
func (k *kernel) staggered(s slot) slot {
	return slot{s.start, k.Or(s.flags, lower.I32(flagStagger)), s.from}
}

// producePairs loads the stages of all pairs of a list.
func (k *kernel) producePairs(x source, c cursor) cursor {
	v := k.eachBatch(x, []Value{c.buffer, c.parity, c.first}, func(entry, pairs, _ Value, v []Value) []Value {
		return k.eachLane("pair", pairs, v, func(lane Value, v []Value) []Value {
			upper := k.ShuffleFrom(entry, lane)
			var slots []slot
			for i := range 3 {
				slots = append(slots, k.runSlot(x, k.Add(upper, lower.I32(int64(ir.BlockSize*(i-1))))))
			}
			slots[0] = k.staggered(slots[0])
			next := k.wholeStage(cursor{pipelineSlot{v[0], v[1]}, v[2]}, slots)
			return []Value{next.buffer, next.parity, next.first}
		})
	})
	return cursor{pipelineSlot{v[0], v[1]}, v[2]}
}

// produceAlone loads the stages of all tiles of a list that are alone, a slot of columns beside each.
func (k *kernel) produceAlone(x source, c cursor, cols columnCursor) (cursor, columnCursor) {
	v := k.eachBatch(x, []Value{c.buffer, c.parity, c.first, cols.next}, func(entry, _, alone Value, v []Value) []Value {
		return k.eachLane("alone", alone, v, func(lane Value, v []Value) []Value {
			offset := k.ShuffleFrom(entry, lane)
			slots := []slot{
				k.staggered(k.runSlot(x, offset)),
				k.columnSlot(v[3], cols.total),
				k.runSlot(x, k.Add(offset, lower.I32(ir.BlockSize))),
			}
			c := k.stage(cursor{pipelineSlot{v[0], v[1]}, v[2]}, slots)
			return []Value{c.buffer, c.parity, c.first, k.Add(v[3], lower.I32(1))}
		})
	})
	return cursor{pipelineSlot{v[0], v[1]}, v[2]}, columnCursor{v[3], cols.total}
}

// produceColumns loads the columns that are left, two slots a stage.
func (k *kernel) produceColumns(c cursor, cols columnCursor) cursor {
	v := k.While("columns", []Value{c.buffer, c.parity, c.first, cols.next},
		func(v []Value) Value { return k.ICmp(enum.IPredSLT, v[3], cols.total) },
		func(v []Value) []Value {
			after := k.Add(v[3], lower.I32(1))
			c := k.stage(cursor{pipelineSlot{v[0], v[1]}, v[2]}, []slot{k.columnSlot(v[3], cols.total), k.columnSlot(after, cols.total)})
			return []Value{c.buffer, c.parity, c.first, k.Add(v[3], lower.I32(2))}
		})
	return cursor{pipelineSlot{v[0], v[1]}, v[2]}
}

// producePiece walks a piece of a range from its top down, two slots a stage.
func (k *kernel) producePiece(x source, c cursor) cursor {
	flags := lower.I32(x.piece.Flags | int64(x.number)<<lower.SegmentShift)
	v := k.While("piece", []Value{c.buffer, c.parity, c.first, lower.I32(0)},
		func(v []Value) Value { return k.ICmp(enum.IPredSLT, v[3], x.piece.Slots) },
		func(v []Value) []Value {
			upper := slot{k.Sub(x.piece.Top, k.MulBy(k.Add(v[3], lower.I32(1)), ir.BlockSize)), flags, keys}
			more := k.ICmp(enum.IPredSLT, k.Add(v[3], lower.I32(1)), x.piece.Slots)
			below := k.Sub(upper.start, lower.I32(ir.BlockSize))
			lowerSlot := slot{k.Select(more, below, emptySlot.start), k.Select(more, flags, emptySlot.flags), keys}
			next := k.stage(cursor{pipelineSlot{v[0], v[1]}, v[2]}, []slot{lowerSlot, upper})
			return []Value{next.buffer, next.parity, next.first, k.Add(v[3], lower.I32(2))}
		})
	return cursor{pipelineSlot{v[0], v[1]}, v[2]}
}
