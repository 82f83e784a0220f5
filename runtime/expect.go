package runtime

import (
	"fmt"

	"github.com/minfc/minfc/internal/cost"
	"github.com/minfc/minfc/runtime/device"
)

// Expected is what the cost model says of a call of a pattern that the data decides, before there are lists. Times are
// milliseconds of all heads.
type Expected struct {
	Index     float64 // choosing
	Low, High float64 // attention over the cheapest and over the dearest lists that the budgets allow; equal where the data only moves blocks
	Dense     float64 // attention without sparsity
	RunsDense bool    // the launch would not choose at all: dense attention is faster whatever the data says
}

// Expect prices a call of patterns that the data decides on a machine that runs the target of what was loaded. Errors say that a pattern has
// no prices.
func (p *Prepared) Expect(m cost.Machine) (sum Expected, err error) {
	sum.RunsDense = !p.idle()
	for _, part := range p.parts {
		k := part.pattern
		if k.fallback == nil && !k.staysSparse() {
			return Expected{}, fmt.Errorf("%w: %s has no dense kernel beside it, or no prices for %s: compile it again",
				device.ErrUnsupported, k.schedule.Name, k.loaded.build.Target)
		}
		if part.bound == nil {
			continue
		}
		e, err := part.expect(m)
		if err != nil {
			return Expected{}, err
		}
		sum.Index, sum.Low, sum.High, sum.Dense = sum.Index+e.Index, sum.Low+e.Low, sum.High+e.High, sum.Dense+e.Dense
		sum.RunsDense = sum.RunsDense && e.RunsDense
	}
	return sum, nil
}

func (p *preparedPart) expect(m cost.Machine) (Expected, error) {
	if p.pattern.staysSparse() {
		return p.expectSparse(m)
	}
	f, err := p.pattern.fallback.on(m, p.pattern)
	if err != nil {
		return Expected{}, err
	}
	v, err := f.weigh(p.pattern, p.bound)
	if err != nil {
		return Expected{}, err
	}
	return f.expect(p.pattern, p.bound, v)
}

// staysSparse says that a pattern has no dense kernel beside it although data decides: means stand for pairs that no choice can keep.
func (k *Pattern) staysSparse() bool {
	_, means := k.schedule.Means()
	return means && len(k.choices) > 0 && k.dense == nil
}

// expectSparse is expect where no head can be dense.
func (p *preparedPart) expectSparse(m cost.Machine) (Expected, error) {
	k, x := p.pattern, p.bound
	f := &fallback{machine: m, ranges: rangesOf(k.schedule)}
	var err error
	if f.lists, err = m.ListPrices(k.loaded.build.HeadDim, k.schedule.ByRowBlock()); err != nil {
		return Expected{}, err
	}
	ranges, err := x.count(f.ranges)
	if err != nil {
		return Expected{}, err
	}
	w, err := k.indexWork(x)
	if err != nil {
		return Expected{}, err
	}
	return f.expect(k, x, verdict{fixed: f.lists.RangeNanos(ranges), index: m.IndexMillis(w, x.headDim)})
}

// on is f with the prices of another machine.
func (f *fallback) on(m cost.Machine, k *Pattern) (*fallback, error) {
	prices, err := m.ListPrices(k.loaded.build.HeadDim, k.schedule.ByRowBlock())
	return &fallback{m, prices, f.ranges}, err
}

// expect adds up the heads of a call.
func (f *fallback) expect(k *Pattern, x *boundCall, v verdict) (Expected, error) {
	shapes, err := k.listShapes(x)
	if err != nil {
		return Expected{}, err
	}
	e := Expected{Index: v.index, RunsDense: v.routing == allDense && !x.NoFallback}
	millis := float64(x.Batch) * 1e-6 / float64(f.machine.Multiprocessors)
	for h := range x.QHeads {
		if !x.takesPart(h) {
			continue
		}
		cheap, dear := f.bounds(x, shapes, h)
		e.Low, e.High, e.Dense = e.Low+millis*(v.fixed+cheap), e.High+millis*(v.fixed+dear), e.Dense+millis*v.dense
	}
	return e, nil
}
