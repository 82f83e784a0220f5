package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/compile"
	"github.com/minfc/minfc/internal/console"
	"github.com/minfc/minfc/internal/failure"
	"github.com/minfc/minfc/internal/files"
	"github.com/minfc/minfc/internal/flags"
	"github.com/minfc/minfc/internal/input"
	"github.com/minfc/minfc/runtime/artifact"
)

type compileCmd struct {
	File       string           `arg:"" help:"Pattern file, or the name of a library pattern."`
	Pattern    string           `short:"p" help:"Pattern of the file; not needed when it has only one."`
	Target     flags.Target     `default:"auto" help:"GPU generation to compile for: one of ${targets}; auto puts the kernels of all into the artifact, and loading it picks the best that the device runs. Default: auto."`
	HeadDim    int              `required:"" placeholder:"D" help:"Head dim: ${headdims}."`
	DType      flags.DType      `name:"dtype" required:"" placeholder:"${dtype}" help:"Type of q, k, v and o: ${dtypes}."`
	Out        string           `short:"o" placeholder:"OUT.minf" help:"Artifact to write; - is standard output. Default without --emit: PATTERN.minf."`
	Emit       []flags.Emission `sep:"none" placeholder:"KIND[=PATH]" help:"Print a form of the pattern: ast, ir, schedule, program, llvm, ptx or manifest. May be repeated; without a path, or with -, to standard output."`
	Set        []flags.Setting  `sep:"none" placeholder:"NAME=VALUE" help:"Value of a const parameter. May be repeated."`
	TimePasses bool             `help:"Print the time of every step to standard error."`
	PrintAfter flags.Pass       `placeholder:"NAME|all" help:"Print the pattern after a pass, or after all, to standard error."`
}

func (c *compileCmd) Run(out *console.Console) error {
	consts, err := flags.Values(c.Set)
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
	watch := c.observer(out)
	watch.Emit = func(form, text string) { forms[form] = text }
	p, err := compile.Load(in.Name, in.Source, c.Pattern, watch)
	if err != nil {
		return err
	}
	path, err := c.output(in, p.Pattern.Name)
	if err != nil {
		return err
	}
	opts := compile.Options{Target: string(c.Target), DType: abi.DType(c.DType), HeadDim: c.HeadDim}
	art, err := p.With(consts).Compile(opts, watch)
	if err != nil {
		return err
	}
	for _, e := range c.Emit {
		if err := out.Write(e.Path, []byte(forms[e.Form])); err != nil {
			return err
		}
	}
	if path == "" {
		return nil
	}
	bytes, err := writeArtifact(out, path, art)
	if err != nil {
		return err
	}
	out.Note("%s: %s for %s, head dim %d, %s, %d bytes",
		path, p.Pattern.Name, strings.Join(opts.Targets(), " and "), c.HeadDim, c.DType, bytes)
	return nil
}

// observer prints what the command line asks for on the way.
func (c *compileCmd) observer(out *console.Console) *compile.Observer {
	watch := warnings(out)
	if c.TimePasses {
		watch.Timing = func(step string, d time.Duration) { out.Note("%9.3f ms  %s", d.Seconds()*1e3, step) }
	}
	if c.PrintAfter != "" {
		watch.PrintAfter = func(pass, target, text string) {
			if c.PrintAfter.Names(pass) {
				out.Note("// after %s for %s\n%s", pass, target, strings.TrimRight(text, "\n"))
			}
		}
	}
	return watch
}

// warnings prints the warnings of sources.
func warnings(out *console.Console) *compile.Observer {
	return &compile.Observer{Warn: func(text string) { out.Note("%s", strings.TrimRight(text, "\n")) }}
}

// output returns where the artifact goes, "" for nowhere, and proves that writing loses nothing.
func (c *compileCmd) output(in *input.File, pattern string) (path string, err error) {
	path = c.Out
	if path == "" && len(c.Emit) == 0 {
		if path, err = input.DefaultOutput(pattern); err != nil {
			return "", err
		}
	}
	var emitted []string
	for _, e := range c.Emit {
		emitted = append(emitted, e.Path)
	}
	if c.Out == "-" && slices.Contains(emitted, "-") {
		return "", failure.Usagef("the artifact and --emit cannot both go to standard output")
	}
	return path, failure.Usage(files.Distinct([]string{in.Path}, append(emitted, path)))
}

// writeArtifact writes an artifact and returns its size.
func writeArtifact(out *console.Console, path string, art *artifact.Artifact) (bytes int, err error) {
	data, err := art.Encode()
	if err != nil {
		return 0, failure.Bug(err)
	}
	return len(data), out.Write(path, data)
}

// writeJSON prints data as a result; that it could not be encoded is a fault of ours.
func writeJSON(out *console.Console, data []byte, err error) error {
	if err != nil {
		return failure.Bug(err)
	}
	return out.Write("-", data)
}
