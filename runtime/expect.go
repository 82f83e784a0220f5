package runtime

import (
	"fmt"
	"slices"

	"github.com/minfc/minfc/internal/cost"
	"github.com/minfc/minfc/ir"
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

// Expect prices a call on a machine that runs the target of k. The tensors of a are not looked at. Errors say what of a cannot be
// launched, or that k has no prices.
func (k *LoadedKernel) Expect(m cost.Machine, a Attention) (Expected, error) {
	if k.fallback == nil {
		return Expected{}, fmt.Errorf("%w: %s has no dense kernel beside it, or no prices for %s: compile it again", device.ErrUnsupported, k.schedule.Name, k.info.Target)
	}
	p, err := k.prepareShape(a)
	if err != nil || p.parts[0].bound == nil {
		return Expected{}, err
	}
	x := p.parts[0].bound
	f, err := k.fallback.on(m, k)
	if err != nil {
		return Expected{}, err
	}
	v, err := f.weigh(k, x)
	if err != nil {
		return Expected{}, err
	}
	return f.expect(k, x, v)
}

// on is f with the prices of another machine.
func (f *fallback) on(m cost.Machine, k *LoadedKernel) (*fallback, error) {
	prices, err := m.ListPrices(k.info.HeadDim, readsBlocks(k.schedule))
	return &fallback{f.dense, m, prices, f.ranges}, err
}

// expect adds up the heads of a call.
func (f *fallback) expect(k *LoadedKernel, x *boundCall, v verdict) (Expected, error) {
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

// readsBlocks says whether a schedule reads lists of blocks.
func readsBlocks(s *ir.Schedule) bool {
	return slices.ContainsFunc(s.Segments, func(g ir.Segment) bool { return g.From.Kind == ir.SourceBlocks })
}
