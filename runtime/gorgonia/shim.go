//go:build gorgonia

package gorgonia

/*
#cgo LDFLAGS: -lcuda
#cgo linux CFLAGS: -I/usr/local/cuda/include
#cgo linux LDFLAGS: -L/usr/local/cuda/lib64 -L/usr/lib/x86_64-linux-gnu
#include <stdint.h>
#include <stdlib.h>
#include <cuda.h>

// Handles cross as integers: cu keeps them in unexported fields, and stream handles such as 1 and 2 are no addresses.

static CUresult minfc_max_dynamic_shared(uintptr_t fn, int bytes) {
	return cuFuncSetAttribute((CUfunction)fn, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, bytes);
}

// CUDA 12.0 has this and older drivers do not: weak, so that programs still start there.
#pragma weak cuTensorMapEncodeTiled

// sizes are a map's dims and, in bytes, the strides of all but the first; they and map are Go memory, map at a multiple of 64.
static CUresult minfc_tensor_map(void *map, int dtype, int rank, uint64_t base, const uint64_t *dims, const uint64_t *strides,
                                 const uint32_t *box, int swizzle) {
	const uint32_t ones[5] = {1, 1, 1, 1, 1};
	if (!cuTensorMapEncodeTiled) return CUDA_ERROR_NOT_SUPPORTED;
	return cuTensorMapEncodeTiled(map, dtype, rank, (void *)(uintptr_t)base, dims, strides, box, ones,
	                              CU_TENSOR_MAP_INTERLEAVE_NONE, swizzle, CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
}

#define MINFC_MAX_ARGS 256

// Argument i lies at base + offset[i]; the table of addresses is made here because Go may not hand C one of Go pointers.
static CUresult minfc_launch(uintptr_t fn, const uint32_t *dim, unsigned shared, uintptr_t stream,
                             char *base, const uint32_t *offset, int n) {
	void *args[MINFC_MAX_ARGS];
	for (int i = 0; i < n; i++) args[i] = base + offset[i];
	return cuLaunchKernel((CUfunction)fn, dim[0], dim[1], dim[2], dim[3], dim[4], dim[5], shared, (CUstream)stream, args, NULL);
}

static const char *minfc_error_name(int code) {
	const char *s = NULL;
	return cuGetErrorName((CUresult)code, &s) == CUDA_SUCCESS ? s : NULL;
}

static const char *minfc_error_text(int code) {
	const char *s = NULL;
	return cuGetErrorString((CUresult)code, &s) == CUDA_SUCCESS ? s : NULL;
}
*/
import "C"

import (
	"bytes"
	"fmt"
	"strings"
	"unsafe"

	"gorgonia.org/cu"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/runtime/device"
)

// maxArgumentBytes is what CUDA 12.1 and sm_70 allow a kernel's parameters together; older ones say no themselves.
const maxArgumentBytes = 32764

// arguments are kernel arguments laid into one buffer, each at a multiple of 16 bytes.
type arguments struct {
	data   []byte
	offset []uint32
}

func packArguments(args [][]byte) (arguments, error) {
	if len(args) > C.MINFC_MAX_ARGS {
		return arguments{}, fmt.Errorf("%w: %d arguments, this driver passes at most %d", device.ErrBadCall, len(args), C.MINFC_MAX_ARGS)
	}
	p := arguments{data: make([]byte, 0, 16*len(args)+16), offset: make([]uint32, 0, len(args)+1)}
	total := 0
	for i, a := range args {
		if len(a) == 0 {
			return arguments{}, fmt.Errorf("%w: argument %d is empty", device.ErrBadCall, i)
		}
		total += len(a)
		p.offset = append(p.offset, uint32(len(p.data)))
		p.data = append(p.data, a...)
		p.data = append(p.data, make([]byte, -len(a)&15)...)
	}
	if total > maxArgumentBytes {
		return arguments{}, fmt.Errorf("%w: %d bytes of arguments, CUDA passes at most %d", device.ErrBadCall, total, maxArgumentBytes)
	}
	return p, nil
}

func launch(fn cu.Function, l device.Launch, a arguments, stream uintptr) error {
	dim := [6]C.uint32_t{
		C.uint32_t(l.Grid[0]), C.uint32_t(l.Grid[1]), C.uint32_t(l.Grid[2]),
		C.uint32_t(l.Block[0]), C.uint32_t(l.Block[1]), C.uint32_t(l.Block[2]),
	}
	return result(C.minfc_launch(C.uintptr_t(functionHandle(fn)), &dim[0], C.uint(l.SharedBytes), C.uintptr_t(stream),
		(*C.char)(unsafe.Pointer(unsafe.SliceData(a.data))), (*C.uint32_t)(unsafe.Pointer(unsafe.SliceData(a.offset))), C.int(len(a.offset))))
}

func setMaxDynamicShared(fn cu.Function, bytes int) error {
	return result(C.minfc_max_dynamic_shared(C.uintptr_t(functionHandle(fn)), C.int(bytes)))
}

// Values of the enumerations that cuTensorMapEncodeTiled takes.
var (
	mapDTypes   = map[abi.DType]C.int{"f16": C.CU_TENSOR_MAP_DATA_TYPE_FLOAT16, "bf16": C.CU_TENSOR_MAP_DATA_TYPE_BFLOAT16}
	mapSwizzles = map[int]C.int{
		0: C.CU_TENSOR_MAP_SWIZZLE_NONE, 32: C.CU_TENSOR_MAP_SWIZZLE_32B, 64: C.CU_TENSOR_MAP_SWIZZLE_64B, 128: C.CU_TENSOR_MAP_SWIZZLE_128B,
	}
)

// encodeTensorMap fills out, which lies at a multiple of 64.
func encodeTensorMap(out []byte, m device.TensorMap) error {
	return result(C.minfc_tensor_map(unsafe.Pointer(&out[0]), mapDTypes[m.DType], C.int(len(m.Dims)), C.uint64_t(m.Base),
		(*C.uint64_t)(unsafe.Pointer(&m.Dims[0])), (*C.uint64_t)(unsafe.Pointer(unsafe.SliceData(m.Strides))),
		(*C.uint32_t)(unsafe.Pointer(&m.Box[0])), mapSwizzles[m.Swizzle]))
}

// cuError is a result code of a call that cu does not have.
type cuError C.CUresult

func (e cuError) Error() string { return describeCode(int(e)) }

func result(code C.CUresult) error {
	if code == C.CUDA_SUCCESS {
		return nil
	}
	return cuError(code)
}

// describeCode says what the driver says: "CUDA_ERROR_INVALID_VALUE: invalid argument".
func describeCode(code int) string {
	name, text := C.minfc_error_name(C.int(code)), C.minfc_error_text(C.int(code))
	if name == nil || text == nil {
		return fmt.Sprintf("CUDA error %d", code)
	}
	return C.GoString(name) + ": " + C.GoString(text)
}

// jitLog is a buffer in C memory that the CUDA driver fills with text while it loads a module.
type jitLog struct{ bytes []byte }

const jitLogBytes = 64 << 10

func newJITLog() jitLog {
	return jitLog{unsafe.Slice((*byte)(C.calloc(1, jitLogBytes)), jitLogBytes)}
}

func (l jitLog) text() string {
	end := bytes.IndexByte(l.bytes, 0)
	if end < 0 {
		end = len(l.bytes)
	}
	return strings.TrimSpace(string(l.bytes[:end]))
}

func (l jitLog) free() { C.free(unsafe.Pointer(unsafe.SliceData(l.bytes))) }
