package runtime

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/bits"

	"github.com/minfc/minfc/runtime/device"
)

// HostCall is a call whose tensors are contiguous in the host's memory, as little-endian 16-bit elements.
type HostCall struct {
	Shape   // without strides
	Q, K, V []byte
	Parts   []Part // see Loaded.Prepare
	NoLSE   bool
	Chosen  bool       // return what the index stage chose, too
	Recall  *Recall    // return the kept mass, too; nil: it is not wanted
	Sample  []RowRange // rows of the recall; see Recall.Prepare
}

// HostResult is the outcome of a HostCall.
type HostResult struct {
	O            []byte    // like Q
	LSE          []float32 // [Batch, QHeads, SeqQ]; nil when it was not wanted
	Chosen       []Chosen  // [Batch * QHeads]; nil when it was not wanted or no data decides
	Skipped      []Skipped // [Batch * QHeads]; nil when no pattern has a skip
	Mass         []float32 // [Batch, QHeads], the kept share of the attention mass; nil when it was not wanted
	MassRows     []float32 // [Batch, QHeads, sampled rows], the same of each row
	Milliseconds float64   // time of the kernels on the device, without the recall
}

// RunHost copies the tensors to the device, runs the call, waits and copies the results back. Whatever happens, the device memory it took is
// free again when it returns. When the context ends, an emulated launch ends with its error; a GPU ends what it has begun first.
func (l *Loaded) RunHost(ctx context.Context, h HostCall) (res HostResult, err error) {
	p, err := l.Prepare(h.Shape, h.Parts...)
	if err != nil {
		return HostResult{}, err
	}
	if err := p.checkHost(h); err != nil {
		return HostResult{}, err
	}
	w := &hostWork{ctx: ctx, dev: l.dev, stream: device.StreamWithin(ctx, l.dev)}
	defer func() { err = errors.Join(err, w.close()) }()
	res.O = make([]byte, len(h.Q))
	at := Pointers{Q: w.upload(h.Q), K: w.upload(h.K), V: w.upload(h.V), O: w.alloc(int64(len(res.O))), WorkspaceBytes: p.Workspace()}
	var lse []byte
	if !h.NoLSE || h.Recall != nil {
		lse = make([]byte, lseBytes*h.Batch*h.QHeads*h.SeqQ)
		at.LSE = w.alloc(int64(len(lse)))
	}
	at.Workspace = w.alloc(at.WorkspaceBytes)
	res.Milliseconds = w.timed(func() error { return p.Run(w.stream, at) })
	w.download(res.O, at.O)
	w.download(lse, at.LSE)
	if h.Chosen {
		w.do(func() (err error) {
			res.Chosen, err = p.ReadChosen(w.stream, at)
			return err
		})
	}
	w.do(func() (err error) {
		res.Skipped, err = p.ReadSkipped(w.stream, at)
		return err
	})
	if h.Recall != nil {
		w.do(func() error { return w.recall(&res, p, h, at) })
	}
	if w.err != nil {
		return HostResult{}, w.err
	}
	if !h.NoLSE {
		res.LSE = decodeFloats(lse)
	}
	return res, nil
}

// recall looks at the call that was run.
func (w *hostWork) recall(res *HostResult, p *Prepared, h HostCall, at Pointers) error {
	r, err := h.Recall.Prepare(p, h.Sample...)
	if err != nil {
		return err
	}
	heads := h.Batch * h.QHeads
	mass, rows := make([]byte, lseBytes*heads), make([]byte, lseBytes*heads*r.Sampled())
	at.Mass, at.MassRows = w.upload(mass), w.upload(rows) // 0 for heads that no part has
	at.Workspace, at.WorkspaceBytes = w.alloc(r.Workspace()), r.Workspace()
	w.do(func() error { return r.Run(w.stream, at) })
	w.download(mass, at.Mass)
	w.download(rows, at.MassRows)
	res.Mass, res.MassRows = decodeFloats(mass), decodeFloats(rows)
	return w.err
}

// checkHost checks the tensors, before anything large is copied.
func (p *Prepared) checkHost(h HostCall) (err error) {
	if h.Strides != (Strides{}) {
		return device.BadCall("Strides are set, but tensors in the host's memory are contiguous")
	}
	c := p.call
	for _, t := range []struct {
		name        string
		got         []byte
		heads, rows int
	}{{"Q", h.Q, h.QHeads, h.SeqQ}, {"K", h.K, h.KVHeads, h.SeqK}, {"V", h.V, h.KVHeads, h.SeqK}} {
		want := product(h.Batch, t.heads, t.rows, c.headDim, elementBytes)
		if int64(len(t.got)) != want {
			return device.BadCall("%s has %d bytes, want %d for [%d, %d, %d, %d] of %s", t.name, len(t.got), want,
				h.Batch, t.heads, t.rows, c.headDim, c.dtype)
		}
	}
	return nil
}

// product multiplies sizes and stops at the largest number instead of wrapping around.
func product(sizes ...int) int64 {
	p := int64(1)
	for _, n := range sizes {
		high, low := bits.Mul64(uint64(p), uint64(n))
		if high != 0 || low > math.MaxInt64 {
			return math.MaxInt64
		}
		p = int64(low)
	}
	return p
}

// hostWork collects device memory and the first error, so that steps can follow one another without checks.
type hostWork struct {
	ctx    context.Context
	dev    device.Device
	stream device.Stream
	memory []device.Ptr
	events []device.Event
	err    error
}

// alloc returns 0 for no bytes.
func (w *hostWork) alloc(bytes int64) (p device.Ptr) {
	if bytes == 0 {
		return 0
	}
	w.do(func() (err error) {
		if p, err = w.dev.Alloc(bytes); err == nil {
			w.memory = append(w.memory, p)
		}
		return err
	})
	return p
}

func (w *hostWork) upload(data []byte) device.Ptr {
	p := w.alloc(int64(len(data)))
	w.do(func() error { return w.dev.CopyToDevice(p, data, w.stream) })
	return p
}

func (w *hostWork) download(to []byte, from device.Ptr) {
	w.do(func() error { return w.dev.CopyToHost(to, from, w.stream) })
}

// timed runs f between two events of the stream and returns the milliseconds between them.
func (w *hostWork) timed(f func() error) (ms float64) {
	start, stop := w.event(), w.event()
	w.do(func() error { return start.Record(w.stream) })
	w.do(f)
	w.do(func() error { return stop.Record(w.stream) })
	w.do(func() (err error) {
		ms, err = stop.Since(start)
		return err
	})
	return ms
}

func (w *hostWork) event() (e device.Event) {
	w.do(func() (err error) {
		if e, err = w.dev.NewEvent(); err == nil {
			w.events = append(w.events, e)
		}
		return err
	})
	return e
}

// do runs a step unless an earlier one failed or the context has ended.
func (w *hostWork) do(step func() error) {
	if w.err == nil {
		w.err = w.ctx.Err()
	}
	if w.err == nil {
		w.err = step()
	}
}

// close waits for the device when something failed, so that no kernel writes to memory that is free.
func (w *hostWork) close() error {
	var errs []error
	if w.err != nil {
		w.dev.Synchronize() // its error would repeat the first
	}
	for _, e := range w.events {
		errs = append(errs, e.Close())
	}
	for _, p := range w.memory {
		if err := w.dev.Free(p); err != nil {
			errs = append(errs, fmt.Errorf("free device memory: %w", err))
		}
	}
	return errors.Join(errs...)
}

func decodeFloats(b []byte) []float32 {
	out := make([]float32, len(b)/4)
	for i := range out {
		out[i] = math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:]))
	}
	return out
}
