package sm90

import (
	"github.com/llir/llvm/ir/enum"
	"github.com/llir/llvm/ir/types"

	"github.com/minfc/minfc/internal/codegen/lower"
)

// follow is the work of the warp that loads V: it reads header after header and loads what they say. So the walk never waits for
// a V buffer, and has time to look at lists.
func (k *kernel) follow(Value) {
	own := k.At // of a block without a queue
	if !k.queued {
		own = own.Loading(k.KVHead())
	}
	zero := lower.I32(0)
	lower.While(k.Builder, "follow", followed{pipelineSlot{zero, zero}, loadedHead{zero, zero, zero}},
		func(f followed) Value { return k.isPosted(f.pipelineSlot) },
		func(f followed) followed {
			p, head, tile := f.pipelineSlot, f.loadedHead, own
			if k.queued {
				head = k.postedHead(p.buffer, head)
				tile = k.tileOfHead(head)
			}
			slots := k.postedSlots(p.buffer)
			k.Converge()
			at := k.pipelineSlotOfV(p)
			k.await(k.barrierAt(emptyV, at.buffer), k.Xor(at.parity, lower.I32(1)))
			k.letGo(emptyK, p.buffer) // the header has been read
			k.elected(func() {
				k.In(tile, func() { k.loadV(at.buffer, slots) })
				if k.ring {
					k.postV(at)
				}
				k.arriveForWarp(emptyV, at.buffer) // last: from now on the walk may post K there
			})
			return followed{k.nextPipelineSlot(at), head}
		})
}

// followed is what the loop of follow carries.
type followed struct {
	pipelineSlot
	loadedHead
}

func (f *followed) Values() []*Value {
	return append(f.pipelineSlot.Values(), f.loadedHead.Values()...)
}

// loadedHead is whose V the stages have.
type loadedHead struct{ kvHead, head, batch Value }

func (h *loadedHead) Values() []*Value { return []*Value{&h.kvHead, &h.head, &h.batch} }

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

// postedHead is whose stage it is: the same head's as was, unless the header begins another tile.
func (k *kernel) postedHead(buffer Value, was loadedHead) loadedHead {
	return lower.Choose(k.Builder, "another", k.has(k.headerFlags(buffer, 0), flagFirst), was, func() (is loadedHead) {
		item := k.itemAt(buffer)
		k.In(k.fixed(item), func() { is = loadedHead{k.KVHead(), item.head, item.batch} })
		return is
	})
}

// tileOfHead is a row tile of which only the head is known.
func (k *kernel) tileOfHead(h loadedHead) lower.WorkTile {
	tile := k.fixed(tileID{head: h.head, batch: h.batch}).Loading(h.kvHead)
	tile.Tile = func() Value { panic("internal: the warp that loads V does not know the row tile") }
	return tile
}

// postedSlots reads the slots of a header. A stage without stagger has no third one.
func (k *kernel) postedSlots(buffer Value) []slot {
	var out []slot
	read := func(i int) slot {
		start := k.Load(types.I32, k.SharedAt(k.headerAt(buffer), i*slotBytes), 4)
		return slot{start: start, flags: k.headerFlags(buffer, i)}
	}
	for i := range k.keys / k.SlotKeys {
		out = append(out, read(i))
	}
	if k.stagger {
		third := lower.Choose(k.Builder, "third", k.isStaggered(out[0]), emptySlot, func() slot { return read(len(out)) })
		third.from = keys
		out = append(out, third)
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
