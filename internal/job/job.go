// Package job is one run: what is to run, compiling and launching it, and saying what ran.
package job

import (
	"context"
	"fmt"
	"math"
	"strings"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/compile"
	"github.com/minfc/minfc/internal/console"
	"github.com/minfc/minfc/internal/failure"
	"github.com/minfc/minfc/internal/flags"
	"github.com/minfc/minfc/internal/input"
	"github.com/minfc/minfc/internal/qkv"
	"github.com/minfc/minfc/ir"
	"github.com/minfc/minfc/runtime"
	"github.com/minfc/minfc/runtime/artifact"
	"github.com/minfc/minfc/runtime/device"
)

// Request is what a person wants to run.
type Request struct {
	File    *input.File      // a pattern, or with a plan the patterns beyond the library's: nil for none
	Pattern string           // of the file; "" where it has only one
	Set     map[string]int64 // given values of parameters
	Plan    string           // path of a head plan: each q head runs a pattern of its own
	Layer   *int             // of the plan; not needed where it has only one
	First   *int             // of the plan's heads, which the tensors hold from here on; nil where they hold all of them

	QKV        string // path of the tensors; "" for generated ones
	Layout     qkv.Layout
	QOffset    flags.Offset
	Scale      *float64 // softmax scale, 1/sqrt(D) where none is given
	NoFallback bool     // keep every head sparse
	Coverage   bool     // the pairs that the launch keeps are asked for,
	Rows       []int    // of these query rows; nil for all
	Recall     bool     // the share of the attention that each head keeps is asked for

	Device string
	Target flags.Target
}

// Job is one run: what was compiled, for what input, on what device.
type Job struct {
	Request
	In *qkv.Input

	console *console.Console
	dev     device.Device
	program *compile.Program   // nil when an artifact was given
	art     *artifact.Artifact // nil until load when a source was given
	head
	loaded   *runtime.Loaded
	prepared *runtime.Prepared
	recall   *runtime.Recall // nil where it is not asked for, or there is nothing to look at
	noGPU    bool            // auto took the emulator
	passed   error           // why code for a newer target, that the GPU is made for, is not what runs
	plan     *layer          // set where every head runs its own pattern, instead of head
}

// head is what one head runs, or all.
type head struct {
	kernel  *runtime.Pattern // of what is loaded
	pattern *ir.Pattern      // as compiled: the meaning that a check tests
	consts  map[string]int64 // given values of const parameters
	launch  map[string]int64 // given values of launch parameters
	values  map[string]int64 // of all parameters
}

// demo says that no tensors were given: the input is generated, and the summary has a picture.
func (r Request) demo() bool { return r.QKV == "" }

// Prepare reads and judges the inputs, then opens the device and compiles.
func Prepare(c *console.Console, r Request) (*Job, error) {
	j := &Job{Request: r, console: c}
	load, err := j.fill()
	if err != nil {
		return nil, err
	}
	if err := j.checkCoverage(); err != nil { // before the launch, so that a row that does not exist costs nothing
		return nil, err
	}
	if err := j.judge(); err != nil {
		return nil, err
	}
	if err := j.open(); err != nil {
		return nil, err
	}
	if err = load(); err == nil {
		err = j.prepare()
	}
	if err != nil {
		j.Close()
		return nil, err
	}
	return j, nil
}

// fill reads what was asked for; load does what needs a device.
func (j *Job) fill() (load func() error, err error) {
	if j.Plan != "" {
		return j.fillPlan()
	}
	if j.File.Artifact != nil {
		err = j.fromArtifact()
	} else {
		err = j.fromSource()
	}
	if err == nil {
		err = j.makeInput()
	}
	return func() error {
		if err := j.load(); err != nil {
			return err
		}
		j.notePassed(j.loaded.Build().Target)
		return nil
	}, err
}

// observer prints the warnings of sources.
func (j *Job) observer() *compile.Observer {
	return &compile.Observer{Warn: func(text string) { j.console.Note("%s", strings.TrimRight(text, "\n")) }}
}

// fromSource checks the source and the parameters; load compiles it once the input is known.
func (j *Job) fromSource() (err error) {
	if j.program, err = compile.Load(j.File.Name, j.File.Source, j.Pattern, j.observer()); err != nil {
		return err
	}
	j.pattern = j.program.Pattern
	return j.setParams(j.Set, j.demo())
}

func (j *Job) fromArtifact() error {
	j.art = j.File.Artifact
	if j.art.IsPlan() {
		return fmt.Errorf("%s holds the patterns of a head plan: run it with --plan", j.File.Name)
	}
	patterns, err := j.File.Patterns()
	if err != nil {
		return err
	}
	j.pattern = patterns[0]
	if j.Pattern != "" && j.Pattern != j.pattern.Name {
		return fmt.Errorf("%s holds the pattern %s, not %s", j.File.Name, j.pattern.Name, j.Pattern)
	}
	for _, p := range j.pattern.Params {
		if _, given := j.Set[p.Name]; given && p.Binding == ir.BindConst {
			return fmt.Errorf("%s was compiled with %s = %d, which is const: compile again to change it", j.File.Name, p.Name, p.Default)
		}
	}
	return j.setParams(j.Set, j.demo())
}

// judge finds what no device could run, before one is opened.
func (j *Job) judge() error {
	if err := abi.CheckHeadDim(j.In.HeadDim); err != nil {
		return err
	}
	if j.program != nil {
		if err := j.program.With(j.consts).Check(); err != nil {
			return err
		}
	}
	return runtime.CheckSizes(j.shape())
}

func (j *Job) open() (err error) {
	var sentence string
	if j.dev, sentence, err = device.OpenSpec(j.Device); err != nil {
		return err
	}
	if j.noGPU = j.Device == "auto" && j.dev.Info().Driver == "emu"; !j.demo() { // the summary of a demo says it
		j.console.Note("%s", sentence)
	}
	return nil
}

// load compiles the source for the input, if that is what was given, and loads the kernel.
func (j *Job) load() (err error) {
	if j.art == nil {
		if err := j.compile(); err != nil {
			return err
		}
	}
	sel := j.selection()
	if j.passed == nil {
		j.passed = j.art.Manifest.Passed(j.dev.Info(), sel)
	}
	if j.loaded, err = runtime.Load(j.dev, j.art, sel); err != nil {
		return failure.OfKernel(err)
	}
	j.kernel = j.loaded.Patterns()[0]
	return nil
}

// selection says which of an artifact's kernels the input needs.
func (j *Job) selection() artifact.Select {
	return artifact.Select{HeadDim: j.In.HeadDim, DType: j.In.Format, Target: j.Target.Selected()}
}

// options say what to compile for the input and the device.
func (j *Job) options() (opts compile.Options, err error) {
	opts = compile.Options{Target: string(j.Target), DType: j.In.Format, HeadDim: j.In.HeadDim}
	if opts.Target != compile.TargetAuto {
		return opts, compile.Runs(j.dev.Info(), opts.Target)
	}
	opts.Target, j.passed, err = compile.TargetOn(j.dev.Info())
	return opts, err
}

func (j *Job) compile() error {
	opts, err := j.options()
	if err != nil {
		return err
	}
	j.art, err = j.program.With(j.consts).Compile(opts, nil)
	return err
}

// notePassed says why code for a newer target is not what runs.
func (j *Job) notePassed(target string) {
	if j.passed != nil {
		j.console.Note("running %s code: %v", target, j.passed)
	}
}

// Close gives back what the job holds of the device, and the device.
func (j *Job) Close() {
	if j.loaded != nil {
		j.loaded.Close()
	}
	if j.recall != nil {
		j.recall.Close()
	}
	j.dev.Close()
}

// prepare checks the call and prepares it; load comes before it.
func (j *Job) prepare() (err error) {
	if j.prepared, err = j.loaded.Prepare(j.shape(), j.parts()...); err != nil || !j.Recall {
		return err
	}
	return j.loadRecall()
}

// Run launches the kernel on the input.
func (j *Job) Run(withLSE bool) (runtime.HostResult, error) {
	h := runtime.HostCall{Shape: j.shape(), Q: j.In.Q, K: j.In.K, V: j.In.V, Parts: j.parts(), NoLSE: !withLSE, Chosen: true, Recall: j.recall}
	res, err := j.loaded.RunHost(context.Background(), h)
	return res, failure.OfKernel(err)
}

// shape is the call, but for its parameters.
func (j *Job) shape() runtime.Shape {
	s := runtime.Shape{Batch: j.In.Batch, QHeads: j.In.QHeads, KVHeads: j.In.KVHeads,
		SeqQ: j.In.SeqQ, SeqK: j.In.SeqK, QOffset: j.In.QOffset, NoFallback: j.NoFallback}
	if j.Scale != nil {
		s.Scale = *j.Scale
	}
	return s
}

// parts say which heads run which pattern with which parameters.
func (j *Job) parts() []runtime.Part {
	if j.plan != nil {
		return j.plan.loaded.Parts()
	}
	return []runtime.Part{{Params: j.launch}}
}

func (j *Job) scale() float64 {
	if j.Scale != nil {
		return *j.Scale
	}
	return 1 / math.Sqrt(float64(j.In.HeadDim))
}
