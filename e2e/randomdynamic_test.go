package e2e

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/compile"
	"github.com/minfc/minfc/internal/campaign"
	"github.com/minfc/minfc/internal/qkv"
	"github.com/minfc/minfc/internal/selfcheck"
	"github.com/minfc/minfc/internal/workload"
	"github.com/minfc/minfc/ir"
	"github.com/minfc/minfc/ir/irtest"
	"github.com/minfc/minfc/runtime"
	"github.com/minfc/minfc/runtime/artifact"
	_ "github.com/minfc/minfc/runtime/cuda"
	"github.com/minfc/minfc/runtime/device"
	"github.com/minfc/minfc/runtime/emu"
)

// Random dynamic patterns, from the pattern to the output of its kernels, against float64. The environment asks for more:
//
//	MINFC_RANDOM_DYNAMIC=10000         that many launches
//	MINFC_RANDOM_DYNAMIC_FROM=900      from that seed on, so that several machines or turns can share them
//	MINFC_RANDOM_DYNAMIC_SEED=17       the patterns from one seed alone, which is how a failure is repeated
//	MINFC_RANDOM_DYNAMIC_DEVICE=cuda   on a GPU in place of the emulator
const randomLaunches = 3 // of a pattern

// maxRefusals is how many patterns may be refused for each that is taken.
const maxRefusals = 1.5

func TestRandomDynamicPatternsAgreeWithFloat64(t *testing.T) {
	r := &randomRun{devices: emulators}
	if spec := os.Getenv("MINFC_RANDOM_DYNAMIC_DEVICE"); spec != "" {
		r.on(t, spec)
	}
	if seed, asked := numberOf(t, "MINFC_RANDOM_DYNAMIC_SEED"); asked {
		r.seed(t, uint64(seed))
		return
	}
	launches, asked := numberOf(t, "MINFC_RANDOM_DYNAMIC")
	if !asked {
		launches = campaign.Cases(12, 300, 1002)
	}
	seeds := (launches + randomLaunches - 1) / randomLaunches
	from, _ := numberOf(t, "MINFC_RANDOM_DYNAMIC_FROM")
	t.Run("seeds", func(t *testing.T) {
		for seed := from; seed < from+seeds; seed++ {
			t.Run(strconv.Itoa(seed), func(t *testing.T) {
				if !r.oneByOne {
					t.Parallel()
				}
				r.seed(t, uint64(seed))
			})
		}
	})
	if !t.Failed() {
		r.requireVariety(t, seeds)
	}
}

func numberOf(t *testing.T, variable string) (n int, asked bool) {
	text := os.Getenv(variable)
	if text == "" {
		return 0, false
	}
	n, err := strconv.Atoi(text)
	require.NoError(t, err, variable)
	return n, true
}

// randomRun is what the seeds of a test have in common.
type randomRun struct {
	devices  func(t *testing.T, rng *rand.Rand) device.Device
	targets  []string // nil for all
	oneByOne bool
	counts
}

// counts says how often launches met what they should meet.
type counts struct {
	sync.Mutex
	refused int
	seen    map[string]int
}

func (c *counts) met(what ...string) {
	c.Lock()
	defer c.Unlock()
	if c.seen == nil {
		c.seen = map[string]int{}
	}
	for _, w := range what {
		c.seen[w]++
	}
}

func (c *counts) refuse(why string) {
	c.met(why)
	c.Lock()
	defer c.Unlock()
	c.refused++
}

// emulators gives every pattern one of its own, with another order of warps.
func emulators(t *testing.T, rng *rand.Rand) device.Device {
	return openEmulator(t, emu.Options{Seed: rng.Uint64(), Multiprocessors: 1 + rng.IntN(4)})
}

// on runs all seeds on one device, with what targets it runs.
func (r *randomRun) on(t *testing.T, spec string) {
	dev, _, err := device.OpenSpec(spec)
	if errors.Is(err, device.ErrNoDevice) {
		t.Skip("no such device here: docs/measuring.md says how to run this on a GPU")
	}
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, dev.Close()) })
	r.devices = func(*testing.T, *rand.Rand) device.Device { return dev }
	r.oneByOne = true
	info := dev.Info()
	r.targets = slices.DeleteFunc(compile.Targets(), func(target string) bool { return !device.TargetRuns(target, info.Major, info.Minor) })
}

// seed runs a pattern that kernels can compute.
func (r *randomRun) seed(t *testing.T, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 13))
	targets := r.targets
	if targets == nil {
		targets = compile.Targets()
	}
	c := attentionCase{target: targets[int(seed)%len(targets)], dtype: pick(rng, []abi.DType{abi.BF16, abi.F16}),
		headDim: pick(rng, []int{16, 16, 16, 32, 32, 32, 48, 64, 64, 64, 80, 96, 128, 128, 160, 192, 208, 256})}
	a := r.compile(t, rng, &c, seed)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("again: MINFC_RANDOM_DYNAMIC_SEED=%d go test -run TestRandomDynamicPatternsAgreeWithFloat64 ./e2e\n%s, of the pattern\n%s", seed, c.kernel(), c.program.Pattern)
		}
	})
	dev := r.devices(t, rng)
	l, err := runtime.Load(dev, a, artifact.Select{})
	require.NoError(t, err)
	defer func() { require.NoError(t, l.Close()) }()
	for range randomLaunches {
		r.launch(t, rng, c, l)
	}
}

// compile draws patterns until one compiles whose choices matter; groups is the seed of choices by group.
func (r *randomRun) compile(t *testing.T, rng *rand.Rand, c *attentionCase, groups uint64) *artifact.Artifact {
	for i := range 60 {
		c.program = &compile.Program{Pattern: irtest.GroupsBySeed(groups+uint64(i), irtest.RowsBySeed(c.seed+uint64(i), irtest.RandomChoosing(rng)))}
		require.NoError(t, c.program.Pattern.Verify(), "%s", c.program.Pattern)
		a, err := c.artifact()
		switch {
		case err != nil:
			var why *ir.Unsupported
			require.ErrorAs(t, err, &why, "everything else is a fault\n%s", c.program.Pattern)
			r.refuse(fmt.Sprintf("refused for reason %d", why.Reason))
		case len(a.Manifest.Patterns[0].Lowered[0].Kernels) == 2: // the attention, and what writes down what heads there are
			r.refuse("no choice matters")
		default:
			return a
		}
	}
	t.Fatal("no pattern of 60 compiles")
	return nil
}

// launch runs the kernel on one random call and checks it.
func (r *randomRun) launch(t *testing.T, rng *rand.Rand, c attentionCase, l *runtime.Loaded) {
	c.shape = randomDynamicShape(rng)
	var byHead map[string][]int64
	c.params, byHead = irtest.RandomBudgets(rng, c.program.Pattern, c.shape.QHeads)
	irtest.OneBudgetAGroup(c.program.Pattern, byHead, c.shape.QHeads/c.shape.KVHeads)
	maps.DeleteFunc(byHead, func(name string, _ []int64) bool { return !slices.Contains(l.Patterns()[0].HeadParams(), name) })
	in, kind := c.randomInput(t, rng)
	h := c.host(in)
	h.Chosen, h.Parts[0].HeadParams, h.NoFallback = true, byHead, rng.IntN(5) > 0
	where := fmt.Sprintf("%s, %s, by head %v, fallback: %v, %s inputs", c.kernel(), c.launched(), byHead, !h.NoFallback, kind)
	call, err := l.Prepare(h.Shape, h.Parts...)
	require.NoError(t, err, where)
	res, err := l.RunHost(t.Context(), h)
	require.NoError(t, err, where)
	e := ended{attentionCase: c, in: in, kernel: l, call: call, res: res}
	for head := range in.QHeads {
		given := c.program.Pattern.ValuesAt(ir.BindLaunch, c.params)
		for name, budgets := range byHead {
			given[name] = budgets[head]
		}
		values, err := ir.CheckLaunch(c.program.Pattern.Params, c.program.Pattern.Requires, given)
		require.NoError(t, err, where)
		e.values = append(e.values, values)
	}
	require.NoError(t, r.check(rng, e), where)
	r.met("launches", c.target, string(kind))
}

// randomDynamicShape is short, seldom longer than four row blocks, and of any proportions.
func randomDynamicShape(rng *rand.Rand) qkv.Shape {
	length := func() int {
		switch rng.IntN(20) {
		case 0:
			return 256 + rng.IntN(120)
		case 1, 2, 3, 4, 5:
			return pick(rng, []int{1, 63, 64, 65, 127, 128, 129, 192})
		default:
			return 1 + rng.IntN(200)
		}
	}
	s := qkv.Shape{Batch: 1, KVHeads: pick(rng, []int{1, 1, 2}), SeqQ: length(), SeqK: length()}
	s.QHeads = s.KVHeads * pick(rng, []int{1, 1, 1, 2, 3})
	if rng.IntN(8) == 0 && s.QHeads < 4 {
		s.Batch = 2
	}
	switch rng.IntN(5) {
	case 0, 1:
		s.SeqK = s.SeqQ
	case 2, 3:
		s.QOffset = max(0, s.SeqK-s.SeqQ)
	default:
		s.QOffset = rng.IntN(250)
	}
	return s
}

// randomInput has the structure of one kind of heads, sharp or not.
func (c attentionCase) randomInput(t *testing.T, rng *rand.Rand) (*qkv.Input, workload.Kind) {
	s := c.shape
	spec := workload.Spec{Kind: pick(rng, workload.Kinds()), Batch: s.Batch, QHeads: s.QHeads, KVHeads: s.KVHeads, SeqLen: max(s.SeqQ, s.SeqK),
		HeadDim: c.headDim, Sharpness: pick(rng, []float64{0.5, 1, 1, 2}), Seed: rng.Uint64(), DType: c.dtype}
	s.HeadDim = c.headDim
	in := &qkv.Input{Shape: s, Format: c.dtype}
	for _, x := range []struct {
		to       *[]byte
		tensor   workload.Tensor
		first, n int
	}{{&in.Q, workload.Q, s.QOffset, s.SeqQ}, {&in.K, workload.K, 0, s.SeqK}, {&in.V, workload.V, 0, s.SeqK}} {
		var err error
		*x.to, err = spec.Rows(x.tensor, x.first, x.n)
		require.NoError(t, err)
	}
	return in, spec.Kind
}

// check holds a finished launch against float64: the choices, what they make kernels keep, and the output over what is kept.
func (r *randomRun) check(rng *rand.Rand, e ended) error {
	scale := 1 / math.Sqrt(float64(e.headDim))
	choices := selfcheck.ChoiceCase{In: e.in, Index: e.kernel.Patterns()[0].Schedule().Index, Values: e.values, Scale: scale}
	output := selfcheck.Case{In: e.in, Pool: e.program.Pattern.Pool, Scale: scale, O: e.res.O, LSE: e.res.LSE}
	if len(e.res.Chosen) != e.in.Batch*e.in.QHeads {
		return fmt.Errorf("%d heads chose, want %d", len(e.res.Chosen), e.in.Batch*e.in.QHeads)
	}
	for h, chosen := range e.res.Chosen {
		keep, err := r.cover(rng, e, h)
		if err != nil {
			return fmt.Errorf("head %d: %w", h, err)
		}
		output.Keeps = append(output.Keeps, keep)
		if chosen.Dense && len(chosen.Asked.Sets) == 0 {
			chosen.Asked = nil // nothing was computed
		}
		choices.Asked = append(choices.Asked, chosen.Asked)
	}
	chose, err := selfcheck.CompareChoices(choices)
	if err == nil && !chose.OK() {
		err = errors.New(chose.String())
	}
	if err != nil {
		return err
	}
	report, err := selfcheck.Compare(output)
	switch {
	case err != nil || report.OK():
		return err
	case closeToLimit(report):
		r.met(beyondLimit)
		return nil
	}
	return fmt.Errorf("%s at batch, head, row %v", report, report.WorstRow)
}

// beyondLimit are outputs whose rows are all within their limit and whose sum is a little beyond its own: the limit is for rounding that
// averages out, and a hundred rows of 16 elements that keep few keys do not always average it out. They are counted, and must be few.
const (
	beyondLimit = "outputs a little beyond the limit of the sum"
	aLittle     = 1.1
	beyondEach  = 1000 // launches in which one may be met
)

func closeToLimit(r *selfcheck.Report) bool {
	return r.Frobenius <= aLittle*r.Limits.Frobenius && r.Row <= r.Limits.Row && (!r.HasLSE || r.LSE <= r.Limits.LSE)
}

// cover is what head h kept, as the pattern means it, after a comparison with what the schedule makes of the device's lists.
func (r *randomRun) cover(rng *rand.Rand, e ended, h int) (func(q, k int) bool, error) {
	chosen, values, p := e.res.Chosen[h], e.values[h%e.in.QHeads], e.program.Pattern.EndingAt(e.in.End())
	sel := r.whole(rng, e, chosen.Asked)
	means, err := p.CoverWith(values, sel)
	if err != nil {
		return nil, err
	}
	asked, err := p.KeepsWith(values, sel)
	if err != nil {
		return nil, err
	}
	if chosen.Dense {
		if means, err = p.Widest().Keeps(values); err != nil {
			return nil, err
		}
		asked = means
	}
	cover, err := e.call.Cover(h, &chosen, nil)
	if err != nil {
		return nil, err
	}
	late := false
	for i := range e.in.SeqQ {
		for k, q := 0, e.in.QOffset+i; k < e.in.SeqK; k++ {
			kept := cover[i*e.in.SeqK+k] == 1
			if kept != means(q, k) || asked(q, k) && !kept {
				return nil, fmt.Errorf("query at %d, key %d: kept %v, the pattern means %v, asked for %v", q, k, kept, means(q, k), asked(q, k))
			}
			late = late || kept && k > q
		}
	}
	r.count(e, chosen, late)
	return means, nil
}

// whole adds sets to a selection for what the schedule did not need: whatever they are, the pattern must mean the same.
func (r *randomRun) whole(rng *rand.Rand, e ended, asked *ir.Selection) *ir.Selection {
	shape := ir.Shape{Sq: e.in.SeqQ, Sk: e.in.SeqK, QOffset: e.in.QOffset}
	out := &ir.Selection{QOffset: asked.QOffset, Sets: slices.Clone(asked.Sets)}
	for _, s := range irtest.RandomSelection(rng, e.program.Pattern.Index, shape).Sets {
		if _, err := out.Find(s.Name); err != nil {
			out.Sets = append(out.Sets, s)
		}
	}
	return out
}

// count notes what a head met.
func (r *randomRun) count(e ended, chosen runtime.Chosen, late bool) {
	if late {
		r.met("keys after the query")
	}
	if chosen.Dense {
		r.met("dense heads")
		return
	}
	if len(chosen.Asked.Sets) > 1 {
		r.met("several chosen sets")
	}
	for _, g := range e.kernel.Patterns()[0].Schedule().Segments {
		if len(g.Except) > 0 && late {
			r.met("columns without tiles of distances, not causal")
		}
	}
	for _, d := range e.kernel.Patterns()[0].Schedule().Index {
		r.met(formOf(d.Value))
		if s, chooses := d.Value.(ir.Select); chooses && s.Least != nil {
			r.met("a least number")
		}
		if s, chooses := d.Value.(ir.Select); chooses && s.ByGroup && e.in.QHeads > e.in.KVHeads {
			r.met("heads that choose together")
		}
		if s, chooses := d.Value.(ir.Select); chooses && s.DependsOnLength() {
			r.met("numbers of the length")
		}
	}
}

// formOf names the form of a value of the index stage.
func formOf(x ir.Index) string {
	switch x := x.(type) {
	case ir.Select:
		return fmt.Sprintf("rule %d", x.Rule)
	case ir.Probe:
		return fmt.Sprintf("probe with a stride: %v", x.Stride != nil)
	case ir.Sum:
		return fmt.Sprintf("sum over axis %d", x.Over)
	case ir.Pool:
		return fmt.Sprintf("pool %d over %d", x.With, x.Rows)
	default:
		return fmt.Sprintf("%T", x)
	}
}

// variety is how often 1000 launches must meet something at least. The numbers are about half of what they meet.
var variety = map[string]int{
	"sm_80": 400, "sm_90a": 400,
	"keys after the query": 400, "several chosen sets": 500, "dense heads": 200, "columns without tiles of distances, not causal": 40,
	"rule 0": 500, "rule 1": 400, "rule 2": 400, "rule 3": 400, "a least number": 200, "numbers of the length": 100, "heads that choose together": 250, "probe with a stride: true": 200, "probe with a stride: false": 600,
	"sum over axis 0": 400, "sum over axis 1": 600, "sum over axis 2": 200, "sum over axis 3": 150,
	"pool 0 over 64": 30, "pool 1 over 64": 30, "pool 0 over 128": 30, "pool 1 over 128": 30, "ir.Antidiagonals": 200, "ir.BlockScores": 200,
}

// requireVariety holds the generator to what it is for.
func (r *randomRun) requireVariety(t *testing.T, seeds int) {
	t.Logf("met %v", r.seen)
	require.Equal(t, seeds*randomLaunches, r.seen["launches"])
	if seeds < 100 { // too few to count
		return
	}
	require.Less(t, float64(r.refused), maxRefusals*float64(seeds), "refused patterns")
	require.LessOrEqual(t, r.seen[beyondLimit], 1+seeds*randomLaunches/beyondEach, beyondLimit)
	for what, least := range variety {
		if len(r.targets) == 1 && slices.Contains(compile.Targets(), what) {
			continue // the device runs no other
		}
		require.Greater(t, r.seen[what]*1000, least*seeds*randomLaunches, what)
	}
	for _, kind := range workload.Kinds() {
		require.Greater(t, r.seen[string(kind)]*1000, 70*seeds*randomLaunches, kind)
	}
}

// Patterns that random ones found wrong once.
func TestFoundPatternsAgreeWithFloat64(t *testing.T) {
	for what, c := range map[string]struct {
		source  string
		headDim int
		shape   qkv.Shape
	}{
		"rows without a key are computed again, over a list of no tiles and a ring of columns": {`pattern found {
			index probe = softmax(q[-64:] * k)
			index none = top(0, sum(probe, diagonals))
			index cols = top(64, sum(probe, queries))
			keep causal & (diagonals(none) | columns(cols) & window(38))
		}`, 192, qkv.Shape{Batch: 1, QHeads: 1, KVHeads: 1, SeqQ: 192, SeqK: 128}},
	} {
		for _, target := range compile.Targets() {
			t.Run(what+"/"+target, func(t *testing.T) {
				p, err := compile.Load("found.minf", []byte(c.source), "", nil)
				require.NoError(t, err)
				a := attentionCase{program: p, target: target, headDim: c.headDim, dtype: abi.BF16, shape: c.shape}
				a.launch(t, a.load(t, emu.Options{Seed: 3}), a.input(t), nil).check(t)
			})
		}
	}
}
