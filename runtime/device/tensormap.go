package device

import (
	"fmt"
	"slices"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/internal/want"
)

// TensorMap describes a tensor in global memory to the hardware that copies boxes of it to and from shared memory (TMA).
// What a box has outside the tensor reads as zeros and is not written.
type TensorMap struct {
	DType   abi.DType // of the elements
	Base    Ptr
	Dims    []uint64 // elements, the contiguous dimension first
	Strides []uint64 // bytes, of dims 1..
	Box     []uint32 // elements of each dimension that one copy takes
	Swizzle int      // bytes after which the pattern of 16-byte pieces in shared memory ends: 0 (none), 32, 64, 128
}

// TensorMapBytes is the size of an encoded tensor map.
const TensorMapBytes = abi.TensorMapBytes

// What TMA takes of a map.
const (
	mapMaxDims   = 5
	mapMaxSize   = 1 << 32 // elements of a dimension
	mapMaxStride = 1 << 40 // bytes
	mapMaxBox    = 256     // elements of a dimension
	mapAlign     = 16      // bytes
	mapElement   = 2       // bytes of bf16 and f16
)

// Check says whether the hardware takes such a map; drivers call it before they encode one. Errors wrap ErrBadCall.
func (m TensorMap) Check() error {
	n := len(m.Dims)
	if err := want.All(
		want.That(m.DType == "bf16" || m.DType == "f16", "dtype", fmt.Sprintf("%q", m.DType), "bf16 or f16"),
		want.That(n >= 1 && n <= mapMaxDims, "number of dimensions", fmt.Sprint(n), "1 to 5"),
		want.That(len(m.Strides) == n-1, "number of strides", fmt.Sprint(len(m.Strides)), "one less than of dimensions"),
		want.That(len(m.Box) == n, "number of the box's sizes", fmt.Sprint(len(m.Box)), "that of dimensions"),
		want.That(m.Base != 0 && m.Base%mapAlign == 0, "address", fmt.Sprintf("%#x", uint64(m.Base)), "a multiple of 16 above 0"),
		want.That(slices.Contains([]int{0, 32, 64, 128}, m.Swizzle), "swizzle", fmt.Sprint(m.Swizzle), "0, 32, 64 or 128"),
	); err != nil {
		return BadCall("tensor map: its %w", err)
	}
	return m.checkSizes()
}

func (m TensorMap) checkSizes() error {
	for i, size := range m.Dims {
		if size < 1 || size > mapMaxSize {
			return BadCall("tensor map: dimension %d has %d elements, want 1 to %d", i, size, uint64(mapMaxSize))
		}
		if box := m.Box[i]; box < 1 || box > mapMaxBox {
			return BadCall("tensor map: the box has %d elements in dimension %d, want 1 to %d", box, i, mapMaxBox)
		}
	}
	for i, stride := range m.Strides {
		if stride%mapAlign != 0 || stride >= mapMaxStride {
			return BadCall("tensor map: dimension %d has a stride of %d bytes, want a multiple of %d below 2^40", i+1, stride, mapAlign)
		}
	}
	switch row := int(m.Box[0]) * mapElement; {
	case row%mapAlign != 0:
		return BadCall("tensor map: a row of the box has %d bytes, want a multiple of %d", row, mapAlign)
	case m.Swizzle > 0 && row > m.Swizzle:
		return BadCall("tensor map: a row of the box has %d bytes, want at most the swizzle's %d", row, m.Swizzle)
	}
	return nil
}

// TensorMapper is implemented by devices that have TMA.
type TensorMapper interface {
	// EncodeTensorMap returns the TensorMapBytes that a kernel takes as its parameter, at an address that is a multiple of 64.
	EncodeTensorMap(TensorMap) ([]byte, error)
}
