//go:build linux && (amd64 || arm64)

package cuda

import (
	"bytes"
	"fmt"
	"unsafe"

	"github.com/minfc/minfc/runtime/device"
)

func init() { device.Register("cuda", driver{}) }

type driver struct{}

// Devices lists the GPUs that the process may see (CUDA_VISIBLE_DEVICES applies).
func (driver) Devices() ([]device.Info, error) {
	lib, err := open()
	if err != nil {
		return nil, err
	}
	count, err := lib.count()
	if err != nil {
		return nil, err
	}
	list := make([]device.Info, count)
	for i := range list {
		if list[i], err = lib.info(i); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// Open retains the device's primary context.
func (driver) Open(ordinal int) (device.Device, error) {
	lib, err := open()
	if err != nil {
		return nil, err
	}
	count, err := lib.count()
	if err != nil {
		return nil, err
	}
	if ordinal < 0 || ordinal >= count {
		return nil, fmt.Errorf("%w: there is no cuda:%d, this process sees %d (numbered from 0; CUDA_VISIBLE_DEVICES applies)",
			device.ErrNoDevice, ordinal, count)
	}
	return openDevice(lib, ordinal)
}

// count is never 0 without an error.
func (l *library) count() (int, error) {
	var n int32
	if err := l.call(cuDeviceGetCount, uintptr(unsafe.Pointer(&n))); err != nil {
		return 0, err
	}
	if n == 0 {
		return 0, fmt.Errorf("%w: the NVIDIA driver works but shows no GPU; check nvidia-smi and CUDA_VISIBLE_DEVICES", device.ErrNoDevice)
	}
	return int(n), nil
}

// CUdevice_attribute values.
const (
	attrMultiprocessors = 16
	attrL2Bytes         = 38
	attrMajor           = 75
	attrMinor           = 76
	attrPageableAccess  = 88
	attrMaxSharedOptin  = 97
)

func (l *library) info(ordinal int) (device.Info, error) {
	i := device.Info{Driver: "cuda", Ordinal: ordinal, NoTensorMaps: l.address[cuTensorMapEncodeTiled] == 0}
	dev, err := l.handle(ordinal)
	if err != nil {
		return i, err
	}
	for _, a := range []struct {
		attribute int32
		to        *int
	}{
		{attrMultiprocessors, &i.Multiprocessors},
		{attrL2Bytes, &i.L2Bytes},
		{attrMajor, &i.Major},
		{attrMinor, &i.Minor},
		{attrMaxSharedOptin, &i.MaxSharedBytes},
	} {
		if *a.to, err = l.attribute(dev, a.attribute); err != nil {
			return i, err
		}
	}
	if i.Name, err = l.name(dev); err != nil {
		return i, err
	}
	if i.DriverVersion, err = l.version(); err != nil {
		return i, err
	}
	var size uint64
	err = l.call(cuDeviceTotalMem, uintptr(unsafe.Pointer(&size)), uintptr(dev))
	i.MemoryBytes = size
	return i, err
}

func (l *library) handle(ordinal int) (dev int32, err error) {
	var d int32
	err = l.call(cuDeviceGet, uintptr(unsafe.Pointer(&d)), uintptr(ordinal))
	return d, err
}

func (l *library) attribute(dev, attribute int32) (int, error) {
	var v int32
	err := l.call(cuDeviceGetAttribute, uintptr(unsafe.Pointer(&v)), uintptr(attribute), uintptr(dev))
	return int(v), err
}

func (l *library) name(dev int32) (string, error) {
	var buf [256]byte
	err := l.call(cuDeviceGetName, uintptr(unsafe.Pointer(&buf)), uintptr(len(buf)), uintptr(dev))
	return cString(buf[:]), err
}

// version is the newest CUDA version that the driver supports, "12.4".
func (l *library) version() (string, error) {
	var v int32
	err := l.call(cuDriverGetVersion, uintptr(unsafe.Pointer(&v)))
	return fmt.Sprintf("%d.%d", v/1000, v%1000/10), err
}

// cString returns the text before the first NUL.
func cString(b []byte) string {
	text, _, _ := bytes.Cut(b, []byte{0})
	return string(text)
}
