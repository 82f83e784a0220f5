//go:build gorgonia

package gorgonia

/*
#cgo LDFLAGS: -lcuda
#cgo linux CFLAGS: -I/usr/local/cuda/include
#cgo linux LDFLAGS: -L/usr/local/cuda/lib64 -L/usr/lib/x86_64-linux-gnu
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cuda.h>

#ifdef CUDA_API_PER_THREAD_DEFAULT_STREAM
#error "goroutines move between threads, so the default stream cannot be the one of each thread: build without CUDA_API_PER_THREAD_DEFAULT_STREAM"
#endif

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

// A linker keeps the addresses of its options until it is destroyed (cu.NewLink does not keep what they lead to), so it lives in this call. The
// caller frees the cubin. call is the one that failed.
static CUresult minfc_link(void *ptx, size_t bytes, char *infos, char *errors, size_t room, void **cubin, size_t *size, const char **call) {
	CUjit_option options[] = {CU_JIT_INFO_LOG_BUFFER, CU_JIT_INFO_LOG_BUFFER_SIZE_BYTES, CU_JIT_ERROR_LOG_BUFFER, CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES,
	                          CU_JIT_LOG_VERBOSE};
	void *values[] = {infos, (void *)room, errors, (void *)room, (void *)1}, *code = NULL;
	CUlinkState linker;
	CUresult failed, end;
	*call = "cuLinkCreate";
	if ((failed = cuLinkCreate(5, options, values, &linker))) return failed;
	*call = "cuLinkAddData";
	failed = cuLinkAddData(linker, CU_JIT_INPUT_PTX, ptx, bytes, NULL, 0, NULL, NULL);
	if (!failed) *call = "cuLinkComplete", failed = cuLinkComplete(linker, &code, size);
	if (!failed) {
		*cubin = malloc(*size);
		if (*cubin) memcpy(*cubin, code, *size);
		else *call = "malloc", failed = CUDA_ERROR_OUT_OF_MEMORY;
	}
	if ((end = cuLinkDestroy(linker)) && !failed) *call = "cuLinkDestroy", failed = end, free(*cubin);
	return failed;
}

// minfc_locate is the number of the GPU whose memory an address is, -1 where the driver does not say that it is one GPU's.
static int minfc_locate(uint64_t p) {
	unsigned type = 0, managed = 0;
	int ordinal = -1;
	CUpointer_attribute attributes[] = {CU_POINTER_ATTRIBUTE_MEMORY_TYPE, CU_POINTER_ATTRIBUTE_IS_MANAGED, CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL};
	void *places[] = {&type, &managed, &ordinal};
	if (cuPointerGetAttributes(3, attributes, places, p) || type != CU_MEMORYTYPE_DEVICE || managed & 0xff) return -1;
	return ordinal;
}

static int minfc_has_tensor_maps(void) { return cuTensorMapEncodeTiled != 0; }

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

// pack lays arguments, of which none is empty, into memory that is kept.
func (p *arguments) pack(args [][]byte) error {
	if len(args) > C.MINFC_MAX_ARGS {
		return fmt.Errorf("%w: %d arguments, this driver passes at most %d", device.ErrBadCall, len(args), C.MINFC_MAX_ARGS)
	}
	p.data, p.offset = p.data[:0], p.offset[:0]
	total := 0
	for _, a := range args {
		total += len(a)
		p.offset = append(p.offset, uint32(len(p.data)))
		p.data = append(p.data, a...)
		p.data = append(p.data, padding[:-len(a)&15]...)
	}
	if total > maxArgumentBytes {
		return fmt.Errorf("%w: %d bytes of arguments, CUDA passes at most %d", device.ErrBadCall, total, maxArgumentBytes)
	}
	return nil
}

var padding [15]byte

func launch(fn cu.Function, l *device.Launch, a *arguments, stream uintptr) error {
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

func (e cuError) Error() string { return newError("", int(e)).Name }

func result(code C.CUresult) error {
	if code == C.CUDA_SUCCESS {
		return nil
	}
	return cuError(code)
}

// newError says of a result code what the driver says.
func newError(call string, code int) *Error {
	e := &Error{Call: call, Code: code, Name: "unknown error", Text: fmt.Sprintf("unknown error %d", code)}
	if name, text := C.minfc_error_name(C.int(code)), C.minfc_error_text(C.int(code)); name != nil && text != nil {
		e.Name, e.Text = C.GoString(name), C.GoString(text)
	}
	return e
}

const jitLogBytes = 64 << 10

// jitLog is what the driver's compiler says, each text up to a NUL.
type jitLog struct{ infos, errors []byte }

func newJITLog() jitLog { return jitLog{make([]byte, jitLogBytes), make([]byte, jitLogBytes)} }

func text(log []byte) string {
	said, _, _ := bytes.Cut(log, []byte{0})
	return string(said)
}

// link makes a cubin of PTX that ends in a NUL.
func link(ptx []byte, log jitLog) ([]byte, error) {
	var cubin unsafe.Pointer
	var size C.size_t
	var call *C.char
	code := C.minfc_link(unsafe.Pointer(&ptx[0]), C.size_t(len(ptx)), (*C.char)(unsafe.Pointer(&log.infos[0])),
		(*C.char)(unsafe.Pointer(&log.errors[0])), jitLogBytes, &cubin, &size, &call)
	if code != C.CUDA_SUCCESS {
		return nil, newError(C.GoString(call), int(code))
	}
	defer C.free(cubin)
	return bytes.Clone(unsafe.Slice((*byte)(cubin), int(size))), nil
}

// locate is the number of the GPU whose memory an address is, -1 where the driver does not say.
func locate(p device.Ptr) int { return int(C.minfc_locate(C.uint64_t(p))) }

func hasTensorMaps() bool { return C.minfc_has_tensor_maps() != 0 }
