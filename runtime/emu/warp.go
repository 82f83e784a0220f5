package emu

import (
	"errors"
	"math/bits"
	"slices"
)

// fragment is a set of lanes of a warp that stand at the same instruction.
type fragment struct {
	pc   int32
	mask uint32
}

// warpState says why a warp does not run.
type warpState uint8

const (
	warpReady  warpState = iota
	warpWaits            // at a barrier
	warpParked           // before an instruction that cannot be executed yet
	warpDone             // every lane has exited
)

// warp is 32 lanes with their registers. Registers are stored lane after lane, so that an instruction is one loop.
type warp struct {
	block   *block
	id      int
	state   warpState
	bar     int     // the barrier it waits at
	elected int32   // the predicate for the result of its vote there
	on      parking // what it is parked on
	lanes   uint32
	done    uint32     // lanes that have exited
	frags   []fragment // sorted by pc; the first one runs

	r32    []lanes
	r64    []lanes64
	pred   []uint32 // one bit a lane
	init32 []uint32 // lanes that have written the slot
	init64 []uint32
	initP  []uint32

	clock  vclock // what this warp has seen
	alone  aloneLanes
	fences []fenceMark
	async  asyncQueue
	tensor tensorState
	stores storeQueue
	regs   registers

	failures int   // tests of mbarriers in a row that failed
	failedAt int32 // pc of the last one
	giveUp   bool  // the next test may fail without parking the warp
	timedOut int64 // block.events when that was granted
	tmp      lanes
	tmp64    lanes64
	addr     lanes64
	flushed  [3]lanes // scratch of execFlush32
}

func splat(v uint32) (l lanes) {
	for i := range l {
		l[i] = v
	}
	return l
}

// reset puts the warp at the start of the kernel for a new block.
func (w *warp) reset() {
	k, threads := w.block.run.k, w.block.run.threads
	w.state, w.done = warpReady, 0
	w.lanes = fullMask
	if rest := threads - 32*w.id; rest < 32 {
		w.lanes = 1<<rest - 1
	}
	w.frags = append(w.frags[:0], fragment{0, w.lanes})
	copy(w.init32, k.ready32)
	copy(w.init64, k.ready64)
	clear(w.initP)
	w.initP[0] = fullMask
	for _, s := range k.special32 {
		specials[s.name](w, &w.r32[s.slot])
	}
	w.clock, w.fences, w.alone = vclock{}, w.fences[:0], aloneLanes{}
	w.clock[w.id] = 1
	w.async.reset()
	w.stores = storeQueue{queue: w.stores.queue[:0]}
	w.regs = registers{held: k.launchRegs, change: w.regs.change[:0]}
	w.on, w.failures, w.giveUp, w.timedOut = nil, 0, false, -1
	w.tensor.reset()
}

func (w *warp) live() uint32 { return w.lanes &^ w.done }

// run executes up to n instructions. It returns early when the warp blocks or ends.
func (w *warp) run(n int) error {
	code, counts := w.block.run.k.code, w.block.counts
	for ; n > 0 && w.state == warpReady; n-- {
		f := &w.frags[0]
		in := &code[f.pc]
		m := f.mask
		if in.guard >= 0 {
			if err := w.readyP(in.guard, m); err != nil {
				return w.fault(in, err)
			}
			if p := w.pred[in.guard]; in.neg {
				m &^= p
			} else {
				m &= p
			}
		}
		counts[f.pc]++
		w.block.steps++
		if m == 0 || in.ctl == ctlRun {
			if m != 0 {
				if err := in.exec(w, in, m); err != nil {
					return w.fault(in, err)
				}
			}
			f.pc++
			if len(w.frags) > 1 {
				w.settle()
			}
			continue
		}
		if err := w.control(in, f, m); err != nil {
			return w.fault(in, err)
		}
	}
	return nil
}

// control executes what moves, ends, blocks or needs the whole warp.
func (w *warp) control(in *inst, f *fragment, m uint32) error {
	switch in.ctl {
	case ctlBranch:
		w.branch(f, m, in.target)
	case ctlExit:
		if err := w.flushStores(m); err != nil {
			return err
		}
		return w.exit(f, m)
	case ctlWarp:
		if err := w.collective(in, m); err != nil {
			return err
		}
		f.pc++
		w.settle()
	case ctlTry:
		done, err := in.try(w, in, m)
		if err != nil {
			return err
		}
		if !done {
			w.block.uncount(f.pc)
			return nil
		}
		f.pc++
		w.settle()
	case ctlBarrier:
		if err := w.whole(in, m); err != nil {
			return err
		}
		f.pc++
		return w.block.barrier(w, in)
	case ctlGroup:
		if err := w.wholeWarp(in, m); err != nil {
			return err
		}
		return w.block.gather(w, in)
	default:
		return errors.New("internal: unknown control of an instruction")
	}
	return nil
}

// whole wants every lane of the warp at this instruction.
func (w *warp) whole(in *inst, m uint32) error {
	switch {
	case m == w.lanes:
		return nil
	case w.done != 0 && m == w.live():
		return laneError(m, "%s is executed by a part of the warp, %s exited before: all lanes must take part", in.name, laneList(w.done))
	}
	return laneError(m, "%s is executed by a part of the warp, without %s: all lanes must take part", in.name, laneList(w.lanes&^m))
}

// wholeWarp wants a warp of 32 lanes, all at this instruction.
func (w *warp) wholeWarp(in *inst, m uint32) error {
	if err := w.whole(in, m); err != nil {
		return err
	}
	if m != fullMask {
		return laneError(m, "%s is executed by a warp of less than 32 threads: make the block a multiple of 32", in.name)
	}
	return nil
}

func (w *warp) collective(in *inst, m uint32) error {
	if err := w.wholeWarp(in, m); err != nil {
		return err
	}
	return in.exec(w, in, m)
}

func (w *warp) branch(f *fragment, taken uint32, target int32) {
	if taken == f.mask {
		f.pc = target
	} else {
		f.pc++
		if taken != 0 {
			f.mask &^= taken
			w.frags = append(w.frags, fragment{target, taken})
		}
	}
	w.settle()
}

func (w *warp) exit(f *fragment, m uint32) error {
	w.done |= m
	f.mask &^= m
	f.pc++
	if f.mask == 0 {
		w.frags = slices.Delete(w.frags, 0, 1)
	}
	if len(w.frags) == 0 {
		w.state = warpDone
		w.block.pendingAtExit += int64(len(w.async.queue))
		return w.tensor.checkExit()
	}
	w.settle()
	return nil
}

// settle sorts the fragments and merges fragments that stand at the same instruction, so that lanes come together
// again at the first common point of structured code.
func (w *warp) settle() {
	if len(w.frags) == 1 {
		return
	}
	slices.SortFunc(w.frags, func(a, b fragment) int { return int(a.pc) - int(b.pc) })
	out := w.frags[:1]
	for _, f := range w.frags[1:] {
		if last := &out[len(out)-1]; last.pc == f.pc {
			last.mask |= f.mask
		} else {
			out = append(out, f)
		}
	}
	w.frags = out
}

// fault adds the place to an error of an instruction. An effect that happened late has brought its own.
func (w *warp) fault(in *inst, err error) error {
	var placed *Fault
	if errors.As(err, &placed) {
		return placed
	}
	f := &Fault{Kernel: w.block.run.k.name, Block: w.block.index, Warp: w.id, Line: in.line, Text: folded(in.text), Reason: err.Error()}
	var lf *laneFault
	if errors.As(err, &lf) {
		f.Lanes = lf.lanes
	}
	return f
}

// specials fill special registers when a block starts.
var specials = map[string]func(w *warp, d *lanes){
	"%tid.x": func(w *warp, d *lanes) { w.threadID(d, 0) },
	"%tid.y": func(w *warp, d *lanes) { w.threadID(d, 1) },
	"%tid.z": func(w *warp, d *lanes) { w.threadID(d, 2) },

	"%ntid.x":   func(w *warp, d *lanes) { *d = splat(w.block.run.launch.Block[0]) },
	"%ntid.y":   func(w *warp, d *lanes) { *d = splat(w.block.run.launch.Block[1]) },
	"%ntid.z":   func(w *warp, d *lanes) { *d = splat(w.block.run.launch.Block[2]) },
	"%ctaid.x":  func(w *warp, d *lanes) { *d = splat(w.block.index[0]) },
	"%ctaid.y":  func(w *warp, d *lanes) { *d = splat(w.block.index[1]) },
	"%ctaid.z":  func(w *warp, d *lanes) { *d = splat(w.block.index[2]) },
	"%nctaid.x": func(w *warp, d *lanes) { *d = splat(w.block.run.launch.Grid[0]) },
	"%nctaid.y": func(w *warp, d *lanes) { *d = splat(w.block.run.launch.Grid[1]) },
	"%nctaid.z": func(w *warp, d *lanes) { *d = splat(w.block.run.launch.Grid[2]) },

	"%laneid": func(_ *warp, d *lanes) { perLane(d, func(i uint32) uint32 { return i }) },
	"%warpid": func(w *warp, d *lanes) { *d = splat(uint32(w.id)) },

	"%lanemask_eq": func(_ *warp, d *lanes) { perLane(d, func(i uint32) uint32 { return 1 << i }) },
	"%lanemask_lt": func(_ *warp, d *lanes) { perLane(d, func(i uint32) uint32 { return 1<<i - 1 }) },
	"%lanemask_le": func(_ *warp, d *lanes) { perLane(d, func(i uint32) uint32 { return 2<<i - 1 }) },
	"%lanemask_gt": func(_ *warp, d *lanes) { perLane(d, func(i uint32) uint32 { return ^uint32(2<<i - 1) }) },
	"%lanemask_ge": func(_ *warp, d *lanes) { perLane(d, func(i uint32) uint32 { return ^uint32(1<<i - 1) }) },

	"%dynamic_smem_size": func(w *warp, d *lanes) { *d = splat(uint32(w.block.run.launch.SharedBytes)) },
	"%total_smem_size": func(w *warp, d *lanes) {
		*d = splat(uint32(w.block.run.k.staticShared + w.block.run.launch.SharedBytes))
	},
}

func perLane(d *lanes, f func(i uint32) uint32) {
	for i := range d {
		d[i] = f(uint32(i))
	}
}

// threadID splits the linear thread number into x, y and z.
func (w *warp) threadID(d *lanes, axis int) {
	bx, by := w.block.run.launch.Block[0], w.block.run.launch.Block[1]
	for i := range d {
		t := uint32(32*w.id + i)
		d[i] = [3]uint32{t % bx, t / bx % by, t / bx / by}[axis]
	}
}

// activeLanes calls f for each lane of a mask, in order.
func activeLanes(m uint32, f func(lane int) error) error {
	for ; m != 0; m &= m - 1 {
		if err := f(bits.TrailingZeros32(m)); err != nil {
			return err
		}
	}
	return nil
}
