package runtime

import (
	"slices"

	"github.com/minfc/minfc/internal/cost"
	"github.com/minfc/minfc/ir"
	"github.com/minfc/minfc/runtime/device"
)

// Dense runs where it wins. What a pattern that the data decides costs depends on how its lists came out, so the choice is
// made for each head on the device, from the lists, between index stage and attention. Where the lists cannot change the
// outcome, it is made here, before anything is launched. A batch entry is weighed as if it were the whole call, so that what a
// sequence computes does not depend on who shares its launch. docs/fallback.md has the rules and their reasons.

// What is asked of a prediction before it is followed.
const (
	fallbackMargin = 0.05      // a head stays sparse if that is predicted to be faster by this part at least
	shortLength    = 1 << 14   // up to this length
	shortRegret    = 0.02      // at most this part of the dense kernel's time is risked on an index stage,
	longRegret     = 0.1       // and this one above it
	anyDistance    = 1<<31 - 1 // no bound, in decide's parameters
)

// fallback is the kernel without sparsity beside one with lists, and what their work costs.
type fallback struct {
	machine cost.Machine
	lists   cost.ListPrices
	ranges  *ir.Schedule // the part of the schedule that reads no lists
}

// readFallback notes what computes heads without sparsity, if the cost model knows the target.
func (k *Pattern) readFallback(dense *ir.Schedule) error {
	info, build := k.loaded.dev.Info(), k.loaded.build
	m, known := cost.MachineLike(cost.Device{Name: info.Name, Multiprocessors: info.Multiprocessors, L2Bytes: info.L2Bytes}, build.Target)
	if !known {
		return nil
	}
	prices, err := m.ListPrices(build.HeadDim, k.schedule.ByRowBlock())
	if err != nil {
		return err
	}
	k.dense, k.fallback = dense, &fallback{m, prices, rangesOf(k.schedule)}
	return nil
}

// rangesOf is the part of a schedule whose price no list changes: ranges, and means.
func rangesOf(s *ir.Schedule) *ir.Schedule {
	out := *s
	out.Index, out.Segments = nil, nil
	for _, g := range s.Segments {
		if g.From.Kind == ir.SourceRange || g.From.Kind == ir.SourceMeans {
			out.Segments = append(out.Segments, g)
		}
	}
	return &out
}

// routing says which kernels a call launches.
type routing int

const (
	allSparse routing = iota
	allDense
	byHead // both, and decide
)

// verdict is the outcome of weighing one batch entry; it holds for all of them.
type verdict struct {
	routing
	dense float64 // nanoseconds of a multiprocessor for one head without sparsity
	fixed float64 // and for what is in no list of a sparse one
	index float64 // milliseconds of the index stage of one batch entry
	low   float64 // nanoseconds of its heads, each by its faster kernel, if the lists are as cheap as they can be
}

// weigh decides what can be decided without the data.
func (k *Pattern) weigh(x *boundCall) (verdict, error) {
	if k.fallback == nil || x.NoFallback || x.SeqK == 0 {
		return verdict{}, nil
	}
	return k.fallback.weigh(k, x)
}

// weigh is the rule of Pattern.weigh with the prices of f.
func (f *fallback) weigh(k *Pattern, x *boundCall) (verdict, error) {
	v, err := f.price(k, x)
	if err != nil {
		return v, err
	}
	shapes, err := k.listShapes(x)
	if err != nil {
		return v, err
	}
	high, sure := 0.0, true
	var cheap, dear float64
	before := -1
	for h := range x.QHeads {
		if !x.takesPart(h) {
			continue
		}
		if before < 0 || !x.sameBudgets(before, h) {
			cheap, dear = f.bounds(x, shapes, h)
		}
		before = h
		v.low += min(v.fixed+cheap, v.dense)
		high += min(v.fixed+dear, v.dense)
		sure = sure && v.fixed+dear < v.limit()
	}
	index := v.index * 1e6 * float64(f.machine.Multiprocessors)
	all := v.dense * float64(x.inEntry())
	regret := longRegret
	if max(x.SeqK, x.reach()) <= shortLength {
		regret = shortRegret
	}
	switch {
	case v.low+index >= all*(1-fallbackMargin), high+index > all*(1+regret):
		v.routing = allDense
	case !sure && x.Lengths == InShape: // on the device, heads are compared with prices that hold for one length
		v.routing = byHead
	}
	return v, nil
}

// limit is what a head's sparse nanoseconds must stay below.
func (v verdict) limit() float64 { return v.dense * (1 - fallbackMargin) }

// price fills in what does not depend on the lists.
func (f *fallback) price(k *Pattern, x *boundCall) (v verdict, err error) {
	dense, err := x.count(k.dense)
	if err != nil {
		return v, err
	}
	ranges, err := x.count(f.ranges)
	if err != nil {
		return v, err
	}
	v.fixed = f.lists.RangeNanos(ranges)
	if v.dense, err = f.machine.HeadNanos(dense); err != nil {
		return v, err
	}
	w, err := k.indexWork(x)
	v.index = f.machine.IndexMillis(w, x.headDim)
	return v, err
}

// indexWork is what the index stage of one batch entry does by itself, decide and the second attention kernel included.
func (k *Pattern) indexWork(x *boundCall) (cost.IndexWork, error) {
	one := *x.call
	one.Batch, one.present = 1, x.inEntry()
	entry, err := k.program.Bind(k.programLaunch(&one, []map[string]int64{x.values}))
	if err != nil {
		return cost.IndexWork{}, device.BadCall("%w", err)
	}
	work, err := entry.Work()
	if err != nil {
		return cost.IndexWork{}, device.BadCall("%w", err)
	}
	// Of causal pairs there are half as many. Products of squares run on tensor cores, which are taken to be tensorGain times as fast.
	const tensorGain = 16
	w := cost.IndexWork{Launches: int(work[ir.WorkLaunches]), ProbedKeys: work[ir.WorkProbed], PooledBytes: work[ir.WorkPooled],
		Scores: work[ir.WorkScores]/2 + work[ir.WorkSquares]/2/tensorGain}
	tiles := 0
	if !k.staysSparse() {
		tiles = ceilDiv(x.SeqQ, k.blockRows[0]) + ceilDiv(x.SeqQ, k.blockRows[1])
	}
	w.IdleBlocks = float64(x.QHeads) * float64(tiles) // of heads that take no part, too
	return w, nil
}

// listShape is a segment that reads a list, with the bounds that cut the list for a row block; see index.DecideParams.
type listShape struct {
	source     ir.Source
	choice     int
	low, reach int // of runs
	high, near int // of columns
}

// listShapes are the segments that read lists, in the order of the schedule.
func (k *Pattern) listShapes(x *boundCall) ([]listShape, error) {
	var out []listShape
	for _, g := range k.schedule.Segments {
		if g.From.Kind == ir.SourceRange || g.From.Kind == ir.SourceMeans {
			continue
		}
		s := listShape{source: g.From, reach: anyDistance, high: x.SeqK, near: ir.MaxParam}
		s.choice = slices.IndexFunc(x.choices, func(n choiceCall) bool { return n.source == g.From })
		for _, b := range g.Lo {
			off, err := b.Eval(x.values)
			if err != nil {
				return nil, device.BadCall("%w", err)
			}
			if b.Row {
				s.reach = min(s.reach, ir.BlockSize-int(off))
			} else {
				s.low = max(s.low, int(off))
			}
		}
		for _, b := range g.Hi {
			off, err := b.Eval(x.values)
			if err != nil {
				return nil, device.BadCall("%w", err)
			}
			if b.Row {
				s.near = min(s.near, int(off))
			} else {
				s.high = min(s.high, int(off))
			}
		}
		out = append(out, s)
	}
	return out, nil
}

// rowsOfRun is how many row blocks walk the tile at l.
func (x *boundCall) rowsOfRun(s listShape, l int) int {
	if l >= s.reach {
		return 0
	}
	first := (l+s.low-x.QOffset-ir.BlockSize)>>6 + 1
	return max(0, x.rowBlocks()-max(0, first))
}

// rowsOfSlot is how many row blocks walk a slot of columns whose first one is id.
func (x *boundCall) rowsOfSlot(s listShape, id int) int {
	row := id + 1 - x.QOffset - s.near
	if id >= s.high || row >= x.SeqQ {
		return 0
	}
	return x.rowBlocks() - max(0, row>>6)
}
