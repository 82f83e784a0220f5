//go:build linux && (amd64 || arm64)

package cuda

import (
	"unsafe"

	"github.com/minfc/minfc/runtime/device"
)

// CUpointer_attribute values, and the CUmemorytype of memory of a device.
const (
	pointerMemoryType = 2
	pointerIsManaged  = 8
	pointerOrdinal    = 9
	memoryOfDevice    = 2
)

var _ device.Locator = (*gpu)(nil)

// located is what the driver is asked for of an address, and where its answers go.
type located struct {
	attributes                   [3]uint32
	places                       [3]unsafe.Pointer
	memoryType, managed, ordinal uint32
}

// Locate asks the driver, which answers without a context and in a fraction of a microsecond.
func (d *gpu) Locate(p device.Ptr) (ordinal int, known bool) {
	if d.lib.address[cuPointerGetAttributes] == 0 {
		return 0, false
	}
	x := &located{attributes: [3]uint32{pointerMemoryType, pointerIsManaged, pointerOrdinal}}
	x.places = [3]unsafe.Pointer{unsafe.Pointer(&x.memoryType), unsafe.Pointer(&x.managed), unsafe.Pointer(&x.ordinal)}
	err := d.lib.call(cuPointerGetAttributes, uintptr(len(x.attributes)), uintptr(unsafe.Pointer(&x.attributes)),
		uintptr(unsafe.Pointer(&x.places)), uintptr(p))
	if err != nil || x.memoryType != memoryOfDevice || x.managed&0xff != 0 {
		return 0, false
	}
	return int(int32(x.ordinal)), true
}
