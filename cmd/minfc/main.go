// Command minfc compiles sparse-attention patterns, runs them on a GPU or on the emulator, and checks the results.
package main

import (
	"fmt"
	"io"
	"os"
	"runtime/debug"

	"github.com/alecthomas/kong"

	"github.com/minfc/minfc/internal/progress"
	"github.com/minfc/minfc/internal/version"
	_ "github.com/minfc/minfc/runtime/cuda"
	_ "github.com/minfc/minfc/runtime/gorgonia" // empty without the build tag gorgonia
)

// commands is the command line. FILE is a pattern file or the name of a library pattern; run also takes artifacts.
type commands struct {
	Compile compileCmd `cmd:"" help:"Compile a pattern into an artifact, or print what becomes of it."`
	Run     runCmd     `cmd:"" help:"Run a pattern on tensors, or on a small generated input when --qkv is not given."`
	Plan    planCmd    `cmd:"" help:"Show or convert a head plan: which pattern each head of a model runs."`
	Gen     genCmd     `cmd:"" help:"Write tensors with known structure, and say which pattern fits each head."`
	Bench   benchCmd   `cmd:"" help:"Measure patterns on a GPU: time, speed-up over dense, recall and error."`
	List    listCmd    `cmd:"" help:"List the patterns of the library: meaning, parameters, defaults."`
	Check   checkCmd   `cmd:"" help:"Report errors and warnings of pattern files."`
	Fmt     fmtCmd     `cmd:"" help:"Print pattern files in the canonical layout."`
	Devices devicesCmd `cmd:"" help:"List the devices that run accepts."`
	Explain explainCmd `cmd:"" help:"Explain the code of a diagnostic, such as E0203."`
	Version versionCmd `cmd:"" help:"Print the version, the commit and the targets."`

	Completion  completionCmd    `cmd:"" help:"Print a script that completes commands, flags and patterns in a shell."`
	ShowVersion kong.VersionFlag `name:"version" help:"Print the version, the commit and the targets."`
}

// app is what a command writes to: results to out, everything else to err.
type app struct {
	out      *results
	err      io.Writer
	progress *progress.Reporter // on err
}

func (a *app) note(format string, args ...any) {
	a.progress.Clear()
	fmt.Fprintf(a.err, format+"\n", args...)
}

func main() {
	endOnSignals(os.Stderr)
	os.Exit(run(&commands{}, os.Args[1:], os.Stdout, os.Stderr))
}

// run executes one command line of the grammar and returns the exit code.
func run(grammar any, args []string, stdout, stderr io.Writer) (code int) {
	defer func() {
		if r := recover(); r != nil {
			code = report(stderr, bug(fmt.Errorf("panic: %v\n%s", r, debug.Stack())))
		}
	}()
	a := &app{out: &results{w: stdout}, err: stderr, progress: progress.New(stderr)}
	defer a.progress.Clear()
	parser, err := kong.New(grammar, kong.Name("minfc"), kong.Writers(stdout, stderr), kong.Bind(a), targetNames, kong.Vars{"version": version.Text()},
		kong.Description("A compiler for sparse attention. Exit codes: 0 done, 1 bad input, 2 bad usage, 3 a fault of minfc, 130 ended by Ctrl-C."))
	if err != nil {
		return report(stderr, bug(err))
	}
	if len(args) == 0 { // asked for nothing: say what there is
		return help(parser, stderr)
	}
	ctx, err := parser.Parse(args)
	if err != nil {
		return report(stderr, usage(err))
	}
	if err = ctx.Run(); err == nil {
		err = a.out.failed
	}
	return report(stderr, err)
}

// help prints the help of the whole program, which was called without a command: that is no success.
func help(parser *kong.Kong, stderr io.Writer) int {
	ctx, err := kong.Trace(parser, nil)
	if err == nil {
		err = ctx.PrintUsage(false)
	}
	if err != nil {
		return report(stderr, bug(err))
	}
	return exitUsage
}

// results is the standard output; it keeps the first error, so that a full disk behind a redirection is not missed.
type results struct {
	w      io.Writer
	failed error
}

func (r *results) Write(p []byte) (int, error) {
	n, err := r.w.Write(p)
	if err != nil && r.failed == nil {
		r.failed = fmt.Errorf("cannot write to standard output: %w", err)
	}
	return n, err
}

func (r *results) printf(format string, args ...any) { fmt.Fprintf(r, format, args...) }
