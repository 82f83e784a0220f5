package emu

import "fmt"

// A warpgroup hands registers back to a pool of the block with setmaxnreg.dec, and takes some out of it with
// setmaxnreg.inc, which waits until there are enough. The pool starts empty: a block is launched with all its registers
// in its warps' hands. Registers that an exited warp held do not come back.

const (
	registersOfSM = 65536 // 32-bit registers, of which launched blocks get equal parts
	regStep       = 8     // registers of a thread come in multiples of this
	minRegs       = 24
	maxRegs       = 256
)

// launchRegs is what a thread starts with under the kernel's directives, 0 when they do not fix it.
func (e *entry) launchRegs() int {
	n := 0
	switch {
	case e.maxRegs > 0:
		n = e.maxRegs
	case e.maxThreads > 0 && e.minBlocks > 0:
		n = registersOfSM / (e.maxThreads * e.minBlocks)
	}
	return min(n, maxRegs) / regStep * regStep
}

// registerPool is a block's registers that no warp holds. It counts registers of a thread, a warp at a time.
type registerPool struct{ free int }

func (p *registerPool) describe() string {
	return fmt.Sprintf("registers: the pool has %d for each thread of a warp", p.free)
}

// registers is a warp's share.
type registers struct {
	held   int
	change []int32 // pc of each setmaxnreg executed
}

// decodeSetmaxnreg handles setmaxnreg.{inc,dec}.sync.aligned.u32 n.
func decodeSetmaxnreg(d *decoder) {
	inc := d.take("inc")
	if !inc {
		d.oneOf("dec")
	}
	d.oneOf("sync")
	d.oneOf("aligned")
	d.oneOf("u32")
	if !d.count(1, 1) {
		return
	}
	n := int(min(d.immediate(d.st.args[0]), 1<<16))
	switch {
	case n < minRegs || n > maxRegs || n%regStep != 0:
		d.fail("found %d registers, setmaxnreg wants a multiple of %d from %d to %d", n, regStep, minRegs, maxRegs)
	case d.k.launchRegs == 0:
		d.fail("setmaxnreg has no effect in a kernel without .maxnreg, or .maxntid and .minnctapersm: the number of registers at launch is not known")
	}
	d.in.ctl = ctlTry
	d.in.try = func(w *warp, in *inst, m uint32) (bool, error) {
		if err := w.whole(in, m); err != nil {
			return false, err
		}
		if err := w.regs.agree(w, w.frags[0].pc); err != nil {
			return false, err
		}
		if inc {
			return w.takeRegs(n)
		}
		return true, w.giveRegs(n)
	}
}

// group is the warps of w's warpgroup.
func (w *warp) group() []*warp {
	low := w.id &^ 3
	return w.block.warps[low:min(low+4, len(w.block.warps))]
}

// agree checks that the other warps of the warpgroup, as far as they have come, executed the same instruction.
func (r *registers) agree(w *warp, pc int32) error {
	n := len(r.change)
	for _, other := range w.group() {
		if len(other.regs.change) > n && other.regs.change[n] != pc {
			line := w.block.run.k.code[other.regs.change[n]].line
			return laneError(0, "warp %d of the same warpgroup executes the setmaxnreg at PTX line %d instead: all four warps must execute the same one", other.id, line)
		}
	}
	return nil
}

func (w *warp) giveRegs(n int) error {
	if n > w.regs.held {
		return laneError(0, "setmaxnreg.dec to %d registers, the warp holds %d", n, w.regs.held)
	}
	w.block.pool.free += w.regs.held - n
	w.setRegs(n)
	w.block.wake(&w.block.pool)
	return nil
}

func (w *warp) takeRegs(n int) (bool, error) {
	more := n - w.regs.held
	if more < 0 {
		return false, laneError(0, "setmaxnreg.inc to %d registers, the warp holds %d", n, w.regs.held)
	}
	if more > w.block.pool.free {
		w.park(&w.block.pool)
		return false, nil
	}
	w.block.pool.free -= more
	w.setRegs(n)
	return true, nil
}

func (w *warp) setRegs(n int) {
	w.regs.held = n
	w.regs.change = append(w.regs.change, w.frags[0].pc)
}

// checkRegs finds a setmaxnreg that only a part of a warpgroup executed.
func (b *block) checkRegs() error {
	for _, w := range b.warps {
		n := len(w.regs.change)
		for _, other := range w.group() {
			if n < len(other.regs.change) {
				in := &b.run.k.code[other.regs.change[n]]
				return &Fault{Kernel: b.run.k.name, Block: b.index, Warp: w.id, Line: in.line, Text: folded(in.text),
					Reason: fmt.Sprintf("exits without the setmaxnreg that warp %d of the same warpgroup executed: all four warps must execute it", other.id)}
			}
		}
	}
	return nil
}
