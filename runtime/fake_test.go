package runtime

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/minfc/minfc/ir"
	"github.com/minfc/minfc/runtime/artifact"
	"github.com/minfc/minfc/runtime/device"
	"github.com/stretchr/testify/require"
)

// fakeDevice records launches and keeps memory in maps. Its failAt-th call fails; what is not given back shows in live.
type fakeDevice struct {
	info     device.Info
	calls    int
	failAt   int
	next     device.Ptr
	memory   map[device.Ptr][]byte
	live     int // modules, events
	launches []fakeLaunch
	fills    []fakeFill
	onLaunch func(l fakeLaunch)
	entry    device.FunctionAttributes
}

type fakeLaunch struct {
	device.Launch
	args   [][]byte
	stream device.Stream
}

type fakeFill struct {
	dst    device.Ptr
	value  byte
	bytes  int64
	before int // launches
	stream device.Stream
}

var errInjected = errors.New("injected")

func newFakeDevice() *fakeDevice {
	return &fakeDevice{
		info:   device.Info{Driver: "fake", Name: "a fake A100", Major: 8, Minor: 0, MaxSharedBytes: 163 << 10},
		next:   256,
		memory: map[device.Ptr][]byte{},
		entry:  device.FunctionAttributes{Registers: 255, MaxThreads: 256},
	}
}

func (d *fakeDevice) step() error {
	if d.calls++; d.calls == d.failAt {
		return errInjected
	}
	return nil
}

func (d *fakeDevice) Info() device.Info { return d.info }

func (d *fakeDevice) LoadModule(ptx []byte) (device.Module, error) {
	if err := d.step(); err != nil {
		return nil, err
	}
	d.live++
	return &fakeModule{d}, nil
}

func (d *fakeDevice) Alloc(n int64) (device.Ptr, error) {
	if err := d.step(); err != nil {
		return 0, err
	}
	p := d.next
	d.next += device.Ptr(n+255)/256*256 + 256
	d.memory[p] = make([]byte, n)
	return p, nil
}

func (d *fakeDevice) Free(p device.Ptr) error {
	if _, ok := d.memory[p]; !ok {
		return fmt.Errorf("%#x is not allocated", p)
	}
	delete(d.memory, p)
	return nil
}

func (d *fakeDevice) CopyToDevice(dst device.Ptr, src []byte, s device.Stream) error {
	copy(d.memory[dst], src)
	return d.step()
}

func (d *fakeDevice) CopyToHost(dst []byte, src device.Ptr, s device.Stream) error {
	copy(dst, d.memory[src])
	return d.step()
}

func (d *fakeDevice) Fill(dst device.Ptr, value byte, bytes int64, s device.Stream) error {
	d.fills = append(d.fills, fakeFill{dst, value, bytes, len(d.launches), s})
	return d.step()
}

func (d *fakeDevice) NewStream() (device.Stream, error)       { return fakeStream(1), d.step() }
func (d *fakeDevice) WrapStream(handle uintptr) device.Stream { return fakeStream(handle) }
func (d *fakeDevice) Synchronize() error                      { return nil }
func (d *fakeDevice) Close() error                            { return nil }

func (d *fakeDevice) NewEvent() (device.Event, error) {
	if err := d.step(); err != nil {
		return nil, err
	}
	d.live++
	return fakeEvent{d}, nil
}

type fakeStream uintptr

func (s fakeStream) Handle() uintptr  { return uintptr(s) }
func (fakeStream) Synchronize() error { return nil }
func (fakeStream) Close() error       { return nil }

type fakeEvent struct{ d *fakeDevice }

func (e fakeEvent) Record(device.Stream) error          { return e.d.step() }
func (e fakeEvent) Synchronize() error                  { return nil }
func (e fakeEvent) Since(device.Event) (float64, error) { return 1.5, e.d.step() }
func (e fakeEvent) Close() error                        { e.d.live--; return nil }

type fakeModule struct{ d *fakeDevice }

func (m *fakeModule) Function(string) (device.Function, error) { return &fakeFunction{m.d}, m.d.step() }
func (m *fakeModule) Log() string                              { return "used 255 registers" }
func (m *fakeModule) Unload() error                            { m.d.live--; return nil }

type fakeFunction struct{ d *fakeDevice }

func (f *fakeFunction) Attributes() (device.FunctionAttributes, error) { return f.d.entry, f.d.step() }

func (f *fakeFunction) Launch(l device.Launch, args [][]byte, s device.Stream) error {
	var kept [][]byte
	for _, a := range args {
		kept = append(kept, slices.Clone(a))
	}
	f.d.launches = append(f.d.launches, fakeLaunch{l, kept, s})
	if f.d.onLaunch != nil {
		f.d.onLaunch(f.d.launches[len(f.d.launches)-1])
	}
	return f.d.step()
}

// arg is the argument of a parameter as a number, sign-extended, or a float32's value.
func (l fakeLaunch) arg(t *testing.T, k artifact.Kernel, name string) float64 {
	i := slices.IndexFunc(k.Params, func(p artifact.Param) bool { return p.Name == name })
	require.GreaterOrEqual(t, i, 0, name)
	a := l.args[i]
	require.Len(t, a, paramBytes[k.Params[i].Type], name)
	switch k.Params[i].Type {
	case "f32":
		return float64(math.Float32frombits(binary.LittleEndian.Uint32(a)))
	case "i32":
		return float64(int32(binary.LittleEndian.Uint32(a)))
	default:
		return float64(int64(binary.LittleEndian.Uint64(a)))
	}
}

// aShape keeps a sink and a window, as the compiler would schedule it.
func aShape() (*ir.Pattern, *ir.Schedule) {
	sink, window := ir.Var("sink"), ir.Var("window")
	params := []ir.Param{{Name: "sink", Default: 128}, {Name: "window", Default: 1024, Min: 1}}
	pattern := &ir.Pattern{Name: "a_shape", Params: params, Keep: ir.Intersect{Sets: []ir.Set{
		ir.Causal{}, ir.Union{Sets: []ir.Set{ir.Sink{N: sink}, ir.Window{Left: window}}},
	}}}
	left := ir.Bound{Row: true, Off: ir.Int(1).Sub(window)}
	schedule := &ir.Schedule{Name: "a_shape", Params: params, Tile: ir.Tile{Rows: 128, Keys: 64}, Order: ir.OrderLongestFirst,
		Segments: []ir.Segment{
			{Lo: []ir.Bound{left}, Hi: []ir.Bound{{Row: true, Off: ir.Int(1)}}, Hop: -1},
			{Hi: []ir.Bound{{Off: sink}, left}, Hop: -1},
		}}
	return pattern, schedule
}

func testArtifact() *artifact.Artifact {
	pattern, schedule := aShape()
	kernel := artifact.Kernel{
		Entry: "attention", Target: "sm_80", DType: "bf16", HeadDim: 64, Schedule: schedule.String(),
		RowTile: 128, KeyTile: 64, Threads: 128, SharedBytes: 48 << 10, PTXVersion: "7.4",
	}
	for _, p := range paramsOf(schedule) {
		kernel.Params = append(kernel.Params, p.KernelParam)
	}
	kernel.Stages = []Stage{{Kind: StageStoreWords, Entry: "store_words", Threads: storeWordsCount / 2, Module: 2, Params: storeWordsParams()}}
	half := kernel
	half.DType, half.Module = "f16", 1
	return &artifact.Artifact{
		Modules: [][]byte{[]byte("// the PTX of bf16\n"), []byte("// the PTX of f16\n"), []byte("// the PTX of store_words\n")},
		Manifest: artifact.Manifest{Schema: artifact.SchemaVersion, Compiler: "minfc test", Pattern: pattern.String(),
			Source: "pattern a_shape(sink = 128, window = 1024) { keep causal & (sink(sink) | window(window)) }", Kernels: []artifact.Kernel{kernel, half}},
	}
}
