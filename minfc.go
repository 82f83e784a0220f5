// Package minfc compiles sparse-attention patterns and runs them. It is the front door: each name here is one of a package behind it,
// which says more. Package compile is the road from the text of a pattern to an artifact, package runtime loads artifacts on a device.
package minfc

import (
	"github.com/minfc/minfc/compile"
	"github.com/minfc/minfc/runtime/artifact"
)

// Version is the version of the compiler, written into artifacts.
const Version = compile.Version

// Program is a pattern that has been read and checked.
type Program = compile.Program

// Options select what is compiled and who watches; see package compile.
type Options = compile.Options

// Load reads a source and selects one of its patterns; see [compile.Load].
func Load(file string, src []byte, opts Options) (*Program, error) {
	return compile.Load(file, src, opts)
}

// LoadLibrary reads a pattern of the library.
func LoadLibrary(name string) (*Program, error) { return compile.LoadLibrary(name) }

// Compile compiles one pattern of a source for one data type and head dim, and for one target or all; see [compile.Source].
func Compile(file string, src []byte, opts Options) (*artifact.Artifact, error) {
	return compile.Source(file, src, opts)
}
