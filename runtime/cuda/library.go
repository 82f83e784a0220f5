//go:build linux && (amd64 || arm64)

package cuda

import (
	"errors"
	"fmt"
	goruntime "runtime"
	"strings"
	"sync"

	"github.com/ebitengine/purego"

	"github.com/minfc/minfc/internal/nvidia"
	"github.com/minfc/minfc/runtime/device"
)

// symbol is a function of the driver library. All take integers and pointers only, as purego.SyscallN needs.
type symbol int

const (
	cuInit symbol = iota
	cuDriverGetVersion
	cuGetErrorName
	cuGetErrorString
	cuDeviceGetCount
	cuDeviceGet
	cuDeviceGetName
	cuDeviceTotalMem
	cuDeviceGetAttribute
	cuDevicePrimaryCtxRetain
	cuDevicePrimaryCtxRelease
	cuCtxPushCurrent
	cuCtxPopCurrent
	cuCtxSynchronize
	cuLinkCreate
	cuLinkAddData
	cuLinkComplete
	cuLinkDestroy
	cuModuleLoadData
	cuModuleLoadDataEx
	cuModuleUnload
	cuModuleGetFunction
	cuFuncGetAttribute
	cuFuncSetAttribute
	cuLaunchKernel
	cuTensorMapEncodeTiled
	cuMemAlloc
	cuMemFree
	cuPointerGetAttributes
	cuMemcpyHtoDAsync
	cuMemcpyDtoHAsync
	cuMemsetD8Async
	cuStreamCreate
	cuStreamDestroy
	cuStreamSynchronize
	cuEventCreate
	cuEventDestroy
	cuEventRecord
	cuEventSynchronize
	cuEventElapsedTime
	symbols
)

// symbolNames are the exported names: cuda.h maps the plain names to the _v2 ones (64-bit sizes and pointers).
var symbolNames = [symbols]string{
	cuInit:                    "cuInit",
	cuDriverGetVersion:        "cuDriverGetVersion",
	cuGetErrorName:            "cuGetErrorName",
	cuGetErrorString:          "cuGetErrorString",
	cuDeviceGetCount:          "cuDeviceGetCount",
	cuDeviceGet:               "cuDeviceGet",
	cuDeviceGetName:           "cuDeviceGetName",
	cuDeviceTotalMem:          "cuDeviceTotalMem_v2",
	cuDeviceGetAttribute:      "cuDeviceGetAttribute",
	cuDevicePrimaryCtxRetain:  "cuDevicePrimaryCtxRetain",
	cuDevicePrimaryCtxRelease: "cuDevicePrimaryCtxRelease_v2",
	cuCtxPushCurrent:          "cuCtxPushCurrent_v2",
	cuCtxPopCurrent:           "cuCtxPopCurrent_v2",
	cuCtxSynchronize:          "cuCtxSynchronize",
	cuLinkCreate:              "cuLinkCreate_v2",
	cuLinkAddData:             "cuLinkAddData_v2",
	cuLinkComplete:            "cuLinkComplete",
	cuLinkDestroy:             "cuLinkDestroy",
	cuModuleLoadData:          "cuModuleLoadData",
	cuModuleLoadDataEx:        "cuModuleLoadDataEx",
	cuModuleUnload:            "cuModuleUnload",
	cuModuleGetFunction:       "cuModuleGetFunction",
	cuFuncGetAttribute:        "cuFuncGetAttribute",
	cuFuncSetAttribute:        "cuFuncSetAttribute",
	cuLaunchKernel:            "cuLaunchKernel",
	cuTensorMapEncodeTiled:    "cuTensorMapEncodeTiled",
	cuMemAlloc:                "cuMemAlloc_v2",
	cuMemFree:                 "cuMemFree_v2",
	cuPointerGetAttributes:    "cuPointerGetAttributes",
	cuMemcpyHtoDAsync:         "cuMemcpyHtoDAsync_v2",
	cuMemcpyDtoHAsync:         "cuMemcpyDtoHAsync_v2",
	cuMemsetD8Async:           "cuMemsetD8Async",
	cuStreamCreate:            "cuStreamCreate",
	cuStreamDestroy:           "cuStreamDestroy_v2",
	cuStreamSynchronize:       "cuStreamSynchronize",
	cuEventCreate:             "cuEventCreate",
	cuEventDestroy:            "cuEventDestroy_v2",
	cuEventRecord:             "cuEventRecord",
	cuEventSynchronize:        "cuEventSynchronize",
	cuEventElapsedTime:        "cuEventElapsedTime",
}

// optional symbols may be missing: tensor maps came with CUDA 12.0, and what stands in for a driver need not link.
var optional = map[symbol]bool{cuTensorMapEncodeTiled: true, cuLinkCreate: true, cuLinkAddData: true, cuLinkComplete: true, cuLinkDestroy: true,
	cuModuleLoadData: true, cuPointerGetAttributes: true}

// library is the opened driver library.
type library struct{ address [symbols]uintptr }

const libraryName = "libcuda.so.1"

// open loads the library and initialises it, once for the process.
var open = sync.OnceValues(func() (*library, error) { return openLibrary(libraryName) })

// loadLibrary stays on one thread, because what the loader says of a failure is that thread's.
func loadLibrary(name string) (uintptr, error) {
	goruntime.LockOSThread()
	defer goruntime.UnlockOSThread()
	return purego.Dlopen(name, purego.RTLD_NOW|purego.RTLD_GLOBAL)
}

func openLibrary(name string) (*library, error) {
	handle, err := loadLibrary(name)
	if err != nil {
		return nil, openError(name, err.Error())
	}
	lib := &library{}
	for s := range symbols {
		if lib.address[s], err = purego.Dlsym(handle, symbolNames[s]); err != nil && !optional[s] {
			return nil, fmt.Errorf("%w: %s lacks %s, so the NVIDIA driver is too old; update it, or use the emulator",
				device.ErrDevice, name, symbolNames[s])
		}
	}
	if err := lib.call(cuInit, 0); err != nil {
		return nil, initError(err)
	}
	return lib, nil
}

// openError tells a library that is not there, as on machines without a GPU, from one that cannot be used.
func openError(name, text string) error {
	text = strings.TrimPrefix(text, name+": ")
	if strings.Contains(text, "No such file") && !strings.Contains(text, ".so") || strings.Contains(text, name+": No such file") {
		return fmt.Errorf("%w: the NVIDIA driver's library %s cannot be opened (%s); install the NVIDIA driver, or use the emulator",
			device.ErrNoDevice, name, text)
	}
	return fmt.Errorf("%w: the NVIDIA driver's library %s is there and cannot be opened (%s); install the driver again, or use the emulator",
		device.ErrDevice, name, text)
}

// initError tells a driver that finds no GPU from one that cannot use the GPU that is there.
func initError(err error) error {
	if e, ok := errors.AsType[*Error](err); ok && (e.Code == nvidia.CodeNoDevice || e.Code == nvidia.CodeStub) {
		return fmt.Errorf("%w: the NVIDIA driver finds no GPU: %w, or use the emulator", device.ErrNoDevice, err)
	}
	return fmt.Errorf("%w: the NVIDIA driver does not start: %w", device.ErrDevice, err)
}

// call calls a function that returns a CUresult and turns that into an error.
//
// Arguments that are pointers must be converted to uintptr inside the call's own argument list: the directive then puts
// what they point to on the heap and keeps it alive until call returns.
//
//go:uintptrescapes
func (l *library) call(s symbol, args ...uintptr) error {
	r, _, _ := purego.SyscallN(l.address[s], args...)
	if code := int32(r); code != 0 {
		return l.newError(s, code)
	}
	return nil
}

// callKept is call for arguments in memory that is kept, so that nothing is allocated: what they point to must be on the heap and held by
// the caller until it returns.
func (l *library) callKept(s symbol, args []uintptr) error {
	r, _, _ := purego.SyscallN(l.address[s], args...)
	if code := int32(r); code != 0 {
		return l.newError(s, code)
	}
	return nil
}
