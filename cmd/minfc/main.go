// Command minfc compiles sparse-attention patterns, runs them on a GPU or on the emulator, and checks the results.
package main

import (
	"fmt"
	"io"
	"os"
	"runtime/debug"

	"github.com/alecthomas/kong"

	"github.com/minfc/minfc/internal/console"
	"github.com/minfc/minfc/internal/failure"
	"github.com/minfc/minfc/internal/flags"
	"github.com/minfc/minfc/internal/version"
	_ "github.com/minfc/minfc/runtime/cuda"
	_ "github.com/minfc/minfc/runtime/gorgonia" // empty without the build tag gorgonia
)

// commands is the command line. FILE is a pattern file or the name of a library pattern; run also takes artifacts.
type commands struct {
	Compile compileCmd `cmd:"" help:"Compile a pattern into an artifact, or print what becomes of it."`
	Run     runCmd     `cmd:"" help:"Run a pattern on tensors, or on a small generated input when --qkv is not given."`
	Plan    planCmd    `cmd:"" help:"Show or convert a head plan: which pattern each head of a model runs."`
	Search  searchCmd  `cmd:"" help:"Find a head plan for a model: run candidates on the inputs of its layers, and spend a budget where it buys most."`
	Gen     genCmd     `cmd:"" help:"Write tensors with known structure, and say which pattern fits each head."`
	Bench   benchCmd   `cmd:"" help:"Measure patterns on a GPU: time, speed-up over dense, recall and error."`
	List    listCmd    `cmd:"" help:"List the patterns of the library: meaning, parameters, defaults."`
	Show    showCmd    `cmd:"" help:"Show a pattern: what it keeps, in words and as a picture, and what it costs."`
	Check   checkCmd   `cmd:"" help:"Report errors and warnings of pattern files."`
	Fmt     fmtCmd     `cmd:"" help:"Print pattern files in the canonical layout."`
	Cache   cacheCmd   `cmd:"" help:"Show or clear what was compiled and is kept for the next start."`
	Devices devicesCmd `cmd:"" help:"List the devices that run accepts."`
	Explain explainCmd `cmd:"" help:"Explain the code of a diagnostic, such as E0203."`
	Version versionCmd `cmd:"" help:"Print the version, the commit and the targets."`

	Completion  completionCmd    `cmd:"" help:"Print a script that completes commands, flags and patterns in a shell."`
	ShowVersion kong.VersionFlag `name:"version" help:"Print the version, the commit and the targets."`
}

func main() {
	endOnSignals(os.Stderr)
	os.Exit(run(&commands{}, os.Args[1:], os.Stdout, os.Stderr))
}

// run executes one command line of the grammar and returns the exit code.
func run(grammar any, args []string, stdout, stderr io.Writer) (code int) {
	defer func() {
		if r := recover(); r != nil {
			code = failure.Report(stderr, failure.Bug(fmt.Errorf("panic: %v\n%s", r, debug.Stack())))
		}
	}()
	out := console.New(stdout, stderr)
	defer out.Progress.Clear()
	parser, err := kong.New(grammar, kong.Name("minfc"), kong.Writers(stdout, stderr), kong.Bind(out),
		kong.Vars(flags.Vars()), kong.Vars{"version": version.Text()},
		kong.Description("A compiler for sparse attention. Exit codes: 0 done, 1 bad input, 2 bad usage, 3 a fault of minfc, 130 ended by Ctrl-C."))
	if err != nil {
		return failure.Report(stderr, failure.Bug(err))
	}
	if len(args) == 0 { // asked for nothing: say what there is
		return help(parser, stderr)
	}
	ctx, err := parser.Parse(args)
	if err != nil {
		return failure.Report(stderr, failure.Usage(err))
	}
	if err = ctx.Run(); err == nil {
		err = out.Failed()
	}
	return failure.Report(stderr, err)
}

// help prints the help of the whole program, which was called without a command: that is no success.
func help(parser *kong.Kong, stderr io.Writer) int {
	ctx, err := kong.Trace(parser, nil)
	if err == nil {
		err = ctx.PrintUsage(false)
	}
	if err != nil {
		return failure.Report(stderr, failure.Bug(err))
	}
	return failure.ExitUsage
}
