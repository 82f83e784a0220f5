package runtime

import (
	"fmt"

	"github.com/minfc/minfc/ir"
	"github.com/minfc/minfc/runtime/device"
)

// mapSwizzle is the Swizzle of every map of a kernel's parameters, so a box has at most that many bytes in a row.
const mapSwizzle = 128

// mapView is what a map shows: a tensor [batch, heads, rows, head dim].
type mapView struct {
	from               ir.Address
	stride             Stride
	rows, heads, batch int
}

// view is what a map of a tensor shows, or of a copy of K or V at chosen columns, or of their means: contiguous [batch * q heads, col_cap,
// head dim], of columns chosen by group [batch * kv heads, col_cap, head dim].
func (x *boundCall) view(tensor string) (mapView, error) {
	at := func(s Stride, rows, heads int) (mapView, error) {
		if rows == 0 { // no memory of its own: something that is there, though nothing reads it
			s = x.Strides.Q
		}
		return mapView{ir.Address{Base: tensor}, s, rows, heads, x.Batch}, nil
	}
	_, rowsQ, rowsK := x.Rows()
	switch tensor {
	case "q":
		return at(x.Strides.Q, rowsQ, x.QHeads)
	case "k":
		return at(x.Strides.K, rowsK, x.KVHeads)
	case "v":
		return at(x.Strides.V, rowsK, x.KVHeads)
	case "o":
		return at(x.Strides.O, rowsQ, x.QHeads)
	}
	if rows, heads, is := x.copied(tensor); is {
		row := int64(x.headDim)
		return mapView{x.At(tensor), Stride{rows * row * int64(heads), rows * row, row}, int(rows), heads, 1}, nil
	}
	return mapView{}, fmt.Errorf("internal: a map of %q, which is no tensor of the call", tensor)
}

// copied is how many rows a head has of a copy of K or V, at chosen columns or of means, and how many heads there are.
func (x *boundCall) copied(tensor string) (rows int64, heads int, is bool) {
	copies := func(set string) bool { return tensor == ir.ListName(set, "kc") || tensor == ir.ListName(set, "vc") }
	if copies(ir.DroppedName) {
		return x.Number(ir.ListName(ir.DroppedName, "col_cap")), x.heads(), true
	}
	for _, n := range x.choices {
		if copies(n.source.Name) {
			return x.Number(n.list("col_cap")), x.listHeads(n), true
		}
	}
	return 0, 0, false
}

// tensorMap describes what v shows, but for its address. Dimensions without elements become one; of dimensions with one element, whose
// strides mean nothing, the stride becomes one that the hardware takes.
func (c *call) tensorMap(v mapView, box [2]int) device.TensorMap {
	dims := []uint64{uint64(c.headDim), uint64(max(v.rows, 1)), uint64(max(v.heads, 1)), uint64(max(v.batch, 1))}
	strides := []uint64{uint64(bytesOf(v.stride.Row)), uint64(bytesOf(v.stride.Head)), uint64(bytesOf(v.stride.Batch))}
	for i := range strides {
		if dims[i+1] == 1 {
			strides[i] = uint64(bytesOf(int64(c.headDim)))
		}
	}
	return device.TensorMap{DType: c.dtype, Dims: dims, Strides: strides, Box: []uint32{uint32(box[0]), uint32(box[1]), 1, 1}, Swizzle: mapSwizzle}
}

// encodeMap returns the argument of a parameter that is a map of a tensor.
func encodeMap(mapper device.TensorMapper, tensor string, m device.TensorMap) ([]byte, error) {
	b, err := mapper.EncodeTensorMap(m)
	if err != nil {
		return nil, fmt.Errorf("tensor map of %s: %w", tensor, err)
	}
	if len(b) != device.TensorMapBytes {
		return nil, fmt.Errorf("internal: a tensor map of %d bytes, want %d", len(b), device.TensorMapBytes)
	}
	return b, nil
}
