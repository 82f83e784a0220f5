package emu

import (
	"fmt"
	"math/bits"
	"strings"
)

// mbarrier is a barrier object of 8 bytes in shared memory. A phase ends when its arrivals and its bytes have all come.
// The object itself stays here: its bytes in shared memory mean nothing to anybody.
type mbarrier struct {
	agent    int // its component of vector clocks
	off      int // in shared memory
	live     bool
	expected uint32 // arrivals of each phase
	pending  uint32 // arrivals that the current phase still wants
	tx       int64  // bytes that it still wants; negative when copies land before they are expected
	round    uint32 // phases that have ended since the block started
	first    uint32 // round at the last init
	arrived  vclock // what the warps that arrived had seen
	done     vclock // the same for the phases that have ended
	turns    turns

	initLine         int
	initWarp         int
	initLane         uint8
	initAt, fencedAt uint32 // the initialising warp's clock at the init, and 1 + clock at the fence that published it
}

// maxCount is the highest arrival count, and the highest number of bytes that a phase may expect.
const maxCount = 1<<20 - 1

func (bar *mbarrier) parity() uint32 { return (bar.round - bar.first) & 1 }

func (bar *mbarrier) name() string {
	return fmt.Sprintf("the mbarrier at offset %d of shared memory (initialised at PTX line %d)", bar.off, bar.initLine)
}

func (bar *mbarrier) describe() string {
	return fmt.Sprintf("%s, whose phase %d still wants %d of %d arrivals and %d bytes",
		bar.name(), bar.round-bar.first, bar.pending, bar.expected, bar.tx)
}

// settleBarrier ends the phase when nothing is missing.
func (b *block) settleBarrier(bar *mbarrier) error {
	b.events++
	if bar.pending != 0 || bar.tx != 0 {
		return nil
	}
	if err := bar.endsTooSoon(); err != nil {
		return err
	}
	bar.turns.next()
	bar.round++
	bar.pending = bar.expected
	bar.done = bar.arrived // arrivals of earlier phases stay known: every arrival reads what the one before it left
	bar.done[bar.agent] = bar.round
	b.wake(bar)
	return nil
}

// expectBytes adds to what the current phase wants; n is negative when bytes have come.
func (bar *mbarrier) expectBytes(n int64) error {
	bar.turns.copies = true
	if bar.tx += n; bar.tx > maxCount || bar.tx < -maxCount {
		return fmt.Errorf("%s: the count of bytes must stay within %d", bar.describe(), maxCount)
	}
	return nil
}

// barrierAt finds the live mbarrier that a lane names.
func (w *warp) barrierAt(addr uint64, lane int) (*mbarrier, error) {
	off, err := w.block.shared.offset(addr, 8, lane, "uses as an mbarrier")
	if err != nil {
		return nil, err
	}
	bar := w.block.mbars[off]
	switch {
	case bar == nil || !bar.live:
		return nil, oneLane(lane, "uses the mbarrier at offset %d of shared memory, which is not initialised", off)
	case w.clock[bar.initWarp] < bar.initAt:
		return nil, oneLane(lane, "race: uses the mbarrier at offset %d of shared memory, initialised by warp %d at PTX line %d, with no barrier between", off, bar.initWarp, bar.initLine)
	}
	return bar, nil
}

// published checks that copies may complete on the mbarrier.
func (w *warp) published(bar *mbarrier, lane int) error {
	if bar.fencedAt == 0 || w.clock[bar.initWarp] < bar.fencedAt-1 {
		return oneLane(lane, "lets a copy complete on the mbarrier at offset %d of shared memory, whose initialisation at PTX line %d is not visible to copies: execute fence.mbarrier_init.release.cluster after it, then a barrier", bar.off, bar.initLine)
	}
	return nil
}

// mbarrierOps are the instructions by their first modifier.
var mbarrierOps = map[string]func(d *decoder){
	"init":      decodeBarrierInit,
	"inval":     decodeBarrierInval,
	"arrive":    decodeBarrierArrive,
	"expect_tx": decodeExpect,
	"test_wait": decodeBarrierWait,
	"try_wait":  decodeBarrierWait,
}

func decodeMbarrier(d *decoder) {
	decode := func(*decoder) { d.fail("instruction %s is not supported by the emulator", d.st.op) }
	if len(d.mods) > 0 && mbarrierOps[d.mods[0]] != nil {
		decode = mbarrierOps[d.mods[0]]
		d.mods = d.mods[1:]
	}
	decode(d)
}

// barrierAddress takes the state space, the type and the operand that names the mbarrier.
func (d *decoder) barrierAddress(a operand) addressOperand {
	if !d.take("shared") && !d.take("shared::cta") {
		d.fail("%s wants .shared", d.base)
	}
	d.oneOf("b64")
	return d.addressIn(spaceShared, a)
}

func decodeBarrierInit(d *decoder) {
	if !d.count(2, 2) {
		return
	}
	at, count := d.barrierAddress(d.st.args[0]), d.source(d.st.args[1], ptxTypes["u32"])
	d.in.exec = func(w *warp, in *inst, m uint32) error {
		if err := first(w.readyAddress(at, m), w.ready32(count, m)); err != nil {
			return err
		}
		return activeLanes(m, func(lane int) error { return w.initBarrier(in, w.laneAddress(at, lane), w.r32[count][lane], lane) })
	}
}

func (w *warp) initBarrier(in *inst, addr uint64, count uint32, lane int) error {
	b, s := w.block, &w.block.shared
	off, err := s.offset(addr, 8, lane, "initialises as an mbarrier")
	if err != nil {
		return err
	}
	if count == 0 || count > maxCount {
		return oneLane(lane, "initialises an mbarrier for %d arrivals, wanted 1 to %d", count, maxCount)
	}
	if err := s.claim(w, lane, off, 8); err != nil {
		return err
	}
	bar := b.mbars[off]
	if bar == nil {
		if len(b.mbars) == maxMbarriers {
			return oneLane(lane, "initialises more than %d mbarriers, which the emulator does not support", maxMbarriers)
		}
		bar = &mbarrier{agent: maxWarps + len(b.mbars), off: off}
		b.mbars[off] = bar
	}
	bar.live, bar.expected, bar.pending, bar.tx, bar.first, bar.turns = true, count, count, 0, bar.round, turns{}
	bar.initLine, bar.initWarp, bar.initLane, bar.initAt, bar.fencedAt = in.line, w.id, uint8(lane), w.clock[w.id], 0
	for i := off / 4; i < off/4+2; i++ {
		s.words[i] = wordState{clock: w.clock[w.id], pc: w.frags[0].pc, warp: uint8(w.id), lane: byLane + uint8(lane), flight: holdsBarrier}
	}
	return nil
}

func decodeBarrierInval(d *decoder) {
	if !d.count(1, 1) {
		return
	}
	at := d.barrierAddress(d.st.args[0])
	d.in.exec = func(w *warp, _ *inst, m uint32) error {
		if err := w.readyAddress(at, m); err != nil {
			return err
		}
		return activeLanes(m, func(lane int) error { return w.invalBarrier(w.laneAddress(at, lane), lane) })
	}
}

// invalBarrier gives the bytes back as uninitialised memory.
func (w *warp) invalBarrier(addr uint64, lane int) error {
	bar, err := w.barrierAt(addr, lane)
	if err != nil {
		return err
	}
	if w.block.awaited(bar) || bar.tx != 0 || w.block.awaits(bar) {
		return oneLane(lane, "invalidates %s: it is in use", bar.describe())
	}
	bar.live = false
	for i := bar.off / 4; i < bar.off/4+2; i++ {
		w.block.shared.words[i].flight = 0
	}
	return nil
}

// awaits says whether something is on its way to a value.
func (b *block) awaits(on parking) bool {
	for i := range b.pending {
		if b.pending[i].on == on {
			return true
		}
	}
	return false
}

// execPublish is fence.mbarrier_init: what the lanes initialised becomes visible to copies.
func execPublish(w *warp, _ *inst, m uint32) error {
	for _, bar := range w.block.mbars {
		if bar.initWarp == w.id && m>>bar.initLane&1 != 0 && bar.fencedAt == 0 {
			bar.fencedAt = w.clock[w.id] + 1
		}
	}
	return nil
}

// decodeBarrierArrive handles mbarrier.arrive[.expect_tx] state|_, [addr][, count or bytes].
func decodeBarrierArrive(d *decoder) {
	expects := d.take("expect_tx")
	d.takeAny("release", "cta")
	low := 2
	if expects {
		d.needs(levelSM90)
		low = 3
	}
	if !d.count(low, 3) {
		return
	}
	a := d.st.args
	at, state := d.barrierAddress(a[1]), d.dest(a[0], ptxTypes["b64"])
	count := d.constant(1, ptxTypes["u32"])
	if len(a) == 3 {
		count = d.source(a[2], ptxTypes["u32"])
	}
	d.in.exec = func(w *warp, _ *inst, m uint32) error {
		if err := first(w.readyAddress(at, m), w.ready32(count, m), w.speaksForAll(m)); err != nil {
			return err
		}
		err := activeLanes(m, func(lane int) error {
			bar, err := w.barrierAt(w.laneAddress(at, lane), lane)
			if err != nil {
				return err
			}
			w.tmp64[lane] = uint64(bar.round)
			n := w.r32[count][lane]
			if !expects {
				return w.arriveAt(bar, n, lane, &w.clock)
			}
			return first(bar.expectBytes(int64(n)), w.arriveAt(bar, 1, lane, &w.clock))
		})
		w.clock[w.id&31]++ // the arrivals released what lies before them
		w.storeAny(state, true, m)
		return err
	}
}

// arriveAt takes n arrivals off what the phase wants and hands over what the warp had seen and done.
func (w *warp) arriveAt(bar *mbarrier, n uint32, lane int, seen *vclock) error {
	if n == 0 {
		return oneLane(lane, "arrives 0 times at %s", bar.describe())
	}
	if n > bar.pending {
		return oneLane(lane, "arrives %d times, which is more than wanted at %s", n, bar.describe())
	}
	if err := bar.mayBeEarly("arrives in", seen); err != nil {
		return oneLane(lane, "%v", err)
	}
	bar.arrived.join(seen)
	bar.turns.came[w.id&31] = seen[w.id&31]
	bar.pending -= n
	return w.block.settleBarrier(bar)
}

func decodeExpect(d *decoder) {
	d.needs(levelSM90)
	d.takeAny("relaxed", "cta")
	if !d.count(2, 2) {
		return
	}
	at, count := d.barrierAddress(d.st.args[0]), d.source(d.st.args[1], ptxTypes["u32"])
	d.in.exec = func(w *warp, _ *inst, m uint32) error {
		if err := first(w.readyAddress(at, m), w.ready32(count, m)); err != nil {
			return err
		}
		return activeLanes(m, func(lane int) error {
			bar, err := w.barrierAt(w.laneAddress(at, lane), lane)
			if err != nil {
				return err
			}
			return first(bar.mayBeEarly("expects bytes in", &w.clock), bar.expectBytes(int64(w.r32[count][lane])))
		})
	}
}

// waitOp is mbarrier.{test,try}_wait[.parity] p, [addr], phase.
type waitOp struct {
	at     addressOperand
	phase  int32
	parity bool
}

func decodeBarrierWait(d *decoder) {
	if strings.HasPrefix(d.st.op, "mbarrier.try_wait") {
		d.needs(levelSM90)
	}
	op := waitOp{parity: d.take("parity")}
	d.takeAny("acquire", "cta")
	if !d.count(3, 4) {
		return
	}
	a := d.st.args
	op.at = d.barrierAddress(a[1])
	if op.parity {
		op.phase = d.source(a[2], ptxTypes["u32"])
	} else {
		op.phase = d.source(a[2], ptxTypes["b64"])
	}
	if len(a) == 4 { // a time limit, which the emulator has no use for
		d.source(a[3], ptxTypes["u32"])
	}
	d.in.d = d.reg(a[0], classPred)
	d.in.ctl = ctlTry
	d.in.try = func(w *warp, in *inst, m uint32) (bool, error) { return execBarrierWait(w, in, m, &op) }
}

// execBarrierWait tests the phases. A wait may always answer no; it does so at its first try, so that a kernel that does
// not loop is found out, and parks when it fails again. try_wait and test_wait differ in speed alone.
func execBarrierWait(w *warp, in *inst, m uint32, op *waitOp) (bool, error) {
	passed, on, err := w.testBarriers(m, op)
	if err != nil {
		return false, err
	}
	pc := w.frags[0].pc
	switch {
	case on == nil:
		w.failures = 0
	case !w.giveUp && w.failures > 0 && (w.failedAt == pc || w.failures > 8):
		w.park(on)
		return false, nil
	default:
		w.failures, w.failedAt, w.giveUp = w.failures+1, pc, false
	}
	w.storePred(in.d, passed, m)
	return true, nil
}

// testBarriers gives the lanes whose phase has ended, and the mbarrier of one where it has not.
func (w *warp) testBarriers(m uint32, op *waitOp) (passed uint32, on *mbarrier, err error) {
	phase := w.ready32
	if !op.parity {
		phase = w.ready64
	}
	if err := first(w.readyAddress(op.at, m), phase(op.phase, m)); err != nil {
		return 0, nil, err
	}
	var bar *mbarrier
	var addr uint64
	for k := m; k != 0; k &= k - 1 {
		lane := bits.TrailingZeros32(k) & 31
		if a := w.laneAddress(op.at, lane); bar == nil || a != addr {
			if bar, err = w.barrierAt(a, lane); err != nil {
				return 0, nil, err
			}
			addr = a
		}
		ended, err := w.phaseEnded(bar, op, lane)
		if err != nil {
			return 0, nil, err
		}
		if !ended {
			on = bar
			continue
		}
		bar.turns.passed[w.id&31] = w.clock[w.id&31]
		if w.clock[bar.agent&(agents-1)] != bar.done[bar.agent&(agents-1)] {
			w.acquire(&bar.done)
		}
		passed |= 1 << lane
	}
	return passed, on, nil
}

func (w *warp) phaseEnded(bar *mbarrier, op *waitOp, lane int) (bool, error) {
	if !op.parity {
		return uint64(bar.round) != w.r64[op.phase][lane], nil
	}
	p := w.r32[op.phase][lane]
	if p > 1 {
		return false, oneLane(lane, "waits for the parity %d, wanted 0 or 1", p)
	}
	return bar.parity() != p, nil
}

// decodeCopyArrive handles cp.async.mbarrier.arrive[.noinc], which arrives when the lane's copies so far have landed.
func decodeCopyArrive(d *decoder) {
	d.oneOf("arrive")
	noinc := d.take("noinc")
	if !d.count(1, 1) {
		return
	}
	at := d.barrierAddress(d.st.args[0])
	d.in.exec = func(w *warp, _ *inst, m uint32) error {
		if err := w.readyAddress(at, m); err != nil {
			return err
		}
		seen := w.clock
		w.clock[w.id&31]++ // what follows is not released
		return activeLanes(m, func(lane int) error {
			bar, err := w.barrierAt(w.laneAddress(at, lane), lane)
			if err != nil {
				return err
			}
			if !noinc {
				bar.pending++
			}
			return w.arriveAfterCopies(bar, lane, &seen)
		})
	}
}

func (w *warp) arriveAfterCopies(bar *mbarrier, lane int, seen *vclock) error {
	pc, issued := w.frags[0].pc, w.async.issued[lane]
	return w.block.later(delayed{on: bar, pc: pc, run: func() error {
		err := w.land(1<<lane, seen[w.id&31], func(c *pendingCopy) bool { return c.number < issued })
		if err == nil {
			bar.turns.copies = true
			err = w.arriveAt(bar, 1, lane, seen)
		}
		if err != nil {
			return w.fault(&w.block.run.k.code[pc], err)
		}
		return nil
	}})
}
