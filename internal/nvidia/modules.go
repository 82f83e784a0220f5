package nvidia

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"os"

	"github.com/minfc/minfc/internal/cache"
	"github.com/minfc/minfc/runtime/device"
)

// Driver is what a driver can do with PTX. Link is nil where it has no linker.
type Driver[M any] struct {
	Link    func() (cubin []byte, err error)
	Load    func(cubin []byte) (M, error)
	Compile func() (M, error)
}

// Module loads PTX. Code that stands for itself comes from the linker, which compiles several modules at a time, or from the cubin that it
// made when the module was first loaded on such a GPU with such a driver. Other code comes from ptxas, where there is one, and the cache, or
// from the driver's compiler, which makes one module after the other and keeps what it makes on the disk itself.
func Module[M any](on device.Info, ptx []byte, by Driver[M]) (M, error) {
	if by.Link != nil && !WholeProgram(ptx) {
		return cached(CubinKey(on, ptx, "linked"), by.Link, by.Load)
	}
	if by.Link != nil {
		m, err := cached(CubinKey(on, ptx, "assembled"), func() ([]byte, error) { return assemble(on, ptx) }, by.Load)
		if err == nil {
			return m, nil
		}
	}
	return by.Compile()
}

// WholeProgram says whether code is worse where the compiler cannot know what else will be linked to it. What goes to the linker is compiled
// like that: ptxas ignores setmaxnreg there (its warnings C7504 and C7512), so that consumers spill and their products wait for one another,
// and attention takes more than twice the time.
func WholeProgram(ptx []byte) bool { return bytes.Contains(ptx, []byte("setmaxnreg")) }

// cached loads what the cache keeps by a key, or what build makes.
func cached[M any](key cache.Key, build func() ([]byte, error), load func(cubin []byte) (M, error)) (m M, err error) {
	kept := cache.Default()
	cubin, made, err := kept.Make(key, build)
	if err != nil {
		return m, err
	}
	if m, err = load(cubin); err == nil || made {
		return m, err
	}
	kept.Remove(key) // the driver does not take it, whatever the reason
	if cubin, _, err = kept.Make(key, build); err != nil {
		return m, err
	}
	return load(cubin)
}

// CubinKey is all that a cubin depends on, the same for both drivers; made says how it is made. The CUDA version that a driver serves does
// not tell its builds apart, the kernel's module does, where it can be read.
func CubinKey(on device.Info, ptx []byte, made string) cache.Key {
	sum := sha256.Sum256(ptx)
	build, _ := os.ReadFile("/sys/module/nvidia/version")
	return cache.NewKey(cache.Cubin, string(sum[:]), on.Name, fmt.Sprintf("%d.%d", on.Major, on.Minor), on.DriverVersion, string(build), made)
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
