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

// Options select the kernels that are compiled; see package compile.
type Options = compile.Options

// Observer watches a pattern on its way; nil stands for none.
type Observer = compile.Observer

// Load reads a source and selects the pattern of that name, "" when it has only one; see [compile.Load].
func Load(file string, src []byte, pattern string, watch *Observer) (*Program, error) {
	return compile.Load(file, src, pattern, watch)
}

// LoadLibrary reads a pattern of the library.
func LoadLibrary(name string) (*Program, error) { return compile.LoadLibrary(name) }

// Compile compiles one pattern of a source for one data type and head dim, and for one target or all; see [compile.Source].
func Compile(file string, src []byte, pattern string, opts Options, watch *Observer) (*artifact.Artifact, error) {
	return compile.Source(file, src, pattern, opts, watch)
}
