package emu

import (
	"fmt"
	"slices"
)

// tensorState is what a warp knows of its asynchronous multiplications. The slots they use are in flight from the issue
// to the wait. Sums in flight count as never written, so that the ordinary check finds who reads them; writes are found
// by execWatched, which stands in front of every instruction that can write such a slot.
type tensorState struct {
	slots     []tensorSlot // by 32-bit slot
	epoch     uint32       // fences executed
	committed int32        // groups
	trace     uint64       // which wgmma.fence, commit_group and wait_group were executed, in order
	queue     []tensorEntry
}

// tensorSlot is the state of one register. Epochs begin at 0, where every register wants a fence.
type tensorSlot struct {
	written uint32 // epoch of the last ordinary write
	used    uint32 // epoch of the last use as a sum
	list    int32  // that use's list of sums
	sums    int16  // multiplications in flight that have it as a sum
	a       int16  // and as an element of A
}

// tensorEntry is a multiplication in flight, in one warp.
type tensorEntry struct {
	op    *tensorOp
	group int32 // number of the group it is in, or will be in
}

func (t *tensorState) reset() {
	clear(t.slots)
	t.epoch, t.committed, t.trace, t.queue = 0, 0, 0, t.queue[:0]
}

// claimTensor puts the registers of an operation in flight in one warp.
func (w *warp) claimTensor(op *tensorOp, keep bool) error {
	g, t := op.in.wgmma, &w.tensor
	if w.tensor.trace != w.block.warps[w.id&^(groupWarps-1)].tensor.trace {
		return laneError(0, "warp %d came here through other wgmma.fence, commit_group or wait_group instructions than warp %d: the four warps of a warpgroup must execute the same ones", w.id, w.id&^(groupWarps-1))
	}
	for _, s := range g.aRegs {
		if err := w.claimA(s); err != nil {
			return err
		}
	}
	for _, s := range g.sums {
		if err := w.claimSum(s, g.list, keep); err != nil {
			return err
		}
	}
	for _, s := range g.aRegs {
		t.slots[s].a++
	}
	for _, s := range g.sums {
		st := &t.slots[s]
		st.sums++
		st.used, st.list = t.epoch, g.list
		w.init32[s] = 0
	}
	return nil
}

func (w *warp) claimA(s int32) error {
	st := &w.tensor.slots[s]
	switch {
	case w.init32[s] != fullMask:
		return w.ready32(s, fullMask)
	case st.written == w.tensor.epoch || st.used == w.tensor.epoch:
		return laneError(0, "register %s of A was written after the warp's last wgmma.fence: execute wgmma.fence between", w.regName(s))
	}
	return nil
}

func (w *warp) claimSum(s, list int32, keep bool) error {
	st := &w.tensor.slots[s]
	switch {
	case st.a > 0:
		return laneError(0, "register %s is an element of A of the wgmma at PTX line %d, which is in flight: wait for its group with wgmma.wait_group first", w.regName(s), w.userOf(s))
	case st.sums > 0 && st.list != list:
		return laneError(0, "register %s is in another list of sums, that of the wgmma at PTX line %d, which is in flight: wait for its group with wgmma.wait_group first", w.regName(s), w.userOf(s))
	case st.sums > 0:
		return nil
	case st.written == w.tensor.epoch || st.used == w.tensor.epoch && st.list != list:
		return laneError(0, "register %s of the sums was written after the warp's last wgmma.fence, or there was none: execute wgmma.fence before the wgmma", w.regName(s))
	case keep:
		return w.ready32(s, fullMask)
	}
	return nil
}

func (w *warp) regName(slot int32) string { return w.block.run.k.nameOf(slot, class32) }

// userOf is the line of the last multiplication in flight that uses a slot.
func (w *warp) userOf(slot int32) int {
	for _, e := range slices.Backward(w.tensor.queue) {
		if g := e.op.in.wgmma; slices.Contains(g.sums, slot) || slices.Contains(g.aRegs, slot) {
			return e.op.in.line
		}
	}
	return 0
}

// hiddenSum is the reason why a slot cannot be read when it is a sum in flight, else nil.
func (w *warp) hiddenSum(slot int32, m uint32) error {
	if len(w.tensor.queue) == 0 || w.tensor.slots[slot].sums == 0 {
		return nil
	}
	return laneError(m, "reads register %s, a sum of the wgmma at PTX line %d that is still in flight: wait for its group with wgmma.wait_group first", w.regName(slot), w.userOf(slot))
}

// watch is an ordinary instruction that writes registers which some wgmma uses.
type watch struct {
	exec  func(w *warp, in *inst, m uint32) error
	slots []int32
}

func execWatched(w *warp, in *inst, m uint32) error {
	t := &w.tensor
	for _, s := range in.watch.slots {
		st := &t.slots[s]
		if st.sums|st.a != 0 {
			role := "a sum"
			if st.a > 0 {
				role = "an element of A"
			}
			return laneError(m, "writes register %s, %s of the wgmma at PTX line %d that is still in flight: wait for its group with wgmma.wait_group first", w.regName(s), role, w.userOf(s))
		}
		st.written = t.epoch
	}
	return in.watch.exec(w, in, m)
}

// watchTensor puts execWatched in front of the instructions that write a register of a wgmma. In PTX the first operand
// is what an instruction writes, but for barriers and the like, which run through no exec or whose registers are no floats.
func (d *decoder) watchTensor(e *entry) {
	used := map[int32]bool{}
	for i := range d.k.code {
		if g := d.k.code[i].wgmma; g != nil {
			for _, s := range slices.Concat(g.sums, g.aRegs) {
				used[s] = true
			}
		}
	}
	for i := range e.body {
		in := &d.k.code[i]
		if in.wgmma != nil || in.exec == nil || len(e.body[i].args) == 0 {
			continue
		}
		if slots := writtenSlots(e.body[i].args[0], used); slots != nil {
			in.watch = &watch{in.exec, slots}
			in.exec = execWatched
		}
	}
}

// writtenSlots are the 32-bit slots of a destination operand that are in a set.
func writtenSlots(a operand, set map[int32]bool) []int32 {
	if a.kind == argReg {
		if a.reg.class != class32 || !set[a.reg.slot] {
			return nil
		}
		return []int32{a.reg.slot}
	}
	if a.kind != argVector && a.kind != argPair {
		return nil
	}
	var slots []int32
	for _, x := range a.list {
		slots = append(slots, writtenSlots(x, set)...)
	}
	return slots
}

// traced notes that the warp executes one of the instructions that the whole warpgroup must execute.
func (t *tensorState) traced(w *warp) {
	t.trace = (t.trace + uint64(w.frags[0].pc) + 1) * 0x9e3779b97f4a7c15
}

func execWgmmaFence(w *warp, _ *inst, _ uint32) error {
	w.tensor.traced(w)
	w.tensor.epoch++
	return nil
}

func execWgmmaCommit(w *warp, _ *inst, _ uint32) error {
	w.tensor.traced(w)
	w.tensor.committed++
	return nil
}

// execWgmmaWait retires all but the newest groups.
func execWgmmaWait(w *warp, in *inst, _ uint32) error {
	t := &w.tensor
	t.traced(w)
	if n := len(t.queue); n > 0 && t.queue[n-1].group == t.committed {
		return laneError(0, "waits while the wgmma at PTX line %d is in no group: execute wgmma.commit_group first", t.queue[n-1].op.in.line)
	}
	done := 0
	for done < len(t.queue) && t.queue[done].group < t.committed-int32(in.imm) {
		if err := w.retire(&t.queue[done]); err != nil {
			return err
		}
		done++
	}
	t.queue = slices.Delete(t.queue, 0, done)
	return nil
}

// retire ends a multiplication in one warp: its operands must be what they were, and its sums can be read.
func (w *warp) retire(e *tensorEntry) error {
	if err := e.op.recheck(w); err != nil {
		return err
	}
	g, slots := e.op.in.wgmma, w.tensor.slots
	for _, s := range g.aRegs {
		slots[s].a--
	}
	for _, s := range g.sums {
		if slots[s].sums--; slots[s].sums == 0 {
			w.init32[s] = fullMask
		}
	}
	if e.op.left--; e.op.left == 0 {
		w.block.freeOps = append(w.block.freeOps, e.op)
	}
	return nil
}

// checkExit wants no multiplication in flight when a warp ends.
func (t *tensorState) checkExit() error {
	if n := len(t.queue); n > 0 {
		return fmt.Errorf("exits while the wgmma at PTX line %d is in flight: execute wgmma.commit_group and wgmma.wait_group 0 first", t.queue[n-1].op.in.line)
	}
	return nil
}
