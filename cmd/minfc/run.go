package main

import (
	"errors"
	"fmt"

	"github.com/minfc/minfc/internal/console"
	"github.com/minfc/minfc/internal/failure"
	"github.com/minfc/minfc/internal/files"
	"github.com/minfc/minfc/internal/flags"
	"github.com/minfc/minfc/internal/input"
	"github.com/minfc/minfc/internal/job"
	"github.com/minfc/minfc/internal/qkv"
	"github.com/minfc/minfc/runtime"
	"github.com/minfc/minfc/safetensors"
)

type runCmd struct {
	File     string          `arg:"" optional:"" help:"Pattern file, artifact, or the name of a library pattern. With --plan: patterns beyond the library's that the plan names."`
	Pattern  string          `short:"p" help:"Pattern of the file; not needed when it has only one."`
	QKV      string          `name:"qkv" placeholder:"IN.safetensors" help:"Tensors q [B, Hq, Sq, D], k and v [B, Hk, Sk, D], BF16 or F16; - is standard input. Default: a small generated input, which is checked."`
	Out      string          `short:"o" placeholder:"OUT.safetensors" help:"Results: o like q, and lse F32 [B, Hq, Sq]; - is standard output."`
	Plan     string          `placeholder:"PLAN.json" help:"Head plan, of MInference or minfc: each q head runs its own pattern."`
	Layer    *int            `placeholder:"L" help:"Layer of the plan, from 0; not needed when it has only one."`
	First    *int            `name:"heads-from" placeholder:"N" help:"First of the plan's query heads that the tensors hold, where they hold a part of them, as under tensor parallelism. Default: the tensors hold all heads."`
	Device   string          `default:"auto" help:"auto, cuda, cuda:N, emu, or emu:sm_89 for an emulated GPU of another generation."`
	Target   flags.Target    `default:"auto" help:"GPU generation to compile for or to select: one of ${targets}; auto is the best that the device runs. Default: auto."`
	Set      []flags.Setting `sep:"none" placeholder:"NAME=VALUE" help:"Value of a parameter. May be repeated."`
	QOffset  flags.Offset    `placeholder:"N|end" help:"Position of query row 0; end is Sk - Sq, where the queries are the last of the keys' sequence, as FlashAttention takes them. Default: 0."`
	Layout   string          `default:"bhsd" enum:"bhsd,bshd" placeholder:"bhsd|bshd" help:"Dimensions of q, k, v and o in files: bhsd [B, H, S, D] or bshd [B, S, H, D]. Default: bhsd."`
	Scale    *float64        `placeholder:"X" help:"Softmax scale. Default: 1/sqrt(D)."`
	Fallback *bool           `negatable:"" help:"Run dense attention for heads of a pattern that the data decides where that is predicted to be faster. Default: yes with --qkv; without it heads stay sparse."`
	NoLse    bool            `help:"Do not compute the log-sum-exp."`
	Coverage string          `placeholder:"COV.safetensors" help:"Write the pairs that the launch keeps, as its own schedule and lists say: cover U8 [B, Hq, rows, Sk]."`
	Rows     []int           `placeholder:"0,5,17" help:"Query rows of --coverage. Default: all."`
	Recall   bool            `help:"Report what share of the attention each head keeps, from its log-sum-exp and exact sums over all keys on 64 query rows."`
	JSON     bool            `name:"json" help:"Print the report as JSON."`
	Check    bool            `help:"Compare with the float64 reference of the pattern, and what the data chose with the reference's choice."`
}

func (c *runCmd) Run(out *console.Console) error {
	if err := c.checkUsage(); err != nil {
		return err
	}
	request, err := c.request()
	if err != nil {
		return err
	}
	j, err := job.Prepare(out, request)
	if err != nil {
		return err
	}
	defer j.Close()
	j.Watch()
	res, err := j.Run(!c.NoLse)
	if err != nil {
		return err
	}
	if err := c.write(out, j, res); err != nil {
		return err
	}
	if c.Out == "-" || c.Coverage == "-" {
		out.ReportBeside() // the report must not mix with the tensors
	}
	sum, wrong, err := j.Report(res, c.Check)
	if err != nil {
		return err
	}
	if !c.JSON {
		return errors.Join(wrong, sum.Write(out.Out))
	}
	data, err := sum.JSON()
	return errors.Join(wrong, writeJSON(out, data, err))
}

// checkUsage finds what is wrong in the command line alone.
func (c *runCmd) checkUsage() error {
	if err := c.checkPlanUsage(); err != nil {
		return err
	}
	switch {
	case len(c.Rows) > 0 && c.Coverage == "":
		return failure.Usagef("--rows lists the rows of --coverage, which is not given")
	case c.QKV != "" && c.Out == "" && c.Coverage == "" && !c.Check && !c.Recall:
		return failure.Usagef("nothing would come out: give -o, --coverage, --check or --recall")
	case c.Recall && c.NoLse:
		return failure.Usagef("--recall compares the log-sum-exp, which --no-lse leaves out")
	case c.QKV == "-" && c.File == "/dev/stdin":
		return failure.Usagef("--qkv and the pattern cannot both come from standard input")
	case c.Scale != nil && !(*c.Scale > 0):
		return failure.Usagef("--scale is %v, want a number above 0", *c.Scale)
	case c.Scale != nil && runtime.CheckScale(*c.Scale) != nil:
		return fmt.Errorf("--scale: %w", runtime.CheckScale(*c.Scale))
	case c.Out == "-" && c.Coverage == "-":
		return failure.Usagef("-o and --coverage cannot both go to standard output")
	}
	if err := c.QOffset.Check(); err != nil {
		return err
	}
	if err := flags.CheckDevice(c.Device); err != nil {
		return failure.Usage(err)
	}
	return failure.Usage(files.Distinct([]string{c.QKV, c.File, c.Plan}, []string{c.Out, c.Coverage}))
}

// checkPlanUsage finds what is wrong in the flags of plans alone.
func (c *runCmd) checkPlanUsage() error {
	switch {
	case c.Plan == "" && c.Layer != nil:
		return failure.Usagef("--layer is a layer of --plan, which is not given")
	case c.Plan == "" && c.First != nil:
		return failure.Usagef("--heads-from is a head of --plan, which is not given")
	case c.Plan == "" && c.File == "":
		return failure.Usagef("expected a pattern file, an artifact or the name of a library pattern, or --plan")
	case c.Plan == "":
		return nil
	case c.QKV == "":
		return failure.Usagef("--plan needs tensors with the heads of the model, give --qkv")
	case c.Pattern != "":
		return failure.Usagef("-p names one pattern, but --plan has one for every head")
	case len(c.Set) > 0:
		return failure.Usagef("--set cannot change parameters of --plan, it has those of every head")
	}
	return nil
}

func (c *runCmd) request() (r job.Request, err error) {
	set, err := flags.Values(c.Set)
	if err != nil {
		return r, err
	}
	file, err := input.ReadOptional(c.File)
	if err != nil {
		return r, err
	}
	r = job.Request{File: file, Pattern: c.Pattern, Set: set, Plan: c.Plan, Layer: c.Layer, First: c.First,
		QKV: c.QKV, Layout: qkv.Layout(c.Layout), QOffset: c.QOffset, Scale: c.Scale, NoFallback: c.QKV == "", Coverage: c.Coverage != "", Rows: c.Rows, Recall: c.Recall, Device: c.Device, Target: c.Target}
	if c.Fallback != nil {
		r.NoFallback = !*c.Fallback
	}
	return r, files.Writable(c.Out, c.Coverage) // now, not after a long run
}

func (c *runCmd) write(out *console.Console, j *job.Job, res runtime.HostResult) error {
	var cover []safetensors.Tensor
	if c.Coverage != "" {
		t, err := j.CoverTensor(res)
		if err != nil {
			return err
		}
		cover = append(cover, t)
	}
	if c.Out != "" {
		if err := writeTensors(out, c.Out, j.In.Output(res.O, res.LSE)); err != nil {
			return err
		}
	}
	if c.Coverage == "" {
		return nil
	}
	return writeTensors(out, c.Coverage, cover)
}

func writeTensors(out *console.Console, path string, ts []safetensors.Tensor) error {
	data, err := safetensors.Encode(ts)
	if err != nil {
		return failure.Bug(err)
	}
	return out.Write(path, data)
}
