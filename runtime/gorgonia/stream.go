//go:build gorgonia

package gorgonia

import (
	"fmt"
	"sync/atomic"

	"gorgonia.org/cu"

	"github.com/minfc/minfc/runtime/device"
)

type stream struct {
	dev    *gpu
	handle uintptr
	owned  bool
	closed atomic.Bool
}

func (d *gpu) NewStream() (device.Stream, error) {
	var s cu.Stream
	err := d.do("cuStreamCreate", func() (err error) { s, err = cu.MakeStream(cu.NonBlocking); return err })
	if err != nil {
		return nil, err
	}
	return &stream{dev: d, handle: StreamHandle(s), owned: true}, nil
}

// WrapStream takes any CUstream of the device (StreamHandle has it of a cu.Stream); CU_STREAM_PER_THREAD is refused where it is used.
func (d *gpu) WrapStream(handle uintptr) device.Stream { return &stream{dev: d, handle: handle} }

// stream returns the cu.Stream behind s: the default stream for nil.
func (d *gpu) stream(s device.Stream) (cu.Stream, error) {
	if s == nil {
		return cu.NoStream, nil
	}
	if own, ok := s.(*stream); ok && own.closed.Load() {
		return cu.NoStream, fmt.Errorf("stream: %w", device.ErrClosed)
	}
	return cuStream(s.Handle()), device.CheckStream(s.Handle())
}

func (s *stream) Handle() uintptr { return s.handle }

func (s *stream) Synchronize() error {
	c, err := s.dev.stream(s)
	if err != nil {
		return err
	}
	return s.dev.do("cuStreamSynchronize", c.Synchronize)
}

// Close destroys a stream of NewStream; work already enqueued still runs.
func (s *stream) Close() error {
	if !s.owned || s.closed.Swap(true) {
		return nil
	}
	c := cuStream(s.handle)
	return s.dev.do("cuStreamDestroy", c.Destroy)
}

type event struct {
	dev    *gpu
	ev     cu.Event
	closed atomic.Bool
}

func (d *gpu) NewEvent() (device.Event, error) {
	e := &event{dev: d}
	return e, d.do("cuEventCreate", func() (err error) { e.ev, err = cu.MakeEvent(cu.DefaultEvent); return err })
}

func (e *event) do(call string, fn func() error) error {
	if e.closed.Load() {
		return fmt.Errorf("event: %w", device.ErrClosed)
	}
	return e.dev.do(call, fn)
}

func (e *event) Record(s device.Stream) error {
	c, err := e.dev.stream(s)
	if err != nil {
		return err
	}
	return e.do("cuEventRecord", func() error { return e.ev.Record(c) })
}

func (e *event) Synchronize() error { return e.do("cuEventSynchronize", e.ev.Synchronize) }

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
	var ms float64
	err := e.do("cuEventElapsedTime", func() (err error) { ms, err = from.ev.Elapsed(e.ev); return err })
	return ms, err
}

func (e *event) Close() error {
	if e.closed.Swap(true) {
		return nil
	}
	return e.dev.do("cuEventDestroy", func() error { return cu.DestroyEvent(&e.ev) })
}
