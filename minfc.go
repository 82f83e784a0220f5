// Package minfc compiles sparse-attention patterns: from the text of a pattern to an artifact that package runtime loads.
package minfc

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/minfc/minfc/codegen"
	"github.com/minfc/minfc/dsl"
	"github.com/minfc/minfc/internal/suggest"
	"github.com/minfc/minfc/ir"
	"github.com/minfc/minfc/passes"
	"github.com/minfc/minfc/ptxgen"
	"github.com/minfc/minfc/runtime"
)

// Version is the version of the compiler, written into artifacts.
const Version = "0.1.0"

// Stages are the forms a pattern takes on its way, in order, as Options.Emit names them.
var Stages = []string{"ast", "ir", "schedule", "llvm", "ptx", "manifest"}

// Options select what is compiled and who watches. The hooks may be nil.
type Options struct {
	Pattern string           // name of the pattern, "" when the source has only one
	Target  string           // GPU generation, "sm_80"
	DType   string           // type of q, k, v and o: "bf16" or "f16"
	HeadDim int              // elements: a multiple of 16 from 16 to 256
	Consts  map[string]int64 // values of const parameters; the others keep their defaults
	Verify  bool             // verify after every pass, not only at the end

	Emit       func(stage, text string)           // receives every stage's text
	Module     func(llvm string)                  // receives the LLVM IR of every module of the artifact, in its order
	PrintAfter func(pass, text string)            // receives the unit after every pass
	Timing     func(step string, d time.Duration) // receives the time of every step
	Warn       func(rendered string)              // receives the source's warnings, several lines each
}

// Compile compiles one pattern of the source for one target, data type and head dim. The file's name is used in
// messages only. Errors of the source are a *dsl.Error; the same input gives the same artifact.
func Compile(file string, src []byte, opts Options) (*runtime.Artifact, error) {
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
	return &Program{p, sourceOf(f, p.Name)}, nil
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

// Compile takes the program down the rest of the road; of opts it uses everything but Pattern and Warn.
func (p *Program) Compile(opts Options) (*runtime.Artifact, error) {
	consts, err := p.bake(opts.Consts)
	if err != nil {
		return nil, err
	}
	tile, err := p.tile(opts, consts)
	if err != nil {
		return nil, err
	}
	schedule, err := passes.Run(p.Pattern, passes.Options{Tile: tile, Consts: consts, After: opts.PrintAfter, Verify: opts.Verify, Time: opts.Timing})
	if err != nil {
		return nil, err
	}
	opts.emit("schedule", schedule.String)
	kernel, err := opts.generate(schedule)
	if err != nil {
		return nil, err
	}
	stages, err := opts.generateIndex(schedule)
	if err != nil {
		return nil, err
	}
	opts.emitModules(kernel, stages)
	return opts.pack(p.baked(consts), p.Source, schedule, kernel, stages)
}

// tile is what the schedule is cut to. It depends on whether the schedule reads lists of what data chose, which not every
// pattern with an index stage does: the rest of the pattern may keep all of it anyway.
func (p *Program) tile(opts Options, consts map[string]int64) (ir.Tile, error) {
	tile, err := codegen.TileFor(opts.Target, opts.HeadDim, len(p.Pattern.Index) > 0)
	if err != nil || len(p.Pattern.Index) == 0 {
		return tile, err
	}
	s, err := passes.Run(p.Pattern, passes.Options{Tile: tile, Consts: consts})
	if err != nil { // said again, to those who watch
		return tile, nil
	}
	return codegen.TileFor(opts.Target, opts.HeadDim, len(s.Index) > 0)
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

// compiled is a kernel and its PTX.
type compiled struct {
	*codegen.Kernel
	ptx []byte
}

// generate lowers the schedule to LLVM IR and that to PTX.
func (o Options) generate(s *ir.Schedule) (compiled, error) {
	done := o.clock("codegen")
	kernel, err := codegen.Attention(s, codegen.Config{HeadDim: o.HeadDim, DType: codegen.DType(o.DType), Target: o.Target})
	done()
	if err != nil {
		return compiled{}, err
	}
	defer o.clock("ptxgen")()
	return o.ptx(kernel)
}

// emitModules shows the code of every module in the artifact's order. Where there are several, a comment in front of each
// says which one it is.
func (o Options) emitModules(kernel compiled, stages []stage) {
	emit := func(form, comment string, text func(k compiled) string) {
		o.emit(form, func() string {
			if len(stages) == 0 {
				return text(kernel)
			}
			out := fmt.Sprintf("%s module 0: %s\n\n%s", comment, kernel.Entry, text(kernel))
			for i, s := range stages {
				out += fmt.Sprintf("\n%s module %d: %s\n\n%s", comment, i+1, s.name(), text(s.compiled))
			}
			return out
		})
	}
	emit("llvm", ";", func(k compiled) string { return k.Module.String() })
	emit("ptx", "//", func(k compiled) string { return string(k.ptx) })
}

func (o Options) ptx(kernel *codegen.Kernel) (compiled, error) {
	ptx, err := ptxgen.Compile(kernel.Module, ptxgen.Options{Target: o.Target})
	if err != nil {
		return compiled{}, fmt.Errorf("internal: %s: %w", kernel.Entry, err)
	}
	if o.Module != nil {
		o.Module(kernel.Module.String())
	}
	return compiled{kernel, ptx}, nil
}

// pack makes the artifact of one attention kernel and its stages, and proves that it can be read back.
func (o Options) pack(p *ir.Pattern, source string, s *ir.Schedule, k compiled, stages []stage) (*runtime.Artifact, error) {
	a := &runtime.Artifact{
		Modules: [][]byte{k.ptx},
		Manifest: runtime.Manifest{
			Schema: runtime.SchemaVersion, Compiler: "minfc " + Version, Pattern: p.String(), Source: source,
			Kernels: []runtime.Kernel{{
				Entry: k.Entry, Target: o.Target, DType: o.DType, HeadDim: o.HeadDim, Schedule: s.String(),
				RowTile: s.Tile.Rows, KeyTile: s.Tile.Keys, Threads: k.Threads, SharedBytes: k.SharedBytes,
				PTXVersion: ptxVersion(k.ptx), Params: manifestParams(k.Params),
			}},
		},
	}
	for _, x := range stages {
		a.Manifest.Kernels[0].Stages = append(a.Manifest.Kernels[0].Stages, runtime.Stage{
			Kind: x.kind, Heads: x.heads, Entry: x.Entry, Threads: x.Threads, SharedBytes: x.SharedBytes,
			Module: len(a.Modules), Params: manifestParams(x.Params),
		})
		a.Modules = append(a.Modules, x.ptx)
	}
	if err := a.Verify(); err != nil {
		return nil, fmt.Errorf("internal: %w", err)
	}
	manifest, err := a.Manifest.JSON()
	if err != nil {
		return nil, fmt.Errorf("internal: %w", err)
	}
	o.emit("manifest", func() string { return string(manifest) })
	return a, nil
}

func manifestParams(params []codegen.Param) []runtime.KernelParam {
	var out []runtime.KernelParam
	for _, p := range params {
		out = append(out, runtime.KernelParam(p))
	}
	return out
}

// ptxVersion is the operand of the module's .version line.
func ptxVersion(ptx []byte) string {
	for line := range strings.Lines(string(ptx)) {
		if v, ok := strings.CutPrefix(strings.TrimSpace(line), ".version"); ok {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

func (o Options) emit(stage string, text func() string) {
	if o.Emit != nil {
		o.Emit(stage, text())
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
