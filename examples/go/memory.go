package main

import "github.com/minfc/minfc/runtime/device"

// memory keeps what was allocated, and the first error.
type memory struct {
	dev device.Device
	all []device.Ptr
	err error
}

func (m *memory) alloc(bytes int64) (p device.Ptr) {
	if m.err != nil || bytes == 0 {
		return 0
	}
	if p, m.err = m.dev.Alloc(bytes); m.err == nil {
		m.all = append(m.all, p)
	}
	return p
}

func (m *memory) upload(data []byte) device.Ptr {
	p := m.alloc(int64(len(data)))
	if m.err == nil {
		m.err = m.dev.CopyToDevice(p, data, nil)
	}
	return p
}

func (m *memory) free() {
	for _, p := range m.all {
		m.dev.Free(p)
	}
}
