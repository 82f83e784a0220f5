package runtimetest

import (
	_ "embed"
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/runtime/device"
)

// MapPTX holds a kernel with tensor maps, for sm_90a.
//
//go:embed tensormap.ptx
var MapPTX []byte

// The tensor of the maps: 2 batches of 3 heads of 20 rows of 96 columns, in memory [batch, rows, heads, columns] with gaps.
const (
	mapColumns, mapRows, mapHeads, mapBatch = 96, 20, 3, 2
	rowElements                             = mapHeads*mapColumns + 8
	batchElements                           = mapRows*rowElements + 16
	boxColumns, boxRows                     = 64, 8
)

func boxMap(base device.Ptr) device.TensorMap {
	return device.TensorMap{
		DType: "bf16", Base: base, Dims: []uint64{mapColumns, mapRows, mapHeads, mapBatch},
		Strides: []uint64{2 * rowElements, 2 * mapColumns, 2 * batchElements}, Box: []uint32{boxColumns, boxRows, 1, 1}, Swizzle: 128,
	}
}

// tensorMaps copies boxes in and out, at places that are partly outside of the tensor. Devices of earlier generations have no
// TMA.
func tensorMaps(t *testing.T, b bench) {
	if i := b.dev.Info(); i.Major != 9 || i.Minor != 0 {
		t.Skipf("%s is sm_%d%d, the kernel is for sm_90a", i.Name, i.Major, i.Minor)
	}
	m, err := b.dev.LoadModule(MapPTX)
	require.NoError(t, err)
	f := b.function(m, "box")
	words := random(mapBatch * batchElements / 2)
	in, raw := b.upload(words), b.alloc(2*boxColumns*boxRows)
	launch := func(in, out device.TensorMap, at [4]int) []uint32 {
		args := [][]byte{b.encode(in), b.encode(out), ptr(raw)}
		for _, x := range at {
			args = append(args, u32(uint32(x)))
		}
		require.NoError(t, f.Launch(grid(1, 32), args, nil), "%v", at)
		return b.download(raw, boxColumns*boxRows/2, nil)
	}
	for _, at := range [][4]int{{0, 4, 1, 1}, {0, -3, 0, 0}, {64, 5, 2, 0}, {32, 17, 2, 1}, {64, 13, 0, 1}, {0, 100, 0, 0}} {
		out := b.upload(make([]uint32, len(words)))
		require.Equal(t, swizzledBox(words, at), launch(boxMap(in), boxMap(out), at), "the box at %v in shared memory", at)
		stored := boxAlone(words, at)
		if at[1] < 0 {
			clear(stored)
		}
		require.Equal(t, stored, b.download(out, len(words), nil), "the box at %v and nothing else came back", at)
		b.free(out)
	}
	shared, out := boxMap(in), b.upload(words)
	shared.Strides[2] = 0 // one cache for all batches
	require.Equal(t, swizzledBox(words, [4]int{0, 4, 1, 0}), launch(shared, boxMap(out), [4]int{0, 4, 1, 1}), "a stride of zero")
	b.free(in, out, raw)
	require.NoError(t, m.Unload())
}

func (b bench) encode(m device.TensorMap) []byte {
	mapper, ok := b.dev.(device.TensorMapper)
	require.True(b.t, ok, "a device with TMA makes tensor maps")
	out, err := mapper.EncodeTensorMap(m)
	require.NoError(b.t, err)
	require.Len(b.t, out, device.TensorMapBytes)
	return out
}

// eachOfBox calls f with the row and column of every element of the box at a place, and where it lies in memory; -1 when
// it is outside of the tensor.
func eachOfBox(at [4]int, f func(row, column, index int)) {
	for i := range boxRows {
		for j := range boxColumns {
			index := -1
			if c, r := at[0]+j, at[1]+i; c < mapColumns && r >= 0 && r < mapRows {
				index = at[3]*batchElements + r*rowElements + at[2]*mapColumns + c
			}
			f(i, j, index)
		}
	}
}

// swizzledBox is the box as it lies in shared memory: rows of 128 bytes whose 16-byte pieces change places by row.
func swizzledBox(words []uint32, at [4]int) []uint32 {
	from, to := encode(words), make([]byte, 2*boxColumns*boxRows)
	eachOfBox(at, func(row, column, index int) {
		if index >= 0 {
			piece := column/8 ^ row%8
			copy(to[128*row+16*piece+2*(column%8):][:2], from[2*index:])
		}
	})
	return decode(to)
}

// boxAlone is a tensor of zeros with the box in its place.
func boxAlone(words []uint32, at [4]int) []uint32 {
	from, to := encode(words), make([]byte, 4*len(words))
	eachOfBox(at, func(_, _, index int) {
		if index >= 0 {
			binary.LittleEndian.PutUint16(to[2*index:], binary.LittleEndian.Uint16(from[2*index:]))
		}
	})
	return decode(to)
}

// A map that no hardware takes is refused in the runtime's words, wherever it is encoded.
func badMap(t *testing.T, b bench) {
	mapper, ok := b.dev.(device.TensorMapper)
	if !ok {
		t.Skip("no tensor maps here")
	}
	m := boxMap(0x10000)
	m.Strides[0] = 24
	_, err := mapper.EncodeTensorMap(m)
	require.ErrorIs(t, err, device.ErrBadCall)
	require.Equal(t, m.Check(), err)
}
