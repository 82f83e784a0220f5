//go:build linux && (amd64 || arm64)

package cuda

import (
	"fmt"
	"unsafe"

	"github.com/minfc/minfc/runtime"
)

// stream is a CUstream. Those of NewStream do not wait for the default stream, nor it for them.
type stream struct {
	dev    *device
	handle uintptr
	owned  bool
}

const streamNonBlocking = 1

// handleOf is the CUstream of s; a nil s is the default stream, whose handle is 0.
func handleOf(s runtime.Stream) uintptr {
	if s == nil {
		return 0
	}
	return s.Handle()
}

func (d *device) NewStream() (runtime.Stream, error) {
	var h uintptr
	err := d.do(func() error { return d.lib.call(cuStreamCreate, uintptr(unsafe.Pointer(&h)), streamNonBlocking) })
	if err != nil {
		return nil, err
	}
	return &stream{d, h, true}, nil
}

// WrapStream takes any CUstream of the device except CU_STREAM_PER_THREAD (2): goroutines have no thread of their own.
func (d *device) WrapStream(handle uintptr) runtime.Stream { return &stream{d, handle, false} }

func (s *stream) Handle() uintptr { return s.handle }

func (s *stream) Synchronize() error {
	return s.dev.do(func() error { return s.dev.lib.call(cuStreamSynchronize, s.handle) })
}

func (s *stream) Close() error {
	if !s.owned || s.handle == 0 {
		return nil
	}
	h := s.handle
	s.handle = 0
	return s.dev.do(func() error { return s.dev.lib.call(cuStreamDestroy, h) })
}

type event struct {
	dev    *device
	handle uintptr
}

func (d *device) NewEvent() (runtime.Event, error) {
	var h uintptr
	err := d.do(func() error { return d.lib.call(cuEventCreate, uintptr(unsafe.Pointer(&h)), 0) })
	if err != nil {
		return nil, err
	}
	return &event{d, h}, nil
}

func (e *event) Record(s runtime.Stream) error {
	return e.dev.do(func() error { return e.dev.lib.call(cuEventRecord, e.handle, handleOf(s)) })
}

func (e *event) Synchronize() error {
	return e.dev.do(func() error { return e.dev.lib.call(cuEventSynchronize, e.handle) })
}

func (e *event) Since(start runtime.Event) (float64, error) {
	from, ok := start.(*event)
	if !ok || from.dev != e.dev {
		return 0, fmt.Errorf("%w: the start event is of another device", runtime.ErrBadCall)
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
	if e.handle == 0 {
		return nil
	}
	h := e.handle
	e.handle = 0
	return e.dev.do(func() error { return e.dev.lib.call(cuEventDestroy, h) })
}
