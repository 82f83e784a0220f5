package nvidia

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"os"

	"github.com/minfc/minfc/internal/cache"
	"github.com/minfc/minfc/runtime/device"
)

// Module loads the cubin that link makes of PTX, or made when the module was first loaded on such a GPU with such a driver.
func Module[M any](on device.Info, ptx []byte, link func() ([]byte, error), load func(cubin []byte) (M, error)) (m M, err error) {
	kept, key := cache.Default(), CubinKey(on, ptx)
	cubin, made, err := kept.Make(key, link)
	if err != nil {
		return m, err
	}
	if m, err = load(cubin); err == nil || made {
		return m, err
	}
	kept.Remove(key) // the driver does not take it, whatever the reason
	if cubin, _, err = kept.Make(key, link); err != nil {
		return m, err
	}
	return load(cubin)
}

// CubinKey is all that a cubin depends on, the same for both drivers. The CUDA version that a driver serves does not tell its builds apart,
// the kernel's module does, where it can be read.
func CubinKey(on device.Info, ptx []byte) cache.Key {
	sum := sha256.Sum256(ptx)
	build, _ := os.ReadFile("/sys/module/nvidia/version")
	return cache.NewKey(cache.Cubin, string(sum[:]), on.Name, fmt.Sprintf("%d.%d", on.Major, on.Minor), on.DriverVersion, string(build))
}

// CheckPTX refuses a text that has nothing to compile.
func CheckPTX(ptx []byte) error {
	if len(bytes.TrimSpace(ptx)) == 0 {
		return fmt.Errorf("%w: the PTX text is empty", device.ErrBadCall)
	}
	return nil
}

// Ended is PTX as the library reads it: up to a NUL.
func Ended(ptx []byte) []byte { return append(bytes.Clone(ptx), 0) }
