//go:build gorgonia

package main

import (
	"unsafe"

	"gorgonia.org/cu"

	"github.com/minfc/minfc/runtime/device"
)

// memory is device memory of cu in the current context, and the first error.
type memory struct {
	stream cu.Stream
	all    []cu.DevicePtr
	err    error
}

// alloc returns a pointer of minfc, which is the number that cu has.
func (m *memory) alloc(bytes int64) device.Ptr {
	if m.err != nil || bytes == 0 {
		return 0
	}
	p, err := cu.MemAlloc(bytes)
	if m.err = err; err != nil {
		return 0
	}
	m.all = append(m.all, p)
	return device.Ptr(p)
}

// output is memory full of NaN, so that the check sees what no kernel wrote.
func (m *memory) output(bytes int) device.Ptr {
	p := m.alloc(int64(bytes))
	if m.err == nil {
		m.err = cu.MemsetD8Async(cu.DevicePtr(p), 0xff, int64(bytes), m.stream)
	}
	return p
}

// upload copies on the stream that the kernels run on: a copy on the default stream is in no order with a stream that does not block.
func (m *memory) upload(data []byte) device.Ptr {
	p := m.alloc(int64(len(data)))
	if m.err == nil {
		m.err = cu.MemcpyHtoDAsync(cu.DevicePtr(p), unsafe.Pointer(&data[0]), int64(len(data)), m.stream)
	}
	if m.err == nil {
		m.err = m.stream.Synchronize() // until then data is not to be freed or changed
	}
	return p
}

// download waits for the stream.
func (m *memory) download(p cu.DevicePtr, bytes int) ([]byte, error) {
	data := make([]byte, bytes)
	if err := cu.MemcpyDtoHAsync(unsafe.Pointer(&data[0]), p, int64(bytes), m.stream); err != nil {
		return nil, err
	}
	return data, m.stream.Synchronize()
}

func (m *memory) free() {
	for _, p := range m.all {
		cu.MemFree(p)
	}
}
