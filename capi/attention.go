//go:build cgo && linux && (amd64 || arm64)

package main

import (
	"errors"
	"fmt"

	"github.com/minfc/minfc"
	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/runtime"
	"github.com/minfc/minfc/runtime/device"
)

// attention is a minfc_attention.
type attention struct {
	*minfc.Attention
	owner
	dev *openDevice
	minfc.Heads
}

// preparedCall is a minfc_call: of attention, or of a recall.
type preparedCall struct {
	*minfc.Call               // nil of a recall
	recall      *minfc.Recall // nil of attention
	of          *attention
}

var (
	attentions = table[attention]{kind: kindAttention}
	calls      = table[preparedCall]{kind: kindCall}
)

type pointers = minfc.Pointers

// heads are a minfc_heads.
type heads struct{ q, kv, dim, dtype int }

// dtypes are the types of minfc.h by their number.
var dtypes = [...]abi.DType{1: abi.BF16, 2: abi.F16}

// check turns heads of C into Go's.
func (h heads) check() (minfc.Heads, error) {
	if h.dtype < 1 || h.dtype >= len(dtypes) {
		return minfc.Heads{}, device.BadCall("dtype is %d, want MINFC_BF16 (1) or MINFC_F16 (2)", h.dtype)
	}
	if err := abi.CheckHeadDim(h.dim); err != nil {
		return minfc.Heads{}, fmt.Errorf("%w: %w", device.ErrBadCall, err)
	}
	out := minfc.Heads{Q: h.q, KV: h.kv, Dim: h.dim, DType: dtypes[h.dtype]}
	return out, runtime.CheckSizes(minfc.Shape{Batch: 1, QHeads: h.q, KVHeads: h.kv})
}

func newAttention(h handle, spec string, want heads) (handle, error) {
	d, err := devices.get(h)
	if err != nil {
		return 0, err
	}
	if err := d.hold(); err != nil {
		return 0, err
	}
	a, err := compileOn(d, spec, want)
	if err == nil {
		var out handle
		if out, err = attentions.put(a); err == nil {
			return out, nil
		}
		err = errors.Join(err, a.Close())
	}
	d.release()
	return 0, err
}

func compileOn(d *openDevice, spec string, want heads) (*attention, error) {
	own, err := want.check()
	if err != nil {
		return nil, err
	}
	s, err := parseSpec(spec)
	if err != nil {
		return nil, err
	}
	a, err := minfc.NewAttention(d.Device, s, own)
	if err != nil {
		return nil, specError{err}
	}
	if _, err := a.Prepare(minfc.Shape{Batch: 1}); err != nil { // of no rows: parameters that no call could have are told here
		return nil, errors.Join(err, a.Close())
	}
	return &attention{Attention: a, dev: d, Heads: own}, nil
}

func closeAttention(h handle) error {
	a, err := attentions.get(h)
	if err != nil {
		return err
	}
	if err := a.end(kindAttention, kindCall); err != nil {
		return err
	}
	if err := attentions.remove(h); err != nil {
		return err
	}
	defer a.dev.release()
	return a.Close()
}

func prepare(h handle, s shape) (out handle, workspace int64, err error) {
	a, err := attentions.get(h)
	if err != nil {
		return 0, 0, err
	}
	if err := a.hold(); err != nil {
		return 0, 0, err
	}
	call, err := a.prepare(s)
	if err == nil {
		out, err = calls.put(&preparedCall{Call: call, of: a})
	}
	if err != nil {
		a.release()
		return 0, 0, err
	}
	return out, call.Workspace(), nil
}

func (a *attention) prepare(s shape) (*minfc.Call, error) {
	if err := s.check(a.Heads); err != nil {
		return nil, err
	}
	return a.PrepareHeads(s.Shape, s.only)
}

func closeCall(h handle) error {
	c, err := calls.get(h)
	if err != nil {
		return err
	}
	if err := calls.remove(h); err != nil {
		return err
	}
	c.of.release()
	return nil
}

// run allocates nothing: a server calls it for each layer of each step.
func run(h handle, at pointers, stream uintptr) error {
	return runStages(h, at, int(runtime.AllStages), stream)
}

// runStages is run for some stages.
func runStages(h handle, at pointers, stages int, stream uintptr) error {
	if stages < 0 || stages > int(runtime.AllStages) {
		return device.BadCall("stages is %d, want some of enum minfc_stage, added up", stages)
	}
	c, err := calls.get(h)
	if err != nil {
		return err
	}
	s, err := c.of.dev.stream(stream)
	if err != nil {
		return err
	}
	if err := c.of.dev.checkOwn(&at); err != nil {
		return err
	}
	if c.recall == nil {
		return c.RunStages(s, at, runtime.Stages(stages))
	}
	if runtime.Stages(stages) != runtime.AllStages {
		return device.BadCall("the call is a recall, which has no stages: minfc_run runs it")
	}
	return c.recall.Run(s, at)
}

// shape is a minfc_shape.
type shape struct {
	minfc.Shape
	explicit bool // strides count, also where all of a tensor's are 0
	list     bool // there is a list of heads
	only     []int
}

// check refuses strides that package runtime would take for others: there zeros are a contiguous tensor.
func (s *shape) check(h minfc.Heads) error {
	switch {
	case s.list && len(s.only) == 0:
		return device.BadCall("heads is a list and head_count says that it is empty, want NULL for all heads")
	case len(s.only) > h.Q:
		return device.BadCall("head_count is %d, and there are %d query heads", len(s.only), h.Q)
	}
	if !s.explicit {
		s.Strides = runtime.Strides{}
		return nil
	}
	batch, rowsQ, rowsK := s.Rows()
	for _, t := range []struct {
		name        string
		strides     runtime.Stride
		heads, rows int
	}{{"q", s.Strides.Q, h.Q, rowsQ}, {"k", s.Strides.K, h.KV, rowsK}, {"v", s.Strides.V, h.KV, rowsK}, {"o", s.Strides.O, h.Q, rowsQ}} {
		if t.strides == (runtime.Stride{}) && (batch > 1 || t.heads > 1 || t.rows > 1) && t.rows > 0 {
			return device.BadCall("the strides of %s are all 0: a tensor that repeats one row has to be copied; "+
				"for contiguous tensors set explicit_strides to 0", t.name)
		}
	}
	if row := s.Strides.LSE.Row; row != 0 && row != 1 {
		return device.BadCall("lse has a row stride of %d elements, want 1: its rows are contiguous", row)
	}
	return nil
}
