// Package nvidia has what the drivers cuda and gorgonia share, which reach the same library in two ways: the meaning of its result codes,
// modules through the cache, and the checks of what the library would not notice.
package nvidia

import (
	"errors"
	"fmt"
	"strings"
)

// Error is a failed call of the driver library. errors.Is knows package device's kinds of it.
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

// Is says whether e is of one of package device's kinds.
func (e *Error) Is(kind error) bool { return codes[e.Code].kind == kind }

// WithLog adds what the PTX compiler said to its error.
func WithLog(err error, log string) error {
	if e, ok := errors.AsType[*Error](err); ok {
		e.Log = strings.TrimSpace(log)
	}
	return err
}
