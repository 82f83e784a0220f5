package runtime

import (
	"maps"
	"slices"
)

// plannedCall is what a call of some shape and parameters comes to: its index stage in numbers, and which kernels it launches.
type plannedCall struct {
	given Attention // shape and parameters
	index indexCall
	verdict
}

// plansKept is how many plans a kernel remembers: it may serve all layers of a model, some with several sets of parameters, and a
// server goes through them again and again. The last ones are found first.
const plansKept = 512

// recalled is the plan of a call like c, if it is remembered.
func (k *LoadedKernel) recalled(c *call) (*indexCall, verdict, bool) {
	kept := k.lastPlans.Load()
	if kept == nil {
		return nil, verdict{}, false
	}
	i := slices.IndexFunc(*kept, func(p *plannedCall) bool { return sameCall(&p.given, &c.Attention) })
	if i < 0 {
		return nil, verdict{}, false
	}
	x := (*kept)[i].index
	x.call = c
	x.slice() // slices have tensors of their own
	return &x, (*kept)[i].verdict, true
}

// planned plans a call. Servers launch calls of one shape layer after layer, and planning takes longer than a short call runs,
// so the last plans are remembered.
func (k *LoadedKernel) planned(c *call) (*indexCall, verdict, error) {
	if x, v, ok := k.recalled(c); ok {
		return x, v, nil
	}
	x, err := k.planCall(c)
	if err != nil {
		return nil, verdict{}, err
	}
	v, err := k.weigh(x)
	if err != nil {
		return nil, v, err
	}
	k.remember(x, v)
	return x, v, nil
}

// remember keeps a plan in front of the others.
func (k *LoadedKernel) remember(x *indexCall, v verdict) {
	given := x.Attention
	given.Params, given.Heads = maps.Clone(given.Params), slices.Clone(given.Heads)
	given.HeadParams = map[string][]int64{}
	for name, values := range x.HeadParams {
		given.HeadParams[name] = slices.Clone(values)
	}
	plans := []*plannedCall{{given, *x, v}}
	plans[0].index.call, plans[0].index.slices = nil, nil // they belong to the caller
	if old := k.lastPlans.Load(); old != nil {
		plans = append(plans, (*old)[:min(len(*old), plansKept-1)]...)
	}
	k.lastPlans.Store(&plans)
}

// sameCall compares what a plan depends on.
func sameCall(a, b *Attention) bool {
	return a.Batch == b.Batch && a.QHeads == b.QHeads && a.KVHeads == b.KVHeads &&
		a.SeqQ == b.SeqQ && a.SeqK == b.SeqK && a.QOffset == b.QOffset && a.NoFallback == b.NoFallback &&
		slices.Equal(a.Heads, b.Heads) && maps.Equal(a.Params, b.Params) && maps.EqualFunc(a.HeadParams, b.HeadParams, slices.Equal[[]int64])
}
