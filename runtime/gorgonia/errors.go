//go:build gorgonia

package gorgonia

import (
	"errors"
	"fmt"
	"reflect"

	"github.com/minfc/minfc/runtime/device"
)

// kinds maps result codes of the CUDA driver to the runtime's kinds of failure.
var kinds = map[int]error{
	2:   device.ErrOutOfMemory, // CUDA_ERROR_OUT_OF_MEMORY
	100: device.ErrNoDevice,    // CUDA_ERROR_NO_DEVICE
	101: device.ErrNoDevice,    // CUDA_ERROR_INVALID_DEVICE
	209: device.ErrUnsupported, // CUDA_ERROR_NO_BINARY_FOR_GPU
	222: device.ErrUnsupported, // CUDA_ERROR_UNSUPPORTED_PTX_VERSION
	801: device.ErrUnsupported, // CUDA_ERROR_NOT_SUPPORTED
}

// callError is a failed call of the CUDA driver, with the kind it belongs to.
type callError struct {
	call string
	text string
	kind error // nil when it belongs to none
}

func (e *callError) Error() string { return e.call + ": " + e.text }

func (e *callError) Unwrap() error { return e.kind }

// failure names the call that failed. Errors that are not result codes, or are named already, pass unchanged.
func failure(call string, err error) error {
	var named *callError
	if err == nil || errors.As(err, &named) {
		return err
	}
	// cu does not export its type of result codes, an integer.
	v := reflect.ValueOf(err)
	if !v.CanInt() && !v.CanUint() {
		return fmt.Errorf("%s: %w", call, err)
	}
	code := codeOf(v)
	return &callError{call, describeCode(code), kinds[code]}
}

func codeOf(v reflect.Value) int {
	if v.CanInt() {
		return int(v.Int())
	}
	return int(v.Uint())
}
