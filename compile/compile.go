// Package compile is the whole road as one call: from the text of a pattern to an artifact that package runtime loads.
package compile

import (
	"fmt"
	"slices"
	"strings"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/dsl"
	"github.com/minfc/minfc/internal/suggest"
	"github.com/minfc/minfc/ir"
	"github.com/minfc/minfc/passes"
	"github.com/minfc/minfc/runtime/artifact"
)

// Version is the version of the compiler, written into artifacts.
const Version = "0.1.0"

// Options select the kernels that are compiled for a pattern.
type Options struct {
	Target  string    // GPU generation, one of Targets, or TargetAuto for all of them in one artifact
	DType   abi.DType // type of q, k, v and o
	HeadDim int       // elements: a multiple of 16 from 16 to 256
	Lengths bool      // kernels read the lengths of each sequence from device memory: see runtime.Lengths
}

// Source compiles the pattern of that name, "" when the source has only one, with the defaults of its const parameters. The file's name is
// used in messages only. Errors of the source are a *dsl.Error; the same input gives the same artifact. watch may be nil.
func Source(file string, src []byte, pattern string, opts Options, watch *Observer) (*artifact.Artifact, error) {
	p, err := Load(file, src, pattern, watch)
	if err != nil {
		return nil, err
	}
	return p.Compile(opts, watch)
}

// Program is a pattern that has been read and checked.
type Program struct {
	Pattern *ir.Pattern
	Source  string // the pattern in the language

	file   *dsl.File        // for places in errors; nil where only the pattern is known
	consts map[string]int64 // see With
}

// With is the program with values of const parameters; the others keep their defaults. Check and Compile say what is wrong with them.
func (p *Program) With(consts map[string]int64) *Program {
	out := *p
	out.consts = consts
	return &out
}

// Load reads the source and selects the pattern of that name, "" when it has only one. watch may be nil.
func Load(file string, src []byte, pattern string, watch *Observer) (*Program, error) {
	done := watch.clock("parse and check")
	f, patterns, err := dsl.Load(file, src)
	done()
	if err != nil {
		return nil, err
	}
	if len(f.Warnings) > 0 {
		watch.warn(dsl.Render(file, src, f.Warnings))
	}
	p, err := selectPattern(file, patterns, pattern)
	if err != nil {
		return nil, err
	}
	watch.emit("ast", func() string { return dsl.PrintAST(f) })
	watch.emit("ir", p.String)
	return &Program{Pattern: p, Source: sourceOf(f, p.Name), file: f}, nil
}

// Kept is the set that the pattern keeps as it is written, and the file that its spans count in; nil of a pattern without a text.
func (p *Program) Kept() (*dsl.File, *dsl.Set) {
	if p.file == nil {
		return nil, nil
	}
	return p.file, p.file.KeptBy(p.Pattern.Name)
}

// Given is the pattern whose lists the caller gives with each call (docs/given.md): spans of 64 keys and single keys. With causal no query
// sees keys after its own. It has no text in the language.
func Given(causal bool) *Program { return &Program{Pattern: ir.GivenPattern(causal)} }

func selectPattern(file string, patterns []*ir.Pattern, name string) (*ir.Pattern, error) {
	var names []string
	for _, p := range patterns {
		names = append(names, p.Name)
	}
	i := slices.Index(names, name)
	switch {
	case name == "" && len(patterns) == 1:
		return patterns[0], nil
	case name == "":
		return nil, fmt.Errorf("%s has %d patterns (%s), name the one you want", file, len(names), strings.Join(names, ", "))
	case i < 0:
		return nil, fmt.Errorf("%s has no pattern %q, it has %s%s", file, name, strings.Join(names, ", "), suggest.Hint(name, names))
	}
	return patterns[i], nil
}

// sourceOf cuts the pattern out of its file: an artifact need not carry its neighbours.
func sourceOf(f *dsl.File, name string) string {
	for _, p := range f.Patterns {
		if p.Name.Name == name {
			return string(f.Src[p.Span.Start:p.Span.End])
		}
	}
	return ""
}

// Compile takes the program down the rest of the road. What no kernel has is refused with a *dsl.Error that names the place. watch may be
// nil.
func (p *Program) Compile(opts Options, watch *Observer) (*artifact.Artifact, error) {
	consts, err := passes.Consts(p.Pattern, p.consts)
	if err != nil {
		return nil, err
	}
	art, err := compiler{opts, watch}.program(p, consts)
	return art, p.place(err, consts)
}

// compiler is one call: what is compiled, and who watches.
type compiler struct {
	Options
	watch *Observer
}

func (c compiler) program(p *Program, consts map[string]int64) (*artifact.Artifact, error) {
	var units []unit
	for _, target := range c.Targets() {
		u, err := c.forTarget(target).unit(p, consts)
		if err != nil {
			return nil, err
		}
		units = append(units, u)
	}
	dense, err := c.dense(p, units, consts)
	if err != nil {
		return nil, err
	}
	if err := c.addPrograms(units, dense); err != nil {
		return nil, err
	}
	kernels, err := c.generateIndex(units[0].program) // what the data chooses is listed alike for all targets
	if err != nil {
		return nil, err
	}
	c.watch.emitUnits(units, kernels, dense)
	return c.pack(p.Pattern.WithDefaults(consts), p.Source, units, kernels, dense)
}
