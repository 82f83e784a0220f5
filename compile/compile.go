// Package compile is the whole road as one call: from the text of a pattern to an artifact that package runtime loads.
package compile

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/minfc/minfc/dsl"
	"github.com/minfc/minfc/internal/suggest"
	"github.com/minfc/minfc/ir"
	"github.com/minfc/minfc/runtime/artifact"
)

// Version is the version of the compiler, written into artifacts.
const Version = "0.1.0"

// Stages are the forms a pattern takes on its way, in order, as Options.Emit names them.
var Stages = []string{"ast", "ir", "schedule", "program", "llvm", "ptx", "manifest"}

// Options select what is compiled and who watches. The hooks may be nil.
type Options struct {
	Pattern string           // name of the pattern, "" when the source has only one
	Target  string           // GPU generation, one of Targets, or TargetAuto for all of them in one artifact
	DType   string           // type of q, k, v and o: "bf16" or "f16"
	HeadDim int              // elements: a multiple of 16 from 16 to 256
	Consts  map[string]int64 // values of const parameters; the others keep their defaults
	Verify  bool             // verify after every pass, not only at the end

	Emit       func(form, text string)            // receives every form's text
	Module     func(llvm string)                  // receives the LLVM IR of every module of the artifact, in its order
	PrintAfter func(pass, target, text string)    // receives the unit after every pass, for every target
	Timing     func(step string, d time.Duration) // receives the time of every step; with several targets, it says for which
	Warn       func(rendered string)              // receives the source's warnings, several lines each
}

// Compile compiles one pattern of the source for one data type and head dim, and for one target or all. The file's name is used in
// messages only. Errors of the source are a *dsl.Error; the same input gives the same artifact.
func Source(file string, src []byte, opts Options) (*artifact.Artifact, error) {
	p, err := Load(file, src, opts)
	if err != nil {
		return nil, err
	}
	return p.Compile(opts)
}

// Program is a pattern that has been read and checked.
type Program struct {
	Pattern *ir.Pattern
	Source  string // the pattern in the language

	file *dsl.File // for places in errors; nil where only the pattern is known
}

// Load reads the source and selects the pattern; of opts it uses Pattern, Emit, Timing and Warn.
func Load(file string, src []byte, opts Options) (*Program, error) {
	done := opts.clock("parse and check")
	f, patterns, err := dsl.Load(file, src)
	done()
	if err != nil {
		return nil, err
	}
	if len(f.Warnings) > 0 && opts.Warn != nil {
		opts.Warn(dsl.Render(file, src, f.Warnings))
	}
	p, err := selectPattern(file, patterns, opts.Pattern)
	if err != nil {
		return nil, err
	}
	opts.emit("ast", func() string { return dsl.PrintAST(f) })
	opts.emit("ir", p.String)
	return &Program{p, sourceOf(f, p.Name), f}, nil
}

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

// Compile takes the program down the rest of the road; of opts it uses everything but Pattern and Warn. What no kernel has is refused
// with a *dsl.Error that names the place.
func (p *Program) Compile(opts Options) (*artifact.Artifact, error) {
	consts, err := p.bake(opts.Consts)
	if err != nil {
		return nil, err
	}
	art, err := p.compile(opts, consts)
	return art, p.place(err, consts)
}

func (p *Program) compile(opts Options, consts map[string]int64) (*artifact.Artifact, error) {
	var units []unit
	for _, target := range opts.targets() {
		u, err := p.compileFor(opts.forTarget(target), consts)
		if err != nil {
			return nil, err
		}
		units = append(units, u)
	}
	dense, err := p.compileDense(opts, units, consts)
	if err != nil {
		return nil, err
	}
	if err := addPrograms(units, dense); err != nil {
		return nil, err
	}
	kernels, err := opts.generateIndex(units[0].program) // what the data chooses is listed alike for all targets
	if err != nil {
		return nil, err
	}
	opts.emitUnits(units, kernels, dense)
	return opts.pack(p.baked(consts), p.Source, units, kernels, dense)
}

// bake returns the value of every const parameter.
func (p *Program) bake(given map[string]int64) (map[string]int64, error) {
	var params []ir.Param
	names := map[string]bool{}
	for _, q := range p.Pattern.Params {
		if q.Binding == ir.BindConst {
			params, names[q.Name] = append(params, q), true
		} else if _, ok := given[q.Name]; ok {
			return nil, fmt.Errorf("parameter %s of %s is set at launch, not when compiling: it is not const", q.Name, p.Pattern.Name)
		}
	}
	// Conditions that a launch parameter has a part in are checked at launch.
	requires := slices.DeleteFunc(slices.Clone(p.Pattern.Requires), func(r ir.Require) bool {
		return slices.ContainsFunc(r.Value.Vars(), func(v string) bool { return !names[v] })
	})
	return ir.CheckLaunch(params, requires, given)
}

// baked is the pattern as compiled: its const parameters have the chosen values for defaults, so that a reference
// computed from the artifact alone means the same.
func (p *Program) baked(consts map[string]int64) *ir.Pattern {
	out := *p.Pattern
	out.Params = slices.Clone(out.Params)
	for i, q := range out.Params {
		if v, ok := consts[q.Name]; ok {
			out.Params[i].Default = v
		}
	}
	return &out
}

func (o Options) emit(form string, text func() string) {
	if o.Emit != nil {
		o.Emit(form, text())
	}
}

// clock starts timing a step and returns the function that ends it.
func (o Options) clock(step string) func() {
	start := time.Now()
	return func() {
		if o.Timing != nil {
			o.Timing(step, time.Since(start))
		}
	}
}
