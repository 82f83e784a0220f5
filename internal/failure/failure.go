// Package failure tells whose fault an error is: bad input, a bad command line, or a fault of ours. Exit codes follow from it.
package failure

import (
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"

	"github.com/minfc/minfc/dsl"
	"github.com/minfc/minfc/runtime/artifact"
	"github.com/minfc/minfc/runtime/device"
)

// The exit codes of the command.
const (
	ExitDone  = 0
	ExitInput = 1
	ExitUsage = 2
	ExitBug   = 3
)

// failure is an error with its exit code; an error without one is bad input.
type failure struct {
	code int
	error
}

func (f failure) Unwrap() error { return f.error }

// Usage marks an error that is visible in the command line alone; nil stays nil.
func Usage(err error) error {
	if err == nil {
		return nil
	}
	return failure{ExitUsage, err}
}

// Usagef is a new error that is visible in the command line alone.
func Usagef(format string, args ...any) error { return Usage(fmt.Errorf(format, args...)) }

// Bug marks a fault of ours.
func Bug(err error) error { return failure{ExitBug, err} }

// internal finds the word our packages put before the message of a broken invariant.
var internal = regexp.MustCompile(`(^|: )internal: `)

// asked are the kinds of failure that lie in what was asked or in the machine, not in the kernel.
var asked = []error{device.ErrNoDevice, device.ErrDevice, device.ErrOutOfMemory, device.ErrUnsupported, device.ErrBadCall, artifact.ErrTarget, artifact.ErrManifest}

// OfKernel marks an error of a kernel that was loaded or run, such as an access out of bounds, as ours.
func OfKernel(err error) error {
	if err == nil || slices.ContainsFunc(asked, func(kind error) bool { return errors.Is(err, kind) }) {
		return err
	}
	return Bug(err)
}

// ExitCode is the exit code of a command that ended with an error, or with nil.
func ExitCode(err error) int {
	var f failure
	var source *dsl.Error
	switch {
	case err == nil:
		return ExitDone
	case errors.As(err, &source): // quotes the user's text, whatever it says
		return ExitInput
	case errors.As(err, &f):
		return f.code
	case internal.MatchString(err.Error()):
		return ExitBug
	}
	return ExitInput
}

// Report prints the error as its kind needs and returns the exit code.
func Report(w io.Writer, err error) int {
	code := ExitCode(err)
	var source *dsl.Error
	switch {
	case code == ExitDone:
	case errors.As(err, &source):
		fmt.Fprintln(w, err) // rendered with its source lines, several lines
	case code == ExitUsage:
		fmt.Fprintf(w, "minfc: %v\ntry minfc --help\n", err)
	case code == ExitBug:
		fmt.Fprintf(w, "minfc: %v\nthis is a fault of minfc, please report it with the command and its input\n", err)
	default:
		fmt.Fprintf(w, "minfc: %v\n", err)
	}
	return code
}
