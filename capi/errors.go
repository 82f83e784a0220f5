//go:build cgo && linux && (amd64 || arm64)

package main

import (
	"errors"
	"fmt"
	"regexp"
	"runtime/debug"
	"strings"
	"unicode/utf8"

	"github.com/minfc/minfc/dsl"
	"github.com/minfc/minfc/runtime/artifact"
	"github.com/minfc/minfc/runtime/cuda"
	"github.com/minfc/minfc/runtime/device"
)

// code is an enum minfc_code; a test holds the numbers to minfc.h.
type code int32

const (
	codeOK code = iota
	codeArgument
	codePattern
	codeNoDevice
	codeDevice
	codeMemory
	codeUnsupported
	codeVersion // of entry.c alone
	codeClosed
	codeFork // of entry.c alone
	codeInternal
)

// kinds are the errors that have a code, in the order in which they are looked for.
var kinds = []struct {
	kind error
	code code
}{
	{errPanic, codeInternal},
	{device.ErrClosed, codeClosed},
	{device.ErrOutOfMemory, codeMemory},
	{device.ErrNoDevice, codeNoDevice},
	{device.ErrUnsupported, codeUnsupported},
	{artifact.ErrTarget, codeUnsupported},
	{device.ErrDevice, codeDevice},
	{device.ErrBadCall, codeArgument},
}

// internal finds the word that packages put before the message of a broken invariant.
var internal = regexp.MustCompile(`(^|: )internal: `)

// codeOf is the code of an error. What has no kind is the driver's.
func codeOf(err error) code {
	if err == nil {
		return codeOK
	}
	if _, is := errors.AsType[*dsl.Error](err); is { // quotes the user's text, whatever that says
		return codePattern
	}
	for _, k := range kinds {
		if errors.Is(err, k.kind) {
			return k.code
		}
	}
	_, driver := errors.AsType[*cuda.Error](err)
	_, spec := errors.AsType[specError](err)
	switch {
	case internal.MatchString(err.Error()):
		return codeInternal
	case spec && !driver:
		return codePattern
	}
	return codeDevice
}

// errPanic is a fault of ours that was caught.
var errPanic = errors.New("internal: panic")

// guard calls f and makes an error of its panic, which must not pass through C.
func guard(f func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: %v\n%s", errPanic, r, debug.Stack())
		}
	}()
	return f()
}

// guardText is guard for a call with a text.
func guardText(f func() (string, error)) (text string, err error) {
	err = guard(func() (err error) {
		text, err = f()
		return err
	})
	return text, err
}

// cut is the beginning of a text that has room, at the end of a character; a 0 would end it in C.
func cut(text string, room int) string {
	text = strings.ReplaceAll(text, "\x00", " ")
	if len(text) <= room {
		return text
	}
	for room > 0 && !utf8.RuneStart(text[room]) {
		room--
	}
	return text[:room]
}
