package plan_test

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/compile"
	"github.com/minfc/minfc/internal/campaign"
	"github.com/minfc/minfc/internal/qkv"
	"github.com/minfc/minfc/internal/selfcheck"
	"github.com/minfc/minfc/ir"
	"github.com/minfc/minfc/plan"
	"github.com/minfc/minfc/runtime"
	"github.com/minfc/minfc/runtime/artifact"
	"github.com/minfc/minfc/runtime/device"
	"github.com/minfc/minfc/runtime/emu"
)

const headDim = 32

func emulator(t *testing.T) device.Device {
	dev, err := emu.Open(emu.Options{})
	require.NoError(t, err)
	t.Cleanup(func() { dev.Close() })
	return dev
}

// compiler loads head plans of patterns of the library, compiling what they need once a test run.
type compiler struct {
	dev     device.Device
	built   map[string]*artifact.Artifact
	target  string // "" for sm_80
	headDim int    // 0 for headDim
}

func newCompiler(dev device.Device) *compiler {
	return &compiler{dev: dev, built: map[string]*artifact.Artifact{}}
}

func (c *compiler) compile(t *testing.T, layers ...[]plan.Head) *artifact.Artifact {
	t.Helper()
	uses, err := plan.Uses(layers...)
	require.NoError(t, err)
	key := ""
	for _, u := range uses {
		key += fmt.Sprint(u.Pattern.Name, u.Consts, u.Copies, ";")
	}
	if c.built[key] == nil {
		opts := compile.Options{Target: cmp.Or(c.target, "sm_80"), DType: "bf16", HeadDim: cmp.Or(c.headDim, headDim)}
		c.built[key], err = compile.Plan(layers, nil, opts, nil)
		require.NoError(t, err)
	}
	return c.built[key]
}

// layer reads a layer in this project's format.
func layer(t testing.TB, heads ...string) []plan.Head {
	t.Helper()
	var entries []string
	for h, text := range heads {
		entries = append(entries, fmt.Sprintf(`"%d": %s`, h, text))
	}
	p := read(t, `{"schema": 1, "layers": [{`+strings.Join(entries, ", ")+`}]}`)
	assigned, missing, err := p.Assign(0, len(heads))
	require.NoError(t, err)
	require.Empty(t, missing)
	return assigned
}

// bind loads one layer.
func bind(t *testing.T, c *compiler, heads ...string) ([]plan.Head, *plan.LoadedLayer) {
	t.Helper()
	assigned := layer(t, heads...)
	k, err := plan.Load(c.dev, c.compile(t, assigned), artifact.Select{})
	require.NoError(t, err)
	t.Cleanup(func() { k.Close() })
	l, err := k.Bind(assigned)
	require.NoError(t, err)
	return assigned, l
}

// entry words a head: entry("a_shape", "sink", 4).
func entry(pattern string, params ...any) string {
	var parts []string
	for i := 0; i < len(params); i += 2 {
		parts = append(parts, fmt.Sprintf(`"%s": %d`, params[i], params[i+1]))
	}
	return fmt.Sprintf(`{"pattern": "%s", "params": {%s}}`, pattern, strings.Join(parts, ", "))
}

func host(in *qkv.Input) runtime.HostCall {
	h := in.Call()
	h.Chosen, h.NoFallback = true, true
	return h
}

// compare holds every head against float64 attention under its own pattern and its own choices.
func compare(t *testing.T, in *qkv.Input, heads []plan.Head, res runtime.HostResult) {
	t.Helper()
	scale := 1 / math.Sqrt(float64(in.HeadDim))
	output := selfcheck.Case{In: in, Scale: scale, O: res.O, LSE: res.LSE}
	choices := selfcheck.ChoiceCase{In: in, Scale: scale}
	for h := range in.Batch * in.QHeads {
		head := heads[h%in.QHeads]
		values, err := head.Values()
		require.NoError(t, err)
		chosen := runtime.Chosen{Asked: &ir.Selection{QOffset: in.QOffset}}
		if res.Chosen != nil {
			chosen = res.Chosen[h]
		}
		keep, err := head.Pattern.EndingAt(in.End()).CoverWith(values, chosen.Asked)
		require.NoError(t, err)
		output.Keeps = append(output.Keeps, keep)
		choices.Asked = append(choices.Asked, chosen.Asked)
		if h < in.QHeads {
			choices.Indexes, choices.Values = append(choices.Indexes, head.Pattern.Index), append(choices.Values, values)
			choices.Parts = append(choices.Parts, selfcheck.PartOf(head.Pattern, values))
		}
	}
	chose, err := selfcheck.CompareChoices(choices)
	require.NoError(t, err)
	require.True(t, chose.OK(), "%s", chose)
	report, err := selfcheck.Compare(output)
	require.NoError(t, err)
	require.True(t, report.OK(), "%s", report)
}

// TestMixedPlansAgreeWithFloat64 runs random layers; MINFC_MIXED_PLANS asks for another number of them.

// Random layers of random shapes, for all targets, in random orders of the warps: every head against float64 attention.
func TestMixedPlansAgreeWithFloat64(t *testing.T) {
	count := campaign.Cases(2, 10, 16)
	if text := os.Getenv("MINFC_MIXED_PLANS"); text != "" {
		var err error
		count, err = strconv.Atoi(text)
		require.NoError(t, err)
	}
	for n := range count {
		rng := rand.New(rand.NewPCG(7, uint64(n)))
		target := compile.Targets()[n%len(compile.Targets())]
		s := randomShape(rng)
		t.Run(fmt.Sprintf("%d/%s/%+v", n, target, s), func(t *testing.T) {
			dev, err := emu.Open(emu.Options{Seed: uint64(n), Multiprocessors: 1 + n%4})
			require.NoError(t, err)
			defer dev.Close()
			c := newCompiler(dev)
			c.target, c.headDim = target, s.HeadDim
			testMixedPlan(t, c, rng, s)
		})
	}
}

func randomShape(rng *rand.Rand) qkv.Shape {
	s := qkv.Shape{Batch: 1 + rng.IntN(2), KVHeads: 1 + rng.IntN(4), SeqQ: 1 + rng.IntN(220), HeadDim: []int{16, 32, 48, 64, 96, 128, 192}[rng.IntN(7)]}
	s.QHeads = s.KVHeads * (1 + rng.IntN(4))
	s.QOffset = rng.IntN(2) * rng.IntN(150)
	s.SeqK = max(1, s.SeqQ+s.QOffset-rng.IntN(2)*rng.IntN(40)) // keys may end before the last query, as in cross attention
	return s
}

func randomHead(rng *rand.Rand) string {
	switch rng.IntN(7) {
	case 6:
		return entry("slash_tiles", "vertical", 1+rng.IntN(60), "runs", 1+rng.IntN(4))
	case 0:
		return entry("dense")
	case 1:
		return entry("a_shape", "sink", rng.IntN(2)*5, "window", 1+rng.IntN(2)*40)
	case 2:
		return entry("block_sparse", "topk", 1+rng.IntN(3))
	case 3:
		return entry("columns_window", "vertical", 20+rng.IntN(40), "window", 1+rng.IntN(2)*20)
	case 4:
		return entry("strided", "stride", 1+rng.IntN(9))
	default:
		return entry("vertical_slash", "vertical", 1+rng.IntN(60), "slash", 1+rng.IntN(120))
	}
}

func testMixedPlan(t *testing.T, c *compiler, rng *rand.Rand, s qkv.Shape) {
	in, err := qkv.Generate(s, abi.BF16, 5)
	require.NoError(t, err)
	var entries []string
	for len(entries) < s.QHeads { // neighbours are often alike
		for n, e := 1+rng.IntN(3), randomHead(rng); n > 0 && len(entries) < s.QHeads; n-- {
			entries = append(entries, e)
		}
	}
	heads, l := bind(t, c, entries...)
	res, err := l.RunHost(t.Context(), host(in))
	require.NoError(t, err)
	compare(t, in, heads, res)
	again, err := l.RunHost(t.Context(), host(in))
	require.NoError(t, err)
	require.Equal(t, res.O, again.O, "the same call gives the same bytes")
}

// parts lists the heads of each part of a layer.
func parts(l *plan.LoadedLayer) string {
	var out []string
	for _, p := range l.Parts() {
		out = append(out, runtime.ListHeads(p.Heads))
	}
	return strings.Join(out, "; ")
}

func TestOnePartForHeadsThatAreAlike(t *testing.T) {
	c := newCompiler(emulator(t))
	small, large := entry("vertical_slash", "vertical", 30, "slash", 800), entry("vertical_slash", "vertical", 3500, "slash", 100)
	near, far, dense := entry("a_shape", "window", 8), entry("a_shape", "window", 9), entry("dense")

	_, l := bind(t, c, small, large, small, large, small, large, small, large)
	require.Equal(t, "heads 0-7", parts(l), "budgets do not matter")
	require.Equal(t, []int64{30, 3500, 30, 3500, 30, 3500, 30, 3500}, l.Parts()[0].HeadParams["vertical"])

	_, l = bind(t, c, near, near, far, far)
	require.Equal(t, "heads 0-1; heads 2-3", parts(l), "other parameters do")

	_, l = bind(t, c, dense, near, near, near, near, far, near, dense)
	require.Equal(t, "heads 0, 7; heads 1-4, 6; head 5", parts(l))
}

// Heads that lie elsewhere than in contiguous tensors: rows of all heads next to one another, and room between batches.
func TestStridesOfTheCaller(t *testing.T) {
	c := newCompiler(emulator(t))
	_, l := bind(t, c, entry("dense"), entry("vertical_slash", "vertical", 40, "slash", 110), entry("a_shape", "window", 20), entry("vertical_slash"))
	in, err := qkv.Generate(qkv.Shape{Batch: 2, QHeads: 4, KVHeads: 2, SeqQ: 90, SeqK: 130, HeadDim: headDim, QOffset: 40}, abi.BF16, 2)
	require.NoError(t, err)
	want, err := l.RunHost(t.Context(), host(in))
	require.NoError(t, err)

	alloc := func(bytes int64) device.Ptr {
		p, err := c.dev.Alloc(bytes)
		require.NoError(t, err)
		return p
	}
	strides := func(heads, rows int) runtime.Stride {
		row := int64(heads * headDim)
		return runtime.Stride{Row: row, Head: headDim, Batch: row*int64(rows) + 64}
	}
	move := func(to device.Ptr, x runtime.Stride, data []byte, heads, rows int, copy func(p device.Ptr, row []byte) error) {
		for i := range 2 * heads * rows {
			b, h, r := int64(i/(heads*rows)), int64(i/rows%heads), int64(i%rows)
			at := to + device.Ptr(2*(b*x.Batch+h*x.Head+r*x.Row))
			require.NoError(t, copy(at, data[2*headDim*i:][:2*headDim]))
		}
	}
	up := func(p device.Ptr, row []byte) error { return c.dev.CopyToDevice(p, row, nil) }
	q, kv := strides(4, 90), strides(2, 130)
	shape := host(in).Shape
	shape.Strides = runtime.Strides{Q: q, O: q, K: kv, V: kv}
	p, err := l.Prepare(shape)
	require.NoError(t, err)
	at := runtime.Pointers{Q: alloc(4 * q.Batch), O: alloc(4 * q.Batch), K: alloc(4 * kv.Batch), V: alloc(4 * kv.Batch),
		Workspace: alloc(p.Workspace()), WorkspaceBytes: p.Workspace()}
	move(at.Q, q, in.Q, 4, 90, up)
	move(at.K, kv, in.K, 2, 130, up)
	move(at.V, kv, in.V, 2, 130, up)
	require.NoError(t, p.Run(nil, at))
	got := make([]byte, len(want.O))
	move(at.O, q, got, 4, 90, func(p device.Ptr, row []byte) error { return c.dev.CopyToHost(row, p, nil) })
	require.Equal(t, want.O, got)
}

func TestLaunchRefusesBeforeAnythingRuns(t *testing.T) {
	c := newCompiler(emulator(t))
	_, l := bind(t, c, entry("dense"), entry("vertical_slash"))
	shape := runtime.Shape{Batch: 1, QHeads: 2, KVHeads: 1, SeqQ: 64, SeqK: 64, NoFallback: true}
	p, err := l.Prepare(shape)
	require.NoError(t, err)
	good := runtime.Pointers{WorkspaceBytes: p.Workspace()}
	for _, at := range []*device.Ptr{&good.Q, &good.K, &good.V, &good.O} {
		*at, err = c.dev.Alloc(2 * 64 * headDim * 2)
		require.NoError(t, err)
	}
	good.Workspace, err = c.dev.Alloc(good.WorkspaceBytes)
	require.NoError(t, err)
	require.NoError(t, p.Check(good))
	marked := make([]byte, 2*64*headDim*2)
	for i := range marked {
		marked[i] = 0x5a
	}
	require.NoError(t, c.dev.CopyToDevice(good.O, marked, nil))
	for want, spoil := range map[string]func(s *runtime.Shape, at *runtime.Pointers){
		"QHeads is 3, the plan was made for 2":  func(s *runtime.Shape, at *runtime.Pointers) { s.QHeads = 3 },
		"KVHeads is 0, want 1 to 65535":         func(s *runtime.Shape, at *runtime.Pointers) { s.KVHeads = 0 },
		"bad call: Workspace has":               func(s *runtime.Shape, at *runtime.Pointers) { at.WorkspaceBytes-- },
		"bad call: Workspace is a null pointer": func(s *runtime.Shape, at *runtime.Pointers) { at.Workspace = 0 },
		"SeqK is -1":                            func(s *runtime.Shape, at *runtime.Pointers) { s.SeqK = -1 },
	} {
		s, at := shape, good
		spoil(&s, &at)
		p, err := l.Prepare(s)
		if err == nil {
			err = p.Run(nil, at)
		}
		require.ErrorIs(t, err, device.ErrBadCall)
		require.ErrorContains(t, err, want)
	}
	got := make([]byte, len(marked))
	require.NoError(t, c.dev.CopyToHost(got, good.O, nil))
	require.Equal(t, marked, got, "head 0, whose call was good, did not run either")
}

func TestBindRefusesNoHeads(t *testing.T) {
	c := newCompiler(emulator(t))
	k, err := plan.Load(c.dev, c.compile(t, layer(t, entry("dense"))), artifact.Select{})
	require.NoError(t, err)
	defer k.Close()
	_, err = k.Bind(nil)
	require.EqualError(t, err, "there are no heads to run")
	_, err = k.Bind(layer(t, entry("full")))
	require.EqualError(t, err, "head 0: full is not among the patterns that were compiled; compile the plan again")
}

// A const parameter is part of the kernel: heads that differ in it need two.
func TestUses(t *testing.T) {
	p := read(t, `{"schema": 1, "layers": [{"0": {"pattern": "dilated", "params": {"step": 2}}, "1": {"pattern": "dense"},
		"2": {"pattern": "dilated", "params": {"step": 4}}, "3": {"pattern": "dilated", "params": {"step": 2, "window": 9}}}]}`)
	heads, _, err := p.Assign(0, 4)
	require.NoError(t, err)
	uses, err := plan.Uses(heads)
	require.NoError(t, err)
	require.Len(t, uses, 3)
	require.Equal(t, map[string]int64{"step": 2}, uses[0].Consts)
	require.Equal(t, 2, uses[0].Copies, "heads 0 and 3 have windows of their own")
	require.Equal(t, 1, uses[1].Copies)
	require.Equal(t, map[string]int64{"step": 4}, uses[2].Consts)
}

// A layer whose heads have many sets of parameters gets as many as a launch has places for: eight of a static pattern, two of one that
// the data decides. Heads of equal sets share one, and budgets make no set.
func TestSetsOfParametersHaveALimit(t *testing.T) {
	for _, x := range []struct {
		pattern, param string
		want           []int // copies for 1, 2, ... sets
	}{
		{"a_shape", "window", []int{1, 2, 3, 4, 5, 6, 7, 8, 8, 8}},
		{"columns_window", "window", []int{1, 2, 2, 2}},
		{"vertical_slash", "slash", []int{1, 1, 1}},
	} {
		for i, want := range x.want {
			var heads []string
			for n := range i + 1 {
				heads = append(heads, entry(x.pattern, x.param, n+1), entry(x.pattern, x.param, n+1))
			}
			uses, err := plan.Uses(layer(t, heads...))
			require.NoError(t, err)
			require.Len(t, uses, 1)
			require.Equal(t, want, uses[0].Copies, "%s: %d sets", x.pattern, i+1)
		}
	}
}
