//go:build linux && (amd64 || arm64)

package cuda

import (
	"fmt"
	"unsafe"

	"github.com/ebitengine/purego"
)

// Error is a failed call of the driver library. errors.Is knows runtime's kinds of it.
type Error struct {
	Call string // "cuMemAlloc"
	Code int    // CUresult
	Name string // "CUDA_ERROR_OUT_OF_MEMORY"
	Text string // "out of memory"
	Log  string // what the PTX compiler said, when it was the call
}

func (e *Error) Error() string {
	s := fmt.Sprintf("cuda: %s: %s (%s, %d)", e.Call, e.Text, e.Name, e.Code)
	if advice := codes[e.Code].advice; advice != "" {
		s += "; " + advice
	}
	if e.Log != "" {
		s += "\n" + e.Log
	}
	return s
}

// Is says whether e is of one of runtime's kinds.
func (e *Error) Is(kind error) bool { return codes[e.Code].kind == kind }

func (l *library) newError(s symbol, code int32) *Error {
	return &Error{Call: symbolNames[s], Code: int(code), Name: l.describe(cuGetErrorName, code), Text: l.describe(cuGetErrorString, code)}
}

// describe asks the library for a code's name or text, which are constants of the library.
func (l *library) describe(s symbol, code int32) string {
	var text *byte
	r, _, _ := purego.SyscallN(l.address[s], uintptr(code), uintptr(unsafe.Pointer(&text)))
	if r != 0 || text == nil {
		return fmt.Sprintf("unknown error %d", code)
	}
	n := 0
	for *(*byte)(unsafe.Add(unsafe.Pointer(text), n)) != 0 {
		n++
	}
	return string(unsafe.Slice(text, n))
}
