//go:build linux && (amd64 || arm64)

package cuda

import (
	"fmt"
	"testing"
	"unsafe"

	"github.com/ebitengine/purego"
	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/internal/nvidia"
	"github.com/minfc/minfc/runtime/device"
)

func TestMissingLibraryIsNoDevice(t *testing.T) {
	_, err := openLibrary("libcuda-that-is-not-there.so.1")
	require.ErrorIs(t, err, device.ErrNoDevice)
	require.ErrorContains(t, err, "libcuda-that-is-not-there.so.1 cannot be opened")
	require.ErrorContains(t, err, "install the NVIDIA driver, or use the emulator")
}

func TestLibraryWithoutSymbolsIsTooOld(t *testing.T) {
	_, err := openLibrary("libc.so.6") // any library that is not the driver's
	require.ErrorIs(t, err, device.ErrDevice)
	require.ErrorContains(t, err, "lacks cuInit, so the NVIDIA driver is too old")
}

func TestEverySymbolHasAName(t *testing.T) {
	seen := map[string]bool{}
	for s, name := range symbolNames {
		require.NotEmpty(t, name, "symbol %d", s)
		require.False(t, seen[name], name)
		seen[name] = true
	}
}

func TestErrorKinds(t *testing.T) {
	err := fmt.Errorf("alloc: %w", &Error{Call: "cuMemAlloc", Code: nvidia.CodeOutOfMemory, Name: "CUDA_ERROR_OUT_OF_MEMORY", Text: "out of memory"})
	require.ErrorIs(t, err, device.ErrOutOfMemory)
	require.NotErrorIs(t, err, device.ErrNoDevice)
	require.EqualError(t, err, "alloc: cuda: cuMemAlloc: out of memory (CUDA_ERROR_OUT_OF_MEMORY, 2); free memory of the GPU (nvidia-smi shows who holds it), or use another GPU")
}

func TestLoadErrorShowsTheLog(t *testing.T) {
	err := nvidia.WithLog(&Error{Call: "cuModuleLoadDataEx", Code: 218, Name: "CUDA_ERROR_INVALID_PTX", Text: "a PTX JIT compilation failed"},
		cString([]byte("ptxas application ptx input, line 8; error   : unknown\n\x00\x00")))
	require.ErrorContains(t, err, "PTX JIT compilation failed")
	require.ErrorContains(t, err, "line 8; error")
}

func TestLaunchChecksArguments(t *testing.T) {
	dev := &gpu{info: device.Info{Name: "a GPU", MaxSharedBytes: 100 << 10}}
	f := &function{mod: &module{dev: dev, handle: 1}, name: "kernel", params: []int{8, 4}}
	args := [][]byte{make([]byte, 8), make([]byte, 4)}
	require.NoError(t, f.check(device.Launch{SharedBytes: 100 << 10}, args))
	require.ErrorIs(t, f.check(device.Launch{}, args[:1]), device.ErrBadCall)
	require.ErrorIs(t, f.check(device.Launch{}, [][]byte{args[1], args[0]}), device.ErrBadCall)
	require.ErrorIs(t, f.check(device.Launch{SharedBytes: 101 << 10}, args), device.ErrUnsupported)
	f.params = nil // not known
	require.ErrorIs(t, f.check(device.Launch{}, [][]byte{{}}), device.ErrBadCall)
	f.mod.unloaded.Store(true)
	require.ErrorIs(t, f.check(device.Launch{}, args), device.ErrClosed)
}

// Drivers without tensor maps serve the other kernels; what lacks is said before anything is launched.
func TestOldDriversHaveNoTensorMaps(t *testing.T) {
	dev := &gpu{lib: &library{}, info: device.Info{Name: "a GPU", DriverVersion: "11.8", NoTensorMaps: true}}
	m := device.TensorMap{DType: "bf16", Base: 0x1000, Dims: []uint64{64, 10}, Strides: []uint64{128}, Box: []uint32{64, 8}, Swizzle: 128}
	_, err := dev.EncodeTensorMap(m)
	require.ErrorIs(t, err, device.ErrUnsupported)
	require.ErrorContains(t, err, "the NVIDIA driver (CUDA 11.8) cannot make tensor maps, which came with CUDA 12.0; update it, or use a kernel for sm_80")
	m.Box[1] = 0
	_, err = dev.EncodeTensorMap(m)
	require.ErrorIs(t, err, device.ErrBadCall)
}

func TestCString(t *testing.T) {
	require.Equal(t, "H200", cString([]byte("H200\x00\x00junk")))
	require.Equal(t, "full", cString([]byte("full")))
}

func lookup(library, name string) (uintptr, error) {
	handle, err := purego.Dlopen(library, purego.RTLD_NOW)
	if err != nil {
		return 0, err
	}
	return purego.Dlsym(handle, name)
}

// The library writes results through pointers that Go's stacks and collector must not lose. Here a C function called the same way,
// with the pointer converted in the argument list, calls back to where Go moves the stack, and then writes: qsort swaps two numbers
// that it is told are in the wrong order.
func TestCallKeepsPointersAlive(t *testing.T) {
	lib := &library{}
	var err error
	lib.address[cuInit], err = lookup("libc.so.6", "qsort") // (array, n, size, compare): what it returns means nothing
	require.NoError(t, err)
	moved := 0
	compare := purego.NewCallback(func(_, _ uintptr) uintptr {
		moved += deep(1000)
		return 1
	})
	swapped := make(chan bool)
	go func() { // on a stack that is small
		numbers := [2]int32{1, 2}
		_ = lib.call(cuInit, uintptr(unsafe.Pointer(&numbers[0])), 2, 4, compare)
		swapped <- numbers == [2]int32{2, 1}
	}()
	require.True(t, <-swapped, "qsort wrote to where the numbers had been")
	require.NotZero(t, moved)
}

// deep needs a stack of n KiB.
//
//go:noinline
func deep(n int) int {
	var frame [1024]byte
	frame[n%1024] = 1
	if n > 0 {
		return deep(n-1) + int(frame[n%1024])
	}
	return 1
}
