// Package emu is a device that executes the PTX text itself, in pure Go. It is strict: what a GPU leaves undefined
// (out-of-bounds and early reads, races, diverged barriers, missing waits) is an error with the PTX line.
//
// What it promises and what it does not: races are found in shared memory, per 4-byte word, between the warps of a
// block and the copies and matrix products that they start; lanes of one warp are in step. Arrivals at mbarriers and ends of
// phases that come too early in some order of the warps are found in any. Blocks are independent and
// conflicts in global memory are not looked for, so neither is a missing fence.proxy.async.global. Scheduling is a seeded
// random order, and correct kernels do not depend on it. With an even seed copies happen as late as the program allows,
// with an odd one some of them early; a wgmma may read from its issue to its wait, and its operands must be right all that
// time. Arithmetic is IEEE float32 with one rounding an instruction; mma and wgmma round once for each k of 16.
package emu

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/minfc/minfc/runtime/device"
)

// sharedOf is the dynamic shared memory that a block may have, in bytes, by compute capability: the GPUs that the emulator can be like.
var sharedOf = map[int]int{80: 163 << 10, 86: 99 << 10, 87: 163 << 10, 89: 99 << 10, 90: 227 << 10, 100: 227 << 10, 103: 227 << 10, 120: 99 << 10, 121: 99 << 10}

// Models lists the GPUs that the emulator can be like, "sm_80" and so on.
func Models() (names []string) {
	for _, c := range slices.Sorted(maps.Keys(sharedOf)) {
		names = append(names, fmt.Sprintf("sm_%d", c))
	}
	return names
}

// Options configure a device. The zero value of a field means its default.
type Options struct {
	Seed            uint64      // of the warp scheduler
	Workers         int         // blocks that run at the same time; default GOMAXPROCS
	Budget          int64       // warp instructions a block may execute; default 200 million
	MemoryBytes     uint64      // global memory; default 8 GiB
	Capability      int         // compute capability times ten, one of Models; default 90, which runs both targets
	Multiprocessors int         // they say how many blocks of some kernels there are; default 1
	AllowUnwritten  bool        // CopyToHost of bytes that nobody wrote gives 0xff instead of an error
	Observe         func(Stats) // called after every launch, also a failed one
}

func (o *Options) defaults() {
	if o.Budget <= 0 {
		o.Budget = 200_000_000
	}
	if o.MemoryBytes == 0 {
		o.MemoryBytes = 8 << 30
	}
	if o.Capability == 0 {
		o.Capability = 90
	}
}

func init() { device.Register("emu", Driver{}) }

// Driver is what the package registers under the name "emu". It has one device with default options.
type Driver struct{}

// Devices lists the one emulated device.
func (Driver) Devices() ([]device.Info, error) {
	var o Options
	o.defaults()
	return []device.Info{o.info()}, nil
}

// Open opens device 0. Each call gives a device with memory of its own.
func (Driver) Open(ordinal int) (device.Device, error) {
	if ordinal != 0 {
		return nil, fmt.Errorf("%w: found device number %d, the emulator has only number 0", device.ErrNoDevice, ordinal)
	}
	return Open(Options{})
}

// OpenModel opens a device that is like a GPU of Models: it has its compute capability and its shared memory.
func (Driver) OpenModel(model string) (device.Device, error) {
	names := Models()
	if !slices.Contains(names, model) {
		return nil, fmt.Errorf("%w: the emulator cannot be like %s, want one of %s", device.ErrNoDevice, model, strings.Join(names, ", "))
	}
	capability, err := strconv.Atoi(strings.TrimPrefix(model, "sm_"))
	if err != nil {
		return nil, fmt.Errorf("internal: emulator: model %s: %w", model, err)
	}
	return Open(Options{Capability: capability})
}

func (o *Options) info() device.Info {
	return device.Info{Driver: "emu", Name: fmt.Sprintf("emulator (sm_%d)", o.Capability), Major: o.Capability / 10,
		Minor: o.Capability % 10, Multiprocessors: max(1, o.Multiprocessors), MemoryBytes: o.MemoryBytes, MaxSharedBytes: sharedOf[o.Capability], L2Bytes: 40 << 20}
}

// Device is an emulated GPU. Work is done when the call that enqueues it returns, in the order of the calls.
type Device struct {
	mu     sync.Mutex
	opt    Options
	mem    memory
	closed bool
	last   Stats
	watch  func(Progress)
}

var _ device.Device = (*Device)(nil)

// Open makes a device.
func Open(o Options) (*Device, error) {
	o.defaults()
	if sharedOf[o.Capability] == 0 {
		return nil, fmt.Errorf("emulator: found the compute capability %d, wanted that of one of %s", o.Capability, strings.Join(Models(), ", "))
	}
	return &Device{opt: o, mem: memory{limit: o.MemoryBytes}}, nil
}

// errClosed is what every call on a closed device returns.
var errClosed = fmt.Errorf("emulator: %w, open a new device", device.ErrClosed)

// locked runs f alone.
func (d *Device) locked(f func() error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return errClosed
	}
	return f()
}

// enqueue runs f alone, unless the stream is closed.
func (d *Device) enqueue(on device.Stream, f func() error) error {
	if s, ok := on.(*stream); ok && s.closed.Load() {
		return fmt.Errorf("emulator: stream: %w, make a new one", device.ErrClosed)
	}
	return d.locked(f)
}

// Info describes the device.
func (d *Device) Info() device.Info { return d.opt.info() }

// LastStats returns the counters of the last launch.
func (d *Device) LastStats() Stats {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.last
}

// LoadModule parses and decodes PTX. The error has a line for every statement that the emulator cannot run.
func (d *Device) LoadModule(ptx []byte) (device.Module, error) {
	if err := d.Synchronize(); err != nil {
		return nil, err
	}
	m, err := parse(strings.TrimRight(string(ptx), "\x00"))
	if err != nil {
		return nil, fmt.Errorf("emulator: PTX does not load\n%w", err)
	}
	if targets[m.target].level == 0 || !device.TargetRuns(m.target, d.opt.Capability/10, d.opt.Capability%10) {
		return nil, fmt.Errorf("emulator: found PTX for %s, the device is sm_%d", m.target, d.opt.Capability)
	}
	mod := &module{dev: d, kernels: map[string]*kernel{}}
	for _, e := range m.entries {
		k, err := decodeEntry(m, e)
		if err != nil {
			return nil, fmt.Errorf("emulator: PTX does not load\n%w", err)
		}
		mod.kernels[e.name] = k
	}
	return mod, nil
}

// target is what a .target directive means.
type target struct {
	level  int // of its instructions
	shared int // bytes of a block
}

// Levels of instructions.
const (
	levelSM80  = 1 + iota
	levelSM90  // tensor copies, mbarriers that count bytes
	levelSM90a // wgmma, setmaxnreg
)

var (
	older   = target{levelSM80, sharedOf[80]}
	targets = map[string]target{"sm_50": older, "sm_52": older, "sm_53": older, "sm_60": older, "sm_61": older, "sm_62": older,
		"sm_70": older, "sm_72": older, "sm_75": older, "sm_80": older, "sm_86": older, "sm_87": older, "sm_89": older,
		"sm_90": {levelSM90, sharedOf[90]}, "sm_90a": {levelSM90a, sharedOf[90]}}
)

// Alloc returns memory whose reading is an error until it is written. A red zone lies behind it.
func (d *Device) Alloc(bytes int64) (ptr device.Ptr, err error) {
	err = d.locked(func() error {
		a, err := d.mem.alloc(bytes)
		ptr = device.Ptr(a)
		return err
	})
	return ptr, err
}

// Free ends an allocation; its address is never used again. Freeing 0 does nothing.
func (d *Device) Free(p device.Ptr) error {
	if p == 0 {
		return nil
	}
	return d.locked(func() error { return d.mem.free(uint64(p)) })
}

// CopyToDevice copies at once.
func (d *Device) CopyToDevice(dst device.Ptr, src []byte, s device.Stream) error {
	return d.enqueue(s, func() error {
		return d.writeRange(dst, len(src), func(p []byte) { copy(p, src) })
	})
}

// Fill sets bytes at once.
func (d *Device) Fill(dst device.Ptr, value byte, bytes int64, s device.Stream) error {
	return d.enqueue(s, func() error {
		return d.writeRange(dst, int(bytes), func(p []byte) {
			for i := range p {
				p[i] = value
			}
		})
	})
}

func (d *Device) writeRange(dst device.Ptr, n int, write func([]byte)) error {
	if n == 0 {
		return nil
	}
	if n < 0 {
		return fmt.Errorf("found a length of %d bytes, wanted at least 0", n)
	}
	a, err := d.mem.find(uint64(dst), uint64(n))
	if err != nil {
		return fmt.Errorf("emulator: write of %d bytes from the host: %w", n, err)
	}
	off := uint64(dst) - a.base
	write(a.data[off : off+uint64(n)])
	markWritten(a.written[off : off+uint64(n)])
	return nil
}

// CopyToHost copies at once. Bytes that nobody wrote are an error, unless Options.AllowUnwritten says otherwise.
func (d *Device) CopyToHost(dst []byte, src device.Ptr, s device.Stream) error {
	return d.enqueue(s, func() error {
		n := uint64(len(dst))
		if n == 0 {
			return nil
		}
		a, err := d.mem.find(uint64(src), n)
		if err != nil {
			return fmt.Errorf("emulator: read of %d bytes by the host: %w", n, err)
		}
		off := uint64(src) - a.base
		if w := a.written[off : off+n]; !d.opt.AllowUnwritten && !allWritten(w) {
			return fmt.Errorf("emulator: output byte %d of %d was never written", firstUnwritten(w), n)
		}
		copy(dst, a.data[off:off+n])
		return nil
	})
}

// Synchronize returns at once, since nothing is pending.
func (d *Device) Synchronize() error { return d.locked(func() error { return nil }) }

// Close frees everything.
func (d *Device) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed, d.mem = true, memory{}
	return nil
}
