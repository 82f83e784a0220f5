package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/internal/demo"
	"github.com/minfc/minfc/internal/input"
	"github.com/minfc/minfc/internal/qkv"
	"github.com/minfc/minfc/internal/safetensors"
	"github.com/minfc/minfc/runtime"
	"github.com/minfc/minfc/runtime/device"
)

type runCmd struct {
	File     string     `arg:"" optional:"" help:"Pattern file, artifact, or the name of a library pattern. With --plan: patterns beyond the library's that the plan names."`
	Pattern  string     `short:"p" help:"Pattern of the file; not needed when it has only one."`
	QKV      string     `name:"qkv" placeholder:"IN.safetensors" help:"Tensors q [B, Hq, Sq, D], k and v [B, Hk, Sk, D], BF16 or F16; - is standard input. Default: a small generated input, which is checked."`
	Out      string     `short:"o" placeholder:"OUT.safetensors" help:"Results: o like q, and lse F32 [B, Hq, Sq]; - is standard output."`
	Plan     string     `placeholder:"PLAN.json" help:"Head plan, of MInference or minfc: each q head runs its own pattern."`
	Layer    *int       `placeholder:"L" help:"Layer of the plan, from 0; not needed when it has only one."`
	Device   string     `default:"auto" help:"auto, cuda, cuda:N, emu, or emu:sm_89 for an emulated GPU of another generation."`
	Target   targetName `default:"auto" help:"GPU generation to compile for or to select: one of ${targets}; auto is the best that the device runs. Default: auto."`
	Set      []setting  `sep:"none" placeholder:"NAME=VALUE" help:"Value of a parameter. May be repeated."`
	QOffset  offset     `placeholder:"N|end" help:"Position of query row 0; end is Sk - Sq, where the queries are the last of the keys' sequence, as FlashAttention takes them. Default: 0."`
	Layout   string     `default:"bhsd" enum:"bhsd,bshd" placeholder:"bhsd|bshd" help:"Dimensions of q, k, v and o in files: bhsd [B, H, S, D] or bshd [B, S, H, D]. Default: bhsd."`
	Scale    *float64   `placeholder:"X" help:"Softmax scale. Default: 1/sqrt(D)."`
	Fallback *bool      `negatable:"" help:"Run dense attention for heads of a pattern that the data decides where that is predicted to be faster. Default: yes with --qkv; without it heads stay sparse."`
	NoLse    bool       `help:"Do not compute the log-sum-exp."`
	Coverage string     `placeholder:"COV.safetensors" help:"Write the pairs that the launch keeps, as its own schedule and lists say: cover U8 [B, Hq, rows, Sk]."`
	Rows     []int      `placeholder:"0,5,17" help:"Query rows of --coverage. Default: all."`
	JSON     bool       `name:"json" help:"Print the report as JSON."`
	Check    bool       `help:"Compare with the float64 reference of the pattern, and what the data chose with the reference's choice."`
}

func (c *runCmd) Run(a *app) error {
	if err := c.checkUsage(); err != nil {
		return err
	}
	j, err := c.prepare(a)
	if err != nil {
		return err
	}
	defer j.close()
	a.watch(j.dev, int64(len(j.in.Q)))
	a.warnOfLongRun(j)
	res, err := j.run(!c.NoLse)
	if err != nil {
		return err
	}
	var mask []byte
	if c.Coverage != "" {
		if mask, err = j.cover(res, c.Rows); err != nil {
			return err
		}
	}
	if err := c.writeResults(a, j, res, mask); err != nil {
		return err
	}
	if c.Out == "-" || c.Coverage == "-" {
		a.out = &results{w: a.err} // the report must not mix with the tensors
	}
	return c.report(a, j, res)
}

// report prints what ran. A result that the check finds wrong is printed, too.
func (c *runCmd) report(a *app, j *job, res runtime.HostResult) error {
	if err := j.summarize(res); err != nil {
		return err
	}
	var wrong error
	if c.Check || j.demo {
		wrong = j.check(a, res)
	}
	if c.JSON {
		data, err := j.sum.JSON()
		if err != nil {
			return bug(err)
		}
		return errors.Join(wrong, write(a, "-", data))
	}
	return errors.Join(wrong, j.sum.Write(a.out))
}

// checkUsage finds what is wrong in the command line alone.
func (c *runCmd) checkUsage() error {
	if err := c.checkPlanUsage(); err != nil {
		return err
	}
	switch {
	case len(c.Rows) > 0 && c.Coverage == "":
		return usagef("--rows lists the rows of --coverage, which is not given")
	case c.QKV != "" && c.Out == "" && c.Coverage == "" && !c.Check:
		return usagef("nothing would come out: give -o, --coverage or --check")
	case c.QKV == "-" && c.File == "/dev/stdin":
		return usagef("--qkv and the pattern cannot both come from standard input")
	case c.Scale != nil && !(*c.Scale > 0):
		return usagef("--scale is %v, want a number above 0", *c.Scale)
	case c.Scale != nil && runtime.CheckScale(*c.Scale) != nil:
		return fmt.Errorf("--scale: %w", runtime.CheckScale(*c.Scale))
	case c.Out == "-" && c.Coverage == "-":
		return usagef("-o and --coverage cannot both go to standard output")
	}
	if err := c.QOffset.check(); err != nil {
		return err
	}
	if c.Device != "auto" {
		spec, err := device.ParseSpec(c.Device)
		if err == nil && !slices.Contains(device.Drivers(), spec.Driver) {
			err = fmt.Errorf("--device: no driver %q, want auto or one of %s", spec.Driver, strings.Join(device.Drivers(), ", "))
		}
		if err != nil {
			return usage(err)
		}
	}
	return distinct([]string{c.QKV, c.File, c.Plan}, []string{c.Out, c.Coverage})
}

// prepare reads and judges the inputs, then opens the device and compiles.
func (c *runCmd) prepare(a *app) (*job, error) {
	set, err := values(c.Set)
	if err != nil {
		return nil, err
	}
	file, err := readPatterns(c.File)
	if err != nil {
		return nil, err
	}
	for _, path := range []string{c.Out, c.Coverage} {
		if err := writable(path); err != nil { // now, not after a long run
			return nil, err
		}
	}
	j := &job{scale: c.Scale, demo: c.QKV == ""}
	j.noFallback = j.demo
	if c.Fallback != nil {
		j.noFallback = !*c.Fallback
	}
	load, err := c.fill(a, j, file, set)
	if err != nil {
		return nil, err
	}
	if err := c.checkCoverage(j); err != nil { // before the launch, so that a row that does not exist costs nothing
		return nil, err
	}
	if err := j.judge(); err != nil {
		return nil, err
	}
	if err := j.open(a, c.Device); err != nil {
		return nil, err
	}
	if err := load(); err != nil {
		j.close()
		return nil, err
	}
	return j, nil
}

// fill reads what the command line names; load does what needs a device.
func (c *runCmd) fill(a *app, j *job, file *input.File, set map[string]int64) (load func() error, err error) {
	if c.Plan != "" {
		return c.fillPlan(a, j, file)
	}
	if file.Artifact != nil {
		if err := j.fromArtifact(file, c.Pattern, set); err != nil {
			return nil, err
		}
	} else if err := j.fromSource(a, file, c.Pattern, set); err != nil {
		return nil, err
	}
	if j.in, err = c.input(a, j); err != nil {
		return nil, err
	}
	return func() error {
		if err := j.load(c.Target); err != nil {
			return err
		}
		a.notePassed(j.kernel.Info().Target, j.passed)
		return nil
	}, c.QOffset.place(a, j.in)
}

// input loads the tensors, or makes some for the pattern, in the type and head dim of the artifact's first kernel.
func (c *runCmd) input(a *app, j *job) (*qkv.Input, error) {
	if c.QKV != "" {
		return c.load(a)
	}
	shape, format := demo.Shape, abi.BF16
	shape.QOffset = c.QOffset.n
	if j.art != nil {
		shape.HeadDim, format = j.art.Manifest.Kernels[0].HeadDim, abi.DType(j.art.Manifest.Kernels[0].DType)
	}
	return demo.Input(j.pattern.Name, shape, format)
}

// maxCover bounds the bytes of a coverage file.
const maxCover = 1 << 30

// checkCoverage checks the rows of --coverage.
func (c *runCmd) checkCoverage(j *job) error {
	if c.Coverage == "" {
		return nil
	}
	if len(c.Rows) == 0 {
		c.Rows = everyRow(j.in.SeqQ)
	}
	for _, i := range c.Rows {
		if i < 0 || i >= j.in.SeqQ {
			return fmt.Errorf("--rows: there is no query row %d, q has %d, counted from 0", i, j.in.SeqQ)
		}
	}
	if size := float64(j.in.Batch) * float64(j.in.QHeads) * float64(len(c.Rows)) * float64(j.in.SeqK); size > maxCover {
		return fmt.Errorf("--coverage: %d rows of %d heads and %d keys need %.1f GB, the limit is %.1f: list fewer rows with --rows",
			len(c.Rows), j.in.Batch*j.in.QHeads, j.in.SeqK, size/1e9, maxCover/1e9)
	}
	return nil
}

func everyRow(n int) []int {
	rows := make([]int, n)
	for i := range rows {
		rows[i] = i
	}
	return rows
}

func (c *runCmd) writeResults(a *app, j *job, res runtime.HostResult, mask []byte) error {
	if c.Out != "" {
		if err := writeTensors(a, c.Out, j.in.Output(res.O, res.LSE)); err != nil {
			return err
		}
	}
	if c.Coverage == "" {
		return nil
	}
	return writeTensors(a, c.Coverage, []safetensors.Tensor{j.in.Cover(len(c.Rows), mask)})
}

func writeTensors(a *app, path string, ts []safetensors.Tensor) error {
	data, err := safetensors.Encode(ts)
	if err != nil {
		return bug(err)
	}
	return write(a, path, data)
}
