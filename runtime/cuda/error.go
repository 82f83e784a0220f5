//go:build linux && (amd64 || arm64)

package cuda

import (
	"fmt"
	"unsafe"

	"github.com/ebitengine/purego"

	"github.com/minfc/minfc/internal/nvidia"
)

// Error is a failed call of the driver library. errors.Is knows package device's kinds of it.
type Error = nvidia.Error

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
