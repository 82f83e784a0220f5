package nvidia

import (
	"fmt"

	"github.com/minfc/minfc/runtime/device"
)

// CheckLaunch refuses what the library would not notice: it reads as many bytes as the kernel has parameters, whatever it was given. params
// are the bytes of each parameter, nil where they are not known.
func CheckLaunch(on *device.Info, l device.Launch, params []int, args [][]byte) error {
	if limit := on.MaxSharedBytes; l.SharedBytes < 0 || l.SharedBytes > limit {
		return fmt.Errorf("%w: it asks for %d bytes of shared memory a block, %s has %d", device.ErrUnsupported, l.SharedBytes, on.Name, limit)
	}
	if params != nil && len(args) != len(params) {
		return fmt.Errorf("%w: %d arguments for %d parameters", device.ErrBadCall, len(args), len(params))
	}
	for i, a := range args {
		if len(a) == 0 || params != nil && len(a) != params[i] {
			return fmt.Errorf("%w: argument %d has %d bytes, not the size of its parameter", device.ErrBadCall, i, len(a))
		}
	}
	return nil
}

// CheckFill refuses a fill of fewer than no bytes.
func CheckFill(bytes int64) error {
	if bytes < 0 {
		return fmt.Errorf("%w: fill of %d bytes", device.ErrBadCall, bytes)
	}
	return nil
}

// CheckAlloc refuses an allocation of no bytes.
func CheckAlloc(bytes int64) error {
	if bytes <= 0 {
		return fmt.Errorf("%w: allocation of %d bytes, want at least 1", device.ErrBadCall, bytes)
	}
	return nil
}

// CheckTensorMaps refuses tensor maps where the library cannot encode them.
func CheckTensorMaps(on *device.Info) error {
	if !on.NoTensorMaps {
		return nil
	}
	return fmt.Errorf("%w: the NVIDIA driver (CUDA %s) cannot make tensor maps, which came with CUDA 12.0; update it, or use a kernel for sm_80",
		device.ErrUnsupported, on.DriverVersion)
}
