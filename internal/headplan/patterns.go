package headplan

import (
	"slices"

	"github.com/minfc/minfc/compile"
	"github.com/minfc/minfc/internal/input"
	"github.com/minfc/minfc/ir"
	"github.com/minfc/minfc/plan"
	"github.com/minfc/minfc/runtime/artifact"
)

// Patterns are the patterns that a plan may name: the library's and a file's, of which each hides the library's pattern of its name.
type Patterns struct {
	Known  plan.Known
	beyond *input.File // nil for none
}

// ReadPatterns reads the file; "" stands for none.
func ReadPatterns(path string) (*Patterns, error) {
	beyond, err := input.ReadOptional(path)
	if err != nil {
		return nil, err
	}
	return patternsOf(beyond)
}

func patternsOf(beyond *input.File) (*Patterns, error) {
	others, err := beyond.Patterns()
	if err != nil {
		return nil, err
	}
	known, err := plan.Library(others...)
	return &Patterns{known, beyond}, err
}

// ReadHeads reads a list of heads that name these patterns; see plan.ReadHeads.
func (p *Patterns) ReadHeads(path string) ([]plan.Head, error) {
	data, err := readBounded(path, "a list of heads")
	if err != nil {
		return nil, err
	}
	return plan.ReadHeads(path, data, p.Known)
}

// ofFile says whether a pattern is the file's.
func (p *Patterns) ofFile(name string) (bool, error) {
	others, err := p.beyond.Patterns()
	return slices.ContainsFunc(others, func(p *ir.Pattern) bool { return p.Name == name }), err
}

// Source is the text that has a pattern, "" for one of the library.
func (p *Patterns) Source(name string) (string, error) {
	switch is, err := p.ofFile(name); {
	case err != nil || !is:
		return "", err
	case p.beyond.Artifact != nil:
		return p.beyond.Artifact.Source(name), nil
	}
	return string(p.beyond.Source), nil
}

// Compile compiles the patterns that the heads of some layers need.
func (p *Patterns) Compile(opts compile.Options, watch *compile.Observer, layers ...[]plan.Head) (*artifact.Artifact, error) {
	return compile.Plan(layers, func(name string) (*compile.Program, error) { return p.program(name, watch) }, opts, watch)
}

func (p *Patterns) program(name string, watch *compile.Observer) (*compile.Program, error) {
	src, err := p.Source(name)
	if err != nil {
		return nil, err
	}
	if src != "" {
		return compile.Load(p.beyond.Name, []byte(src), name, watch)
	}
	return compile.LoadLibrary(name)
}
