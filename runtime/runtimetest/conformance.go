// Package runtimetest is the suite every driver of package runtime must pass, on a GPU or on the emulator.
package runtimetest

import (
	_ "embed"
	"encoding/binary"
	"math"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/runtime/device"
)

// PTX holds the kernels of the suite, for sm_80 and later.
//
//go:embed kernels.ptx
var PTX []byte

// Conformance runs the suite. open returns a device, new or shared; the suite closes it.
func Conformance(t *testing.T, open func() device.Device) {
	runCases(t, open, closedCases)
	runCases(t, open, []testCase{
		{"info", info},
		{"copies", copies},
		{"fill", fill},
		{"alignment", alignment},
		{"launch", launch},
		{"parameters of every size", parameterSizes},
		{"tensor maps", tensorMaps},
		{"tensor map that no device takes", badMap},
		{"dynamic shared memory above 48 KB", dynamicShared},
		{"shared memory beyond the device", sharedTooLarge},
		{"empty grid is refused", emptyGrid},
		{"stream keeps order", streamOrder},
		{"default stream", defaultStream},
		{"wrapped stream", wrappedStream},
		{"events", events},
		{"attributes", attributes},
		{"load error has the line", loadError},
		{"unknown function", unknownFunction},
		{"out of memory", outOfMemory},
		{"many goroutines", goroutines},
	})
}

type testCase struct {
	name string
	run  func(*testing.T, bench)
}

func runCases(t *testing.T, open func() device.Device, cases []testCase) {
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			dev := open()
			defer func() { require.NoError(t, dev.Close()) }()
			c.run(t, bench{t, dev})
		})
	}
}

// bench is a device whose failures end the test.
type bench struct {
	t   *testing.T
	dev device.Device
}

func (b bench) alloc(n int) device.Ptr {
	p, err := b.dev.Alloc(int64(n))
	require.NoError(b.t, err)
	return p
}

func (b bench) free(ps ...device.Ptr) {
	for _, p := range ps {
		require.NoError(b.t, b.dev.Free(p))
	}
}

func (b bench) upload(words []uint32) device.Ptr {
	p := b.alloc(4 * len(words))
	require.NoError(b.t, b.dev.CopyToDevice(p, encode(words), nil))
	return p
}

func (b bench) download(p device.Ptr, n int, s device.Stream) []uint32 {
	out := make([]byte, 4*n)
	require.NoError(b.t, b.dev.CopyToHost(out, p, s))
	return decode(out)
}

func (b bench) module() device.Module {
	m, err := b.dev.LoadModule(PTX)
	require.NoError(b.t, err)
	return m
}

func (b bench) function(m device.Module, name string) device.Function {
	f, err := m.Function(name)
	require.NoError(b.t, err)
	return f
}

func (b bench) stream() device.Stream {
	s, err := b.dev.NewStream()
	require.NoError(b.t, err)
	return s
}

func grid(blocks, threads uint32) device.Launch {
	return device.Launch{Grid: [3]uint32{blocks, 1, 1}, Block: [3]uint32{threads, 1, 1}}
}

func u32(x uint32) []byte     { return binary.LittleEndian.AppendUint32(nil, x) }
func u64(x uint64) []byte     { return binary.LittleEndian.AppendUint64(nil, x) }
func ptr(p device.Ptr) []byte { return u64(uint64(p)) }

func encode(words []uint32) []byte {
	var b []byte
	for _, w := range words {
		b = binary.LittleEndian.AppendUint32(b, w)
	}
	return b
}

func decode(b []byte) []uint32 {
	words := make([]uint32, len(b)/4)
	for i := range words {
		words[i] = binary.LittleEndian.Uint32(b[4*i:])
	}
	return words
}

func random(n int) []uint32 {
	rng, words := rand.New(rand.NewPCG(1, uint64(n))), make([]uint32, n)
	for i := range words {
		words[i] = rng.Uint32()
	}
	return words
}

func info(t *testing.T, b bench) {
	i := b.dev.Info()
	require.Contains(t, device.Drivers(), i.Driver, "the driver's name is the one it registered")
	require.NotEmpty(t, i.Name)
	require.GreaterOrEqual(t, i.Major, 8)
	require.Positive(t, i.Multiprocessors)
	require.Positive(t, i.MemoryBytes)
	require.Greater(t, i.MaxSharedBytes, 48<<10)
	list, err := device.Devices(i.Driver)
	require.NoError(t, err)
	listed := list[i.Ordinal]
	require.Equal(t, []any{i.Driver, i.Ordinal, i.Name}, []any{listed.Driver, listed.Ordinal, listed.Name}, "Devices and Info agree")
}

func copies(t *testing.T, b bench) {
	want := random(1000)
	p := b.upload(want)
	require.Equal(t, want, b.download(p, 1000, nil))
	part := []uint32{7, 8, 9}
	require.NoError(t, b.dev.CopyToDevice(p+4*500, encode(part), nil))
	copy(want[500:], part)
	require.Equal(t, want, b.download(p, 1000, nil), "a copy into the middle touches nothing else")
	require.NoError(t, b.dev.CopyToDevice(p, nil, nil), "no bytes")
	require.NoError(t, b.dev.CopyToHost(nil, p, nil), "no bytes")
	src := encode(part)
	require.NoError(t, b.dev.CopyToDevice(p, src, nil))
	clear(src) // allowed as soon as the copy returned
	require.Equal(t, part, b.download(p, 3, nil))
	b.free(p)
}

func fill(t *testing.T, b bench) {
	p := b.upload(random(8))
	require.NoError(t, b.dev.Fill(p+4, 0xA5, 8, nil))
	got := b.download(p, 8, nil)
	want := random(8)
	want[1], want[2] = 0xA5A5A5A5, 0xA5A5A5A5
	require.Equal(t, want, got)
	b.free(p)
}

func alignment(t *testing.T, b bench) {
	var all []device.Ptr
	for _, n := range []int{1, 3, 255, 257, 4096} {
		p := b.alloc(n)
		require.NotZero(t, p)
		require.Zero(t, p%256, "%d bytes at %#x", n, p)
		all = append(all, p)
	}
	b.free(all...)
}

func launch(t *testing.T, b bench) {
	const n = 1000 // no multiple of the block
	m, want := b.module(), random(n)
	src, dst := b.upload(want), b.upload(make([]uint32, n+1))
	require.NoError(t, b.function(m, "copy").Launch(grid(8, 128), [][]byte{ptr(dst), ptr(src), u32(n)}, nil))
	require.Equal(t, append(want, 0), b.download(dst, n+1, nil))
	b.free(src, dst)
	require.NoError(t, m.Unload())
}

func parameterSizes(t *testing.T, b bench) {
	m, dst := b.module(), b.upload(make([]uint32, 11))
	box, tensorMap := encode([]uint32{11, 12, 13}), encode(random(32))
	args := [][]byte{
		{0xFE}, ptr(dst), {0x34, 0x12}, u32(0xDEADBEEF), u64(0x0123456789ABCDEF),
		u32(math.Float32bits(1.25)), box, tensorMap, u32(42),
	}
	require.NoError(t, b.function(m, "mixed").Launch(grid(1, 1), args, nil))
	for _, a := range args {
		clear(a) // allowed as soon as Launch returned
	}
	want := []uint32{0xFE, 0x1234, 0xDEADBEEF, math.Float32bits(2.5), 0x89ABCDEF, 0x01234567, 11, 13, random(32)[0], random(32)[31], 42}
	require.Equal(t, want, b.download(dst, 11, nil))
	b.free(dst)
	require.NoError(t, m.Unload())
}

func dynamicShared(t *testing.T, b bench) {
	m := b.module()
	f := b.function(m, "reverse")
	for _, kb := range []int{1, 48, 96} {
		n := kb << 8 // words
		want := random(n)
		src, dst := b.upload(want), b.upload(make([]uint32, n))
		l := grid(1, 256)
		l.SharedBytes = kb << 10
		require.NoError(t, f.Launch(l, [][]byte{ptr(dst), ptr(src), u32(uint32(n))}, nil), "%d KB", kb)
		got := b.download(dst, n, nil)
		for i := range got {
			require.Equal(t, want[n-1-i], got[i], "word %d of %d", i, n)
		}
		b.free(src, dst)
	}
	require.NoError(t, m.Unload())
}

func sharedTooLarge(t *testing.T, b bench) {
	m, p := b.module(), b.upload([]uint32{5})
	l := grid(1, 32)
	l.SharedBytes = b.dev.Info().MaxSharedBytes + 1024
	err := b.function(m, "reverse").Launch(l, [][]byte{ptr(p), ptr(p), u32(1)}, nil)
	require.Error(t, err)
	require.Equal(t, []uint32{5}, b.download(p, 1, nil), "the device still works and nothing ran")
	b.free(p)
	require.NoError(t, m.Unload())
}

func emptyGrid(t *testing.T, b bench) {
	m, p := b.module(), b.upload([]uint32{5})
	require.Error(t, b.function(m, "copy").Launch(grid(0, 32), [][]byte{ptr(p), ptr(p), u32(1)}, nil))
	require.Equal(t, []uint32{5}, b.download(p, 1, nil))
	b.free(p)
	require.NoError(t, m.Unload())
}

// steps launches x -> 3x + i for i = 1..n and returns what 1 becomes; any other order gives another value.
func (b bench) steps(f device.Function, data device.Ptr, n int, s device.Stream) uint32 {
	x := uint32(1)
	for i := range uint32(n) {
		require.NoError(b.t, f.Launch(grid(4, 128), [][]byte{ptr(data), u32(3), u32(i + 1)}, s))
		x = 3*x + i + 1
	}
	return x
}

func (b bench) ones() device.Ptr {
	p := b.alloc(4 * 512)
	one := make([]uint32, 512)
	for i := range one {
		one[i] = 1
	}
	require.NoError(b.t, b.dev.CopyToDevice(p, encode(one), nil))
	return p
}

func allEqual(t *testing.T, want uint32, got []uint32) {
	for i, g := range got {
		require.Equal(t, want, g, "word %d", i)
	}
}

func streamOrder(t *testing.T, b bench) {
	m, data, s := b.module(), b.ones(), b.stream()
	require.NoError(t, b.dev.Synchronize())
	want := b.steps(b.function(m, "step"), data, 50, s)
	allEqual(t, want, b.download(data, 512, s))
	require.NoError(t, b.dev.Fill(data, 0, 4*512, s))
	require.NoError(t, b.function(m, "step").Launch(grid(4, 128), [][]byte{ptr(data), u32(3), u32(9)}, s))
	require.NoError(t, s.Synchronize())
	allEqual(t, 9, b.download(data, 512, nil))
	require.NoError(t, s.Close())
	b.free(data)
	require.NoError(t, m.Unload())
}

func defaultStream(t *testing.T, b bench) {
	m, data := b.module(), b.ones()
	want := b.steps(b.function(m, "step"), data, 10, nil)
	require.NoError(t, b.dev.Synchronize())
	allEqual(t, want, b.download(data, 512, nil))
	b.free(data)
	require.NoError(t, m.Unload())
}

func wrappedStream(t *testing.T, b bench) {
	m, data, s := b.module(), b.ones(), b.stream()
	f := b.function(m, "step")
	require.NoError(t, b.dev.Synchronize())
	w := b.dev.WrapStream(s.Handle())
	require.Equal(t, s.Handle(), w.Handle())
	require.NoError(t, f.Launch(grid(4, 128), [][]byte{ptr(data), u32(2), u32(3)}, s))
	require.NoError(t, f.Launch(grid(4, 128), [][]byte{ptr(data), u32(7), u32(1)}, w))
	require.NoError(t, w.Synchronize())
	allEqual(t, 36, b.download(data, 512, w))
	require.NoError(t, w.Close(), "closing a wrapped stream leaves the owner's alone")
	require.NoError(t, f.Launch(grid(4, 128), [][]byte{ptr(data), u32(1), u32(1)}, s))
	allEqual(t, 37, b.download(data, 512, s))
	require.NoError(t, s.Close())
	b.free(data)
	require.NoError(t, m.Unload())
}

func events(t *testing.T, b bench) {
	m, data, s := b.module(), b.ones(), b.stream()
	require.NoError(t, b.dev.Synchronize())
	start, err := b.dev.NewEvent()
	require.NoError(t, err)
	stop, err := b.dev.NewEvent()
	require.NoError(t, err)
	require.NoError(t, start.Record(s))
	want := b.steps(b.function(m, "step"), data, 20, s)
	require.NoError(t, stop.Record(s))
	ms, err := stop.Since(start)
	require.NoError(t, err)
	require.Greater(t, ms, 0.0)
	require.Less(t, ms, 60e3)
	require.NoError(t, stop.Synchronize())
	allEqual(t, want, b.download(data, 512, s))
	require.NoError(t, start.Close())
	require.NoError(t, stop.Close())
	require.NoError(t, s.Close())
	b.free(data)
	require.NoError(t, m.Unload())
}

func attributes(t *testing.T, b bench) {
	m := b.module()
	a, err := b.function(m, "step").Attributes()
	require.NoError(t, err)
	require.Equal(t, 512, a.SharedBytes)
	require.Zero(t, a.LocalBytes)
	require.Equal(t, 128, a.MaxThreads, "as .maxntid says")
	require.Positive(t, a.Registers)
	require.NoError(t, m.Unload())
}

const brokenPTX = `.version 7.0
.target sm_80
.address_size 64
.visible .entry broken()
{
	.reg .b32 %r<3>;
	mov.u32 %r1, 1;
	frobnicate.u32 %r2, %r1;
	ret;
}
`

func loadError(t *testing.T, b bench) {
	_, err := b.dev.LoadModule([]byte(brokenPTX))
	require.ErrorContains(t, err, "line 8", "the line of the unknown instruction")
	_, err = b.dev.LoadModule([]byte("this is no ptx\n"))
	require.Error(t, err)
	_, err = b.dev.LoadModule(nil)
	require.Error(t, err)
	m := b.module() // the device still works
	require.NoError(t, m.Unload())
}

func unknownFunction(t *testing.T, b bench) {
	m := b.module()
	_, err := m.Function("no_such_kernel")
	require.ErrorContains(t, err, "no_such_kernel")
	require.NoError(t, m.Unload())
}

func outOfMemory(t *testing.T, b bench) {
	size := int64(b.dev.Info().MemoryBytes) * 2
	_, err := b.dev.Alloc(size)
	require.ErrorIs(t, err, device.ErrOutOfMemory)
	p := b.upload([]uint32{1, 2}) // the device still works
	require.Equal(t, []uint32{1, 2}, b.download(p, 2, nil))
	b.free(p)
}

// goroutines move between OS threads, and a CUDA context is current for one thread: every method must cope.
func goroutines(t *testing.T, b bench) {
	m := b.module()
	errs := make(chan error, 8)
	var group sync.WaitGroup
	for seed := range 8 {
		group.Go(func() { errs <- roundTrips(b.dev, m, 100+seed) })
	}
	group.Wait()
	close(errs)
	for err := range errs {
		require.NoError(t, err)
	}
	require.NoError(t, m.Unload())
}
