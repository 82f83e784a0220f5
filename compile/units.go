package compile

import (
	"errors"
	"fmt"
	"strings"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/internal/codegen"
	"github.com/minfc/minfc/internal/ptxgen"
	"github.com/minfc/minfc/ir"
	"github.com/minfc/minfc/passes"
	"github.com/minfc/minfc/runtime/artifact"
)

// unit is the pattern for one target.
type unit struct {
	target   string
	schedule *ir.Schedule
	kernel   compiled
	program  *ir.Program // nil of a dense kernel beside one with lists
}

// compiled is a kernel and its PTX.
type compiled struct {
	*codegen.Kernel
	ptx []byte
}

// unit takes the program to the PTX of the compiler's one target.
func (c compiler) unit(p *Program, consts map[string]int64) (unit, error) {
	s, err := c.schedule(p.Pattern, consts, passes.Options{After: c.watch.after(c.Target), Time: c.watch.timing()})
	if err != nil {
		return unit{}, err
	}
	if c.Lengths && s.Given() {
		return unit{}, ErrGivenLengths
	}
	if err := c.checkMeans(s); err != nil {
		return unit{}, err
	}
	kernel, err := c.generate("", s)
	return unit{target: c.Target, schedule: s, kernel: kernel}, err
}

// ErrGivenLengths refuses a combination that no kernel has.
var ErrGivenLengths = errors.New("lists that the caller gives are for lengths in the shape of a call, not in device memory; " +
	"run sequences of different lengths one by one")

// ErrMeanLengths refuses a combination that no kernel has.
var ErrMeanLengths = errors.New("`else mean` is for lengths in the shape of a call, not in device memory; " +
	"run sequences of different lengths one by one, or leave it out")

func (c compiler) checkMeans(s *ir.Schedule) error {
	if _, means := s.Means(); c.Lengths && means {
		return ErrMeanLengths
	}
	return nil
}

// fallsBack says whether heads of a schedule may run a dense one instead. Where means stand for what is dropped they may if it drops nothing: it
// has no means.
func fallsBack(s, dense *ir.Schedule) bool {
	_, means := s.Means()
	return !means || dense.KeepsCausal()
}

// schedule runs the passes for the compiler's one target; how has their hooks, and their tile unless it is the one of a kernel of its own.
func (c compiler) schedule(p *ir.Pattern, consts map[string]int64, how passes.Options) (s *ir.Schedule, err error) {
	if how.Tile == nil {
		if how.Tile, err = codegen.TileFor(c.Target, c.HeadDim); err != nil {
			return nil, err
		}
	}
	how.Consts, how.Verify = consts, c.watch.verify()
	return passes.Run(p, how)
}

// config says to package codegen what is compiled.
func (c compiler) config() codegen.Config {
	return codegen.Config{HeadDim: c.HeadDim, DType: c.DType, Target: c.Target, Lengths: c.Lengths}
}

// dense compiles what heads of each unit fall back to where lists would not be faster: the pattern as if the data had
// chosen all. There is none beside kernels without lists: a static pattern says exactly what is kept, and its tiles cost
// what tiles of the dense kernel cost. Lists that the caller gives say it, too.
func (c compiler) dense(p *Program, units []unit, consts map[string]int64) ([]unit, error) {
	var out []unit
	for _, u := range units {
		if len(u.schedule.Index) == 0 || u.schedule.Given() {
			continue
		}
		own := c.forTarget(u.target)
		s, err := own.schedule(p.Pattern.Widest(), consts, passes.Options{})
		if err != nil {
			return nil, err
		}
		if !fallsBack(u.schedule, s) {
			continue
		}
		kernel, err := own.generate("dense ", s)
		if err != nil {
			return nil, err
		}
		out = append(out, unit{target: u.target, schedule: s, kernel: kernel})
	}
	return out, nil
}

// addPrograms makes the launch program of each unit; dense are the kernels beside them, if there are any.
func (c compiler) addPrograms(units, dense []unit) (err error) {
	for i := range units {
		u := &units[i]
		if u.program, err = passes.Program(u.schedule); err != nil {
			return err
		}
		passes.Attend(u.program, ir.PartAttend, u.attend(abi.Attend))
		if len(dense) > 0 {
			passes.Attend(u.program, ir.PartDense, dense[i].attend(abi.Dense))
		}
		if c.Lengths {
			if err := passes.Lengths(u.program); err != nil {
				return err
			}
		}
	}
	return nil
}

// attend is what a program must know of the unit's kernel.
func (u unit) attend(name string) passes.Kernel {
	return passes.Kernel{Name: name, Schedule: u.schedule, Rows: u.blockRows(), BlocksPerSM: u.kernel.BlocksPerSM}
}

// generate lowers the schedule to LLVM IR and that to PTX; kind is what the steps are called.
func (c compiler) generate(kind string, s *ir.Schedule) (compiled, error) {
	done := c.watch.clock(kind + "codegen")
	kernel, err := codegen.Attention(s, c.config())
	done()
	if err != nil {
		return compiled{}, err
	}
	defer c.watch.clock(kind + "ptxgen")()
	c.watch.show(kernel)
	return c.ptx(kernel, c.Target)
}

func (c compiler) ptx(kernel *codegen.Kernel, target string) (compiled, error) {
	ptx, err := ptxgen.Compile(kernel.Module, ptxgen.Options{Target: target})
	if err != nil {
		return compiled{}, fmt.Errorf("internal: %s: %w", kernel.Entry, err)
	}
	return compiled{kernel, ptx}, nil
}

// emitUnits shows the schedule of every target, and the code of every module in the artifact's order. The one kernel that
// static patterns have beside it, which stores numbers, is the same for all of them and not shown.
func (w *Observer) emitUnits(units []unit, kernels []indexKernel, dense []unit) {
	if len(units[0].schedule.Index) == 0 {
		kernels = nil
	}
	var targets, schedules, programs, modules []string
	var code []compiled
	for i, u := range units {
		targets, schedules = append(targets, "for "+u.target), append(schedules, u.schedule.String())
		programs = append(programs, u.program.String())
		name := fmt.Sprintf("module %d: %s", i, u.kernel.Entry)
		if len(units) > 1 {
			name += " for " + u.target
		}
		modules, code = append(modules, name), append(code, u.kernel)
	}
	for _, k := range kernels {
		modules, code = append(modules, fmt.Sprintf("module %d: %s", len(modules), k.name)), append(code, k.compiled)
	}
	for _, u := range dense {
		name := fmt.Sprintf("module %d: dense %s for %s", len(modules), u.kernel.Entry, u.target)
		modules, code = append(modules, name), append(code, u.kernel)
	}
	w.emit("schedule", func() string { return joined("//", targets, schedules) })
	w.emit("program", func() string { return joined("//", targets, programs) })
	w.emit("llvm", func() string {
		return joined(";", modules, textsOf(code, func(k compiled) string { return k.Module.String() }))
	})
	w.emit("ptx", func() string {
		return joined("//", modules, textsOf(code, func(k compiled) string { return string(k.ptx) }))
	})
}

func textsOf(code []compiled, text func(compiled) string) (out []string) {
	for _, k := range code {
		out = append(out, text(k))
	}
	return out
}

// joined puts texts behind one another. Where there are several, a comment in front of each says which one it is.
func joined(comment string, names, texts []string) string {
	if len(texts) == 1 {
		return texts[0]
	}
	var parts []string
	for i, text := range texts {
		parts = append(parts, fmt.Sprintf("%s %s\n\n%s", comment, names[i], text))
	}
	return strings.Join(parts, "\n")
}

// pack makes the artifact of an attention kernel for each target, the index kernels that all of them share and the dense kernel
// beside each, if there is one, and proves that it can be read back.
func (c compiler) pack(p *ir.Pattern, source string, units []unit, kernels []indexKernel, dense []unit) (*artifact.Artifact, error) {
	a := newArtifact()
	lowered := make([]artifact.Lowered, len(units))
	use := func(l *artifact.Lowered, name string, code int) {
		l.Kernels = append(l.Kernels, artifact.Use{Name: name, Code: code})
	}
	for i, u := range units {
		a.Manifest.Builds = append(a.Manifest.Builds, artifact.Build{Target: u.target, DType: c.DType, HeadDim: c.HeadDim, Lengths: c.Lengths})
		lowered[i] = artifact.Lowered{Schedule: u.schedule.String(), Program: a.AddProgram(u.program.String())}
		use(&lowered[i], abi.Attend, u.addTo(a))
	}
	for _, x := range kernels {
		code := x.addTo(a, indexTarget)
		for i := range lowered {
			use(&lowered[i], x.name, code)
		}
	}
	for i, u := range dense {
		lowered[i].Dense = u.schedule.String()
		use(&lowered[i], abi.Dense, u.addTo(a))
	}
	a.Manifest.Patterns = []artifact.Pattern{{Text: p.String(), Source: source, Lowered: lowered}}
	if err := a.Verify(); err != nil {
		return nil, fmt.Errorf("internal: %w", err)
	}
	manifest, err := a.Manifest.JSON()
	if err != nil {
		return nil, fmt.Errorf("internal: %w", err)
	}
	c.watch.emit("manifest", func() string { return string(manifest) })
	return a, nil
}

func newArtifact() *artifact.Artifact {
	return &artifact.Artifact{Manifest: artifact.Manifest{Schema: artifact.SchemaVersion, Compiler: "minfc " + Version}}
}

// addTo adds the kernel of attention to an artifact and returns its number there.
func (u unit) addTo(a *artifact.Artifact) int {
	n := u.kernel.addTo(a, u.target)
	a.Manifest.Codes[n].BlockRows = u.blockRows()
	return n
}

// blockRows is how many query rows a block of the kernel takes at a time.
func (u unit) blockRows() int {
	if u.kernel.BlockRows > 0 {
		return u.kernel.BlockRows
	}
	return u.schedule.Tile.Rows
}

// addTo adds the kernel to an artifact and returns its number there.
func (k compiled) addTo(a *artifact.Artifact, target string) int {
	return a.AddCode(artifact.Code{Entry: k.Entry, Target: target, PTXVersion: ptxVersion(k.ptx), Threads: k.Threads, SharedBytes: k.SharedBytes,
		Params: k.Params}, k.ptx)
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
