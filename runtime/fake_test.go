package runtime

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/minfc/minfc/ir"
	"github.com/stretchr/testify/require"
)

// fakeDevice records launches and keeps memory in maps. Its failAt-th call fails; what is not given back shows in live.
type fakeDevice struct {
	info     DeviceInfo
	calls    int
	failAt   int
	next     DevicePtr
	memory   map[DevicePtr][]byte
	live     int // modules, events
	launches []fakeLaunch
	fills    []fakeFill
	onLaunch func(l fakeLaunch)
	entry    FunctionAttributes
}

type fakeLaunch struct {
	Launch
	args   [][]byte
	stream Stream
}

type fakeFill struct {
	dst    DevicePtr
	value  byte
	bytes  int64
	before int // launches
	stream Stream
}

var errInjected = errors.New("injected")

func newFakeDevice() *fakeDevice {
	return &fakeDevice{
		info:   DeviceInfo{Driver: "fake", Name: "a fake A100", Major: 8, Minor: 0, MaxSharedBytes: 163 << 10},
		next:   256,
		memory: map[DevicePtr][]byte{},
		entry:  FunctionAttributes{Registers: 255, MaxThreads: 256},
	}
}

func (d *fakeDevice) step() error {
	if d.calls++; d.calls == d.failAt {
		return errInjected
	}
	return nil
}

func (d *fakeDevice) Info() DeviceInfo { return d.info }

func (d *fakeDevice) LoadModule(ptx []byte) (Module, error) {
	if err := d.step(); err != nil {
		return nil, err
	}
	d.live++
	return &fakeModule{d}, nil
}

func (d *fakeDevice) Alloc(n int64) (DevicePtr, error) {
	if err := d.step(); err != nil {
		return 0, err
	}
	p := d.next
	d.next += DevicePtr(n+255)/256*256 + 256
	d.memory[p] = make([]byte, n)
	return p, nil
}

func (d *fakeDevice) Free(p DevicePtr) error {
	if _, ok := d.memory[p]; !ok {
		return fmt.Errorf("%#x is not allocated", p)
	}
	delete(d.memory, p)
	return nil
}

func (d *fakeDevice) CopyToDevice(dst DevicePtr, src []byte, s Stream) error {
	copy(d.memory[dst], src)
	return d.step()
}

func (d *fakeDevice) CopyToHost(dst []byte, src DevicePtr, s Stream) error {
	copy(dst, d.memory[src])
	return d.step()
}

func (d *fakeDevice) Fill(dst DevicePtr, value byte, bytes int64, s Stream) error {
	d.fills = append(d.fills, fakeFill{dst, value, bytes, len(d.launches), s})
	return d.step()
}

func (d *fakeDevice) NewStream() (Stream, error)       { return fakeStream(1), d.step() }
func (d *fakeDevice) WrapStream(handle uintptr) Stream { return fakeStream(handle) }
func (d *fakeDevice) Synchronize() error               { return nil }
func (d *fakeDevice) Close() error                     { return nil }

func (d *fakeDevice) NewEvent() (Event, error) {
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

func (e fakeEvent) Record(Stream) error          { return e.d.step() }
func (e fakeEvent) Synchronize() error           { return nil }
func (e fakeEvent) Since(Event) (float64, error) { return 1.5, e.d.step() }
func (e fakeEvent) Close() error                 { e.d.live--; return nil }

type fakeModule struct{ d *fakeDevice }

func (m *fakeModule) Function(string) (Function, error) { return &fakeFunction{m.d}, m.d.step() }
func (m *fakeModule) Log() string                       { return "used 255 registers" }
func (m *fakeModule) Unload() error                     { m.d.live--; return nil }

type fakeFunction struct{ d *fakeDevice }

func (f *fakeFunction) Attributes() (FunctionAttributes, error) { return f.d.entry, f.d.step() }

func (f *fakeFunction) Launch(l Launch, args [][]byte, s Stream) error {
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
func (l fakeLaunch) arg(t *testing.T, k Kernel, name string) float64 {
	i := slices.IndexFunc(k.Params, func(p KernelParam) bool { return p.Name == name })
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

func testArtifact() *Artifact {
	pattern, schedule := aShape()
	kernel := Kernel{
		Entry: "attention", Target: "sm_80", DType: "bf16", HeadDim: 64, Schedule: schedule.String(),
		RowTile: 128, KeyTile: 64, Threads: 128, SharedBytes: 48 << 10, PTXVersion: "7.4",
	}
	for _, p := range paramsOf(schedule) {
		kernel.Params = append(kernel.Params, p.KernelParam)
	}
	kernel.Stages = []Stage{{Kind: StageStoreWords, Entry: "store_words", Threads: storeWordsCount / 2, Module: 2, Params: storeWordsParams()}}
	half := kernel
	half.DType, half.Module = "f16", 1
	return &Artifact{
		Modules: [][]byte{[]byte("// the PTX of bf16\n"), []byte("// the PTX of f16\n"), []byte("// the PTX of store_words\n")},
		Manifest: Manifest{Schema: SchemaVersion, Compiler: "minfc test", Pattern: pattern.String(),
			Source: "pattern a_shape(sink = 128, window = 1024) { keep causal & (sink(sink) | window(window)) }", Kernels: []Kernel{kernel, half}},
	}
}
