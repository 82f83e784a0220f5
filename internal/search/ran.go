package search

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/minfc/minfc/compile"
	"github.com/minfc/minfc/plan"
	"github.com/minfc/minfc/runtime/artifact"
	"github.com/minfc/minfc/runtime/device"
)

// Ran is what the plan did when it was run on the first sample of every layer, all heads of a layer together as programs run them.
type Ran struct {
	Millis      float64 // of all layers, the sum of medians
	DenseMillis float64 // of dense attention in their place
	Error       float64 // as in plan.Total
}

// timedRuns is how often each layer is run for its time, after a run that is not timed.
const timedRuns = 5

// run runs the plan, layer by layer.
func (s *searcher) run(o Outcome) (_ *Ran, err error) {
	var layers [][]plan.Head
	for _, l := range o.layers {
		var heads []plan.Head
		for _, c := range l {
			heads = append(heads, c.of.Head)
		}
		layers = append(layers, heads)
	}
	art, err := s.Patterns.Compile(compile.Options{Target: s.target(), DType: s.Source.DType, HeadDim: s.Source.Shape.HeadDim}, nil, layers...)
	if err != nil {
		return nil, err
	}
	loaded, err := plan.Load(s.dev, art, artifact.Select{})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, loaded.Close()) }()
	r, loss := &Ran{}, 0.0
	for i, heads := range layers {
		s.step("running the plan", i, len(layers))
		bound, err := loaded.Bind(heads)
		if err != nil {
			return nil, err
		}
		own, err := s.runLayer(i, bound)
		if err != nil {
			return nil, fmt.Errorf("layer %d of the plan: %w", i, err)
		}
		r.Millis, r.DenseMillis, loss = r.Millis+own.Millis, r.DenseMillis+own.DenseMillis, loss+own.Error
	}
	s.step("running the plan", len(layers), len(layers))
	r.Error = math.Sqrt(loss / float64(len(s.counts)))
	return r, nil
}

// runLayer runs a layer on its first sample. The error is the sum of the heads' weighted squares.
func (s *searcher) runLayer(layer int, l *plan.LoadedLayer) (out Ran, err error) {
	prompts, err := s.Source.load(layer)
	if err != nil {
		return out, err
	}
	ref, err := s.dense(prompts[0])
	if err != nil {
		return out, err
	}
	call, err := l.Prepare(s.kernels.runShape())
	if err != nil {
		return out, err
	}
	at := s.memory.at
	if at.WorkspaceBytes = call.Workspace(); at.WorkspaceBytes > s.memory.at.WorkspaceBytes {
		if at.Workspace, err = s.dev.Alloc(at.WorkspaceBytes); err != nil {
			return out, fmt.Errorf("the workspace of the whole layer: %w", err)
		}
		defer func() { err = errors.Join(err, s.dev.Synchronize(), s.dev.Free(at.Workspace)) }()
	}
	if out.DenseMillis, err = s.time(func() error { return s.list[0].call.Run(nil, s.memory.at) }); err != nil {
		return out, err
	}
	if out.Millis, err = s.time(func() error { return call.Run(nil, at) }); err != nil {
		return out, err
	}
	got, err := s.memory.read(s.rows)
	if err != nil {
		return out, err
	}
	all, err := s.scorer().score(ref, got)
	for h, m := range all {
		out.Error += s.counts[layer*len(all)+h] * m.error2
	}
	return out, err
}

// time is the median of the milliseconds of what f enqueues. The emulator's times mean nothing, and one run is enough.
func (s *searcher) time(f func() error) (float64, error) {
	if s.dev.Info().Driver == "emu" {
		return 0, f()
	}
	times := make([]float64, 1+timedRuns)
	for i := range times {
		var err error
		if times[i], err = timeOnce(s.dev, f); err != nil {
			return 0, err
		}
	}
	times = times[1:]
	slices.Sort(times)
	return times[len(times)/2], nil
}

func timeOnce(dev device.Device, f func() error) (ms float64, err error) {
	start, err := dev.NewEvent()
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, start.Close()) }()
	stop, err := dev.NewEvent()
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, stop.Close()) }()
	if err := errors.Join(start.Record(nil), f(), stop.Record(nil)); err != nil {
		return 0, err
	}
	return stop.Since(start)
}
