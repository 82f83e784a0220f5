// Package devicetest has devices for tests: one that only notes what it is asked for, and the GPU where there is one.
package devicetest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/ir"
	"github.com/minfc/minfc/runtime/device"
)

// Fake records launches and keeps memory in maps. Its FailAt-th call fails; what is not given back shows in Live.
type Fake struct {
	Is       device.Info
	mu       sync.Mutex // of the numbers: modules are loaded side by side
	Calls    int
	FailAt   int
	next     device.Ptr
	Memory   map[device.Ptr][]byte
	Live     int // modules, events
	Launches []Launched
	Fills    []Filled
	OnLaunch func(l Launched)
	Blind    bool // launches and fills are not noted, and allocate nothing
	Entry    device.FunctionAttributes
}

// Launched is a launch of a kernel with its arguments.
type Launched struct {
	Entry string
	device.Launch
	Args   [][]byte
	Stream device.Stream
}

// Filled is a call of Fill, after some launches.
type Filled struct {
	Dst    device.Ptr
	Value  byte
	Bytes  int64
	Before int // launches
	Stream device.Stream
}

// ErrInjected is the error of the call that fails.
var ErrInjected = errors.New("injected")

// New is a device like an A100.
func New() *Fake {
	return &Fake{
		Is:     device.Info{Driver: "fake", Name: "a fake A100", Major: 8, Minor: 0, MaxSharedBytes: 163 << 10},
		next:   256,
		Memory: map[device.Ptr][]byte{},
		Entry:  device.FunctionAttributes{Registers: 255, MaxThreads: 256},
	}
}

// Step counts a call, and is its error.
func (d *Fake) Step() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.Calls++; d.Calls == d.FailAt {
		return ErrInjected
	}
	return nil
}

func (d *Fake) live(more int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.Live += more
}

func (d *Fake) Info() device.Info { return d.Is }

func (d *Fake) LoadModule(ptx []byte) (device.Module, error) {
	if err := d.Step(); err != nil {
		return nil, err
	}
	d.live(1)
	return &module{d}, nil
}

func (d *Fake) Alloc(n int64) (device.Ptr, error) {
	if err := d.Step(); err != nil {
		return 0, err
	}
	p := d.next
	d.next += device.Ptr(n+255)/256*256 + 256
	d.Memory[p] = make([]byte, n)
	return p, nil
}

func (d *Fake) Free(p device.Ptr) error {
	if _, ok := d.Memory[p]; !ok {
		return fmt.Errorf("%#x is not allocated", p)
	}
	delete(d.Memory, p)
	return nil
}

func (d *Fake) CopyToDevice(dst device.Ptr, src []byte, s device.Stream) error {
	copy(d.Memory[dst], src)
	return d.Step()
}

func (d *Fake) CopyToHost(dst []byte, src device.Ptr, s device.Stream) error {
	copy(dst, d.Memory[src])
	return d.Step()
}

func (d *Fake) Fill(dst device.Ptr, value byte, bytes int64, s device.Stream) error {
	if d.Blind {
		return d.Step()
	}
	d.Fills = append(d.Fills, Filled{dst, value, bytes, len(d.Launches), s})
	return d.Step()
}

func (d *Fake) NewStream() (device.Stream, error)       { return Stream(1), d.Step() }
func (d *Fake) WrapStream(handle uintptr) device.Stream { return Stream(handle) }
func (d *Fake) Synchronize() error                      { return nil }
func (d *Fake) Close() error                            { return nil }

func (d *Fake) NewEvent() (device.Event, error) {
	if err := d.Step(); err != nil {
		return nil, err
	}
	d.live(1)
	return event{d}, nil
}

// Stream is a stream that does nothing.
type Stream uintptr

func (s Stream) Handle() uintptr  { return uintptr(s) }
func (Stream) Synchronize() error { return nil }
func (Stream) Close() error       { return nil }

type event struct{ d *Fake }

func (e event) Record(device.Stream) error          { return e.d.Step() }
func (e event) Synchronize() error                  { return nil }
func (e event) Since(device.Event) (float64, error) { return 1.5, e.d.Step() }
func (e event) Close() error                        { e.d.live(-1); return nil }

type module struct{ d *Fake }

func (m *module) Function(name string) (device.Function, error) {
	return &function{m.d, name}, m.d.Step()
}
func (m *module) Log() string   { return "used 255 registers" }
func (m *module) Unload() error { m.d.live(-1); return nil }

type function struct {
	d     *Fake
	entry string
}

func (f *function) Attributes() (device.FunctionAttributes, error) { return f.d.Entry, f.d.Step() }

func (f *function) Launch(l device.Launch, args [][]byte, s device.Stream) error {
	if f.d.Blind {
		return f.d.Step()
	}
	var kept [][]byte
	for _, a := range args {
		kept = append(kept, slices.Clone(a))
	}
	f.d.Launches = append(f.d.Launches, Launched{f.entry, l, kept, s})
	if f.d.OnLaunch != nil {
		f.d.OnLaunch(f.d.Launches[len(f.d.Launches)-1])
	}
	return f.d.Step()
}

// Arg is the argument of a parameter as a number, sign-extended, or a float32's value.
func (l Launched) Arg(t *testing.T, params []ir.KernelParam, name string) float64 {
	i := slices.IndexFunc(params, func(p ir.KernelParam) bool { return p.Name == name })
	require.GreaterOrEqual(t, i, 0, name)
	a := l.Args[i]
	require.Len(t, a, abi.ParamBytes[params[i].Type], name)
	switch params[i].Type {
	case "f32":
		return float64(math.Float32frombits(binary.LittleEndian.Uint32(a)))
	case "i32":
		return float64(int32(binary.LittleEndian.Uint32(a)))
	default:
		return float64(int64(binary.LittleEndian.Uint64(a)))
	}
}
