package emu

import (
	"encoding/binary"
	"fmt"
	"sort"
	"sync"

	"github.com/minfc/minfc/runtime/device"
)

// allocation is a range of global memory. It stays on the list when freed, so that a late access can be named.
type allocation struct {
	base, size uint64
	data       []byte
	written    []uint8 // 1 for every byte that was written
	freed      bool
}

// memory is the global memory of a device. Addresses are never used twice, and red zones lie between allocations.
type memory struct {
	allocs []*allocation // sorted by base
	next   uint64
	used   uint64
	limit  uint64
	atomic sync.Mutex // serialises atomic instructions of different blocks
}

const (
	globalBase = 0x7_0000_0000
	redZone    = 4096
	alignment  = 256
	poison     = 0xff // a NaN in every float format

	// genericShared and genericParam are where these windows lie in the generic address space.
	genericShared = 0x100_0000_0000
	genericParam  = 0x200_0000_0000
)

func (m *memory) alloc(bytes int64) (uint64, error) {
	if bytes < 0 {
		return 0, fmt.Errorf("found an allocation of %d bytes, wanted at least 0", bytes)
	}
	n := uint64(bytes)
	if n > m.limit-m.used {
		return 0, fmt.Errorf("%w: %d bytes asked for, %d of %d in use on the emulator", device.ErrOutOfMemory, bytes, m.used, m.limit)
	}
	a := &allocation{base: globalBase + m.next, size: n, data: make([]byte, n), written: make([]uint8, n)}
	for i := range a.data {
		a.data[i] = poison
	}
	m.next += (n+alignment-1)&^(alignment-1) + redZone
	if globalBase+m.next > genericShared {
		return 0, fmt.Errorf("%w: the emulator never uses an address twice, and all are used", device.ErrOutOfMemory)
	}
	m.allocs = append(m.allocs, a)
	m.used += n
	return a.base, nil
}

func (m *memory) free(addr uint64) error {
	a := m.below(addr)
	switch {
	case a == nil || a.base != addr:
		return fmt.Errorf("found address %#x to free, which no allocation starts at", addr)
	case a.freed:
		return fmt.Errorf("the allocation at %#x is already freed", addr)
	}
	a.freed, a.data, a.written = true, nil, nil
	m.used -= a.size
	return nil
}

// below finds the last allocation that starts at or before an address.
func (m *memory) below(addr uint64) *allocation {
	i := sort.Search(len(m.allocs), func(i int) bool { return m.allocs[i].base > addr })
	if i == 0 {
		return nil
	}
	return m.allocs[i-1]
}

// find returns the allocation that holds n bytes at addr, or says why none does.
func (m *memory) find(addr, n uint64) (*allocation, error) {
	a := m.below(addr)
	if a == nil {
		return nil, fmt.Errorf("address %#x is not in any allocation", addr)
	}
	off := addr - a.base
	switch {
	case off < a.size && n <= a.size-off && a.freed:
		return nil, fmt.Errorf("address %#x lies in an allocation of %d bytes that was freed", addr, a.size)
	case off < a.size && n <= a.size-off:
		return a, nil
	case off <= a.size+redZone:
		return nil, fmt.Errorf("bytes %d to %d are outside an allocation of %d bytes at %#x", off, off+n-1, a.size, a.base)
	}
	return nil, fmt.Errorf("address %#x is not in any allocation", addr)
}

// allWritten says whether every byte was written.
func allWritten(p []uint8) bool {
	for len(p) >= 8 {
		if binary.LittleEndian.Uint64(p) != 0x0101010101010101 {
			return false
		}
		p = p[8:]
	}
	for _, x := range p {
		if x == 0 {
			return false
		}
	}
	return true
}

func markWritten(p []uint8) {
	for i := range p {
		p[i] = 1
	}
}

func firstUnwritten(p []uint8) int {
	for i, x := range p {
		if x == 0 {
			return i
		}
	}
	return -1
}

// span returns the allocation and offset of n bytes that a lane touches.
func (b *block) span(addr uint64, n, lane int, what string) (*allocation, uint64, error) {
	a := b.last
	off := addr - a.base
	if off >= a.size || uint64(n) > a.size-off || a.freed {
		var err error
		if a, err = b.run.mem.find(addr, uint64(n)); err != nil {
			return nil, 0, oneLane(lane, "%s %d bytes of global memory: %v", what, n, err)
		}
		b.last, off = a, addr-a.base
	}
	return a, off, nil
}

// global is span for an access of n bytes, a power of two, that must be aligned.
func (b *block) global(addr uint64, n, lane int, what string) (*allocation, uint64, error) {
	a, off, err := b.span(addr, n, lane, what)
	if err == nil && addr&uint64(n-1) != 0 {
		err = oneLane(lane, "%s %d bytes of global memory at %#x, which is not a multiple of %d", what, n, addr, n)
	}
	return a, off, err
}

// globalRead returns n readable bytes.
func (b *block) globalRead(addr uint64, n, lane int) ([]byte, error) {
	a, off, err := b.global(addr, n, lane, "reads")
	if err != nil {
		return nil, err
	}
	end := off + uint64(n)
	if !allWritten(a.written[off:end]) {
		at := int(off) + firstUnwritten(a.written[off:end])
		return nil, oneLane(lane, "reads global memory that was never written: byte %d of an allocation of %d bytes at %#x", at, a.size, a.base)
	}
	return a.data[off:end], nil
}

// globalWrite returns n writable bytes and marks them as written.
func (b *block) globalWrite(addr uint64, n, lane int) ([]byte, error) {
	a, off, err := b.global(addr, n, lane, "writes")
	if err != nil {
		return nil, err
	}
	end := off + uint64(n)
	markWritten(a.written[off:end])
	b.wrote(n)
	return a.data[off:end], nil
}
