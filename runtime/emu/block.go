package emu

import (
	"fmt"
	"math/bits"
	"math/rand/v2"
	"strings"
)

// namedBarrier is one of the 16 barriers of a block.
type namedBarrier struct {
	arrived int
	want    int // threads; 0 while nobody has arrived
	waiting []*warp
	clock   vclock // join of the clocks of the warps that arrived
	vote    vote   // of bar.red
}

// vote is what the threads at a barrier find out together.
type vote struct {
	of     uint8 // 'o' or 'a', for or and and; 0 at a barrier without a vote
	result bool
}

// block is the state of one thread block. A worker reuses it for block after block.
type block struct {
	run    *launchRun
	index  [3]uint32
	warps  []*warp
	crew   []*warp // warps, and behind them what launches of larger blocks left
	shared sharedMemory
	bars   [16]namedBarrier
	mbars  map[int]*mbarrier // by offset in shared memory
	ready  []*warp           // scratch of pick
	tiles  tiles             // scratch of mma

	groups  []group       // warpgroups
	freeOps []*tensorOp   // to use again
	columns [][16]float64 // scratch of wgmma: B

	last   *allocation // where the last global access went
	steps  int64
	rng    *rand.Rand
	source rand.PCG

	pending []delayed // what instructions left for later, in order of issue
	pool    registerPool
	elects  int   // which lane of a mask elect.sync elects
	events  int64 // counts what may let a waiting warp go on

	counts        []int64 // executions by instruction
	conflicts     []int64 // extra shared memory wavefronts by instruction
	barriers      int64
	pendingAtExit int64
	unsaid        int // bytes written that the watcher has not heard of
}

// runBlock runs the block with a linear index to its end. Warps take turns in a seeded random order with bursts of
// random length; a correct kernel gives the same result for every seed.
func (b *block) runBlock(linear uint64) error {
	g := b.run.launch.Grid
	b.index = [3]uint32{uint32(linear % uint64(g[0])), uint32(linear / uint64(g[0]) % uint64(g[1])), uint32(linear / uint64(g[0]) / uint64(g[1]))}
	b.source.Seed(b.run.opt.Seed, linear)
	b.steps, b.events, b.pending = 0, 0, b.pending[:0]
	b.shared.reset()
	clear(b.mbars)
	b.pool = registerPool{}
	b.elects = int((b.run.opt.Seed + linear) % 32)
	for i := range b.bars {
		b.bars[i] = namedBarrier{waiting: b.bars[i].waiting[:0]}
	}
	for i := range b.groups {
		b.groups[i].waiting = b.groups[i].waiting[:0]
	}
	for _, w := range b.warps {
		w.reset()
	}
	for turn := 0; ; {
		w, err := b.pick()
		if err != nil {
			return err
		}
		if w == nil {
			return b.finished()
		}
		if err := w.run(1 + b.rng.IntN(1<<b.rng.IntN(10))); err != nil {
			return err
		}
		if err := b.drift(); err != nil {
			return err
		}
		if turn++; turn%contextTurns == 0 && b.run.within.Err() != nil {
			return b.run.within.Err()
		}
		if b.steps > b.run.opt.Budget {
			return b.overBudget()
		}
	}
}

// contextTurns is after how many turns of warps a block asks whether its launch has been ended.
const contextTurns = 1 << 10

// pick chooses a warp that can run. None and no error means that the block is done.
func (b *block) pick() (*warp, error) {
	for {
		b.ready = b.ready[:0]
		waiting := false
		for _, w := range b.warps {
			switch w.state {
			case warpReady:
				b.ready = append(b.ready, w)
			case warpWaits, warpParked:
				waiting = true
			}
		}
		if len(b.ready) > 0 {
			return b.ready[b.rng.IntN(len(b.ready))], nil
		}
		if !waiting {
			return nil, nil
		}
		if again, err := b.unstall(); err != nil {
			return nil, err
		} else if !again {
			return nil, b.blockFault("deadlock: no warp can run\n" + b.positions())
		}
	}
}

// finished checks what the block leaves behind.
func (b *block) finished() error {
	for _, d := range b.pending {
		in := &b.run.k.code[d.pc]
		return &Fault{Kernel: b.run.k.name, Block: b.index, Warp: -1, Line: in.line, Text: folded(in.text),
			Reason: "the block ends while this is in flight: wait for its mbarrier first"}
	}
	return b.checkRegs()
}

// uncount takes back the counts of an instruction that could not be executed yet.
func (b *block) uncount(pc int32) {
	b.counts[pc]--
	b.steps--
}

func (b *block) overBudget() error {
	return b.blockFault(fmt.Sprintf("the block has executed more than %d instructions, which looks like an endless loop; raise Options.Budget if it is not\n%s",
		b.run.opt.Budget, b.positions()))
}

func (b *block) blockFault(reason string) error {
	return &Fault{Kernel: b.run.k.name, Block: b.index, Warp: -1, Reason: reason}
}

// positions lists where every warp stands.
func (b *block) positions() string {
	var s []string
	for _, w := range b.warps {
		switch w.state {
		case warpDone:
			s = append(s, fmt.Sprintf("\twarp %d: exited", w.id))
			continue
		case warpWaits:
			in := &b.run.k.code[w.frags[0].pc-1]
			bar := &b.bars[w.bar]
			s = append(s, fmt.Sprintf("\twarp %d: waits at barrier %d, where %d of %d threads have arrived, PTX line %d: %s", w.id, w.bar, bar.arrived, bar.want, in.line, folded(in.text)))
			continue
		case warpParked:
			in := &b.run.k.code[w.frags[0].pc]
			s = append(s, fmt.Sprintf("\twarp %d: waits for %s, PTX line %d: %s", w.id, w.on.describe(), in.line, folded(in.text)))
			continue
		}
		for _, f := range w.frags {
			in := &b.run.k.code[f.pc]
			s = append(s, fmt.Sprintf("\twarp %d: %s at PTX line %d: %s", w.id, laneList(f.mask), in.line, folded(in.text)))
		}
	}
	return strings.Join(s, "\n")
}

// decodeBarrier handles bar.sync, bar.arrive, bar.red.{or,and}.pred with a number of threads, their barrier.* spellings and bar.warp.sync.
func decodeBarrier(d *decoder) {
	d.takeAny("cta", "aligned")
	if d.take("warp") {
		d.oneOf("sync")
		if d.count(1, 1) {
			d.in.a = d.source(d.st.args[0], ptxTypes["b32"])
			d.in.ctl, d.in.exec = ctlRun, execWarpSync
		}
		return
	}
	kind := d.oneOf("sync", "arrive", "red")
	if kind == "red" {
		d.vote()
		return
	}
	low := 1
	if kind == "arrive" {
		low = 2
	}
	if !d.count(low, 2) {
		return
	}
	t := ptxTypes["u32"]
	d.in.ctl, d.in.a, d.in.b = ctlBarrier, d.source(d.st.args[0], t), -1
	d.in.mode = kind[0]
	if len(d.st.args) == 2 {
		d.in.b = d.source(d.st.args[1], t)
	}
}

// vote reads bar.red.{or,and}.pred p, a, b, q.
func (d *decoder) vote() {
	kind := d.oneOf("or", "and")
	d.oneOf("pred")
	a, t := d.st.args, ptxTypes["u32"]
	if !d.count(4, 4) {
		return
	}
	d.in.ctl, d.in.mode = ctlBarrier, (kind + " ")[0]
	d.in.d, d.in.a, d.in.b = d.reg(a[0], classPred), d.source(a[1], t), d.source(a[2], t)
	d.in.c, d.in.notC = d.pred(a[3])
}

// uniform is a value that must be the same in every lane.
func (w *warp) uniform(slot int32, what string) (uint32, error) {
	if err := w.ready32(slot, w.lanes); err != nil {
		return 0, err
	}
	v := &w.r32[slot]
	for m := w.lanes; m != 0; m &= m - 1 {
		if i := bits.TrailingZeros32(m); v[i] != v[0] {
			return 0, oneLane(i, "%s is %d here and %d in lane 0: it must be equal in the whole warp", what, v[i], v[0])
		}
	}
	return v[0], nil
}

// barrier lets a whole warp arrive; the pc has already moved on.
func (b *block) barrier(w *warp, in *inst) error {
	id, err := w.uniform(in.a, "the barrier number")
	if err != nil {
		return err
	}
	want := uint32(32 * len(b.warps))
	if in.b >= 0 {
		if want, err = w.uniform(in.b, "the barrier's thread count"); err != nil {
			return err
		}
	}
	switch {
	case id > 15:
		return laneError(0, "found barrier %d, wanted 0 to 15", id)
	case want == 0 || want%32 != 0 || int(want) > 32*len(b.warps):
		return laneError(0, "found a barrier of %d threads, wanted a multiple of 32 up to the block's %d", want, 32*len(b.warps))
	}
	bar := &b.bars[id]
	if bar.want != 0 && bar.want != int(want) {
		return laneError(0, "arrives at barrier %d for %d threads, others are there for %d", id, want, bar.want)
	}
	if err := b.cast(bar, w, in); err != nil {
		return err
	}
	bar.want = int(want)
	b.arrive(bar, w, int(id), in.mode != 'a' || bar.vote.of != 0)
	return nil
}

// cast adds the warp's vote, if it has one.
func (b *block) cast(bar *namedBarrier, w *warp, in *inst) error {
	var of uint8
	if strings.Contains(in.name, ".red.") {
		of = in.mode
	}
	switch {
	case bar.arrived == 0:
		bar.vote = vote{of, of == 'a'}
	case bar.vote.of != of:
		return laneError(0, "%s at a barrier where others wait for something else", in.name)
	}
	if of == 0 {
		return nil
	}
	if err := w.readyP(in.c, w.lanes); err != nil {
		return err
	}
	p := w.pred[in.c]
	if in.notC {
		p = ^p
	}
	p &= w.lanes
	w.elected = in.d
	if of == 'a' {
		bar.vote.result = bar.vote.result && p == w.lanes
	} else {
		bar.vote.result = bar.vote.result || p != 0
	}
	return nil
}

// arrive releases what the warp did so far; when the count is full all who wait have seen it.
func (b *block) arrive(bar *namedBarrier, w *warp, id int, wait bool) {
	b.barriers++
	b.events++
	bar.arrived += 32
	w.release(&bar.clock)
	w.alone.lanes = 0
	if wait {
		w.state, w.bar = warpWaits, id
		bar.waiting = append(bar.waiting, w)
	}
	if bar.arrived < bar.want {
		return
	}
	for _, x := range bar.waiting {
		x.acquire(&bar.clock)
		x.state = warpReady
		if bar.vote.of != 0 {
			v := uint32(0)
			if bar.vote.result {
				v = fullMask
			}
			x.storePred(x.elected, v, x.lanes)
		}
	}
	bar.arrived, bar.want, bar.waiting, bar.clock = 0, 0, bar.waiting[:0], vclock{}
}

// execWarpSync orders the lanes of a warp among themselves: see asynchronous copies.
func execWarpSync(w *warp, in *inst, m uint32) error {
	if err := w.ready32(in.a, m); err != nil {
		return err
	}
	if err := w.members(in, in.a, m); err != nil {
		return err
	}
	w.clock[w.id]++
	w.alone.lanes &^= m
	return nil
}
