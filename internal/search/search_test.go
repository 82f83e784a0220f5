package search

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/internal/cost"
	"github.com/minfc/minfc/internal/headplan"
	"github.com/minfc/minfc/internal/outlook"
	"github.com/minfc/minfc/internal/qkv"
	"github.com/minfc/minfc/internal/workload"
	"github.com/minfc/minfc/plan"
	"github.com/minfc/minfc/runtime/device"
	"github.com/minfc/minfc/runtime/emu"
	"github.com/minfc/minfc/safetensors"
)

func TestMain(m *testing.M) {
	os.Setenv("MINFC_CACHE", "off") // the user's cache makes no test pass
	os.Exit(m.Run())
}

// toy are two layers whose heads have, in order, an A-shape, diagonals, columns and blocks. What fits each is known.
var toy = workload.Spec{Kind: workload.Mixed, Batch: 1, QHeads: 4, KVHeads: 4, SeqLen: 256, HeadDim: 64, Seed: 3, DType: abi.BF16}

const toyLayers = 2

func h200(t *testing.T) cost.Machine {
	m, err := outlook.FindMachine("sm_80", "H200")
	require.NoError(t, err)
	return m
}

func toyConfig(t *testing.T, state string) Config {
	t.Helper()
	source, err := Generated(toy, toyLayers, 1)
	require.NoError(t, err)
	patterns, err := headplan.ReadPatterns("")
	require.NoError(t, err)
	return Config{Source: source, Patterns: patterns, Rule: Allocate, Goal: Goal{By: Density, Limit: 0.6}, Gate: 0.1, Rows: 256, Seed: 1, Machine: h200(t), State: state}
}

// watched is an emulator that counts launches.
func watched(t *testing.T) (device.Device, *int) {
	launches := new(int)
	dev, err := emu.Open(emu.Options{Capability: 80, Observe: func(emu.Stats) { *launches++ }}) // whose code is emulated sooner
	require.NoError(t, err)
	t.Cleanup(func() { dev.Close() })
	return dev, launches
}

func written(t *testing.T, p *plan.Plan) string {
	data, err := p.JSON()
	require.NoError(t, err)
	return string(data)
}

// TestSearch searches on inputs whose answer is known. All parts share what the first one measured.
func TestSearch(t *testing.T) {
	path := filepath.Join(t.TempDir(), "plan.search")
	dev, launches := watched(t)
	first, err := Run(dev, toyConfig(t, path))
	require.NoError(t, err)
	require.NotZero(t, *launches)
	before := *launches
	s, err := measure(dev, toyConfig(t, path))
	require.NoError(t, err)
	defer func() { require.NoError(t, s.close()) }()
	require.Equal(t, before, *launches, "nothing is measured twice")
	again := decided(t, s, nil)
	require.Equal(t, written(t, first.Plan), written(t, again.Plan))

	t.Run("heads get the patterns that were planted", func(t *testing.T) {
		require.LessOrEqual(t, first.Density, 0.6*(1+slack))
		require.Greater(t, first.Density, 0.55, "the budget is spent")
		for _, layer := range first.Plan.Layers {
			require.Equal(t, "a_shape", layer[0].Pattern.Name)
			require.Equal(t, "vertical_slash", layer[1].Pattern.Name)
			require.Equal(t, "vertical_slash", layer[2].Pattern.Name)
			require.Less(t, layer[2].Found.Error, 0.05)
			require.Greater(t, layer[2].Score, 0.99)
		}
	})
	t.Run("density 1 is exact", func(t *testing.T) {
		r := decided(t, s, func(c *Config) { c.Goal.Limit = 1 })
		require.Zero(t, r.Error)
		require.InDelta(t, 1, r.Mass, 1e-9)
		ran, err := s.run(r.Outcome)
		require.NoError(t, err)
		require.Zero(t, ran.Error)
	})
	t.Run("a run of the plan has the error that was expected", func(t *testing.T) {
		r := decided(t, s, nil)
		ran, err := s.run(r.Outcome)
		require.NoError(t, err)
		require.Greater(t, r.Error, 0.0)
		require.InEpsilon(t, r.Error, ran.Error, 0.01)
	})
	t.Run("measuring a plan", func(t *testing.T) { testGiven(t, dev, first) })
	t.Run("better than chance", func(t *testing.T) { testChance(t, s) })
	t.Run("gate, floor and weights", func(t *testing.T) { testGateFloorWeights(t, s) })
	t.Run("goals that nothing meets", func(t *testing.T) { testTooLittle(t, s) })
	t.Run("files", func(t *testing.T) { testFiles(t, dev) })
	t.Run("a search that ended early", func(t *testing.T) { testEndedEarly(t, path, first) })
	if !testing.Short() {
		t.Run("goals", func(t *testing.T) { testGoals(t, dev) })
	}
}

// decided chooses anew from what was measured.
func decided(t *testing.T, s *searcher, change func(c *Config)) *Result {
	t.Helper()
	own := *s
	if change != nil {
		change(&own.Config)
	}
	r, err := own.decide()
	require.NoError(t, err)
	s.counts = own.counts
	return r
}

// testGiven measures the plan that was found, on the same inputs, and one of other inputs: a plan has the numbers that the search expected of it.
func testGiven(t *testing.T, dev device.Device, found *Result) {
	c := toyConfig(t, "")
	c.Rule, c.Goal = Given, Goal{}
	for i := range found.Plan.Layers {
		heads, _, err := found.Plan.Assign(i, toy.QHeads)
		require.NoError(t, err)
		c.Plan = append(c.Plan, heads)
	}
	r, err := Run(dev, c)
	require.NoError(t, err)
	require.Less(t, r.Candidates, found.Candidates, "what no head runs is not measured")
	got, want := *r.Plan, *found.Plan
	gotSearch, wantSearch := *got.Search, *want.Search
	wantSearch.Gated = 0 // nothing was refused, as nothing was chosen
	got.Search, want.Search = &gotSearch, &wantSearch
	require.Equal(t, written(t, &want), written(t, &got))

	c.Plan = c.Plan[:1]
	_, err = Run(dev, c)
	require.ErrorContains(t, err, "the plan has 1 layer, and the inputs are of 2")
	c.Plan = [][]plan.Head{c.Plan[0][:3], c.Plan[0]}
	_, err = Run(dev, c)
	require.ErrorContains(t, err, "the plan is for 3 query heads, and the inputs have 4")
}

// testChance draws plans of the same density or less: none has an error as small.
func testChance(t *testing.T, s *searcher) {
	found := decided(t, s, nil)
	rng := rand.New(rand.NewPCG(5, 6))
	for drawn := 0; drawn < 200; {
		all := make([]choice, len(s.options))
		for h, options := range s.options {
			all[h] = options[rng.IntN(len(options))].choice
		}
		o, err := s.outcome(all)
		require.NoError(t, err)
		if o.Density <= found.Density {
			drawn++
			require.Greater(t, o.Error, found.Error)
		}
	}
}

// testGoals: a time is kept to and an error is reached, at a length where lists win over dense attention.
func testGoals(t *testing.T, dev device.Device) {
	c := toyConfig(t, "")
	c.Goal, c.Length, c.Candidates = Goal{By: Error, Limit: 0}, 1<<15, nil
	for _, h := range BuiltIn(c.Patterns.Known, toy.SeqLen) {
		if h.Pattern.Name != "block_sparse" {
			c.Candidates = append(c.Candidates, h)
		}
	}
	s, err := measure(dev, c)
	require.NoError(t, err)
	defer func() { require.NoError(t, s.close()) }()
	dense := decided(t, s, nil)
	require.Zero(t, dense.Error)
	last := dense.Millis
	for _, part := range []float64{0.9, 0.8, 0.7, 0.6, 0.5, 0.4} {
		r := decided(t, s, func(c *Config) { c.Goal = Goal{By: Time, Limit: part, Relative: true} })
		require.LessOrEqual(t, r.Millis, part*r.DenseMillis*(1+slack))
		require.LessOrEqual(t, r.Millis, last)
		last = r.Millis
		same := decided(t, s, func(c *Config) { c.Goal = Goal{By: Time, Limit: part * r.DenseMillis} })
		require.Equal(t, written(t, r.Plan), written(t, same.Plan), "milliseconds and a part of them say the same")
	}
	require.Less(t, last, dense.Millis)
	last = dense.Millis
	for _, e := range []float64{0.01, 0.1, 0.5} {
		r := decided(t, s, func(c *Config) { c.Goal = Goal{By: Error, Limit: e} })
		require.LessOrEqual(t, r.Error, e*(1+slack))
		require.LessOrEqual(t, r.Millis, last)
		last = r.Millis
	}
	require.Less(t, last, dense.Millis)
	_, err = func() (*Result, error) {
		own := *s
		own.Goal = Goal{By: Time, Limit: 1e-9, Relative: true}
		return own.decide()
	}()
	require.ErrorContains(t, err, "no plan keeps to 1e-09x the time of dense attention: the least time is ")
}

func testGateFloorWeights(t *testing.T, s *searcher) {
	gated := decided(t, s, func(c *Config) { c.Goal.Limit = 0.35 })
	require.NotZero(t, gated.Needles)
	require.NotZero(t, gated.Refused)
	require.LessOrEqual(t, gated.Lost, 0.1)
	require.Greater(t, gated.Ungated.Lost, gated.Lost, "without the gate retrieval pays for the error")
	require.Less(t, gated.Ungated.Error, gated.Error)
	open := decided(t, s, func(c *Config) { c.Goal.Limit, c.Gate = 0.35, 1 })
	require.Zero(t, open.Refused)
	require.Equal(t, open.Error, gated.Ungated.Error)

	floor := decided(t, s, func(c *Config) { c.Floor = Floor{Layers: 1, Density: 0.5} })
	least := 1.0
	for _, h := range floor.Plan.Layers[0] {
		least = min(least, h.Found.Density)
	}
	require.GreaterOrEqual(t, least, 0.5)
	require.Greater(t, floor.Error, decided(t, s, nil).Error)

	one := decided(t, s, func(c *Config) { c.Weights = Weights{{0, 0, 0, 1}, {0, 0, 0, 0}} })
	require.Zero(t, one.Error, "the budget goes where it counts")
	require.Greater(t, one.Plan.Layers[0][3].Found.Density, one.Plan.Layers[1][3].Found.Density)
}

// testTooLittle: the error names the nearest goal, and that can be met.
func testTooLittle(t *testing.T, s *searcher) {
	own := *s
	own.Goal.Limit = 0.01
	_, err := own.decide()
	require.ErrorContains(t, err, "no plan keeps to the density 0.01: the least density is 0.")
	require.ErrorContains(t, err, "the gate refuses candidates of")
	_, after, _ := strings.Cut(err.Error(), "the least density is ")
	digits, _, _ := strings.Cut(after, ";")
	least, err := strconv.ParseFloat(digits, 64)
	require.NoError(t, err)
	r := decided(t, s, func(c *Config) { c.Goal.Limit = least })
	require.InDelta(t, least, r.Density, 1e-3)
}

// testFiles: layers from files, two in one or one each, give the plan that the same layers give from the generator.
func testFiles(t *testing.T, dev device.Device) {
	dir := t.TempDir()
	var together []safetensors.Tensor
	var paths []string
	for i := range toyLayers {
		s := toy
		s.Seed += uint64(i)
		in, err := qkv.GenerateSpec(s, nil)
		require.NoError(t, err)
		data, err := safetensors.Encode(in.Tensors())
		require.NoError(t, err)
		paths = append(paths, filepath.Join(dir, []string{"a", "b"}[i]))
		require.NoError(t, os.WriteFile(paths[i], data, 0o600))
		for _, x := range in.Tensors() {
			x.Name = []string{"layers.0.", "layers.1."}[i] + x.Name
			together = append(together, x)
		}
	}
	data, err := safetensors.Encode(together)
	require.NoError(t, err)
	both := filepath.Join(dir, "both")
	require.NoError(t, os.WriteFile(both, data, 0o600))
	few := func(c *Config) {
		c.Goal.Limit = 0.9
		for _, share := range []float64{1. / 8, 1. / 2} {
			c.Candidates = append(c.Candidates, plan.Head{Pattern: c.Patterns.Known["a_shape"], Params: map[string]int64{"sink": 4, "window": across(256, share)}})
		}
	}
	generated := toyConfig(t, "")
	few(&generated)
	want, err := Run(dev, generated)
	require.NoError(t, err)
	for _, names := range [][]string{paths, {both}} {
		c := toyConfig(t, "")
		few(&c)
		c.Source, err = Files(names, qkv.BHSD, 1)
		require.NoError(t, err)
		r, err := Run(dev, c)
		require.NoError(t, err)
		require.NoError(t, c.Source.Close())
		require.Equal(t, written(t, want.Plan), written(t, r.Plan))
	}
}

// testEndedEarly: what a state lacks is measured, and the plan is the same to the byte.
func testEndedEarly(t *testing.T, path string, first *Result) {
	whole, err := readState(path, false)
	require.NoError(t, err)
	part := &state{path: path + "2", entries: map[string][][]float64{}}
	n := 0
	for key, rows := range whole.entries {
		if n++; n%8 != 0 { // in another order each time
			part.put(key, rows)
		}
	}
	require.NoError(t, part.save())
	dev, launches := watched(t)
	r, err := Run(dev, toyConfig(t, part.path))
	require.NoError(t, err)
	require.NotZero(t, *launches)
	require.Equal(t, written(t, first.Plan), written(t, r.Plan))
}
