package main

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
	exitDone  = 0
	exitInput = 1
	exitUsage = 2
	exitBug   = 3
)

// failure is an error with its exit code; an error without one is bad input.
type failure struct {
	code int
	error
}

func (f failure) Unwrap() error { return f.error }

// usage marks an error that is visible in the command line alone.
func usage(err error) error { return failure{exitUsage, err} }

func usagef(format string, args ...any) error { return usage(fmt.Errorf(format, args...)) }

// bug marks a fault of ours.
func bug(err error) error { return failure{exitBug, err} }

// internal finds the word our packages put before the message of a broken invariant.
var internal = regexp.MustCompile(`(^|: )internal: `)

// asked are the kinds of failure that lie in what was asked or in the machine, not in the kernel.
var asked = []error{device.ErrNoDevice, device.ErrDevice, device.ErrOutOfMemory, device.ErrUnsupported, device.ErrBadCall, artifact.ErrTarget, artifact.ErrManifest}

// kernelFailure marks an error of a kernel that was loaded or run, such as an access out of bounds, as ours.
func kernelFailure(err error) error {
	if err == nil || slices.ContainsFunc(asked, func(kind error) bool { return errors.Is(err, kind) }) {
		return err
	}
	return bug(err)
}

func exitCode(err error) int {
	var f failure
	var source *dsl.Error
	switch {
	case err == nil:
		return exitDone
	case errors.As(err, &source): // quotes the user's text, whatever it says
		return exitInput
	case errors.As(err, &f):
		return f.code
	case internal.MatchString(err.Error()):
		return exitBug
	}
	return exitInput
}

// report prints the error as its kind needs and returns the exit code.
func report(w io.Writer, err error) int {
	code := exitCode(err)
	var source *dsl.Error
	switch {
	case code == exitDone:
	case errors.As(err, &source):
		fmt.Fprintln(w, err) // rendered with its source lines, several lines
	case code == exitUsage:
		fmt.Fprintf(w, "minfc: %v\ntry minfc --help\n", err)
	case code == exitBug:
		fmt.Fprintf(w, "minfc: %v\nthis is a fault of minfc, please report it with the command and its input\n", err)
	default:
		fmt.Fprintf(w, "minfc: %v\n", err)
	}
	return code
}
