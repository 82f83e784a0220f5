package main

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/compile"
	"github.com/minfc/minfc/dsl"
	"github.com/minfc/minfc/internal/input"
	"github.com/minfc/minfc/internal/summary"
	"github.com/minfc/minfc/ir"
	"github.com/minfc/minfc/plan"
	"github.com/minfc/minfc/runtime"
	"github.com/minfc/minfc/runtime/artifact"
)

type planCmd struct {
	Show    planShowCmd    `cmd:"" help:"Print what each head runs."`
	Compile planCompileCmd `cmd:"" help:"Compile what the heads of all layers run into one artifact, for servers and for run --plan."`
	Convert planConvertCmd `cmd:"" help:"Write a plan in the other format."`
}

type planShowCmd struct {
	File     string `arg:"" help:"Head plan, of MInference or minfc."`
	Layer    *int   `placeholder:"L" help:"Layer to print, from 0. Default: all."`
	Patterns string `placeholder:"FILE" help:"Patterns beyond the library's that the plan names: pattern file or artifact."`
	JSON     bool   `name:"json" help:"Print the heads as JSON."`
}

func (c *planShowCmd) Run(a *app) error {
	p, _, err := readPlan(c.File, c.Patterns)
	if err != nil {
		return err
	}
	first, end := 0, len(p.Layers)
	if c.Layer != nil {
		if first, end = *c.Layer, *c.Layer+1; first < 0 || end > len(p.Layers) {
			return fmt.Errorf("--layer: %s has no layer %d, it has %d, counted from 0", c.File, first, len(p.Layers))
		}
	}
	if c.JSON {
		data, err := p.ShowJSON(first, end)
		if err != nil {
			return fmt.Errorf("%s: %w", c.File, err)
		}
		return write(a, "-", data)
	}
	w := tabwriter.NewWriter(a.out, 0, 8, 2, ' ', 0)
	fmt.Fprintf(w, "layer\thead\tscore\tpattern\n")
	for i := first; i < end; i++ {
		for _, h := range slices.Sorted(maps.Keys(p.Layers[i])) {
			head := p.Layers[i][h]
			fmt.Fprintf(w, "%d\t%d\t%.4g\t%s\n", i, h, head.Score, head)
		}
	}
	fmt.Fprintf(w, "all\tothers\t0\t%s\n", p.Default)
	return w.Flush()
}

type planConvertCmd struct {
	In       string `arg:"" help:"Head plan, of MInference or minfc."`
	Out      string `arg:"" help:"Where to write it; - is standard output."`
	To       string `required:"" enum:"minfc,minference" help:"Format to write: minfc or minference."`
	Patterns string `placeholder:"FILE" help:"Patterns beyond the library's that the plan names: pattern file or artifact."`
}

func (c *planConvertCmd) Run(a *app) error {
	if err := distinct([]string{c.In, c.Patterns}, []string{c.Out}); err != nil {
		return err
	}
	p, _, err := readPlan(c.In, c.Patterns)
	if err != nil {
		return err
	}
	to := map[string]func() ([]byte, error){"minfc": p.JSON, "minference": p.MInference}[c.To]
	data, err := to()
	if err != nil {
		return fmt.Errorf("%s: %w", c.In, err)
	}
	return write(a, c.Out, data)
}

type planCompileCmd struct {
	File     string     `arg:"" help:"Head plan, of MInference or minfc."`
	Out      string     `short:"o" required:"" placeholder:"OUT.minf" help:"Artifact to write; - is standard output."`
	Target   targetName `default:"auto" help:"GPU generation to compile for: one of ${targets}; auto puts the kernels of all into the artifact. Default: auto."`
	HeadDim  int        `required:"" placeholder:"D" help:"Head dim: a multiple of 16 from 16 to 256."`
	DType    dtypeName  `name:"dtype" required:"" placeholder:"bf16|f16" help:"Type of q, k, v and o: bf16 or f16."`
	Heads    int        `placeholder:"N" help:"Query heads of the model. Default: up to the last one that the plan names."`
	Patterns string     `placeholder:"FILE" help:"Patterns beyond the library's that the plan names: pattern file or artifact."`
}

func (c *planCompileCmd) Run(a *app) error {
	if err := distinct([]string{c.File, c.Patterns}, []string{c.Out}); err != nil {
		return err
	}
	p, file, err := readPlan(c.File, c.Patterns)
	if err != nil {
		return err
	}
	layers, err := c.layers(p)
	if err != nil {
		return fmt.Errorf("%s: %w", c.File, err)
	}
	art, err := compilePlan(a, file, compile.Options{Target: string(c.Target), DType: abi.DType(c.DType), HeadDim: c.HeadDim}, layers...)
	if err != nil {
		return err
	}
	bytes, err := encode(a, c.Out, art)
	if err != nil {
		return err
	}
	a.note("%s: %d layers of %d heads, %d patterns, head dim %d, %s, %d bytes", c.Out, len(layers), len(layers[0]), len(art.Manifest.Members), c.HeadDim, c.DType, bytes)
	return nil
}

// layers are the heads of every layer.
func (c *planCompileCmd) layers(p *plan.Plan) (out [][]plan.Head, err error) {
	heads := c.Heads
	for _, l := range p.Layers {
		for h := range l {
			if c.Heads == 0 {
				heads = max(heads, h+1)
			}
		}
	}
	if heads < 1 {
		return nil, fmt.Errorf("no layer has an entry, say with --heads how many query heads the model has")
	}
	for i := range p.Layers {
		layer, _, err := p.Assign(i, heads) // heads without an entry are for run to speak of
		if err != nil {
			return nil, err
		}
		out = append(out, layer)
	}
	return out, nil
}

// maxPlan bounds what is read of a plan, in bytes; a line for each of a million heads fits.
const maxPlan = 128 << 20

// readPlan reads a plan that may name the patterns of a file, "" for none, beside the library's patterns.
func readPlan(path, patterns string) (*plan.Plan, *input.File, error) {
	file, err := readPatterns(patterns)
	if err != nil {
		return nil, nil, err
	}
	p, err := planOf(path, file)
	return p, file, err
}

func planOf(path string, file *input.File) (*plan.Plan, error) {
	others, err := patternsOf(file)
	if err != nil {
		return nil, err
	}
	known, err := plan.Library(others...)
	if err != nil {
		return nil, err
	}
	switch st, err := os.Stat(path); {
	case err == nil && st.IsDir():
		return nil, fmt.Errorf("%s: is a directory, wanted a head plan", path)
	case err == nil && st.Size() > maxPlan:
		return nil, fmt.Errorf("%s: larger than %d MB, wanted a head plan", path, maxPlan>>20)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return plan.Read(path, data, known)
}

// readPatterns reads a FILE argument, nil for none.
func readPatterns(name string) (*input.File, error) {
	if name == "" {
		return nil, nil
	}
	return input.Read(name)
}

// patternsOf lists the patterns of a file.
func patternsOf(file *input.File) ([]*ir.Pattern, error) {
	switch {
	case file == nil:
		return nil, nil
	case file.Artifact == nil:
		_, patterns, err := dsl.Load(file.Name, file.Source)
		return patterns, err
	}
	var out []*ir.Pattern
	for _, text := range file.Artifact.Patterns() {
		p, err := ir.ParsePattern(text)
		if err == nil {
			err = p.Verify()
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w: pattern: %w", file.Name, artifact.ErrManifest, err)
		}
		out = append(out, p)
	}
	return out, nil
}

// planned is a layer of a plan, ready to run.
type planned struct {
	path     string
	layer    int
	text     []string // of heads, as the report shows them
	heads    []*job   // [QHeads]: kernel, pattern and parameters of each
	kernels  *plan.Kernels
	launcher *plan.Launcher
}

// checkPlanUsage finds what is wrong in the flags of plans alone.
func (c *runCmd) checkPlanUsage() error {
	switch {
	case c.Plan == "" && c.Layer != nil:
		return usagef("--layer is a layer of --plan, which is not given")
	case c.Plan == "" && c.File == "":
		return usagef("expected a pattern file, an artifact or the name of a library pattern, or --plan")
	case c.Plan == "":
		return nil
	case c.QKV == "":
		return usagef("--plan needs tensors with the heads of the model, give --qkv")
	case c.Pattern != "":
		return usagef("-p names one pattern, but --plan has one for every head")
	case len(c.Set) > 0:
		return usagef("--set cannot change parameters of --plan, it has those of every head")
	}
	return nil
}

// fillPlan reads the plan; load compiles what the heads of the layer need.
func (c *runCmd) fillPlan(a *app, j *job, file *input.File) (load func() error, err error) {
	p, err := planOf(c.Plan, file)
	if err != nil {
		return nil, err
	}
	if j.in, err = c.input(a, j); err != nil {
		return nil, err
	}
	if err := c.QOffset.place(a, j.in); err != nil {
		return nil, err
	}
	layer, err := c.layerOf(p)
	if err != nil {
		return nil, err
	}
	heads, missing, err := p.Assign(layer, j.in.QHeads)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.Plan, err)
	}
	if len(missing) > 0 {
		a.note("%s: layer %d has no entry for %s: %s as MInference takes it", c.Plan, layer, runtime.ListHeads(missing), p.Default)
	}
	planned := &planned{path: c.Plan, layer: layer, heads: make([]*job, len(heads))}
	for _, h := range heads {
		planned.text = append(planned.text, h.String())
	}
	return func() error {
		if err := planned.load(a, j, file, c.Target, heads); err != nil {
			return err
		}
		j.plan = planned
		return nil
	}, nil
}

func (c *runCmd) layerOf(p *plan.Plan) (int, error) {
	switch {
	case c.Layer != nil:
		return *c.Layer, nil
	case len(p.Layers) == 1:
		return 0, nil
	}
	return 0, usagef("%s has %d layers, say which one with --layer", c.Plan, len(p.Layers))
}

// load compiles what the heads need, unless the file is an artifact already, loads it and makes the jobs of the heads.
func (p *planned) load(a *app, j *job, file *input.File, target targetName, heads []plan.Head) error {
	art, err := p.artifact(a, j, file, target, heads)
	if err != nil {
		return err
	}
	sel := artifact.Select{HeadDim: j.in.HeadDim, DType: string(j.in.Format), Target: wanted(target)}
	if p.kernels, err = plan.Load(j.dev, art, sel); err != nil {
		return kernelFailure(err)
	}
	if p.launcher, err = p.kernels.Bind(heads); err != nil {
		p.kernels.Close()
		return err
	}
	if j.passed == nil {
		j.passed = art.Manifest.Passed(j.dev.Info(), sel)
	}
	a.notePassed(p.launcher.Kernel(0).Info().Target, j.passed)
	for h, head := range heads {
		p.heads[h] = &job{dev: j.dev, in: j.in, scale: j.scale, pattern: head.Pattern, kernel: p.launcher.Kernel(h)}
		if err := p.heads[h].setParams(head.Params); err != nil {
			p.kernels.Close()
			return err
		}
	}
	return nil
}

func (p *planned) artifact(a *app, j *job, file *input.File, target targetName, heads []plan.Head) (*artifact.Artifact, error) {
	if file != nil && file.Artifact != nil && file.Artifact.IsPlan() {
		return file.Artifact, nil
	}
	name, err := j.targetFor(target)
	if err != nil {
		return nil, err
	}
	return compilePlan(a, file, compile.Options{Target: name, DType: j.in.Format, HeadDim: j.in.HeadDim}, heads)
}

// compilePlan compiles the patterns that the heads of some layers need: a pattern of the file comes before the library's one of its name.
func compilePlan(a *app, file *input.File, opts compile.Options, layers ...[]plan.Head) (*artifact.Artifact, error) {
	return compile.Plan(layers, func(name string) (*compile.Program, error) { return programOf(a, file, name) }, opts, nil)
}

// programOf is a pattern of the file if it has it, else of the library.
func programOf(a *app, file *input.File, name string) (*compile.Program, error) {
	others, err := patternsOf(file)
	if err != nil {
		return nil, err
	}
	if !slices.ContainsFunc(others, func(p *ir.Pattern) bool { return p.Name == name }) {
		if file, err = input.Read(name); err != nil {
			return nil, err
		}
	}
	src := file.Source
	if file.Artifact != nil {
		src = []byte(file.Artifact.Source(name))
	}
	warn := func(text string) { a.note("%s", strings.TrimRight(text, "\n")) }
	return compile.Load(file.Name, src, name, &compile.Observer{Warn: warn})
}

// coverPlan lists the pairs that each head keeps, [Batch*QHeads, len(rows), SeqK].
func (j *job) coverPlan(res runtime.HostResult, rows []int) ([]byte, error) {
	var out []byte
	for h := range j.in.Batch * j.in.QHeads {
		var own runtime.HostResult
		if h < len(res.Chosen) {
			own.Chosen = res.Chosen[h : h+1]
		}
		cover, err := j.head(h).cover(own, rows)
		if err != nil {
			return nil, err
		}
		out = append(out, cover...)
	}
	return out, nil
}

// summary lists what the heads of the layer run, heads that run the same in one line.
func (p *planned) summary(call runtime.Attention) *summary.Plan {
	launches, _ := p.launcher.Launches(call) // a call that ran has them
	out := &summary.Plan{Path: p.path, Layer: p.layer, Heads: call.QHeads, Launches: launches}
	for h, text := range p.text {
		if slices.Index(p.text, text) < h {
			continue
		}
		var same []int
		for other, t := range p.text {
			if t == text {
				same = append(same, other)
			}
		}
		out.Patterns = append(out.Patterns, text+": "+runtime.ListHeads(same))
	}
	return out
}
