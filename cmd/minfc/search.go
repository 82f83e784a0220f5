package main

import (
	"fmt"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/internal/console"
	"github.com/minfc/minfc/internal/failure"
	"github.com/minfc/minfc/internal/files"
	"github.com/minfc/minfc/internal/flags"
	"github.com/minfc/minfc/internal/headplan"
	"github.com/minfc/minfc/internal/qkv"
	"github.com/minfc/minfc/internal/search"
	"github.com/minfc/minfc/internal/workload"
	"github.com/minfc/minfc/runtime/device"
)

type searchCmd struct {
	QKV     []string `name:"qkv" sep:"none" placeholder:"FILE" help:"Inputs of the layers, in their order: q [B, Hq, N, D], k and v [B, Hk, N, D], BF16 or F16, or layers.0.q and so on for several layers. May be repeated; batch entries are samples."`
	Samples int      `default:"1" placeholder:"S" help:"The files are so many samples of the model, one after the other, each with all layers. Default: 1."`
	Layout  string   `default:"bhsd" enum:"bhsd,bshd" placeholder:"bhsd|bshd" help:"Dimensions of q, k and v in the files: bhsd [B, H, S, D] or bshd [B, S, H, D]. Default: bhsd."`

	Gen     string      `placeholder:"KIND" help:"Generated inputs in place of files; minfc gen --help lists the kinds."`
	Layers  int         `default:"2" placeholder:"L" help:"Layers of --gen. Default: 2."`
	SeqLen  flags.Count `name:"seqlen" default:"32k" placeholder:"N" help:"Tokens of --gen; k is 1024 and m 1048576. Default: 32k."`
	Heads   int         `default:"8" placeholder:"H" help:"Query heads of --gen. Default: 8."`
	KVHeads int         `name:"kv-heads" placeholder:"K" help:"Heads of k and v of --gen. Default: as many as query heads."`
	HeadDim int         `default:"128" placeholder:"D" help:"Head dim of --gen. Default: 128."`
	DType   flags.DType `name:"dtype" default:"bf16" placeholder:"${dtype}" help:"Type of q, k and v of --gen: ${dtypes}."`

	Density *float64         `xor:"goal" placeholder:"X" help:"Mean density of the plan: kept over causal pairs, above 0 and at most 1. It is spent where it buys most."`
	Time    *flags.TimeLimit `xor:"goal" placeholder:"0.2x" help:"Predicted time of the plan: a part of dense attention's, 0.2x, or 12.5ms for all layers."`
	Error   *float64         `xor:"goal" placeholder:"X" help:"Error of the outputs of the plan, reached in the least time."`
	Measure string           `xor:"goal" placeholder:"PLAN" help:"Measure this plan in place of searching one: a file, or the name of a model with a published plan. PLAN of -o is the same plan with what was measured."`
	Rule    string           `default:"allocate" enum:"allocate,minference" help:"allocate, the whole budget where it buys most, or minference, for every head the best of its candidates at equal density. Default: allocate."`

	Candidates   []string `placeholder:"FILE" help:"JSON lists of heads as plans have them: [{\"pattern\": \"a_shape\", \"params\": {...}}]; default stands for the built-in ones. Default: default."`
	Patterns     string   `placeholder:"FILE" help:"Patterns beyond the library's that candidates name: pattern file or artifact."`
	Weights      string   `placeholder:"FILE" help:"JSON list of what the error of each layer's heads counts: a number, or a list of a number a head. Default: all alike."`
	FloorLayers  int      `placeholder:"N" help:"The first layers whose heads have the density of --floor-density at least."`
	FloorDensity float64  `placeholder:"X" help:"Least density of a head of the layers of --floor-layers."`
	Gate         float64  `default:"0.1" placeholder:"X" help:"Refuse candidates that lose more than this part of what retrieval rows look at; 1 refuses none. Default: 0.1."`
	Rows         int      `default:"512" placeholder:"N" help:"Sampled query rows of every head. Default: 512."`
	Seed         uint64   `default:"1" placeholder:"N" help:"Seed of --gen and of the sampled rows. Default: 1."`

	Target    flags.Target `default:"auto" help:"GPU generation whose times are predicted: one of ${targets}; auto is what the device runs. Default: auto."`
	Machine   string       `placeholder:"NAME" help:"Machine whose times are predicted: H200 or A100. Default: the device's, or the first that the target has."`
	ForLength flags.Count  `placeholder:"N" help:"Tokens of the prompts whose times are predicted. Default: the inputs'."`
	Device    string       `default:"auto" help:"auto, cuda, cuda:N, emu, or emu:sm_89 for an emulated GPU of another generation."`

	Out        string `short:"o" required:"" placeholder:"PLAN" help:"Where to write the plan; - is standard output. What was measured is kept beside it, in PLAN.search, for the next search."`
	MInference string `name:"minference" placeholder:"FILE" help:"Write the plan as a file of MInference, too."`
	Model      string `placeholder:"NAME" help:"Name of the model, for the plan."`
	Fresh      bool   `help:"Measure anew what PLAN.search has already."`
	Check      bool   `help:"Run the plan, and report its time and error beside the predicted ones."`
}

func (c *searchCmd) Run(out *console.Console) error {
	if err := c.checkUsage(); err != nil {
		return err
	}
	cfg, err := c.config()
	if err != nil {
		return err
	}
	defer cfg.Source.Close()
	if err := cfg.Judge(); err != nil { // before a device is opened
		return failure.Usage(err)
	}
	dev, sentence, err := device.OpenSpec(c.Device)
	if err != nil {
		return err
	}
	defer dev.Close()
	out.Note("%s", sentence)
	if cfg.Machine, cfg.Pricing, err = search.Pricing(dev, c.Target.Selected(), c.Machine); err != nil {
		return err
	}
	cfg.Note = func(line string) { out.Note("%s", line) }
	cfg.Progress = func(what string, done, total int) { out.Progress.Step(what, int64(done), int64(total)) }
	r, err := search.Run(dev, cfg)
	if err != nil {
		return err
	}
	return c.write(out, r)
}

// checkUsage finds what is wrong in the command line alone, and outputs that cannot be written.
func (c *searchCmd) checkUsage() error {
	switch {
	case len(c.QKV) == 0 && c.Gen == "":
		return failure.Usagef("there is nothing to search on: give --qkv with the inputs of the layers, or --gen")
	case len(c.QKV) > 0 && c.Gen != "":
		return failure.Usagef("--qkv and --gen both say what to search on, want one of them")
	case c.Measure != "" && c.Rule != string(search.Allocate):
		return failure.Usagef("--rule %s searches a plan, and --measure has one: want one of them", c.Rule)
	case c.Density == nil && c.Time == nil && c.Error == nil && c.Measure == "" && c.Rule == string(search.Allocate):
		return failure.Usagef("there is no goal: give --density, --time or --error, or --measure with a plan")
	case c.Out == "-" && c.MInference == "-":
		return failure.Usagef("-o and --minference cannot both go to standard output")
	}
	if err := flags.CheckDevice(c.Device); err != nil {
		return failure.Usage(err)
	}
	inputs := append(append([]string{c.Patterns, c.Weights, c.Measure}, c.QKV...), c.Candidates...)
	if err := files.Distinct(inputs, []string{c.Out, c.MInference, c.state()}); err != nil {
		return failure.Usage(err)
	}
	return files.Writable(c.Out, c.MInference, c.state()) // now, not after a long search
}

// state is where what was measured is kept.
func (c *searchCmd) state() string {
	if c.Out == "-" {
		return ""
	}
	return c.Out + ".search"
}

func (c *searchCmd) config() (cfg search.Config, err error) {
	cfg = search.Config{Rule: search.Rule(c.Rule), Goal: c.goal(), Floor: search.Floor{Layers: c.FloorLayers, Density: c.FloorDensity},
		Gate: c.Gate, Rows: c.Rows, Seed: c.Seed, Length: int(c.ForLength), State: c.state(), Fresh: c.Fresh, Model: c.Model, Measure: c.Check}
	if cfg.Patterns, err = headplan.ReadPatterns(c.Patterns); err != nil {
		return cfg, err
	}
	if cfg.Source, err = c.source(); err != nil {
		return cfg, err
	}
	if c.Measure != "" {
		err = c.measure(&cfg)
	}
	if err == nil {
		cfg.Candidates, err = search.ReadCandidates(c.Candidates, cfg.Patterns, cfg.Source.Shape.SeqQ)
	}
	if err == nil && c.Weights != "" {
		cfg.Weights, err = search.ReadWeights(c.Weights, cfg.Source.Layers, cfg.Source.Shape.QHeads)
	}
	if err != nil {
		cfg.Source.Close()
	}
	return cfg, err
}

// measure puts the plan to measure in place of a search.
func (c *searchCmd) measure(cfg *search.Config) error {
	p, err := cfg.Patterns.ReadPlan(c.Measure)
	if err != nil {
		return err
	}
	cfg.Rule = search.Given
	if cfg.Plan, err = p.Heads(cfg.Source.Shape.QHeads); err == nil && cfg.Model == "" {
		cfg.Model = p.Model
	}
	return err
}

func (c *searchCmd) goal() search.Goal {
	switch {
	case c.Density != nil:
		return search.Goal{By: search.Density, Limit: *c.Density}
	case c.Time != nil:
		return search.Goal{By: search.Time, Limit: c.Time.Value, Relative: c.Time.Relative}
	case c.Error != nil:
		return search.Goal{By: search.Error, Limit: *c.Error}
	}
	return search.Goal{}
}

func (c *searchCmd) source() (*search.Source, error) {
	if c.Gen == "" {
		return search.Files(c.QKV, qkv.Layout(c.Layout), c.Samples)
	}
	s := workload.Spec{Kind: workload.Kind(c.Gen), Batch: 1, QHeads: c.Heads, KVHeads: c.KVHeads, SeqLen: int(c.SeqLen), HeadDim: c.HeadDim,
		Seed: c.Seed, DType: abi.DType(c.DType)}
	if s.KVHeads == 0 {
		s.KVHeads = s.QHeads
	}
	source, err := search.Generated(s, c.Layers, c.Samples)
	return source, failure.Usage(err)
}

// write writes the plan, in both formats or not at all, and prints what is expected of it.
func (c *searchCmd) write(out *console.Console, r *search.Result) error {
	data, err := r.Plan.JSON()
	if err != nil {
		return failure.Bug(err)
	}
	var theirs []byte
	if c.MInference != "" {
		nameless := *r.Plan
		nameless.Model = ""
		if theirs, err = nameless.MInference(); err != nil {
			return fmt.Errorf("--minference: %w", err)
		}
	}
	if err := out.Write(c.Out, data); err != nil {
		return err
	}
	if c.MInference != "" {
		if err := out.Write(c.MInference, theirs); err != nil {
			return err
		}
	}
	if c.Out == "-" || c.MInference == "-" {
		out.ReportBeside()
	}
	return r.Write(out.Out)
}
