package sm90

import (
	"github.com/llir/llvm/ir/enum"

	"github.com/minfc/minfc/codegen/lower"
)

// Schedules with lists. A row tile's slots are numbered through all segments; the lanes of the producer warp resolve the next
// 32 at once, so that as many list entries are in flight together. Slots of different segments share a stage.

// batch is the number of slots that are resolved at once.
const batch = 32

// numbered is a piece and the number of its first slot.
type numbered struct {
	lower.SlotPiece
	first   Value
	segment int
}

func (k *kernel) produceSlots(p place) place {
	pieces, total := k.numberSlots()
	v := k.While("batch", []Value{lower.I32(0), p.buffer, p.parity},
		func(v []Value) Value { return k.ICmp(enum.IPredSLT, v[0], total) },
		func(v []Value) []Value {
			start, flags := k.resolve(pieces, total, k.Add(v[0], k.Lane))
			left := k.Min(k.Sub(total, v[0]), lower.I32(batch))
			p := k.stagesOf(start, flags, left, place{v[1], v[2]})
			return []Value{k.Add(v[0], lower.I32(batch)), p.buffer, p.parity}
		})
	return place{v[1], v[2]}
}

// numberSlots counts the slots of every piece.
func (k *kernel) numberSlots() (pieces []numbered, total Value) {
	total = lower.I32(0)
	for i, s := range k.Segs {
		for _, p := range k.SlotPieces(s) {
			pieces = append(pieces, numbered{p, total, i})
			total = k.Add(total, k.Max(p.Slots, lower.I32(0)))
		}
	}
	return pieces, total
}

// resolve is the start and the flags of slot n; beyond the end, a slot without keys.
func (k *kernel) resolve(pieces []numbered, total, n Value) (start, flags Value) {
	out := []Value{lower.I32(lower.FarBelow), lower.I32(lower.FlagEdge)}
	for _, p := range pieces {
		i := k.Sub(n, p.first)
		mine := k.And(k.ICmp(enum.IPredSGE, i, lower.I32(0)), k.ICmp(enum.IPredSLT, i, p.Slots))
		out = k.If("piece", mine, out, func() []Value { return k.slotOf(p, i) })
	}
	return out[0], out[1]
}

// slotOf is slot i of a piece.
func (k *kernel) slotOf(p numbered, i Value) []Value {
	s, number := k.Segs[p.segment], int64(p.segment)<<lower.SegmentShift
	if isRange(s) {
		start := k.Sub(p.Top, k.Shl(k.Add(i, lower.I32(1)), 6))
		return []Value{start, lower.I32(p.Flags | number)}
	}
	return k.ListSlot(s, i, lower.I32(number), k.LoAt(s, k.Last()), k.HiAt(s, k.First()))
}

// stagesOf loads the slots of a batch, of which the lanes hold start and flags, as many a stage as fit.
func (k *kernel) stagesOf(start, flags, left Value, p place) place {
	perStage := k.keys / k.SlotKeys
	v := k.While("slots", []Value{lower.I32(0), p.buffer, p.parity},
		func(v []Value) Value { return k.ICmp(enum.IPredSLT, v[0], left) },
		func(v []Value) []Value {
			var slots []slot
			for i := range perStage {
				lane := k.Add(v[0], lower.I32(int64(i)))
				slots = append(slots, slot{k.ShuffleFrom(start, lane), k.ShuffleFrom(flags, lane)})
			}
			next := k.stage(place{v[1], v[2]}, slots)
			return []Value{k.Add(v[0], lower.I32(int64(perStage))), next.buffer, next.parity}
		})
	return place{v[1], v[2]}
}

// writeWords writes the words of those slots that are columns to the header: two lanes' worth of 32 columns each.
func (k *kernel) writeWords(header Value, slots []slot) {
	if !k.HasColumns() {
		return
	}
	for i, s := range slots {
		columns := k.ICmp(enum.IPredNE, k.And(s.flags, lower.I32(lower.FlagColumns)), lower.I32(0))
		k.If("columns", columns, nil, func() []Value {
			words := k.columnWords(s)
			k.If("words", k.ICmp(enum.IPredEQ, k.Lane, lower.I32(0)), nil, func() []Value {
				k.Store(k.Pack4(words...), k.SharedAt(header, wordsAt+i*wordsBytes), 16)
				return nil
			})
			return nil
		})
	}
	k.AsmEffect("bar.warp.sync 0xffffffff;", "~{memory}")
}

// columnWords are the words of a slot of columns: two that count, two that are open (lower.ColumnVote).
func (k *kernel) columnWords(s slot) []Value {
	var ids [2]Value
	var covered [2][]Value
	for half := range ids {
		at := k.Add(k.Add(s.start, k.Lane), lower.I32(int64(32*half)))
		ids[half] = k.ListAt(k.ColumnSegment().From, at)
	}
	for half, id := range ids {
		covered[half] = k.CoverWords(id)
	}
	out := make([]Value, 4)
	for half, id := range ids {
		out[half], out[2+half] = k.ColumnVote(id, covered[half])
	}
	return out
}
