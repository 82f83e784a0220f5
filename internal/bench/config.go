package bench

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/compile"
	"github.com/minfc/minfc/internal/suggest"
	"github.com/minfc/minfc/internal/workload"
	"github.com/minfc/minfc/runtime"
	"github.com/minfc/minfc/runtime/device"
)

// Config is what to measure.
type Config struct {
	Patterns      []string // files, artifacts or names of the library
	SeqLens       []int
	QHeads        int // a multiple of KVHeads
	KVHeads       int
	HeadDim       int
	DType         abi.DType
	Target        string // "" for the newest that the device runs
	Workload      workload.Kind
	Seed          uint64                             // of the inputs and of the order of the kernels
	Planted       bool                               // lists as in published figures, not what the data chooses; only attention is timed
	PlantedBlocks BlockSharing                       // of planted lists of blocks; "" for BlocksApart
	Set           map[string]int64                   // values of parameters; each goes to the patterns that have it
	NoFallback    bool                               // heads stay sparse where dense attention would be faster; planted lists always do
	VsDense       bool                               // compare with our own dense kernel
	Rounds        int                                // 0: as many as Seconds allow
	Seconds       float64                            // device time of the rounds of one length
	Note          func(line string)                  // what a reader should know before the report; nil if nobody listens
	Progress      func(what string, done, total int) // how far long work is; nil if nobody watches
	Date, Command string                             // for the report; Date is 2006-01-02
}

// Check finds what is wrong in the numbers, before anything is compiled.
func (c Config) Check() error {
	if len(c.Patterns) == 0 {
		return fmt.Errorf("no pattern to measure")
	}
	if len(c.SeqLens) == 0 {
		return fmt.Errorf("no length to measure at")
	}
	for _, n := range c.SeqLens {
		if err := c.spec(n).Check(); err != nil {
			return err
		}
	}
	if err := c.PlantedBlocks.check(); err != nil {
		return err
	}
	if c.Rounds < 0 || !(c.Seconds > 0) {
		return fmt.Errorf("found %d rounds and %v seconds, want at least 0 rounds and more than 0 seconds", c.Rounds, c.Seconds)
	}
	return nil
}

// spec is the input of one length.
func (c Config) spec(n int) workload.Spec {
	return workload.Spec{Kind: c.Workload, Batch: 1, QHeads: c.QHeads, KVHeads: c.KVHeads, SeqLen: n, HeadDim: c.HeadDim, Seed: c.Seed, DType: c.DType}
}

func (c Config) shape(n int) runtime.Shape {
	return runtime.Shape{Batch: 1, QHeads: c.QHeads, KVHeads: c.KVHeads, SeqQ: n, SeqK: n, NoFallback: c.NoFallback || c.Planted}
}

func (c Config) note(format string, args ...any) {
	if c.Note != nil {
		c.Note(fmt.Sprintf(format, args...))
	}
}

func (c Config) step(what string, done, total int) {
	if c.Progress != nil {
		c.Progress(what, done, total)
	}
}

func (c Config) report(tool string, m Machine) *Report {
	return &Report{Schema: Schema, Tool: tool, Version: "minfc " + compile.Version, Date: c.Date, Command: c.Command, Machine: m,
		Call: Call{Batch: 1, QHeads: c.QHeads, KVHeads: c.KVHeads, HeadDim: c.HeadDim, DType: string(c.DType)}}
}

// subjects reads and compiles the patterns of c. Where a comparison is wanted, the baselines that were not named are added.
func (c Config) subjects(dev device.Info, target string) ([]*subject, error) {
	left := maps.Clone(c.Set)
	var list []*subject
	for _, file := range c.Patterns {
		s, err := newSubject(file, c, dev, target)
		if err == nil && c.Planted {
			err = s.canPlant()
		}
		if err != nil {
			return nil, err
		}
		for _, p := range s.pattern.Params {
			delete(left, p.Name)
		}
		list = append(list, s)
	}
	if names := slices.Sorted(maps.Keys(left)); len(names) > 0 {
		return nil, fmt.Errorf("none of the patterns has a parameter %q%s", names[0], suggest.Hint(names[0], paramNames(list)))
	}
	if !c.VsDense {
		return list, nil
	}
	return c.withBaselines(list, dev, target)
}

// withBaselines gives every subject its baseline.
func (c Config) withBaselines(list []*subject, dev device.Info, target string) ([]*subject, error) {
	for _, s := range slices.Clone(list) {
		name := s.baselineName()
		i := slices.IndexFunc(list, func(o *subject) bool { return o.file == name })
		if i < 0 {
			o, err := newSubject(name, c, dev, target)
			if err != nil {
				return nil, err
			}
			o.baseline = o
			list, i = append([]*subject{o}, list...), 0
		}
		s.baseline = list[i]
	}
	return list, nil
}

func paramNames(list []*subject) (names []string) {
	for _, s := range list {
		for _, p := range s.pattern.Params {
			if !slices.Contains(names, p.Name) {
				names = append(names, p.Name)
			}
		}
	}
	return names
}

// CommandLine is a command and its arguments as a shell would take them.
func CommandLine(args []string) string {
	words := []string{"minfc"}
	for _, w := range args {
		if strings.ContainsAny(w, " \t\"'$\\") {
			w = strconv.Quote(w)
		}
		words = append(words, w)
	}
	return strings.Join(words, " ")
}
