package emu

import "math/bits"

// Asynchronous copies land as late as the program allows: at the wait that covers their group. The global source is
// read then, and the destination is in flight until then, so that a missing wait is an error and not a lucky run.

// pendingCopy is one lane's cp.async.
type pendingCopy struct {
	src    uint64
	dst    int32 // offset in shared memory
	group  int32 // number of the group it is in, or will be in
	number int32 // among the lane's copies
	pc     int32
	lane   uint8
	size   uint8 // bytes written
	valid  uint8 // bytes read; the rest is zero
}

// asyncQueue holds a warp's copies in the order of issue.
type asyncQueue struct {
	queue     []pendingCopy
	committed [32]int32 // groups committed by each lane
	issued    [32]int32 // copies issued by each lane
}

func (q *asyncQueue) reset() {
	q.queue = q.queue[:0]
	q.committed, q.issued = [32]int32{}, [32]int32{}
}

func decodeCpAsync(d *decoder) {
	if !d.take("async") {
		d.fail("instruction %s is not supported by the emulator", d.st.op)
		return
	}
	switch {
	case d.take("bulk"):
		decodeBulk(d)
	case d.take("mbarrier"):
		decodeCopyArrive(d)
	case d.take("commit_group"):
		d.count(0, 0)
		d.in.exec = execCommit
	case d.take("wait_all"):
		d.count(0, 0)
		d.in.exec = execWaitAll
	case d.take("wait_group"):
		if d.count(1, 1) {
			d.in.imm, d.in.exec = d.immediate(d.st.args[0]), execWaitGroup
		}
	default:
		d.cpAsync()
	}
}

func (d *decoder) cpAsync() {
	level := d.oneOf("ca", "cg")
	d.takeAny("L2::64B", "L2::128B", "L2::256B")
	d.takeHint()
	if !d.take("shared") && !d.take("shared::cta") {
		d.fail("cp.async copies to .shared")
	}
	d.oneOf("global")
	a := d.st.args
	if !d.count(3, 4) {
		return
	}
	src := d.addressIn(spaceGlobal, a[1])
	d.addressIn(spaceShared, a[0])
	d.in.b, d.in.imm = src.slot, uint64(src.off)
	if !src.wide {
		d.fail("the source of cp.async wants a 64-bit address register")
	}
	d.in.size = int(min(d.immediate(a[2]), 255))
	if n := d.in.size; n != 16 && (level == "cg" || n != 4 && n != 8) {
		d.fail("found a copy of %d bytes, cp.async.cg copies 16 and cp.async.ca 4, 8 or 16", n)
	}
	d.in.c = d.constant(uint64(d.in.size), ptxTypes["u32"])
	if len(a) == 4 {
		d.in.c = d.source(a[3], ptxTypes["u32"])
	}
	d.in.exec = execCopy
}

func execCopy(w *warp, in *inst, m uint32) error {
	if err := first(w.ready32(in.c, m), w.ready64(in.b, m)); err != nil {
		return err
	}
	addr, err := w.addresses(in, in.a, in.wideA, in.off, m)
	if err != nil {
		return err
	}
	s, pc := &w.block.shared, w.frags[0].pc
	for k := m; k != 0; k &= k - 1 {
		lane := bits.TrailingZeros32(k) & 31
		c := pendingCopy{src: w.r64[in.b][lane] + in.imm, group: w.async.committed[lane], number: w.async.issued[lane], pc: pc, lane: uint8(lane), size: uint8(in.size)}
		valid := w.r32[in.c][lane]
		if valid > uint32(in.size) {
			return oneLane(lane, "copies %d bytes with a source size of %d: the source may not be larger", in.size, valid)
		}
		c.valid = uint8(valid)
		off, err := s.offset(addr[lane], in.size, lane, "writes")
		if err != nil {
			return err
		}
		c.dst = int32(off)
		if err := w.issue(&c); err != nil {
			return err
		}
		w.async.queue = append(w.async.queue, c)
		w.async.issued[lane]++
	}
	return nil
}

// issue checks both ends of a copy and marks its destination as in flight.
func (w *warp) issue(c *pendingCopy) error {
	s, lane := &w.block.shared, int(c.lane)
	if err := s.claim(w, lane, int(c.dst), int(c.size)); err != nil {
		return err
	}
	if c.valid > 0 {
		if err := w.checkSource(c); err != nil {
			return err
		}
	}
	for i := c.dst / 4; i < (c.dst+int32(c.size))/4; i++ {
		s.words[i] = wordState{clock: w.clock[w.id&31], pc: c.pc, warp: uint8(w.id), lane: byCopy + c.lane, init: s.words[i].init, flight: 15}
	}
	return nil
}

// checkSource wants the source aligned to the copy's size and, as far as it is read, inside its allocation.
func (w *warp) checkSource(c *pendingCopy) error {
	if c.src&uint64(c.size-1) != 0 {
		return oneLane(int(c.lane), "copies from global memory at %#x, which is not a multiple of %d", c.src, c.size)
	}
	_, _, err := w.block.span(c.src, int(c.valid), int(c.lane), "copies")
	return err
}

func execCommit(w *warp, _ *inst, m uint32) error {
	for ; m != 0; m &= m - 1 {
		w.async.committed[bits.TrailingZeros32(m)&31]++
	}
	return nil
}

func execWaitGroup(w *warp, in *inst, m uint32) error {
	n := int32(min(in.imm, 1<<30))
	return w.land(m, w.clock[w.id&31], func(c *pendingCopy) bool { return c.group < w.async.committed[c.lane]-n })
}

func execWaitAll(w *warp, _ *inst, m uint32) error {
	return w.land(m, w.clock[w.id&31], func(*pendingCopy) bool { return true })
}

// land completes the active lanes' copies that a wait covers, at a time of the warp's clock, and keeps the others in order.
func (w *warp) land(m, clock uint32, covered func(*pendingCopy) bool) error {
	kept := w.async.queue[:0]
	for i := range w.async.queue {
		c := &w.async.queue[i]
		if m>>c.lane&1 == 0 || !covered(c) {
			kept = append(kept, *c)
			continue
		}
		if err := w.complete(c, clock); err != nil {
			return err
		}
	}
	w.async.queue = kept
	return nil
}

// complete moves the data. The bytes belong to the issuing thread until its next barrier.
func (w *warp) complete(c *pendingCopy, clock uint32) error {
	s := &w.block.shared
	dst := s.data[c.dst : c.dst+int32(c.size)]
	if c.valid > 0 {
		src, err := w.copySource(c)
		if err != nil {
			return err
		}
		copy(dst, src)
	}
	clear(dst[c.valid:])
	for i := c.dst / 4; i < (c.dst+int32(c.size))/4; i++ {
		st := &s.words[i]
		st.clock, st.init, st.flight = clock, 15, 0
	}
	return nil
}

func (w *warp) copySource(c *pendingCopy) ([]byte, error) {
	lane, n := int(c.lane), uint64(c.valid)
	a, off, err := w.block.span(c.src, int(n), lane, "copies")
	if err != nil {
		return nil, err
	}
	if !allWritten(a.written[off : off+n]) {
		line := w.block.run.k.code[c.pc].line
		return nil, oneLane(lane, "the copy of PTX line %d lands and reads global memory that was never written: byte %d of an allocation of %d bytes at %#x",
			line, int(off)+firstUnwritten(a.written[off:off+n]), a.size, a.base)
	}
	return a.data[off : off+n], nil
}
