//go:build cgo && linux && (amd64 || arm64)

package main

import (
	"encoding/json"
	"math"
	"sync"
	"unsafe"

	"github.com/minfc/minfc/compile"
	"github.com/minfc/minfc/runtime/device"

	_ "github.com/minfc/minfc/runtime/cuda" // the drivers that a C program can open
	_ "github.com/minfc/minfc/runtime/emu"
)

// openDevice is a minfc_device.
type openDevice struct {
	device.Device
	owner
	sentence string // why this device
	streams  streams
	own      ownPages
}

var devices = table[openDevice]{kind: kindDevice}

func open(spec string) (handle, error) {
	dev, sentence, err := device.OpenSpec(spec)
	if err != nil {
		return 0, err
	}
	return newDevice(dev, sentence)
}

func newDevice(dev device.Device, sentence string) (handle, error) {
	return devices.put(&openDevice{Device: dev, sentence: sentence})
}

func closeDevice(h handle) error {
	d, err := devices.get(h)
	if err != nil {
		return err
	}
	if err := d.end(kindDevice, kindAttention); err != nil {
		return err
	}
	if err := devices.remove(h); err != nil {
		return err
	}
	return d.Close()
}

func deviceInfo(h handle) (string, error) {
	d, err := devices.get(h)
	if err != nil {
		return "", err
	}
	i := d.Info()
	target, _, err := compile.TargetOn(i)
	if err != nil {
		return "", err
	}
	return inJSON(struct {
		Driver      string `json:"driver"`
		Ordinal     int    `json:"ordinal"`
		Name        string `json:"name"`
		Target      string `json:"target"`
		MemoryBytes uint64 `json:"memory_bytes"`
		Sentence    string `json:"sentence"`
	}{i.Driver, i.Ordinal, i.Name, target, i.MemoryBytes, d.sentence})
}

func inJSON(v any) (string, error) {
	text, err := json.Marshal(v)
	return string(text), err
}

// mostBytes is more than any memory has, and few enough for a slice.
const mostBytes = 1 << 47

// bytesOf is a number of bytes as Go counts them. What is too much for that is too much anyway.
func bytesOf[T ~uint64](n T) int64 { return int64(min(uint64(n), math.MaxInt64)) }

func alloc(h handle, bytes int64) (device.Ptr, error) {
	d, err := devices.get(h)
	if err != nil {
		return 0, err
	}
	if bytes < 1 || bytes > mostBytes {
		return 0, device.BadCall("allocation of %d bytes, want 1 to %d", bytes, int64(mostBytes))
	}
	return d.Alloc(bytes)
}

func free(h handle, p device.Ptr) error {
	d, err := devices.get(h)
	if err != nil || p == 0 {
		return err
	}
	return d.Free(p)
}

func copyToDevice(h handle, to device.Ptr, from unsafe.Pointer, bytes int64, stream uintptr) error {
	d, s, err := copying(h, bytes, stream)
	if err != nil {
		return err
	}
	return d.CopyToDevice(to, unsafe.Slice((*byte)(from), bytes), s)
}

func copyToHost(h handle, to unsafe.Pointer, from device.Ptr, bytes int64, stream uintptr) error {
	d, s, err := copying(h, bytes, stream)
	if err != nil {
		return err
	}
	return d.CopyToHost(unsafe.Slice((*byte)(to), bytes), from, s)
}

// copying is what copies need.
func copying(h handle, bytes int64, stream uintptr) (*openDevice, device.Stream, error) {
	d, err := devices.get(h)
	if err != nil {
		return nil, nil, err
	}
	if bytes > mostBytes {
		return nil, nil, device.BadCall("copy of %d bytes, want %d at most", bytes, int64(mostBytes))
	}
	s, err := d.stream(stream)
	return d, s, err
}

func synchronize(h handle) error {
	d, err := devices.get(h)
	if err != nil {
		return err
	}
	return d.Synchronize()
}

// streams remembers streams by their CUstream, so that a run makes none.
type streams struct {
	sync.RWMutex
	of map[uintptr]device.Stream
}

const streamsKept = 256

// stream is the stream of a CUstream: nil for 0, the default one.
func (d *openDevice) stream(number uintptr) (device.Stream, error) {
	if number == 0 {
		return nil, nil
	}
	if err := device.CheckStream(number); err != nil { // here, as the emulator would take it
		return nil, err
	}
	d.streams.RLock()
	s := d.streams.of[number]
	d.streams.RUnlock()
	if s != nil {
		return s, nil
	}
	d.streams.Lock()
	defer d.streams.Unlock()
	if d.streams.of == nil || len(d.streams.of) >= streamsKept {
		d.streams.of = map[uintptr]device.Stream{}
	}
	s = d.WrapStream(number)
	d.streams.of[number] = s
	return s, nil
}
