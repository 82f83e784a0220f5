package device_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/runtime/device"
)

func TestMapsThatNoHardwareTakes(t *testing.T) {
	good := func() device.TensorMap {
		return device.TensorMap{DType: "f16", Base: 0x100, Dims: []uint64{96, 1 << 32, 3}, Strides: []uint64{192, 1<<40 - 16}, Box: []uint32{64, 256, 1}, Swizzle: 128}
	}
	require.NoError(t, good().Check())
	for says, damage := range map[string]func(m *device.TensorMap){
		"its dtype is \"f8\", want bf16 or f16":                                   func(m *device.TensorMap) { m.DType = "f8" },
		"its number of dimensions is 0, want 1 to 5":                              func(m *device.TensorMap) { m.Dims = nil },
		"its number of strides is 1, want one less":                               func(m *device.TensorMap) { m.Strides = m.Strides[:1] },
		"its number of the box's sizes is 2":                                      func(m *device.TensorMap) { m.Box = m.Box[:2] },
		"its address is 0x108, want a multiple of 16 above 0":                     func(m *device.TensorMap) { m.Base += 8 },
		"its address is 0x0":                                                      func(m *device.TensorMap) { m.Base = 0 },
		"its swizzle is 96, want 0, 32, 64 or 128":                                func(m *device.TensorMap) { m.Swizzle = 96 },
		"dimension 2 has 0 elements, want 1 to 4294967296":                        func(m *device.TensorMap) { m.Dims[2] = 0 },
		"dimension 1 has 4294967297 elements":                                     func(m *device.TensorMap) { m.Dims[1]++ },
		"the box has 257 elements in dimension 1, want 1 to 256":                  func(m *device.TensorMap) { m.Box[1]++ },
		"dimension 1 has a stride of 200 bytes, want a multiple of 16 below 2^40": func(m *device.TensorMap) { m.Strides[0] += 8 },
		"dimension 2 has a stride of 1099511627776 bytes":                         func(m *device.TensorMap) { m.Strides[1] += 16 },
		"a row of the box has 144 bytes, want at most the swizzle's 128":          func(m *device.TensorMap) { m.Box[0] = 72 },
		"a row of the box has 120 bytes, want a multiple of 16":                   func(m *device.TensorMap) { m.Box[0] = 60 },
	} {
		m := good()
		damage(&m)
		err := m.Check()
		require.ErrorIs(t, err, device.ErrBadCall, says)
		require.ErrorContains(t, err, says)
	}
}
