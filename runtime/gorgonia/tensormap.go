//go:build gorgonia

package gorgonia

import (
	"unsafe"

	"github.com/minfc/minfc/internal/nvidia"
	"github.com/minfc/minfc/runtime/device"
)

const mapAlign = 64

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
	return out, d.do("cuTensorMapEncodeTiled", func() error { return encodeTensorMap(out, m) })
}
