package search

import (
	"errors"
	"fmt"
	"maps"

	"github.com/minfc/minfc"
	"github.com/minfc/minfc/internal/bench"
	"github.com/minfc/minfc/internal/cost"
	"github.com/minfc/minfc/internal/headplan"
	"github.com/minfc/minfc/internal/qkv"
	"github.com/minfc/minfc/ir"
	"github.com/minfc/minfc/plan"
	"github.com/minfc/minfc/runtime"
	"github.com/minfc/minfc/runtime/device"
)

// kernels are the patterns of candidates, compiled for the heads of a model and loaded once for all layers.
type kernels struct {
	dev      device.Device
	pricing  device.Device // has the target that is priced; dev where that is its target
	machine  cost.Machine
	heads    minfc.Heads
	shape    qkv.Shape
	length   int // tokens of the prompts that are priced
	patterns *headplan.Patterns
	loaded   map[string]*kernel
}

// kernel is a pattern with its const parameters.
type kernel struct {
	run, price *minfc.Attention
}

// candidate is a head that every head of a layer can run, ready to launch.
type candidate struct {
	plan.Head
	values map[string]int64 // of all parameters
	part   runtime.Part
	*kernel
	call   *runtime.Prepared // on the device
	priced *runtime.Prepared // at the length that is priced
	index  float64           // predicted milliseconds of choosing, a head's part of a layer
}

// find loads a pattern, or finds it loaded.
func (k *kernels) find(h plan.Head, values map[string]int64) (*kernel, error) {
	consts := h.Pattern.ValuesAt(ir.BindConst, values)
	key := fmt.Sprint(h.Pattern.Name, consts)
	if own := k.loaded[key]; own != nil {
		return own, nil
	}
	src, err := k.patterns.Source(h.Pattern.Name)
	if err != nil {
		return nil, err
	}
	spec := minfc.Spec{Pattern: h.Pattern.Name, Source: src, Params: consts}
	run, err := minfc.NewAttention(k.dev, spec, k.heads)
	if err != nil {
		return nil, fmt.Errorf("candidate %s: %w", h, err)
	}
	own := &kernel{run, run}
	if k.pricing != k.dev {
		if own.price, err = minfc.NewAttention(k.pricing, spec, k.heads); err != nil {
			return nil, errors.Join(fmt.Errorf("candidate %s: %w", h, err), run.Close())
		}
	}
	k.loaded[key] = own
	if s := run.Loaded().Patterns()[0].Schedule(); !s.Causal() {
		return nil, fmt.Errorf("candidate %s: it keeps keys after the query, a search compares with causal attention: write causal & ... in the pattern", h)
	}
	return own, nil
}

// close gives everything back.
func (k *kernels) close() (err error) {
	for _, own := range k.loaded {
		if own.price != own.run {
			err = errors.Join(err, own.price.Close())
		}
		err = errors.Join(err, own.run.Close())
	}
	if k.pricing != k.dev && k.pricing != nil {
		err = errors.Join(err, k.pricing.Close())
	}
	return err
}

// candidate prepares a head for the prompts of the search.
func (k *kernels) candidate(h plan.Head) (c candidate, err error) {
	c.Head = h
	if c.values, err = h.Values(); err != nil {
		return c, fmt.Errorf("candidate %s: %w", h, err)
	}
	if c.kernel, err = k.find(h, c.values); err != nil {
		return c, err
	}
	c.part = runtime.Part{Params: h.Pattern.ValuesAt(ir.BindLaunch, c.values)}
	if c.call, err = c.run.Loaded().Prepare(k.runShape(), c.part); err != nil {
		return c, fmt.Errorf("candidate %s: %w", h, err)
	}
	if c.priced, err = c.price.Loaded().Prepare(k.priceShape(), c.part); err != nil {
		return c, fmt.Errorf("candidate %s: %w", h, err)
	}
	index, err := c.priced.IndexMillis(k.machine)
	c.index = index / float64(k.shape.QHeads)
	return c, err
}

// runShape is the call on one prompt. Outputs are [rows, heads, head dim], so that sampled rows of all heads are one copy.
func (k *kernels) runShape() runtime.Shape {
	s := k.shape.CallShape()
	head := int64(k.shape.HeadDim)
	row := head * int64(s.QHeads)
	s.NoFallback = true
	s.Strides.O = runtime.Stride{Batch: row * int64(s.SeqQ), Head: head, Row: row}
	return s
}

// priceShape is the call whose time is predicted.
func (k *kernels) priceShape() runtime.Shape {
	s := k.shape.CallShape()
	s.SeqQ, s.SeqK, s.NoFallback = k.length, k.length, true
	return s
}

// countedTiles is how many row tiles of a head are looked at to count what its lists keep.
const countedTiles = 32

// densities are the kept parts of the causal pairs, by head.
func (k *kernels) densities(c candidate, chosen []runtime.Chosen) ([]float64, error) {
	out := make([]float64, k.shape.QHeads)
	n := float64(k.shape.SeqQ)
	all, shape := n*(n+1)/2, ir.Shape{Sq: k.shape.SeqQ, Sk: k.shape.SeqK}
	schedule := c.run.Loaded().Patterns()[0].Schedule()
	if len(schedule.Index) == 0 {
		count, err := bench.CountWork(schedule, c.values, shape)
		for h := range out {
			out[h] = float64(count.Pairs) / all
		}
		return out, err
	}
	launched, err := schedule.Bind(c.values)
	if err != nil {
		return nil, err
	}
	return out, eachHead(len(out), func(h int) error {
		work, err := bench.CountLists(launched, chosen[h:h+1], shape, schedule.Tile.Rows, countedTiles)
		out[h] = min(1, float64(work.Pairs)/all)
		return err
	})
}

// layerMillis is the predicted time of a layer: of its heads, and of the index stages that some of them share.
func (k *kernels) layerMillis(layer []choice) (sum float64, err error) {
	type stage struct {
		of    candidate
		heads []int
		each  map[string][]int64
	}
	var stages []*stage
	sum = k.machine.LaunchMicros / 1e3
	for h, c := range layer {
		sum += c.found.Millis - c.of.index
		budgets := c.of.run.Loaded().Patterns()[0].HeadParams()
		if len(budgets) == 0 {
			continue
		}
		own := &stage{of: c.of, each: map[string][]int64{}}
		for _, s := range stages {
			if s.of.kernel == c.of.kernel && maps.Equal(without(s.of.part.Params, budgets), without(c.of.part.Params, budgets)) {
				own = s
			}
		}
		if own.heads == nil {
			stages = append(stages, own)
		}
		own.heads = append(own.heads, h)
		for _, name := range budgets {
			own.each[name] = append(own.each[name], c.of.part.Params[name])
		}
	}
	for _, s := range stages {
		budgets := s.of.run.Loaded().Patterns()[0].HeadParams()
		part := runtime.Part{Heads: s.heads, Params: without(s.of.part.Params, budgets), HeadParams: s.each}
		call, err := s.of.price.Loaded().Prepare(k.priceShape(), part)
		if err != nil {
			return 0, err
		}
		index, err := call.IndexMillis(k.machine)
		if err != nil {
			return 0, err
		}
		sum += index
	}
	return sum, nil
}

func without(params map[string]int64, names []string) map[string]int64 {
	out := maps.Clone(params)
	for _, name := range names {
		delete(out, name)
	}
	return out
}
