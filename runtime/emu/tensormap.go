package emu

import (
	"encoding/binary"
	"fmt"

	"github.com/minfc/minfc/runtime/device"
)

// tensorMap is the emulator's own form of a tensor map: its 128 bytes are this struct in little endian.
type tensorMap struct {
	Magic   [8]byte
	Rank    uint32
	Swizzle uint32 // bytes: 0, 32, 64, 128
	Base    uint64
	Dims    [maxRank]uint64 // elements, the contiguous dimension first
	Strides [maxRank]uint64 // bytes; the first is the size of one element
	Box     [maxRank]uint16
	_       [14]byte
}

const (
	maxRank      = 5
	elementBytes = 2 // of both element types
	mapBytes     = 128
	mapAlign     = 64
)

var mapMagic = [8]byte{'e', 'm', 'u', 't', 'm', 'a', 'p', 1}

// EncodeTensorMap makes the 128 bytes that a kernel parameter of this type takes, at an address that is a multiple of
// 64. It refuses what the GPU's driver refuses.
func (d *Device) EncodeTensorMap(m device.TensorMap) (out []byte, err error) {
	err = d.locked(func() error {
		out, err = EncodeTensorMap(m)
		return err
	})
	return out, err
}

// EncodeTensorMap is Device.EncodeTensorMap: the bytes do not depend on the device.
func EncodeTensorMap(m device.TensorMap) ([]byte, error) {
	if err := m.Check(); err != nil {
		return nil, err
	}
	t := tensorMap{Magic: mapMagic, Rank: uint32(len(m.Dims)), Swizzle: uint32(m.Swizzle), Base: uint64(m.Base)}
	for i := range t.Dims {
		t.Dims[i], t.Box[i] = 1, 1
	}
	copy(t.Dims[:], m.Dims)
	t.Strides[0] = elementBytes
	copy(t.Strides[1:], m.Strides)
	for i, n := range m.Box {
		t.Box[i] = uint16(n)
	}
	return binary.Append(make([]byte, 0, mapBytes), binary.LittleEndian, &t)
}

// mapAt reads the tensor map at a generic address, as a parameter or from global memory.
func (w *warp) mapAt(addr uint64, lane int) (*tensorMap, error) {
	if addr%mapAlign != 0 {
		return nil, oneLane(lane, "names a tensor map at %#x, which is not a multiple of %d", addr, mapAlign)
	}
	var p []byte
	if off := addr - genericParam; addr >= genericParam && off <= uint64(len(w.block.run.params)) {
		p = w.block.run.params[off:]
	} else if a, off, err := w.block.span(addr, mapBytes, lane, "reads a tensor map of"); err != nil {
		return nil, err
	} else {
		p = a.data[off:]
	}
	var t tensorMap
	if _, err := binary.Decode(p, binary.LittleEndian, &t); err != nil || t.Magic != mapMagic {
		return nil, oneLane(lane, "names a tensor map at %#x, where there is none: pass what the device's EncodeTensorMap gives as a .param of %d bytes", addr, mapBytes)
	}
	return &t, nil
}

// rowBytes is the length of a row of the box.
func (t *tensorMap) rowBytes() int { return int(t.Box[0]) * elementBytes }

// boxBytes is the size of the whole box, of which every byte counts, also outside the tensor.
func (t *tensorMap) boxBytes() int {
	n := elementBytes
	for _, b := range t.Box {
		n *= int(b)
	}
	return n
}

// boxRow is a row of a box: where its bytes from low to high lie in global memory. The others are outside the tensor.
type boxRow struct {
	addr      uint64
	low, high int
}

// rows calls f for each row of the box at a coordinate, in the order of shared memory.
func (t *tensorMap) rows(at [maxRank]int32, f func(i int, r boxRow) error) error {
	n := t.boxBytes() / t.rowBytes()
	for i := range n {
		if err := f(i, t.row(at, i)); err != nil {
			return err
		}
	}
	return nil
}

func (t *tensorMap) row(at [maxRank]int32, i int) boxRow {
	addr, inside := t.Base, true
	for d := 1; d < maxRank; d++ {
		c := int64(at[d]) + int64(i%int(t.Box[d]))
		i /= int(t.Box[d])
		inside = inside && c >= 0 && uint64(c) < t.Dims[d]
		addr += uint64(c) * t.Strides[d]
	}
	if !inside {
		return boxRow{}
	}
	x := int64(at[0])
	low := max(0, -x)
	high := min(int64(t.Box[0]), int64(t.Dims[0])-x)
	if low >= high {
		return boxRow{}
	}
	return boxRow{addr + uint64(x+low)*elementBytes, int(low) * elementBytes, int(high) * elementBytes}
}

// swizzled is where the 16 bytes at an address lie: a few bits above the row of the pattern are added into the place
// of the piece within the row.
func (t *tensorMap) swizzled(addr int) int {
	if t.Swizzle == 0 {
		return addr
	}
	pieces := int(t.Swizzle) / 16
	return addr ^ addr>>7&(pieces-1)<<4
}

// describeBox names a box in messages.
func (t *tensorMap) describeBox(at [maxRank]int32) string {
	return fmt.Sprintf("the box %v at %v", t.Box[:t.Rank], at[:t.Rank])
}

// sameWidth says whether the rows of the box fill the swizzle's pattern.
func (t *tensorMap) sameWidth() bool { return t.Swizzle == 0 || t.rowBytes() == int(t.Swizzle) }
