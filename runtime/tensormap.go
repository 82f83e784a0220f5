package runtime

import (
	"fmt"
	"slices"
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
const TensorMapBytes = 128

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

// mapView is what a map shows of a call: a tensor [batch, heads, rows, head dim].
type mapView struct {
	Tensor
	rows, heads, batch int
}

// mapSource is a tensor that kernel parameters of type map may show.
type mapSource struct {
	tensor   string
	view     func(c *call) mapView
	replaces []string // the parameters that a kernel with such a map need not have
}

// attentionMaps are the sources of maps of every attention kernel.
var attentionMaps = []mapSource{
	tensorSource("q", func(c *call) mapView { return mapView{c.Q, c.SeqQ, c.QHeads, c.Batch} }),
	tensorSource("k", func(c *call) mapView { return mapView{c.K, c.SeqK, c.KVHeads, c.Batch} }),
	tensorSource("v", func(c *call) mapView { return mapView{c.V, c.SeqK, c.KVHeads, c.Batch} }),
	tensorSource("o", func(c *call) mapView { return mapView{c.O, c.SeqQ, c.QHeads, c.Batch} }),
}

func tensorSource(name string, view func(c *call) mapView) mapSource {
	return mapSource{name, view, []string{name, name + "_batch", name + "_head", name + "_row"}}
}

// copySource is the compacted copy of K or V at chosen columns: contiguous [batch * q heads, col_cap, head dim].
func copySource(set, field string) mapSource {
	name, capacity := listName(set, field), listName(set, "col_cap")
	view := func(c *call) mapView {
		v := mapView{Tensor: Tensor{Ptr: DevicePtr(c.lists[name])}, rows: int(c.lists[capacity]), heads: c.Batch * c.QHeads, batch: 1}
		v.fill(v.heads, v.rows, c.headDim)
		return v
	}
	return mapSource{name, view, []string{name}}
}

// mapArena is the memory of one TensorMap.
type mapArena struct {
	dims    [4]uint64
	strides [3]uint64
	box     [4]uint32
}

// tensorMap describes what v shows. Dimensions without elements become one, of memory that is there though nothing reads it;
// those of one element, whose strides mean nothing, get a stride that the hardware takes.
func (c *call) tensorMap(v mapView, box [2]int, dtype string) TensorMap {
	if v.Ptr == 0 {
		v.Tensor = c.Q
	}
	m := &mapArena{
		dims:    [4]uint64{uint64(c.headDim), uint64(max(v.rows, 1)), uint64(max(v.heads, 1)), uint64(max(v.batch, 1))},
		strides: [3]uint64{elements(v.RowStride), elements(v.HeadStride), elements(v.BatchStride)},
		box:     [4]uint32{uint32(box[0]), uint32(box[1]), 1, 1},
	}
	for i := range m.strides {
		if m.dims[i+1] == 1 {
			m.strides[i] = elements(int64(c.headDim))
		}
	}
	return TensorMap{DType: dtype, Base: v.Ptr, Dims: m.dims[:], Strides: m.strides[:], Box: m.box[:], Swizzle: mapSwizzle}
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
func (p KernelParam) verifyBox() error {
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
