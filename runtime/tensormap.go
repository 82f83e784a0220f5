package runtime

import (
	"fmt"
	"slices"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/ir"
)

// TensorMap describes a tensor in global memory to the hardware that copies boxes of it to and from shared memory (TMA).
// What a box has outside the tensor reads as zeros and is not written.
type TensorMap struct {
	DType   string // of the elements: "bf16" or "f16"
	Base    DevicePtr
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
)

// Check says whether the hardware takes such a map; drivers call it before they encode one. Errors wrap ErrBadCall.
func (m TensorMap) Check() error {
	n := len(m.Dims)
	for _, c := range []check{
		{m.DType == "bf16" || m.DType == "f16", "dtype", fmt.Sprintf("%q", m.DType), "bf16 or f16"},
		{n >= 1 && n <= mapMaxDims, "number of dimensions", fmt.Sprint(n), "1 to 5"},
		{len(m.Strides) == n-1, "number of strides", fmt.Sprint(len(m.Strides)), "one less than of dimensions"},
		{len(m.Box) == n, "number of the box's sizes", fmt.Sprint(len(m.Box)), "that of dimensions"},
		{m.Base != 0 && m.Base%copyBytes == 0, "address", fmt.Sprintf("%#x", uint64(m.Base)), "a multiple of 16 above 0"},
		{slices.Contains([]int{0, 32, 64, 128}, m.Swizzle), "swizzle", fmt.Sprint(m.Swizzle), "0, 32, 64 or 128"},
	} {
		if err := c.err(); err != nil {
			return badCall("tensor map: its %w", err)
		}
	}
	return m.CheckSizes()
}

func (m TensorMap) CheckSizes() error {
	for i, size := range m.Dims {
		if size < 1 || size > mapMaxSize {
			return badCall("tensor map: dimension %d has %d elements, want 1 to %d", i, size, uint64(mapMaxSize))
		}
		if box := m.Box[i]; box < 1 || box > mapMaxBox {
			return badCall("tensor map: the box has %d elements in dimension %d, want 1 to %d", box, i, mapMaxBox)
		}
	}
	for i, stride := range m.Strides {
		if stride%copyBytes != 0 || stride >= mapMaxStride {
			return badCall("tensor map: dimension %d has a stride of %d bytes, want a multiple of %d below 2^40", i+1, stride, copyBytes)
		}
	}
	switch row := int(m.Box[0]) * elementBytes; {
	case row%copyBytes != 0:
		return badCall("tensor map: a row of the box has %d bytes, want a multiple of %d", row, copyBytes)
	case m.Swizzle > 0 && row > m.Swizzle:
		return badCall("tensor map: a row of the box has %d bytes, want at most the swizzle's %d", row, m.Swizzle)
	}
	return nil
}

// TensorMapper is implemented by devices that have TMA.
type TensorMapper interface {
	// EncodeTensorMap returns the TensorMapBytes that a kernel takes as its parameter, at an address that is a multiple of 64.
	EncodeTensorMap(TensorMap) ([]byte, error)
}

// mapSwizzle is the Swizzle of every map of a kernel's parameters, so a box has at most that many bytes in a row.
const mapSwizzle = 128

// mapView is what a map shows: a tensor [batch, heads, rows, head dim].
type mapView struct {
	from                               ir.Address
	BatchStride, HeadStride, RowStride int64 // elements
	rows, heads, batch                 int
}

// view is what a map of a tensor shows, or of a compacted copy of K or V at chosen columns: contiguous [batch * q heads, col_cap, head dim].
func (x *boundCall) view(tensor string) (mapView, error) {
	at := func(t Tensor, rows, heads int) (mapView, error) {
		if rows == 0 { // no memory of its own: something that is there, though nothing reads it
			t = x.Q
		}
		return mapView{ir.Address{Base: tensor}, t.BatchStride, t.HeadStride, t.RowStride, rows, heads, x.Batch}, nil
	}
	switch tensor {
	case "q":
		return at(x.Q, x.SeqQ, x.QHeads)
	case "k":
		return at(x.K, x.SeqK, x.KVHeads)
	case "v":
		return at(x.V, x.SeqK, x.KVHeads)
	case "o":
		return at(x.O, x.SeqQ, x.QHeads)
	}
	for _, n := range x.choices {
		if tensor != n.list("kc") && tensor != n.list("vc") {
			continue
		}
		rows, row := x.Number(n.list("col_cap")), int64(x.headDim)
		return mapView{x.At(tensor), rows * row * int64(x.heads()), rows * row, row, int(rows), x.heads(), 1}, nil
	}
	return mapView{}, fmt.Errorf("internal: a map of %q, which is no tensor of the call", tensor)
}

// tensorMap describes what v shows, but for its address. Dimensions without elements become one; of dimensions with one element, whose strides
// mean nothing, the stride becomes one that the hardware takes.
func (c *call) tensorMap(v mapView, box [2]int) TensorMap {
	dims := []uint64{uint64(c.headDim), uint64(max(v.rows, 1)), uint64(max(v.heads, 1)), uint64(max(v.batch, 1))}
	strides := []uint64{uint64(bytesOf(v.RowStride)), uint64(bytesOf(v.HeadStride)), uint64(bytesOf(v.BatchStride))}
	for i := range strides {
		if dims[i+1] == 1 {
			strides[i] = uint64(bytesOf(int64(c.headDim)))
		}
	}
	return TensorMap{DType: c.dtype, Dims: dims, Strides: strides, Box: []uint32{uint32(box[0]), uint32(box[1]), 1, 1}, Swizzle: mapSwizzle}
}

// encodeMap returns the argument of a parameter that is a map of a tensor.
func encodeMap(mapper TensorMapper, tensor string, m TensorMap) ([]byte, error) {
	b, err := mapper.EncodeTensorMap(m)
	if err != nil {
		return nil, fmt.Errorf("tensor map of %s: %w", tensor, err)
	}
	if len(b) != TensorMapBytes {
		return nil, fmt.Errorf("internal: a tensor map of %d bytes, want %d", len(b), TensorMapBytes)
	}
	return b, nil
}

// verifyBox says whether one copy can take the box.
func verifyBox(p KernelParam) error {
	for _, c := range []check{
		{multiple(p.Box[0], 8, 8, mapSwizzle/elementBytes), "columns of its box", fmt.Sprint(p.Box[0]), "a multiple of 8 from 8 to 64"},
		{multiple(p.Box[1], 1, 1, mapMaxBox), "rows of its box", fmt.Sprint(p.Box[1]), "1 to 256"},
	} {
		if err := c.err(); err != nil {
			return err
		}
	}
	return nil
}
