package device

import (
	"errors"
	"fmt"
)

// The kinds of failure a caller may want to tell apart with errors.Is. Every error of this package and of the drivers
// that belongs to a kind wraps it.
var (
	// ErrNoDevice: the driver library is missing, or the machine has no such device.
	ErrNoDevice = errors.New("no device")
	// ErrDevice: a device or its driver is there and does not work. The message says what to do.
	ErrDevice = errors.New("the device does not work")
	// ErrOutOfMemory: the device has not enough free memory.
	ErrOutOfMemory = errors.New("out of device memory")
	// ErrUnsupported: the device or driver cannot do what was asked.
	ErrUnsupported = errors.New("unsupported")
	// ErrBadCall: a launch was described wrongly (shapes, strides, pointers, parameters). Nothing was enqueued.
	ErrBadCall = errors.New("bad call")
	// ErrClosed: a device, stream, event, module or kernel was used after its Close.
	ErrClosed = errors.New("already closed")
)

// BadCall is an error of kind ErrBadCall.
func BadCall(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrBadCall, fmt.Errorf(format, args...))
}

// streamPerThread is CU_STREAM_PER_THREAD.
const streamPerThread = 2

// CheckStream refuses the stream that CUDA has for each thread: goroutines move between threads, so two calls would be in no order. The error
// is an ErrBadCall.
func CheckStream(handle uintptr) error {
	if handle == streamPerThread {
		return BadCall("the stream is CU_STREAM_PER_THREAD, and calls of Go have no thread of their own: want one of cuStreamCreate, or the default stream")
	}
	return nil
}
