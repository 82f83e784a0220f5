package search

import (
	"errors"
	"fmt"
	"strings"

	"github.com/minfc/minfc"
	"github.com/minfc/minfc/internal/bench"
	"github.com/minfc/minfc/internal/cost"
	"github.com/minfc/minfc/internal/headplan"
	"github.com/minfc/minfc/ir"
	"github.com/minfc/minfc/plan"
	"github.com/minfc/minfc/runtime/device"
)

// Rule is how heads get their candidates.
type Rule string

// The rules.
const (
	Allocate   Rule = "allocate"   // the whole budget where it buys most
	MInference Rule = "minference" // for every head the best of its candidates at equal density, on one sample
	Given      Rule = "given"      // none: a plan is measured
)

// Config is what to search for.
type Config struct {
	Source     *Source
	Patterns   *headplan.Patterns
	Candidates []plan.Head // nil for the built-in ones. Dense attention is always one of them
	Rule       Rule
	Plan       [][]plan.Head // of the rule Given: the heads of every layer
	Goal       Goal
	Weights    Weights // nil: all heads alike
	Floor      Floor
	Gate       float64 // the part of what retrieval rows look at that a candidate may lose, by mass
	Rows       int     // sampled rows of every head, about
	Seed       uint64  // of the sampled rows

	Machine cost.Machine  // whose times are predicted
	Pricing device.Device // an emulator that has the machine's target, where the device that runs has another one; nil where it is the same
	Length  int           // tokens of the prompts whose times are predicted; 0 for the source's

	State string // path of what was measured so far; "" keeps nothing
	Fresh bool   // leave the state that is there alone, and write it anew
	Model string // name for the plan

	Measure bool // run the plan that was found, too

	Note     func(line string)                  // what a reader should know before the result; nil if nobody listens
	Progress func(what string, done, total int) // how far it is; nil if nobody watches
}

// Floor is the least density of every head of the first layers.
type Floor struct {
	Layers  int
	Density float64
}

// Judge finds what is wrong in the numbers, before a device is opened.
func (c *Config) Judge() error {
	s := c.Source
	switch {
	case c.Rule != Allocate && c.Rule != MInference && c.Rule != Given:
		return fmt.Errorf("there is no rule %q, want %s or %s", c.Rule, Allocate, MInference)
	case c.Rule == MInference && c.Goal.By != Density && c.Goal != (Goal{}):
		return fmt.Errorf("MInference's rule brings candidates to an equal density: it goes with --density, or without a goal for its published budgets")
	case c.Rule == MInference && c.Candidates != nil:
		return fmt.Errorf("MInference's rule has candidates of its own, it does not go with --candidates")
	case c.Rows < 1:
		return fmt.Errorf("found %d sampled rows, want at least 1", c.Rows)
	case !(c.Gate >= 0 && c.Gate <= 1):
		return fmt.Errorf("the gate is %v, want a part from 0 to 1", c.Gate)
	case c.Floor.Layers < 0 || c.Floor.Layers > s.Layers || !(c.Floor.Density >= 0 && c.Floor.Density <= 1):
		return fmt.Errorf("found a floor of %v for %d layers, want a density from 0 to 1 and at most the %d layers that there are", c.Floor.Density, c.Floor.Layers, s.Layers)
	}
	if err := c.checkGiven(); err != nil || c.Rule == Given {
		return err
	}
	if c.Rule == Allocate || c.Goal != (Goal{}) {
		if err := c.Goal.check(); err != nil {
			return err
		}
	}
	return c.Weights.check(s.Layers, s.Shape.QHeads)
}

// searcher is one search.
type searcher struct {
	Config
	dev     device.Device
	rows    sample
	kernels kernels
	list    []candidate
	of      []family // of MInference's rule
	state   *state
	memory  *memory

	options [][]option  // of each head, [layers * heads], one for each candidate, without cost and loss
	power   [][]float64 // [layers][heads], mean over the samples
	needles []float64   // mass of the keys that retrieval rows look at, [layers * heads], over the samples
	counts  []float64   // what the square of each head's error counts, [layers * heads]
	next    <-chan read // the samples of the next layer
}

// Run searches on a device.
func Run(dev device.Device, c Config) (_ *Result, err error) {
	s, err := measure(dev, c)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	r, err := s.decide()
	if err == nil && s.Measure {
		r.Ran, err = s.run(r.Outcome)
	}
	return r, err
}

// measure measures all candidates on all layers, as far as the state has not.
func measure(dev device.Device, c Config) (_ *searcher, err error) {
	if err := c.Judge(); err != nil {
		return nil, err
	}
	s := &searcher{Config: c, dev: dev, rows: newSample(c.Source.Shape.SeqQ, c.Rows, c.Seed)}
	if s.state, err = readState(c.State, c.Fresh); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.state.save(), s.close())
		}
	}()
	if err := s.prepare(); err != nil {
		return nil, err
	}
	for layer := range c.Source.Layers {
		if err := s.layer(layer); err != nil {
			return nil, fmt.Errorf("layer %d: %w", layer, err)
		}
	}
	s.step("measuring", c.Source.Layers*len(s.list), c.Source.Layers*len(s.list))
	return s, nil
}

func (s *searcher) close() (err error) {
	if s.next != nil {
		<-s.next // nobody reads from files that are closed
	}
	if s.memory != nil {
		err = s.memory.close()
	}
	return errors.Join(err, s.kernels.close())
}

func (s *searcher) step(what string, done, total int) {
	if s.Progress != nil {
		s.Progress(what, done, total)
	}
}

// prepare compiles the candidates and takes memory.
func (s *searcher) prepare() error {
	shape := s.Source.Shape
	if s.Length == 0 {
		s.Length = shape.SeqQ
	}
	s.kernels = kernels{dev: s.dev, pricing: s.Pricing, machine: s.Machine, shape: shape, length: s.Length, patterns: s.Patterns, loaded: map[string]*kernel{},
		heads: minfc.Heads{Q: shape.QHeads, KV: shape.KVHeads, Dim: shape.HeadDim, DType: s.Source.DType}}
	if s.Pricing == nil {
		s.kernels.pricing = s.dev
	}
	heads := s.heads()
	for i, h := range heads {
		s.step("loading kernels", i, len(heads))
		c, err := s.kernels.candidate(h)
		if err != nil {
			return err
		}
		s.list = append(s.list, c)
	}
	s.step("loading kernels", len(heads), len(heads))
	s.noteEmulation()
	var err error
	s.memory, err = newMemory(s.dev, shape, s.list)
	return err
}

// noteEmulation says beforehand that an emulator will need minutes.
func (s *searcher) noteEmulation() {
	if s.Note == nil || s.dev.Info().Driver != "emu" {
		return
	}
	shape, seconds := ir.Shape{Sq: s.Source.Shape.SeqQ, Sk: s.Source.Shape.SeqK}, 0.0
	for _, c := range s.list {
		seconds += bench.EmulatedSeconds(c.run.Loaded().Patterns()[0], s.Source.Shape.HeadDim, shape, c.part.Params, c.call.Blocks())
	}
	if seconds *= float64(s.Source.Shape.QHeads * s.Source.Layers * s.Source.Samples); seconds > bench.LongEmulation {
		s.Note(fmt.Sprintf("the emulator needs about %.0f minutes for this, less what was measured before: give it fewer tokens, heads or layers, or use a GPU", seconds/60))
	}
}

// heads are the candidates, dense attention first: the reference is what it computes.
func (s *searcher) heads() []plan.Head {
	n := s.Source.Shape.SeqQ
	switch {
	case s.Rule == MInference:
		s.of = families(s.Patterns.Known, n, s.Goal.Limit)
		out := []plan.Head{{Pattern: s.Patterns.Known[denseName]}}
		for _, f := range s.of {
			out = append(out, f...)
		}
		return out
	case s.Rule == Given:
		return withDense(s.Patterns.Known, s.named())
	case s.Candidates == nil:
		return BuiltIn(s.Patterns.Known, n)
	}
	return withDense(s.Patterns.Known, s.Candidates)
}

// key is the key of what was measured of a prompt with a candidate.
func (s *searcher) key(p prompt, what string) string {
	return keyOf(p.id, what, fmt.Sprint(s.rows.spans), s.target(), s.Machine.Name, s.Machine.Target, fmt.Sprint(s.Machine.Multiprocessors, s.Length))
}

// target is the code that runs.
func (s *searcher) target() string { return s.list[0].run.Loaded().Build().Target }

// name is a candidate word for word, with the meaning of its pattern.
func (c candidate) name() string {
	return c.Head.String() + "\n" + strings.TrimSpace(c.Pattern.String())
}
