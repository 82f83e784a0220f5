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

// bind makes a launcher of one layer.
func bind(t *testing.T, c *compiler, heads ...string) ([]plan.Head, *plan.Launcher) {
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

func host(in *qkv.Input) runtime.HostAttention {
	return runtime.HostAttention{Q: in.Q, K: in.K, V: in.V, Batch: in.Batch, QHeads: in.QHeads, KVHeads: in.KVHeads,
		SeqQ: in.SeqQ, SeqK: in.SeqK, QOffset: in.QOffset, Chosen: true, NoFallback: true}
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
	count := campaign.Cases(3, 10, 16)
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
	switch rng.IntN(6) {
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
	res, err := runtime.RunHostWith(c.dev, l, host(in))
	require.NoError(t, err)
	compare(t, in, heads, res)
	again, err := runtime.RunHostWith(c.dev, l, host(in))
	require.NoError(t, err)
	require.Equal(t, res.O, again.O, "the same call gives the same bytes")
}

// cuts lists parts as "heads in first+heads/kvheads".
func cuts(t *testing.T, l *plan.Launcher, qHeads, kvHeads int) string {
	var out []string
	for _, p := range l.Parts() {
		call, first := p.Call(runtime.Attention{Batch: 1, QHeads: qHeads, KVHeads: kvHeads, SeqQ: 64, SeqK: 64})
		out = append(out, fmt.Sprintf("%s in %d+%d/%d", runtime.ListHeads(p.Heads), first, call.QHeads, call.KVHeads))
		require.Equal(t, len(p.Heads) < call.QHeads, len(call.Heads) > 0)
	}
	return strings.Join(out, "; ")
}

func TestOneLaunchForHeadsThatAreAlike(t *testing.T) {
	c := newCompiler(emulator(t))
	small, large := entry("vertical_slash", "vertical", 30, "slash", 800), entry("vertical_slash", "vertical", 3500, "slash", 100)
	near, far, dense := entry("a_shape", "window", 8), entry("a_shape", "window", 9), entry("dense")

	_, l := bind(t, c, small, large, small, large, small, large, small, large)
	require.Equal(t, "heads 0-7 in 0+8/2", cuts(t, l, 8, 2), "budgets do not matter")
	require.Equal(t, "heads 0-7 in 0+8/8", cuts(t, l, 8, 8))
	require.Equal(t, []int64{30, 3500, 30, 3500, 30, 3500, 30, 3500}, l.Parts()[0].HeadParams["vertical"])

	_, l = bind(t, c, near, near, far, far)
	require.Equal(t, "heads 0-1 in 0+2/1; heads 2-3 in 2+2/1", cuts(t, l, 4, 2), "other parameters do")
	require.Equal(t, "heads 0-1 in 0+2/1; heads 2-3 in 2+2/1", cuts(t, l, 4, 1))

	_, l = bind(t, c, dense, near, near, near, near, far, near, dense)
	require.Equal(t, "heads 0, 7 in 0+8/2; heads 1-4, 6 in 0+8/2; head 5 in 5+1/1", cuts(t, l, 8, 2), "as many kv heads as it takes")
	require.Equal(t, "heads 0, 7 in 0+8/4; heads 1-4, 6 in 0+8/4; head 5 in 5+1/1", cuts(t, l, 8, 4))
	require.Equal(t, "heads 0, 7 in 0+8/8; heads 1-4, 6 in 1+6/6; head 5 in 5+1/1", cuts(t, l, 8, 8))
	require.Equal(t, "heads 0, 7 in 0+8/1; heads 1-4, 6 in 1+6/1; head 5 in 5+1/1", cuts(t, l, 8, 1), "all in one kv head")
}

// Heads that lie elsewhere than in contiguous tensors: rows of all heads next to one another, and room between batches.
func TestStridesOfTheCaller(t *testing.T) {
	c := newCompiler(emulator(t))
	_, l := bind(t, c, entry("dense"), entry("vertical_slash", "vertical", 40, "slash", 110), entry("a_shape", "window", 20), entry("vertical_slash"))
	in, err := qkv.Generate(qkv.Shape{Batch: 2, QHeads: 4, KVHeads: 2, SeqQ: 90, SeqK: 130, HeadDim: headDim, QOffset: 40}, abi.BF16, 2)
	require.NoError(t, err)
	want, err := runtime.RunHostWith(c.dev, l, host(in))
	require.NoError(t, err)

	a := runtime.Attention{Batch: 2, QHeads: 4, KVHeads: 2, SeqQ: 90, SeqK: 130, QOffset: 40, NoFallback: true}
	alloc := func(bytes int64) device.Ptr {
		p, err := c.dev.Alloc(bytes)
		require.NoError(t, err)
		return p
	}
	tensor := func(heads, rows int) runtime.Tensor {
		row := int64(heads * headDim)
		x := runtime.Tensor{RowStride: row, HeadStride: headDim, BatchStride: row*int64(rows) + 64}
		x.Ptr = alloc(2 * 2 * x.BatchStride)
		return x
	}
	move := func(x runtime.Tensor, data []byte, heads, rows int, copy func(p device.Ptr, row []byte) error) {
		for i := range 2 * heads * rows {
			b, h, r := int64(i/(heads*rows)), int64(i/rows%heads), int64(i%rows)
			at := x.Ptr + device.Ptr(2*(b*x.BatchStride+h*x.HeadStride+r*x.RowStride))
			require.NoError(t, copy(at, data[2*headDim*i:][:2*headDim]))
		}
	}
	up := func(p device.Ptr, row []byte) error { return c.dev.CopyToDevice(p, row, nil) }
	a.Q, a.O, a.K, a.V = tensor(4, 90), tensor(4, 90), tensor(2, 130), tensor(2, 130)
	move(a.Q, in.Q, 4, 90, up)
	move(a.K, in.K, 2, 130, up)
	move(a.V, in.V, 2, 130, up)
	a.WorkspaceBytes, err = l.Workspace(a)
	require.NoError(t, err)
	a.Workspace = alloc(a.WorkspaceBytes)
	require.NoError(t, l.Launch(nil, a))
	got := make([]byte, len(want.O))
	move(a.O, got, 4, 90, func(p device.Ptr, row []byte) error { return c.dev.CopyToHost(row, p, nil) })
	require.Equal(t, want.O, got)
}

func TestLaunchRefusesBeforeAnythingRuns(t *testing.T) {
	c := newCompiler(emulator(t))
	_, l := bind(t, c, entry("dense"), entry("vertical_slash"))
	good := runtime.Attention{Batch: 1, QHeads: 2, KVHeads: 1, SeqQ: 64, SeqK: 64, NoFallback: true}
	var err error
	good.WorkspaceBytes, err = l.Workspace(good)
	require.NoError(t, err)
	for _, p := range []*device.Ptr{&good.Q.Ptr, &good.K.Ptr, &good.V.Ptr, &good.O.Ptr} {
		*p, err = c.dev.Alloc(2 * 64 * headDim * 2)
		require.NoError(t, err)
	}
	good.Workspace, err = c.dev.Alloc(good.WorkspaceBytes)
	require.NoError(t, err)
	require.NoError(t, l.Check(good))
	marked := make([]byte, 2*64*headDim*2)
	for i := range marked {
		marked[i] = 0x5a
	}
	require.NoError(t, c.dev.CopyToDevice(good.O.Ptr, marked, nil))
	for want, spoil := range map[string]func(a *runtime.Attention){
		"QHeads is 3, the plan was made for 2":  func(a *runtime.Attention) { a.QHeads = 3 },
		"KVHeads is 0, want 1 to 65535":         func(a *runtime.Attention) { a.KVHeads = 0 },
		"each part has its own":                 func(a *runtime.Attention) { a.Params = map[string]int64{"window": 1} },
		"bad call: Workspace has":               func(a *runtime.Attention) { a.WorkspaceBytes-- },
		"bad call: Workspace is a null pointer": func(a *runtime.Attention) { a.Workspace = 0 },
		"SeqK is -1":                            func(a *runtime.Attention) { a.SeqK = -1 },
	} {
		a := good
		spoil(&a)
		err := l.Launch(nil, a)
		require.ErrorIs(t, err, device.ErrBadCall)
		require.ErrorContains(t, err, want)
	}
	got := make([]byte, len(marked))
	require.NoError(t, c.dev.CopyToHost(got, good.O.Ptr, nil))
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
