package runtimetest

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/runtime/device"
)

// Closed runs the part of the suite about devices, modules, streams and events after their end: they answer with ErrClosed, and closing
// them twice is no error. Nothing is computed, so a driver without a GPU can run this part.
func Closed(t *testing.T, open func() device.Device) { runCases(t, open, closedCases) }

var closedCases = []testCase{
	{"use after Unload", afterUnload},
	{"use of a closed stream", afterStreamClose},
	{"use of a closed event", afterEventClose},
	{"use of a closed device", afterClose},
}

type use struct {
	name string
	do   func() error
}

func requireClosed(t *testing.T, uses []use) {
	for _, u := range uses {
		require.ErrorIs(t, u.do(), device.ErrClosed, u.name)
	}
}

// usesOfModule are the uses of a module and of its kernel "copy", on memory of 8 words.
func usesOfModule(m device.Module, f device.Function, p device.Ptr) []use {
	return []use{
		{"Function", func() error { _, err := m.Function("copy"); return err }},
		{"Attributes", func() error { _, err := f.Attributes(); return err }},
		{"Launch", func() error { return f.Launch(grid(1, 32), [][]byte{ptr(p + 16), ptr(p), u32(4)}, nil) }},
	}
}

// usesOfStream are the uses of a stream: its own methods, and what a device, a kernel and an event do with it.
func usesOfStream(dev device.Device, f device.Function, e device.Event, s device.Stream, p device.Ptr) []use {
	return []use{
		{"Synchronize", s.Synchronize},
		{"CopyToDevice", func() error { return dev.CopyToDevice(p, make([]byte, 4), s) }},
		{"CopyToHost", func() error { return dev.CopyToHost(make([]byte, 4), p, s) }},
		{"Fill", func() error { return dev.Fill(p, 0, 4, s) }},
		{"Launch", func() error { return f.Launch(grid(1, 32), [][]byte{ptr(p + 16), ptr(p), u32(4)}, s) }},
		{"Record", func() error { return e.Record(s) }},
	}
}

func usesOfEvent(e, other device.Event) []use {
	return []use{
		{"Record", func() error { return e.Record(nil) }},
		{"event Synchronize", e.Synchronize},
		{"Since", func() error { _, err := e.Since(other); return err }},
		{"start of Since", func() error { _, err := other.Since(e); return err }},
	}
}

func usesOfDevice(dev device.Device, p device.Ptr) []use {
	return []use{
		{"LoadModule", func() error { _, err := dev.LoadModule(PTX); return err }},
		{"Alloc", func() error { _, err := dev.Alloc(4); return err }},
		{"Free", func() error { return dev.Free(p) }},
		{"CopyToDevice, default stream", func() error { return dev.CopyToDevice(p, make([]byte, 4), nil) }},
		{"CopyToHost, default stream", func() error { return dev.CopyToHost(make([]byte, 4), p, nil) }},
		{"Fill, default stream", func() error { return dev.Fill(p, 0, 4, nil) }},
		{"NewStream", func() error { _, err := dev.NewStream(); return err }},
		{"NewEvent", func() error { _, err := dev.NewEvent(); return err }},
		{"device Synchronize", dev.Synchronize},
	}
}

func (b bench) event() device.Event {
	e, err := b.dev.NewEvent()
	require.NoError(b.t, err)
	return e
}

func afterUnload(t *testing.T, b bench) {
	p, m := b.upload(make([]uint32, 8)), b.module()
	f := b.function(m, "copy")
	require.NoError(t, m.Unload())
	requireClosed(t, usesOfModule(m, f, p))
	require.NoError(t, m.Unload(), "twice")
	b.free(p)
}

func afterStreamClose(t *testing.T, b bench) {
	p, m, s, e := b.upload(make([]uint32, 8)), b.module(), b.stream(), b.event()
	require.NoError(t, s.Close())
	requireClosed(t, usesOfStream(b.dev, b.function(m, "copy"), e, s, p))
	require.NoError(t, s.Close(), "twice")
	require.NoError(t, e.Close())
	require.NoError(t, m.Unload())
	b.free(p)
}

func afterEventClose(t *testing.T, b bench) {
	e, other := b.event(), b.event()
	require.NoError(t, other.Record(nil))
	require.NoError(t, e.Record(nil))
	require.NoError(t, e.Close())
	requireClosed(t, usesOfEvent(e, other))
	require.NoError(t, e.Close(), "twice")
	require.NoError(t, other.Close())
}

// afterClose leaves what it made to the device, which is gone.
func afterClose(t *testing.T, b bench) {
	p, m, s, e, other := b.upload(make([]uint32, 8)), b.module(), b.stream(), b.event(), b.event()
	f := b.function(m, "copy")
	require.NoError(t, b.dev.Close())
	requireClosed(t, usesOfDevice(b.dev, p))
	requireClosed(t, usesOfModule(m, f, p))
	requireClosed(t, usesOfStream(b.dev, f, e, s, p))
	requireClosed(t, usesOfEvent(e, other))
	requireClosed(t, []use{{"Unload", m.Unload}, {"stream Close", s.Close}, {"event Close", e.Close}})
	if d, ok := b.dev.(device.TensorMapper); ok {
		requireClosed(t, []use{{"EncodeTensorMap", func() error {
			_, err := d.EncodeTensorMap(device.TensorMap{DType: "bf16", Base: p, Dims: []uint64{64, 8}, Strides: []uint64{128}, Box: []uint32{64, 8}})
			return err
		}}})
	}
	require.NoError(t, b.dev.Close(), "twice")
}
