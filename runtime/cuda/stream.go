//go:build linux && (amd64 || arm64)

package cuda

import (
	"fmt"
	"sync/atomic"
	"unsafe"

	"github.com/minfc/minfc/runtime/device"
)

// stream is a CUstream. Those of NewStream do not wait for the default stream, nor it for them.
type stream struct {
	dev    *gpu
	handle uintptr
	owned  bool
	closed atomic.Bool
}

const streamNonBlocking = 1

// handleOf is the CUstream of s, 0 for a nil s, the default stream. A stream that was closed must not become the default one.
func (d *gpu) handleOf(s device.Stream) (uintptr, error) {
	if own, ok := s.(*stream); ok && own.closed.Load() {
		return 0, fmt.Errorf("%w: stream of cuda:%d", device.ErrClosed, d.info.Ordinal)
	}
	if s == nil {
		return 0, nil
	}
	return s.Handle(), device.CheckStream(s.Handle())
}

// on runs f with the CUstream of s and the device's context current.
func (d *gpu) on(s device.Stream, f func(handle uintptr) error) error {
	handle, err := d.handleOf(s)
	if err != nil {
		return err
	}
	return d.do(func() error { return f(handle) })
}

func (d *gpu) NewStream() (device.Stream, error) {
	var h uintptr
	err := d.do(func() error { return d.lib.call(cuStreamCreate, uintptr(unsafe.Pointer(&h)), streamNonBlocking) })
	if err != nil {
		return nil, err
	}
	return &stream{dev: d, handle: h, owned: true}, nil
}

// WrapStream takes any CUstream of the device; CU_STREAM_PER_THREAD is refused where it is used.
func (d *gpu) WrapStream(handle uintptr) device.Stream { return &stream{dev: d, handle: handle} }

func (s *stream) Handle() uintptr { return s.handle }

func (s *stream) Synchronize() error {
	return s.dev.on(s, func(handle uintptr) error { return s.dev.lib.call(cuStreamSynchronize, handle) })
}

func (s *stream) Close() error {
	if !s.owned || s.closed.Swap(true) {
		return nil
	}
	return s.dev.do(func() error { return s.dev.lib.call(cuStreamDestroy, s.handle) })
}

type event struct {
	dev    *gpu
	handle uintptr
	closed atomic.Bool
}

func (d *gpu) NewEvent() (device.Event, error) {
	var h uintptr
	err := d.do(func() error { return d.lib.call(cuEventCreate, uintptr(unsafe.Pointer(&h)), 0) })
	if err != nil {
		return nil, err
	}
	return &event{dev: d, handle: h}, nil
}

func (e *event) live() error {
	if e.closed.Load() {
		return fmt.Errorf("%w: event of cuda:%d", device.ErrClosed, e.dev.info.Ordinal)
	}
	return nil
}

func (e *event) Record(s device.Stream) error {
	if err := e.live(); err != nil {
		return err
	}
	return e.dev.on(s, func(handle uintptr) error { return e.dev.lib.call(cuEventRecord, e.handle, handle) })
}

func (e *event) Synchronize() error {
	if err := e.live(); err != nil {
		return err
	}
	return e.dev.do(func() error { return e.dev.lib.call(cuEventSynchronize, e.handle) })
}

func (e *event) Since(start device.Event) (float64, error) {
	from, ok := start.(*event)
	if !ok || from.dev != e.dev {
		return 0, fmt.Errorf("%w: the start event is of another device", device.ErrBadCall)
	}
	if err := from.Synchronize(); err != nil {
		return 0, err
	}
	if err := e.Synchronize(); err != nil {
		return 0, err
	}
	var ms float32
	err := e.dev.do(func() error {
		return e.dev.lib.call(cuEventElapsedTime, uintptr(unsafe.Pointer(&ms)), from.handle, e.handle)
	})
	return float64(ms), err
}

func (e *event) Close() error {
	if e.closed.Swap(true) {
		return nil
	}
	return e.dev.do(func() error { return e.dev.lib.call(cuEventDestroy, e.handle) })
}
