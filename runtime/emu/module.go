package emu

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/minfc/minfc/runtime/device"
)

// Modules, streams and events of a device. They hold nothing that would have to be given back, but after their end they answer as on a GPU.

type module struct {
	dev      *Device
	kernels  map[string]*kernel
	unloaded atomic.Bool
}

// live runs f unless the module was unloaded or its device closed.
func (m *module) live(f func() error) error {
	if m.unloaded.Load() {
		return fmt.Errorf("emulator: module: %w, load it again", device.ErrClosed)
	}
	return m.dev.locked(f)
}

func (m *module) Function(name string) (f device.Function, err error) {
	err = m.live(func() error {
		k := m.kernels[name]
		if k == nil {
			return fmt.Errorf("emulator: the module has no kernel %q", name)
		}
		f = &function{m, k}
		return nil
	})
	return f, err
}

// Log is empty: the emulator has no compiler that could remark on anything.
func (m *module) Log() string { return "" }

func (m *module) Unload() error {
	if m.unloaded.Swap(true) {
		return nil
	}
	return m.dev.Synchronize()
}

type function struct {
	mod *module
	k   *kernel
}

// Attributes reports virtual registers in 32-bit units: the emulator allocates none.
func (f *function) Attributes() (a device.FunctionAttributes, err error) {
	err = f.mod.live(func() error {
		a = device.FunctionAttributes{SharedBytes: f.k.staticShared, MaxThreads: 1024, Registers: len(f.k.names)}
		if f.k.maxThreads > 0 {
			a.MaxThreads = f.k.maxThreads
		}
		return nil
	})
	return a, err
}

// Launch runs the kernel to its end. A *Fault says what it did wrong.
func (f *function) Launch(l device.Launch, args [][]byte, s device.Stream) error {
	d := f.mod.dev
	if err := d.enqueue(s, func() error { return nil }); err != nil {
		return err
	}
	var stats Stats
	ran := false
	err := f.mod.live(func() error {
		r, err := newLaunch(f.k, l, args, &d.mem, &d.opt)
		if err != nil {
			return fmt.Errorf("emulator: %w", err)
		}
		ran = true
		r.watch, r.within = d.watch, contextOf(s)
		stats, err = r.run()
		d.last = stats
		return err
	})
	if ran && d.opt.Observe != nil {
		d.opt.Observe(stats)
	}
	return err
}

// stream has no work: what is enqueued is done at once.
type stream struct {
	dev    *Device
	handle uintptr
	owned  bool
	closed atomic.Bool
	within context.Context // launches end with it; nil: with nothing
}

// StreamWithin is a stream whose launches end with the context's error once it has ended.
func (d *Device) StreamWithin(ctx context.Context) device.Stream { return &stream{dev: d, within: ctx} }

// contextOf is what ends the launches of a stream.
func contextOf(s device.Stream) context.Context {
	if own, ok := s.(*stream); ok && own.within != nil {
		return own.within
	}
	return context.Background()
}

// NewStream makes a stream.
func (d *Device) NewStream() (device.Stream, error) {
	if err := d.Synchronize(); err != nil {
		return nil, err
	}
	return &stream{dev: d, owned: true}, nil
}

// WrapStream keeps a handle that means nothing to the emulator.
func (d *Device) WrapStream(handle uintptr) device.Stream { return &stream{dev: d, handle: handle} }

func (s *stream) Handle() uintptr    { return s.handle }
func (s *stream) Synchronize() error { return s.dev.enqueue(s, func() error { return nil }) }

// Close does nothing to a stream of WrapStream, which is its owner's.
func (s *stream) Close() error {
	if !s.owned || s.closed.Swap(true) {
		return nil
	}
	return s.dev.Synchronize()
}

// event is a time on the host's clock.
type event struct {
	dev    *Device
	at     time.Time
	closed atomic.Bool
}

// NewEvent makes an event.
func (d *Device) NewEvent() (device.Event, error) {
	if err := d.Synchronize(); err != nil {
		return nil, err
	}
	return &event{dev: d}, nil
}

func (e *event) Record(s device.Stream) error {
	if err := e.Synchronize(); err != nil {
		return err
	}
	return e.dev.enqueue(s, func() error {
		e.at = time.Now()
		return nil
	})
}

func (e *event) Synchronize() error {
	if e.closed.Load() {
		return fmt.Errorf("emulator: event: %w, make a new one", device.ErrClosed)
	}
	return e.dev.Synchronize()
}

// Since gives the milliseconds of wall-clock time between two recorded events.
func (e *event) Since(start device.Event) (float64, error) {
	s, ok := start.(*event)
	if !ok || s.dev != e.dev {
		return 0, fmt.Errorf("%w: found an event of another device (%T), wanted one of this emulator", device.ErrBadCall, start)
	}
	if err := errors.Join(s.Synchronize(), e.Synchronize()); err != nil {
		return 0, err
	}
	if s.at.IsZero() || e.at.IsZero() {
		return 0, errors.New("found an event that was never recorded: record both first")
	}
	return float64(e.at.Sub(s.at)) / float64(time.Millisecond), nil
}

func (e *event) Close() error {
	if e.closed.Swap(true) {
		return nil
	}
	return e.dev.Synchronize()
}
