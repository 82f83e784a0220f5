package emu

import (
	"errors"
	"math/bits"
	"slices"
)

// Tensor copies move a box between global and shared memory through the async proxy. A load lands at the latest when
// somebody waits for its mbarrier and nothing else can run; a store reads shared memory until its wait_group.read.

// tensorCopy is the decoded operands of a cp.async.bulk.tensor.
type tensorCopy struct {
	rank         int
	shared, tmap addressOperand
	barrier      addressOperand // loads
	at           [maxRank]int32 // coordinates
}

// decodeBulk handles cp.async.bulk.* .
func decodeBulk(d *decoder) {
	d.needs(levelSM90)
	switch {
	case d.take("tensor"):
		d.tensorCopy()
	case d.take("commit_group"):
		d.count(0, 0)
		d.in.exec = execBulkCommit
	case d.take("wait_group"):
		read := d.take("read")
		if d.count(1, 1) {
			d.in.imm = d.immediate(d.st.args[0])
			d.in.exec = func(w *warp, in *inst, m uint32) error { return w.waitStores(m, int32(min(in.imm, 1<<30)), read) }
		}
	default:
		d.fail("instruction %s is not supported by the emulator", d.st.op)
	}
}

func (d *decoder) tensorCopy() {
	var c tensorCopy
	for i, name := range []string{"1d", "2d", "3d", "4d", "5d"} {
		if d.take(name) {
			c.rank = i + 1
		}
	}
	d.take("tile")
	load := d.take("shared::cluster")
	d.take("shared::cta")
	d.oneOf("global")
	d.takeHint()
	if load {
		d.oneOf("mbarrier::complete_tx::bytes")
	} else {
		d.oneOf("bulk_group")
	}
	a := d.st.args
	want := map[bool]int{true: 3, false: 2}[load]
	if !d.count(want, want) {
		return
	}
	if !load {
		a = []operand{a[1], a[0]}
	} else {
		c.barrier = d.addressIn(spaceShared, a[2])
	}
	at, tmap := a[1].list, a[1]
	tmap.list = nil // of all operands, the map alone has coordinates
	c.shared, c.tmap = d.addressIn(spaceShared, a[0]), d.addressIn(spaceGeneric, tmap)
	if c.rank == 0 || len(at) != c.rank {
		d.fail("found %d coordinates, %s wants as many as it has dimensions, 1 to %d", len(at), d.st.op, maxRank)
		return
	}
	for i, x := range at {
		c.at[i] = d.source(x, ptxTypes["s32"])
	}
	move := (*warp).issueStore
	if load {
		move = (*warp).issueLoad
	}
	d.in.exec = func(w *warp, in *inst, m uint32) error { return execTensorCopy(w, in, m, &c, move) }
}

// boxCopy is one lane's tensor copy.
type boxCopy struct {
	w    *warp
	pc   int32
	lane int
	tmap *tensorMap
	at   [maxRank]int32
	off  int // in shared memory
	size int
	bar  *mbarrier // loads
	// stores
	group int32
	data  []byte // what the store has read; nil before
}

func execTensorCopy(w *warp, in *inst, m uint32, c *tensorCopy, move func(*warp, *boxCopy, uint64) error) error {
	if err := first(w.readyAddress(c.shared, m), w.readyAddress(c.tmap, m), w.readyAddress(c.barrier, m)); err != nil {
		return err
	}
	for _, slot := range c.at[:c.rank] {
		if err := w.ready32(slot, m); err != nil {
			return err
		}
	}
	return activeLanes(m, func(lane int) error {
		b := &boxCopy{w: w, pc: w.frags[0].pc, lane: lane}
		var err error
		if b.tmap, err = w.mapAt(w.laneAddress(c.tmap, lane), lane); err != nil {
			return err
		}
		for i, slot := range c.at[:c.rank] {
			b.at[i] = int32(w.r32[slot][lane])
		}
		if err := b.place(w.laneAddress(c.shared, lane), c.rank); err != nil {
			return err
		}
		return move(w, b, w.laneAddress(c.barrier, lane))
	})
}

// sharedAlign is what a box in shared memory must be aligned to, in bytes.
const sharedAlign = 128

// place checks the shape of a copy and where it lies in shared memory.
func (b *boxCopy) place(addr uint64, rank int) error {
	t, s := b.tmap, &b.w.block.shared
	b.size = t.boxBytes()
	off := addr - sharedBase
	switch {
	case int(t.Rank) != rank:
		return oneLane(b.lane, "copies with %d coordinates, the tensor map has %d dimensions", rank, t.Rank)
	case !t.sameWidth():
		return oneLane(b.lane, "copies rows of %d bytes with a swizzle of %d: the emulator knows only rows as wide as the swizzle", t.rowBytes(), t.Swizzle)
	case off >= uint64(len(s.data)) || b.size > len(s.data)-int(off):
		return oneLane(b.lane, "copies %d bytes at offset %d of shared memory, outside the block's %d bytes", b.size, int64(off), len(s.data))
	case addr%sharedAlign != 0:
		return oneLane(b.lane, "copies a box at offset %d of shared memory, which is not a multiple of %d", off, sharedAlign)
	}
	b.off = int(off)
	return nil
}

// words are the shadow of the copy's shared memory.
func (b *boxCopy) words() []wordState { return b.w.block.shared.words[b.off/4 : (b.off+b.size)/4] }

func (w *warp) issueLoad(b *boxCopy, barrier uint64) error {
	var err error
	if b.bar, err = w.barrierAt(barrier, b.lane); err != nil {
		return err
	}
	if err := first(w.published(b.bar, b.lane), w.block.shared.asyncClaim(w, b.lane, b.off, b.size)); err != nil {
		return err
	}
	words := b.words()
	for i := range words {
		words[i] = wordState{pc: b.pc, warp: uint8(b.bar.agent), init: words[i].init, flight: 15}
	}
	return w.block.later(delayed{on: b.bar, pc: b.pc, run: func() error { return b.fault(b.land()) }})
}

// fault gives an error the place of the copy, which is not where a warp stands.
func (b *boxCopy) fault(err error) error {
	if err == nil {
		return nil
	}
	in := &b.w.block.run.k.code[b.pc]
	return b.w.fault(in, err)
}

// land moves a load's data and tells its mbarrier, whose current phase is the one that publishes them.
func (b *boxCopy) land() error {
	s := &b.w.block.shared
	width := b.tmap.rowBytes()
	row := make([]byte, width)
	err := b.tmap.rows(b.at, func(i int, r boxRow) error {
		clear(row)
		if r.low < r.high {
			src, err := b.source(r)
			if err != nil {
				return err
			}
			copy(row[r.low:], src)
		}
		for j := 0; j < width; j += 16 {
			copy(s.data[b.physical(i*width+j):], row[j:j+16])
		}
		return nil
	})
	if err != nil {
		return err
	}
	words, clock := b.words(), b.bar.round+1
	for i := range words {
		words[i].clock, words[i].init, words[i].flight = clock, 15, 0
	}
	if err := b.bar.expectBytes(-int64(b.size)); err != nil {
		return err
	}
	return b.w.block.settleBarrier(b.bar)
}

// physical is the offset in shared memory of 16 bytes of the box.
func (b *boxCopy) physical(at int) int {
	return b.tmap.swizzled(sharedBase+b.off+at) - sharedBase
}

// source is the part of a row that lies in the tensor.
func (b *boxCopy) source(r boxRow) ([]byte, error) {
	a, off, err := b.span(r)
	if err != nil {
		return nil, err
	}
	end := off + uint64(r.high-r.low)
	if !allWritten(a.written[off:end]) {
		return nil, oneLane(b.lane, "copies %s, which reads global memory that was never written: byte %d of an allocation of %d bytes at %#x",
			b.tmap.describeBox(b.at), int(off)+firstUnwritten(a.written[off:end]), a.size, a.base)
	}
	return a.data[off:end], nil
}

// span finds a row of the box in global memory. Words for the box are made only for an error: they cost more than the copy.
func (b *boxCopy) span(r boxRow) (*allocation, uint64, error) {
	n := r.high - r.low
	a, off, err := b.w.block.span(r.addr, n, b.lane, "copies")
	if err != nil {
		_, _, err = b.w.block.span(r.addr, n, b.lane, "copies "+b.tmap.describeBox(b.at)+" with")
	}
	return a, off, err
}

// storeQueue holds a warp's tensor stores in the order of issue.
type storeQueue struct {
	queue     []*boxCopy
	committed lanes // groups committed by each lane
}

func (w *warp) issueStore(b *boxCopy, _ uint64) error {
	for i, x := range b.at[:b.tmap.Rank] {
		if x < 0 { // seen on an H200; loads may start there
			return oneLane(b.lane, "stores a box from coordinate %d of dimension %d on, which the hardware refuses as an illegal instruction", x, i)
		}
	}
	if err := w.block.shared.asyncRead(w, &w.clock, b.off, b.size); err != nil {
		return err
	}
	b.group = int32(w.stores.committed[b.lane])
	w.stores.queue = append(w.stores.queue, b)
	b.guard()
	return nil
}

// guard keeps others from writing what the store reads.
func (b *boxCopy) guard() {
	words := b.words()
	for i := range words {
		words[i].flight |= beingRead
	}
}

// read takes the data out of shared memory. The words may be written again, unless another store still reads them.
func (b *boxCopy) read() {
	if b.data != nil {
		return
	}
	s := &b.w.block.shared
	b.data = make([]byte, b.size)
	for at := 0; at < b.size; at += 16 {
		copy(b.data[at:at+16], s.data[b.physical(at):])
	}
	words := b.words()
	for i := range words {
		words[i].flight &^= beingRead
	}
	reads := s.readAt[b.w.id][b.off/4:]
	for i := range words {
		reads[i] = b.w.clock[b.w.id]
	}
	for _, w := range b.w.block.warps {
		for _, other := range w.stores.queue {
			if other.data == nil && other.off < b.off+b.size && b.off < other.off+other.size {
				other.guard()
			}
		}
	}
}

// finish writes the data to global memory, without what lies outside the tensor.
func (b *boxCopy) finish() error {
	b.read()
	width := b.tmap.rowBytes()
	return b.fault(b.tmap.rows(b.at, func(i int, r boxRow) error {
		if r.low >= r.high {
			return nil
		}
		a, off, err := b.span(r)
		if err != nil {
			return err
		}
		markWritten(a.written[off : off+uint64(r.high-r.low)])
		copy(a.data[off:], b.data[i*width+r.low:i*width+r.high])
		b.w.block.wrote(r.high - r.low)
		return nil
	}))
}

func execBulkCommit(w *warp, _ *inst, m uint32) error {
	for ; m != 0; m &= m - 1 {
		w.stores.committed[bits.TrailingZeros32(m)&31]++
	}
	return nil
}

// waitStores completes the stores of all but the last n groups of each lane, or with read only their reading.
func (w *warp) waitStores(m uint32, n int32, read bool) error {
	var errs []error
	w.stores.queue = slices.DeleteFunc(w.stores.queue, func(b *boxCopy) bool {
		if m>>b.lane&1 == 0 || b.group >= int32(w.stores.committed[b.lane])-n {
			return false
		}
		b.read()
		if read {
			return false
		}
		errs = append(errs, b.finish())
		return true
	})
	return errors.Join(errs...)
}

// flushStores ends the stores of lanes that exit. A store that still reads shared memory would read the next block's.
func (w *warp) flushStores(m uint32) error {
	for _, b := range w.stores.queue {
		if m>>b.lane&1 != 0 && b.data == nil {
			line := w.block.run.k.code[b.pc].line
			return oneLane(b.lane, "exits while the tensor store at PTX line %d may still read shared memory: wait with cp.async.bulk.wait_group.read 0", line)
		}
	}
	return w.waitStores(m, -1<<30, false)
}
