package sm90

import (
	"github.com/llir/llvm/ir/enum"
	"github.com/llir/llvm/ir/types"

	"github.com/minfc/minfc/internal/codegen/lower"
)

// follow is the work of the warp that loads V: it reads header after header and loads what they say. So the walk never waits for
// a V buffer, and has time to look at lists.
func (k *kernel) follow(Value) {
	p := pipelineSlot{lower.I32(0), lower.I32(0)}
	if !k.queued {
		k.kvHead = k.KVHead(k.At.Head())
	}
	zero := lower.I32(0)
	k.While("follow", []Value{p.buffer, p.parity, zero, zero, zero},
		func(v []Value) Value { return k.isPosted(pipelineSlot{v[0], v[1]}) },
		func(v []Value) []Value {
			p := pipelineSlot{v[0], v[1]}
			item := k.itemOf(p.buffer, v[2:])
			slots := k.postedSlots(p.buffer)
			k.Converge()
			at := k.pipelineSlotOfV(p)
			k.await(k.barrierAt(emptyV, at.buffer), k.Xor(at.parity, lower.I32(1)))
			k.letGo(emptyK, p.buffer) // the header has been read
			k.elected(func() {
				k.loadV(at.buffer, slots)
				if k.ring {
					k.postV(at)
				}
				k.arriveForWarp(emptyV, at.buffer) // last: from now on the walk may post K there
			})
			next := k.nextPipelineSlot(at)
			return append([]Value{next.buffer, next.parity}, item...)
		})
}

// postV is for one thread: in a ring V's buffer is K's next time, and its phases must go on alike.
func (k *kernel) postV(at pipelineSlot) {
	k.arrive(k.barrierAt(posted, at.buffer))
	if k.HasColumns() {
		k.arriveForWarp(fullV, at.buffer)
	} else { // nobody else sees that phase, and a phase that nobody waits for looks like a mistake to tools
		k.await(k.barrierAt(posted, at.buffer), at.parity)
	}
}

// isPosted waits for a header and says whether there is a stage to it.
func (k *kernel) isPosted(p pipelineSlot) Value {
	k.await(k.barrierAt(posted, p.buffer), p.parity)
	return k.lacks(k.headerFlags(p.buffer, 0), flagEnd)
}

// headerFlags reads the flags of a slot of a header.
func (k *kernel) headerFlags(buffer Value, slot int) Value {
	return k.Load(types.I32, k.SharedAt(k.headerAt(buffer), slot*slotBytes+4), 4)
}

// itemOf sets whose stage it is, where that may change: a header of another tile says so. was and the result are kv head, head and
// batch.
func (k *kernel) itemOf(buffer Value, was []Value) []Value {
	if !k.queued {
		return was
	}
	is := k.If("another", k.has(k.headerFlags(buffer, 0), flagFirst), was, func() []Value {
		item := k.itemAt(buffer)
		return []Value{k.KVHead(item[1]), item[1], item[2]}
	})
	k.kvHead, k.At = is[0], k.fixed(nil, is[1], is[2])
	return is
}

// postedSlots reads the slots of a header. A stage without stagger has no third one.
func (k *kernel) postedSlots(buffer Value) []slot {
	var out []slot
	read := func(i int) []Value {
		start := k.Load(types.I32, k.SharedAt(k.headerAt(buffer), i*slotBytes), 4)
		return []Value{start, k.headerFlags(buffer, i)}
	}
	for i := range k.keys / k.SlotKeys {
		v := read(i)
		out = append(out, slot{start: v[0], flags: v[1]})
	}
	if k.stagger {
		none := []Value{emptySlot.start, emptySlot.flags}
		v := k.If("third", k.isStaggered(out[0]), none, func() []Value { return read(len(out)) })
		out = append(out, slot{v[0], v[1], keys})
	}
	return out
}

func (k *kernel) isStaggered(first slot) Value { return k.has(first.flags, flagStagger) }

// has says whether one of some flags is set, lacks whether none is.
func (k *kernel) has(flags Value, some int64) Value {
	return k.ICmp(enum.IPredNE, k.And(flags, lower.I32(some)), lower.I32(0))
}

func (k *kernel) lacks(flags Value, some int64) Value {
	return k.ICmp(enum.IPredEQ, k.And(flags, lower.I32(some)), lower.I32(0))
}

// loadV loads the slots of a stage.
func (k *kernel) loadV(buffer Value, slots []slot) {
	load := func(slots []slot, whole bool) { k.loadTile("v", k.layout.v, fullV, buffer, slots, whole) }
	if !k.stagger {
		load(slots, false)
		return
	}
	either := func(slots []slot) {
		k.IfElse("whole", k.has(slots[0].flags, flagWhole), func() { load(slots, true) }, func() { load(slots, false) })
	}
	k.IfElse("three", k.isStaggered(slots[0]), func() { either(slots) }, func() { either(slots[:len(slots)-1]) })
}
