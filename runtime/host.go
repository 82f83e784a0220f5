package runtime

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/bits"

	"github.com/minfc/minfc/runtime/artifact"
	"github.com/minfc/minfc/runtime/device"
)

// HostAttention is a call whose tensors are contiguous in the host's memory, as little-endian 16-bit elements.
type HostAttention struct {
	Q                      []byte // [Batch, QHeads, SeqQ, head dim]
	K, V                   []byte // [Batch, KVHeads, SeqK, head dim]
	Batch, QHeads, KVHeads int
	SeqQ, SeqK, QOffset    int
	Scale                  float64            // 0 for 1/sqrt(head dim)
	Params                 map[string]int64   // see Attention
	HeadParams             map[string][]int64 // see Attention
	NoFallback             bool               // see Attention
	NoLSE                  bool
	Chosen                 bool // return what the index stage chose, too
}

// HostResult is the outcome of a HostAttention.
type HostResult struct {
	O            []byte    // like Q
	LSE          []float32 // [Batch, QHeads, SeqQ]; nil when it was not wanted
	Chosen       []Chosen  // [Batch * QHeads]; nil when it was not wanted or no data decides
	Milliseconds float64   // time of the kernels on the device
}

// RunHost loads a kernel, runs one call and closes the kernel; see LoadedKernel.RunHost.
func RunHost(dev device.Device, a *artifact.Artifact, sel artifact.Select, h HostAttention) (res HostResult, err error) {
	k, err := LoadKernel(dev, a, sel)
	if err != nil {
		return HostResult{}, err
	}
	defer func() { err = errors.Join(err, k.Close()) }()
	return k.RunHost(dev, h)
}

// RunHost runs one call; see RunHostWith.
func (k *LoadedKernel) RunHost(dev device.Device, h HostAttention) (HostResult, error) {
	return RunHostWith(dev, k, h)
}

// RunHostWith copies the tensors to the device that k was loaded for, launches, waits and copies the results back. Whatever
// happens, the device memory it took is free again when it returns.
func RunHostWith(dev device.Device, k Launcher, h HostAttention) (res HostResult, err error) {
	if err := checkHost(k, h); err != nil {
		return HostResult{}, err
	}
	w := &hostWork{dev: dev}
	defer func() { err = errors.Join(err, w.close()) }()
	a := h.attention()
	res.O = make([]byte, len(h.Q))
	a.Q.Ptr, a.K.Ptr, a.V.Ptr, a.O.Ptr = w.upload(h.Q), w.upload(h.K), w.upload(h.V), w.alloc(int64(len(res.O)))
	var lse []byte
	if !h.NoLSE {
		lse = make([]byte, lseBytes*h.Batch*h.QHeads*h.SeqQ)
		a.LSE = w.alloc(int64(len(lse)))
	}
	if a.WorkspaceBytes, err = k.Workspace(a); err != nil {
		return HostResult{}, err
	}
	a.Workspace = w.alloc(a.WorkspaceBytes)
	res.Milliseconds = w.timed(func() error { return k.Launch(nil, a) })
	w.download(res.O, a.O.Ptr)
	w.download(lse, a.LSE)
	if h.Chosen {
		w.do(func() (err error) {
			res.Chosen, err = k.ReadChosen(dev, nil, a)
			return err
		})
	}
	if w.err != nil {
		return HostResult{}, w.err
	}
	if !h.NoLSE {
		res.LSE = decodeFloats(lse)
	}
	return res, nil
}

func (h HostAttention) attention() Attention {
	return Attention{
		Batch: h.Batch, QHeads: h.QHeads, KVHeads: h.KVHeads, SeqQ: h.SeqQ, SeqK: h.SeqK, QOffset: h.QOffset,
		Scale: h.Scale, Params: h.Params, HeadParams: h.HeadParams, NoFallback: h.NoFallback,
	}
}

// checkHost checks everything that Launch would, before anything large is copied.
func checkHost(k Launcher, h HostAttention) (err error) {
	a := h.attention()
	for i, p := range []*device.Ptr{&a.Q.Ptr, &a.K.Ptr, &a.V.Ptr, &a.O.Ptr, &a.Workspace} {
		*p = device.Ptr(i+1) << 58 // stands for memory to come, far from the others'
	}
	if a.WorkspaceBytes, err = k.Workspace(a); err != nil {
		return err
	}
	if err := k.Check(a); err != nil {
		return err
	}
	info := k.Info()
	for _, t := range []struct {
		name        string
		got         []byte
		heads, rows int
	}{{"Q", h.Q, h.QHeads, h.SeqQ}, {"K", h.K, h.KVHeads, h.SeqK}, {"V", h.V, h.KVHeads, h.SeqK}} {
		want := product(h.Batch, t.heads, t.rows, info.HeadDim, elementBytes)
		if int64(len(t.got)) != want {
			return device.BadCall("%s has %d bytes, want %d for [%d, %d, %d, %d] of %s", t.name, len(t.got), want,
				h.Batch, t.heads, t.rows, info.HeadDim, info.DType)
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
	dev    device.Device
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
	w.do(func() error { return w.dev.CopyToDevice(p, data, nil) })
	return p
}

func (w *hostWork) download(to []byte, from device.Ptr) {
	w.do(func() error { return w.dev.CopyToHost(to, from, nil) })
}

// timed runs f between two events of the default stream and returns the milliseconds between them.
func (w *hostWork) timed(f func() error) (ms float64) {
	start, stop := w.event(), w.event()
	w.do(func() error { return start.Record(nil) })
	w.do(f)
	w.do(func() error { return stop.Record(nil) })
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

// do runs a step unless an earlier one failed.
func (w *hostWork) do(step func() error) {
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
