//go:build linux && (amd64 || arm64)

package cuda

import (
	goruntime "runtime"
	"unsafe"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/internal/nvidia"
	"github.com/minfc/minfc/runtime/device"
)

// Values of the enumerations that cuTensorMapEncodeTiled takes.
var (
	mapDTypes   = map[abi.DType]uintptr{"f16": 6, "bf16": 9}
	mapSwizzles = map[int]uintptr{0: 0, 32: 1, 64: 2, 128: 3}
)

const (
	mapNoInterleave = 0
	mapPromotion256 = 3 // bytes that a miss brings into L2
	mapFillZeros    = 0
	mapAlign        = 64
)

var elementStrides = [5]uint32{1, 1, 1, 1, 1}

// EncodeTensorMap has the driver encode the map: the format is its own.
func (d *gpu) EncodeTensorMap(m device.TensorMap) ([]byte, error) {
	if err := m.Check(); err != nil {
		return nil, err
	}
	if err := nvidia.CheckTensorMaps(&d.info); err != nil {
		return nil, err
	}
	room := make([]byte, device.TensorMapBytes+mapAlign)
	out := room[-uintptr(unsafe.Pointer(&room[0]))%mapAlign:][:device.TensorMapBytes]
	err := d.do(func() error {
		return d.lib.call(cuTensorMapEncodeTiled, uintptr(unsafe.Pointer(&out[0])), mapDTypes[m.DType], uintptr(len(m.Dims)), uintptr(m.Base),
			uintptr(unsafe.Pointer(&m.Dims[0])), uintptr(unsafe.Pointer(unsafe.SliceData(m.Strides))), uintptr(unsafe.Pointer(&m.Box[0])),
			uintptr(unsafe.Pointer(&elementStrides)), mapNoInterleave, mapSwizzles[m.Swizzle], mapPromotion256, mapFillZeros)
	})
	goruntime.KeepAlive(m)
	return out, err
}
