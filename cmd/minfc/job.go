package main

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/compile"
	"github.com/minfc/minfc/internal/demo"
	"github.com/minfc/minfc/internal/input"
	"github.com/minfc/minfc/internal/qkv"
	"github.com/minfc/minfc/internal/summary"
	"github.com/minfc/minfc/ir"
	"github.com/minfc/minfc/runtime"
	"github.com/minfc/minfc/runtime/artifact"
	"github.com/minfc/minfc/runtime/device"
)

// job is one run: what was compiled, for what input, on what device.
type job struct {
	dev        device.Device
	program    *compile.Program   // nil when an artifact was given
	art        *artifact.Artifact // nil until load when a source was given
	kernel     *runtime.LoadedKernel
	pattern    *ir.Pattern      // as compiled: the meaning that --check tests
	given      map[string]int64 // parameters as the command line gives them
	consts     map[string]int64 // given values of const parameters
	launch     map[string]int64 // given values of launch parameters
	values     map[string]int64 // of all parameters
	in         *qkv.Input
	scale      *float64
	noFallback bool
	demo       bool // no tensors were given: the input is generated, and the summary has a picture
	noGPU      bool // auto took the emulator
	sum        *summary.Run
	passed     error    // why code for a newer target, that the GPU is made for, is not what runs
	plan       *planned // set where every head runs its own pattern, instead of kernel, pattern and parameters
}

func (j *job) open(a *app, spec string) (err error) {
	var sentence string
	if j.dev, sentence, err = device.OpenSpec(spec); err != nil {
		return err
	}
	if j.noGPU = spec == "auto" && j.dev.Info().Driver == "emu"; !j.demo { // the summary of a demo says it
		a.note("%s", sentence)
	}
	return nil
}

// fromSource checks the source and the parameters; load compiles it once the input is known.
func (j *job) fromSource(a *app, file *input.File, name string, set map[string]int64) (err error) {
	warn := func(text string) { a.note("%s", strings.TrimRight(text, "\n")) }
	if j.program, err = compile.Load(file.Name, file.Source, name, &compile.Observer{Warn: warn}); err != nil {
		return err
	}
	j.pattern = j.program.Pattern
	return j.setParams(set)
}

func (j *job) fromArtifact(file *input.File, name string, set map[string]int64) (err error) {
	j.art = file.Artifact
	if j.art.IsPlan() {
		return fmt.Errorf("%s holds the patterns of a head plan: run it with --plan", file.Name)
	}
	patterns, err := patternsOf(file)
	if err != nil {
		return err
	}
	j.pattern = patterns[0]
	if name != "" && name != j.pattern.Name {
		return fmt.Errorf("%s holds the pattern %s, not %s", file.Name, j.pattern.Name, name)
	}
	for _, p := range j.pattern.Params {
		if _, given := set[p.Name]; given && p.Binding == ir.BindConst {
			return fmt.Errorf("%s was compiled with %s = %d, which is const: compile again to change it", file.Name, p.Name, p.Default)
		}
	}
	return j.setParams(set)
}

// setParams checks the parameters and tells const from launch ones.
func (j *job) setParams(set map[string]int64) (err error) {
	j.given = set
	if j.demo {
		set = demo.Params(j.pattern, set)
	}
	if j.values, err = ir.CheckLaunch(j.pattern.Params, j.pattern.Requires, set); err != nil {
		return fmt.Errorf("--set: %w", err)
	}
	j.consts, j.launch = map[string]int64{}, map[string]int64{}
	for _, p := range j.pattern.Params {
		v, given := set[p.Name]
		switch {
		case given && p.Binding == ir.BindConst:
			j.consts[p.Name] = v
		case given:
			j.launch[p.Name] = v
		}
	}
	return nil
}

// judge finds what no device could run, before one is opened.
func (j *job) judge() error {
	if err := abi.CheckHeadDim(j.in.HeadDim); err != nil {
		return err
	}
	if j.program != nil {
		if err := j.program.With(j.consts).Check(); err != nil {
			return err
		}
	}
	return runtime.CheckSizes(runtime.Attention{Batch: j.in.Batch, QHeads: j.in.QHeads, KVHeads: j.in.KVHeads,
		SeqQ: j.in.SeqQ, SeqK: j.in.SeqK, QOffset: j.in.QOffset})
}

// load compiles the source for the input, if that is what was given, and loads the kernel.
func (j *job) load(target targetName) (err error) {
	if j.art == nil {
		if err := j.compile(target); err != nil {
			return err
		}
	}
	sel := artifact.Select{HeadDim: j.in.HeadDim, DType: string(j.in.Format), Target: wanted(target)}
	if j.passed == nil {
		j.passed = j.art.Manifest.Passed(j.dev.Info(), sel)
	}
	j.kernel, err = runtime.LoadKernel(j.dev, j.art, sel)
	return kernelFailure(err)
}

// targetFor is the target to compile for.
func (j *job) targetFor(target targetName) (best string, err error) {
	if target != compile.TargetAuto {
		return string(target), compile.Runs(j.dev.Info(), string(target))
	}
	best, j.passed, err = compile.TargetOn(j.dev.Info())
	return best, err
}

// notePassed says why code for a newer target is not what runs.
func (a *app) notePassed(target string, passed error) {
	if passed != nil {
		a.note("running %s code: %v", target, passed)
	}
}

func (j *job) compile(target targetName) error {
	name, err := j.targetFor(target)
	if err != nil {
		return err
	}
	j.art, err = j.program.With(j.consts).Compile(compile.Options{Target: name, DType: j.in.Format, HeadDim: j.in.HeadDim}, nil)
	return err
}

func (j *job) close() {
	if j.plan != nil {
		j.plan.kernels.Close()
	} else if j.kernel != nil {
		j.kernel.Close()
	}
	j.dev.Close()
}

// run launches the kernel on the input.
func (j *job) run(withLSE bool) (runtime.HostResult, error) {
	h := runtime.HostAttention{
		Q: j.in.Q, K: j.in.K, V: j.in.V, Batch: j.in.Batch, QHeads: j.in.QHeads, KVHeads: j.in.KVHeads,
		SeqQ: j.in.SeqQ, SeqK: j.in.SeqK, QOffset: j.in.QOffset, Params: j.launch, NoLSE: !withLSE,
		Chosen: true, NoFallback: j.noFallback,
	}
	if j.scale != nil {
		h.Scale = *j.scale
	}
	var launcher runtime.Launcher = j.kernel
	if j.plan != nil {
		launcher = j.plan.launcher
	}
	res, err := runtime.RunHostWith(j.dev, launcher, h)
	return res, kernelFailure(err)
}

// dynamic says that heads differ in what they keep.
func (j *job) dynamic() bool { return j.plan != nil || len(j.pattern.Index) > 0 }

// head is the job of head h, counted over batches; only what belongs to the head is to be used.
func (j *job) head(h int) *job {
	if j.plan != nil {
		return j.plan.heads[h%j.in.QHeads]
	}
	return j
}

// cover lists the pairs that the launch kept: [len(rows), SeqK], in front of that [Batch*QHeads] where data decides.
func (j *job) cover(res runtime.HostResult, rows []int) ([]byte, error) {
	if j.plan != nil {
		return j.coverPlan(res, rows)
	}
	a := runtime.Attention{SeqQ: j.in.SeqQ, SeqK: j.in.SeqK, QOffset: j.in.QOffset, Params: j.launch}
	if len(j.kernel.Schedule().Index) > 0 {
		return j.kernel.CoverChosen(a, res.Chosen, rows)
	}
	return j.kernel.Cover(a, rows)
}

// choices are what each head chose, [Batch*QHeads]. A choice that cannot matter, because the rest of the pattern keeps all of
// it, is not computed and counts as empty.
func (j *job) choices(res runtime.HostResult) []runtime.Chosen {
	out := make([]runtime.Chosen, j.in.Batch*j.in.QHeads)
	for h := range out {
		if h < len(res.Chosen) {
			out[h] = res.Chosen[h]
		} else {
			out[h] = runtime.Chosen{Asked: &ir.Selection{QOffset: j.in.QOffset}, Kept: &ir.Selection{QOffset: j.in.QOffset}}
		}
		out[h].Asked, out[h].Kept = j.head(h).complete(out[h].Asked), j.head(h).complete(out[h].Kept)
	}
	return out
}

// complete returns s with an empty set for each choice that it has none of.
func (j *job) complete(s *ir.Selection) *ir.Selection {
	out := &ir.Selection{QOffset: s.QOffset, Sets: slices.Clone(s.Sets)}
	for _, d := range j.pattern.Index {
		kind, _ := ir.IndexType(j.pattern.Index, d.Name)
		chosen, ok := kind.Chosen()
		if _, err := s.Find(d.Name); ok && err != nil {
			out.Sets = append(out.Sets, ir.Selected{Name: d.Name, Kind: chosen})
		}
	}
	return out
}

func (j *job) scaleValue() float64 {
	if j.scale != nil {
		return *j.scale
	}
	return 1 / math.Sqrt(float64(j.in.HeadDim))
}
