package main

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/compile"
	"github.com/minfc/minfc/internal/files"
	"github.com/minfc/minfc/internal/input"
	"github.com/minfc/minfc/internal/suggest"
	"github.com/minfc/minfc/passes"
	"github.com/minfc/minfc/runtime/artifact"
)

type compileCmd struct {
	File       string     `arg:"" help:"Pattern file, or the name of a library pattern."`
	Pattern    string     `short:"p" help:"Pattern of the file; not needed when it has only one."`
	Target     targetName `default:"auto" help:"GPU generation to compile for: one of ${targets}; auto puts the kernels of all into the artifact, and loading it picks the best that the device runs. Default: auto."`
	HeadDim    int        `required:"" placeholder:"D" help:"Head dim: a multiple of 16 from 16 to 256."`
	DType      dtypeName  `name:"dtype" required:"" placeholder:"bf16|f16" help:"Type of q, k, v and o: bf16 or f16."`
	Out        string     `short:"o" placeholder:"OUT.minf" help:"Artifact to write; - is standard output. Default without --emit: PATTERN.minf."`
	Emit       []emission `sep:"none" placeholder:"KIND[=PATH]" help:"Print a form of the pattern: ast, ir, schedule, program, llvm, ptx or manifest. May be repeated; without a path, or with -, to standard output."`
	Set        []setting  `sep:"none" placeholder:"NAME=VALUE" help:"Value of a const parameter. May be repeated."`
	TimePasses bool       `help:"Print the time of every step to standard error."`
	PrintAfter string     `placeholder:"NAME|all" help:"Print the pattern after a pass, or after all, to standard error."`
}

func (c *compileCmd) Run(a *app) error {
	consts, watch, err := c.options(a)
	if err != nil {
		return err
	}
	in, err := input.Read(c.File)
	if err != nil {
		return err
	}
	if in.Artifact != nil {
		return fmt.Errorf("%s: already a compiled artifact, want the source of a pattern", in.Name)
	}
	forms := map[string]string{}
	watch.Emit = func(form, text string) { forms[form] = text }
	p, err := compile.Load(in.Name, in.Source, c.Pattern, watch)
	if err != nil {
		return err
	}
	out, err := c.output(in, p.Pattern.Name)
	if err != nil {
		return err
	}
	art, err := p.With(consts).Compile(compile.Options{Target: string(c.Target), DType: abi.DType(c.DType), HeadDim: c.HeadDim}, watch)
	if err != nil {
		return err
	}
	for _, e := range c.Emit {
		if err := write(a, e.path, []byte(forms[e.kind])); err != nil {
			return err
		}
	}
	if out == "" {
		return nil
	}
	return c.writeArtifact(a, out, art, p.Pattern.Name)
}

func (c *compileCmd) options(a *app) (consts map[string]int64, watch *compile.Observer, err error) {
	if consts, err = values(c.Set); err != nil {
		return nil, nil, err
	}
	watch = &compile.Observer{Warn: func(text string) { a.note("%s", strings.TrimRight(text, "\n")) }}
	if c.TimePasses {
		watch.Timing = func(step string, d time.Duration) { a.note("%9.3f ms  %s", d.Seconds()*1e3, step) }
	}
	if c.PrintAfter != "" {
		watch.PrintAfter, err = c.printer(a)
	}
	return consts, watch, err
}

// printer prints after the passes that --print-after names.
func (c *compileCmd) printer(a *app) (func(pass, target, text string), error) {
	var names []string
	for _, p := range passes.Table() {
		names = append(names, p.Name)
	}
	if c.PrintAfter != "all" && !slices.Contains(names, c.PrintAfter) {
		return nil, usagef("--print-after: no pass %q, want all or one of %s%s",
			c.PrintAfter, strings.Join(names, ", "), suggest.Hint(c.PrintAfter, names))
	}
	return func(pass, target, text string) {
		if c.PrintAfter == "all" || c.PrintAfter == pass {
			a.note("// after %s for %s\n%s", pass, target, strings.TrimRight(text, "\n"))
		}
	}, nil
}

// output returns where the artifact goes, "" for nowhere, and proves that writing loses nothing: no output is the
// source or another output, and the default name does not replace a file that is not an artifact.
func (c *compileCmd) output(in *input.File, pattern string) (string, error) {
	out := c.Out
	if out == "" && len(c.Emit) == 0 {
		out = pattern + ".minf"
		if old, err := os.ReadFile(out); err == nil && !artifact.Is(old) {
			return "", fmt.Errorf("%s is there and is not an artifact, name the output with -o", out)
		}
	}
	var outs []string
	for _, e := range c.Emit {
		outs = append(outs, e.path)
	}
	if c.Out == "-" && slices.Contains(outs, "-") {
		return "", usagef("the artifact and --emit cannot both go to standard output")
	}
	return out, distinct([]string{in.Path}, append(slices.DeleteFunc(outs, func(p string) bool { return p == "-" }), out))
}

func (c *compileCmd) writeArtifact(a *app, path string, art *artifact.Artifact, pattern string) error {
	bytes, err := encode(a, path, art)
	if err != nil {
		return err
	}
	var targets []string
	for _, k := range art.Manifest.Kernels {
		targets = append(targets, k.Target)
	}
	a.note("%s: %s for %s, head dim %d, %s, %d bytes", path, pattern, strings.Join(targets, " and "), c.HeadDim, c.DType, bytes)
	return nil
}

// encode writes an artifact and returns its size.
func encode(a *app, path string, art *artifact.Artifact) (bytes int, err error) {
	data, err := art.Encode()
	if err != nil {
		return 0, bug(err)
	}
	return len(data), write(a, path, data)
}

// write puts data at path, whole or not at all; - is standard output.
func write(a *app, path string, data []byte) error {
	if path == "-" {
		_, err := a.out.Write(data)
		return err
	}
	return files.Write(path, data)
}
