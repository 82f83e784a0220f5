package main

import (
	"fmt"
	"os"
	"time"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/compile"
	"github.com/minfc/minfc/internal/bench"
	"github.com/minfc/minfc/internal/console"
	"github.com/minfc/minfc/internal/failure"
	"github.com/minfc/minfc/internal/files"
	"github.com/minfc/minfc/internal/flags"
	"github.com/minfc/minfc/internal/workload"
	"github.com/minfc/minfc/runtime/device"
)

type benchCmd struct {
	Patterns   []string        `arg:"" optional:"" name:"pattern" help:"Pattern files, artifacts or names of library patterns. Default: a_shape."`
	SeqLen     []flags.Count   `name:"seqlen" default:"32k" placeholder:"32k,128k,1m" help:"Lengths, in tokens; k is 1024 and m 1048576. Default: 32k."`
	Heads      int             `default:"8" placeholder:"H" help:"Query heads. Default: 8."`
	KVHeads    int             `name:"kv-heads" placeholder:"K" help:"Heads of k and v. Default: as many as query heads."`
	HeadDim    int             `default:"128" placeholder:"D" help:"Head dim. Default: 128."`
	DType      flags.DType     `name:"dtype" default:"bf16" placeholder:"${dtype}" help:"Type of q, k, v and o: ${dtypes}."`
	Target     flags.Target    `default:"auto" help:"GPU generation to compile for or to select: one of ${targets}; auto is the best that the device runs. Default: auto."`
	Device     string          `default:"auto" help:"auto, cuda, cuda:N, emu, or emu:sm_89 for an emulated GPU of another generation."`
	Workload   string          `default:"mixed" placeholder:"KIND" help:"Structure of the inputs; minfc gen --help lists the kinds. Default: mixed."`
	Planted    bool            `help:"Attention alone over lists of the shapes of published figures, for patterns that the data decides: nothing is estimated."`
	Blocks     string          `name:"planted-blocks" default:"apart" enum:"apart,half,wide" help:"What neighbouring row blocks share in planted lists of blocks: apart nothing, half of it, wide blocks of 128x128. Default: apart."`
	Seed       uint64          `default:"1" placeholder:"N" help:"Seed of the inputs and of the order of the kernels. Default: 1."`
	Set        []flags.Setting `sep:"none" placeholder:"NAME=VALUE" help:"Value of a parameter, for the patterns that have it. May be repeated."`
	NoFallback bool            `help:"Keep every head sparse, also where dense attention is predicted to be faster."`
	VsDense    bool            `name:"vs-dense" default:"true" negatable:"" help:"Compare with our own kernel without sparsity: speed-up, error. Default: yes."`
	Rounds     int             `placeholder:"N" help:"Rounds of each length. Default: what --seconds allow, 3 to 25."`
	Seconds    float64         `default:"15" placeholder:"S" help:"Device time of the rounds of each length. Default: 15."`
	Predict    bool            `help:"Print what the cost model expects and run nothing."`
	Machine    string          `placeholder:"NAME" help:"Machine of --predict: H200 or A100. Default: the first that the target has, with its best target."`
	Compare    string          `placeholder:"PEERS.json" help:"What bench/peers.py measured: print how many times faster minfc is."`
	JSON       string          `name:"json" placeholder:"F" help:"Write the figures as JSON; - is standard output, and the table then goes to standard error."`
	Plot       string          `placeholder:"F.svg" help:"Draw time, speed-up and recall as SVG."`
}

func (c *benchCmd) Run(out *console.Console) error {
	if err := c.checkUsage(); err != nil {
		return err
	}
	cfg, err := c.config(out)
	if err != nil {
		return err
	}
	var peers *bench.Report
	if c.Compare != "" {
		if peers, err = bench.ReadReport(c.Compare); err != nil {
			return err
		}
	}
	r, err := c.measure(out, cfg)
	if err != nil {
		return err
	}
	if err := c.write(out, r, peers); err != nil {
		return err
	}
	if failed := r.Failures(); len(failed) > 0 {
		return fmt.Errorf("%d of %d rows could not be measured, first %s", len(failed), len(r.Rows), failed[0])
	}
	return nil
}

// checkUsage finds what is wrong in the command line alone, and outputs that cannot be written.
func (c *benchCmd) checkUsage() error {
	switch {
	case c.Predict && c.Compare != "":
		return failure.Usagef("--predict runs nothing, --compare wants measured times")
	case c.Predict && c.Planted:
		return failure.Usagef("--predict runs nothing, --planted says over which lists to run")
	case c.Blocks != string(bench.BlocksApart) && !c.Planted:
		return failure.Usagef("--planted-blocks says which lists to plant, --planted is not given")
	case c.Machine != "" && !c.Predict:
		return failure.Usagef("--machine names the machine of --predict, which is not given")
	case c.JSON == "-" && c.Plot == "-":
		return failure.Usagef("--json and --plot cannot both go to standard output")
	}
	if err := files.Distinct(append([]string{c.Compare}, c.Patterns...), []string{c.JSON, c.Plot}); err != nil {
		return failure.Usage(err)
	}
	return files.Writable(c.JSON, c.Plot) // now, not after a long run
}

func (c *benchCmd) config(out *console.Console) (bench.Config, error) {
	set, err := flags.Values(c.Set)
	if err != nil {
		return bench.Config{}, err
	}
	cfg := bench.Config{
		Patterns: c.Patterns, QHeads: c.Heads, KVHeads: c.KVHeads, HeadDim: c.HeadDim, DType: abi.DType(c.DType),
		Target: c.Target.Selected(), Workload: workload.Kind(c.Workload), Seed: c.Seed, Planted: c.Planted, PlantedBlocks: bench.BlockSharing(c.Blocks),
		NoFallback: c.NoFallback, Set: set, VsDense: c.VsDense, Rounds: c.Rounds, Seconds: c.Seconds,
		Date: time.Now().Format(time.DateOnly), Command: bench.CommandLine(os.Args[1:]), Note: func(line string) { out.Note("%s", line) },
		Progress: func(what string, done, total int) { out.Progress.Step(what, int64(done), int64(total)) },
	}
	for _, n := range c.SeqLen {
		cfg.SeqLens = append(cfg.SeqLens, int(n))
	}
	if len(cfg.Patterns) == 0 {
		cfg.Patterns = []string{"a_shape"}
	}
	if cfg.KVHeads == 0 {
		cfg.KVHeads = cfg.QHeads
	}
	return cfg, cfg.Check()
}

func (c *benchCmd) measure(out *console.Console, cfg bench.Config) (*bench.Report, error) {
	if c.Predict {
		return bench.Predict(cfg, c.Machine)
	}
	if err := cfg.Judge(); err != nil { // before a device is opened
		return nil, err
	}
	dev, sentence, err := device.OpenSpec(c.Device)
	if err != nil {
		return nil, err
	}
	defer dev.Close()
	out.Note("%s", sentence)
	if target, passed, err := compile.TargetOn(dev.Info()); err == nil && passed != nil && cfg.Target == "" {
		out.Note("running %s code: %v", target, passed)
	}
	bench.Watch(dev, out.Progress, 0)
	return bench.Run(dev, cfg)
}

func (c *benchCmd) write(out *console.Console, r, peers *bench.Report) error {
	if c.JSON != "" {
		data, err := r.JSON()
		if err != nil {
			return failure.Bug(err)
		}
		if err := out.Write(c.JSON, data); err != nil {
			return err
		}
	}
	if c.Plot != "" {
		data, err := r.Plot(peers)
		if err != nil {
			return err
		}
		if err := out.Write(c.Plot, data); err != nil {
			return err
		}
	}
	if c.JSON == "-" || c.Plot == "-" {
		return r.Write(out.Err, peers)
	}
	return r.Write(out.Out, peers)
}
