package e2e

import (
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/compile"
	"github.com/minfc/minfc/internal/campaign"
	"github.com/minfc/minfc/internal/qkv"
	"github.com/minfc/minfc/internal/selfcheck"
	"github.com/minfc/minfc/ir"
	"github.com/minfc/minfc/patterns"
	"github.com/minfc/minfc/runtime"
	"github.com/minfc/minfc/runtime/artifact"
	"github.com/minfc/minfc/runtime/artifact/artifacttest"
	"github.com/minfc/minfc/runtime/device"
	"github.com/minfc/minfc/runtime/emu"
	"github.com/minfc/minfc/runtime/runtimetest"
)

// dynamicLengths has every kind of ragged block up to ten blocks.
var dynamicLengths = []int{1, 2, 31, 63, 64, 65, 100, 127, 128, 129, 191, 200, 256, 300, 449, 513, 600}

// dynamicSettings are small budgets, larger ones than there are members, and some between.
var dynamicSettings = map[string][]map[string]int64{
	"vertical_slash":     {{"vertical": 0, "slash": 0}, {"vertical": 31, "slash": 104}, {"vertical": 150, "slash": 130}, {"vertical": 1 << 30, "slash": 101}, nil},
	"slash_tiles":        {{"vertical": 0, "runs": 0}, {"vertical": 31, "runs": 3}, {"vertical": 100, "runs": 4}, {"vertical": 1 << 30, "runs": 1 << 30}, nil},
	"slash_tiles_shared": {{"vertical": 0, "runs": 0}, {"vertical": 31, "runs": 3}, {"vertical": 100, "runs": 4}, nil},
	"block_sparse":       {{"topk": 0}, {"topk": 1}, {"topk": 3}, {"topk": 1 << 30}, nil},
	"block_means":        {{"topk": 0}, {"topk": 2}, {"topk": 3}, {"topk": 1 << 30}},
	"sink_blocks":        {{"topk": 0}, {"topk": 2}, {"topk": 3}, {"topk": 1 << 30}},
	"most_mass":          {{"share": 300, "least": 0}, {"share": 700, "least": 150, "limit": 140}, {"share": 1000, "least": 0, "limit": 170}, {"share": 1, "least": 140}, nil},
	"xattention":         {{"share": 300}, {"share": 1000}, {"share": 600}, nil},
	"flash_prefill":      {{"sink": 0, "window": 1, "last": 0}, {"share": 800, "sink": 1, "window": 1, "last": 1}, {"share": 950, "sink": 0, "window": 0}, nil},
	"columns_window":     {{"vertical": 0, "window": 1}, {"vertical": 40, "window": 65}, {"vertical": 100, "window": 20}, nil},
}

type dynamicKernel struct {
	target          string
	headDim, shapes int
}

// dynamicKernels has every shape of a kernel.
var dynamicKernels = []dynamicKernel{{"sm_80", 64, 20}, {"sm_80", 128, 20}, {"sm_90a", 64, 20}, {"sm_90a", 128, 20}, {"sm_90a", 96, 4}, {"sm_90a", 192, 8}, {"sm_90a", 256, 8}}

// ended is a dynamic case that has run.
type ended struct {
	attentionCase
	in     *qkv.Input
	kernel *runtime.Loaded
	call   *runtime.Prepared
	res    runtime.HostResult
	values []map[string]int64 // of all parameters, [QHeads]
}

// launch runs a case with budgets that may differ by head.
func (c attentionCase) launch(t *testing.T, l *runtime.Loaded, in *qkv.Input, heads map[string][]int64) ended {
	h := c.host(in)
	h.Chosen, h.Parts[0].HeadParams = true, heads
	e := ended{attentionCase: c, in: in, kernel: l}
	var err error
	e.call, err = l.Prepare(h.Shape, h.Parts...)
	require.NoError(t, err)
	e.res, err = l.RunHost(t.Context(), h)
	require.NoError(t, err)
	for head := range in.QHeads {
		given := maps.Clone(c.params)
		if given == nil {
			given = map[string]int64{}
		}
		for name, budgets := range heads {
			given[name] = budgets[head]
		}
		values, err := ir.CheckLaunch(c.program.Pattern.Params, c.program.Pattern.Requires, given)
		require.NoError(t, err)
		e.values = append(e.values, values)
	}
	return e
}

// check holds all of it against float64: the choices against the index stage's meaning, the cover against what was asked
// for and against the pattern's meaning, the output against attention under the device's own cover.
func (e ended) check(t *testing.T) {
	scale := 1 / math.Sqrt(float64(e.headDim))
	require.Len(t, e.res.Chosen, e.in.Batch*e.in.QHeads)
	choices := selfcheck.ChoiceCase{In: e.in, Index: e.kernel.Patterns()[0].Schedule().Index, Values: e.values, Scale: scale}
	output := selfcheck.Case{In: e.in, Pool: e.program.Pattern.Pool, Scale: scale, O: e.res.O, LSE: e.res.LSE}
	for h, chosen := range e.res.Chosen {
		choices.Asked = append(choices.Asked, chosen.Asked)
		output.Keeps = append(output.Keeps, e.checkCover(t, h))
	}
	chose, err := selfcheck.CompareChoices(choices)
	require.NoError(t, err)
	require.True(t, chose.OK(), "%s", chose)
	report, err := selfcheck.Compare(output)
	require.NoError(t, err)
	require.True(t, report.OK(), "%s", report)
}

// report compares the output with what the pattern means by the device's own choices.
func (e ended) report(t *testing.T) *selfcheck.Report {
	output := selfcheck.Case{In: e.in, Pool: e.program.Pattern.Pool, Scale: 1 / math.Sqrt(float64(e.headDim)), O: e.res.O, LSE: e.res.LSE}
	for h := range e.res.Chosen {
		output.Keeps = append(output.Keeps, e.checkCover(t, h))
	}
	report, err := selfcheck.Compare(output)
	require.NoError(t, err)
	return report
}

// checkCover compares the cover of head h, read back from the device, with the pattern; it returns what the head keeps.
func (e ended) checkCover(t *testing.T, h int) func(q, k int) bool {
	chosen, values, p := e.res.Chosen[h], e.values[h%e.in.QHeads], e.program.Pattern.EndingAt(e.in.End())
	means, err := p.CoverWith(values, chosen.Asked)
	require.NoError(t, err)
	asked, err := p.KeepsWith(values, chosen.Asked)
	require.NoError(t, err)
	cover, err := e.call.Cover(h, &chosen, nil)
	require.NoError(t, err)
	keep := func(q, k int) bool { return cover[(q-e.in.QOffset)*e.in.SeqK+k] == 1 }
	causal := e.kernel.Patterns()[0].Schedule().Causal()
	for i := range e.in.SeqQ {
		for k, q := 0, e.in.QOffset+i; k < e.in.SeqK; k++ {
			if keep(q, k) != means(q, k) || asked(q, k) && !keep(q, k) || keep(q, k) && k > q && causal {
				t.Fatalf("head %d, query at %d, key %d: kept %v, the pattern means %v, asked for %v", h, q, k, keep(q, k), means(q, k), asked(q, k))
			}
		}
	}
	return keep
}

func TestDynamicPatternsAgreeWithFloat64(t *testing.T) {
	for p, name := range patterns.Names() {
		program := library(t, name)
		if len(program.Pattern.Index) == 0 {
			continue
		}
		settings := dynamicSettings[name]
		require.NotEmpty(t, settings, "%s: a new library pattern needs settings here", name)
		for i, k := range dynamicKernels[:campaign.Few(4, 7)] {
			if (i+p)%campaign.Few(2, 1) != 0 { // with -short a pattern has one head dim of both targets
				continue
			}
			for _, f := range formats(i + len(name))[:campaign.Cases(1, 1, 2)] {
				c := attentionCase{program: program, target: k.target, headDim: k.headDim, dtype: f}
				rng := rand.New(rand.NewPCG(uint64(k.headDim), uint64(len(f)+len(name)+len(k.target))))
				c.runMany(t, campaign.Cases(1, (k.shapes+3)/4, k.shapes), func(c *attentionCase, i int) {
					c.shape, c.params, c.seed, c.random = dynamicShape(rng), pick(rng, settings), rng.Uint64(), i == 0
				})
			}
		}
	}
}

// runMany launches one kernel n times, beside other tests, and checks each result; vary sets up launch i.
func (c attentionCase) runMany(t *testing.T, n int, vary func(c *attentionCase, i int)) {
	t.Run(c.kernel(), func(t *testing.T) {
		t.Parallel()
		l := c.load(t, emu.Options{})
		for i := range n {
			vary(&c, i)
			t.Run(c.launched(), func(t *testing.T) { c.launch(t, l, c.input(t), nil).check(t) })
		}
	})
}

func dynamicShape(rng *rand.Rand) qkv.Shape {
	g := pick(rng, [][2]int{{1, 1}, {2, 1}, {3, 1}, {4, 2}, {5, 1}})
	s := qkv.Shape{Batch: 1 + rng.IntN(2), QHeads: g[0], KVHeads: g[1], SeqQ: pick(rng, dynamicLengths)}
	s.SeqK = s.SeqQ
	switch rng.IntN(3) {
	case 0:
		s.SeqK = pick(rng, dynamicLengths)
		s.QOffset = max(0, s.SeqK-s.SeqQ)
	case 1:
		s.SeqK, s.QOffset = pick(rng, dynamicLengths), rng.IntN(200)
	}
	return s
}

// odd has the choices that kernels know and the library does not use: several of a kind, of several pools, forced at
// both ends, cut by bounds, and none at all.
const odd = `
pattern ends(a = 7, b = 9) {
  index heat = sum(softmax(q[-64:] * k), queries)
  index cols = top(a + 2 * b, heat) with first 3 with last 2
  keep causal & (columns(cols) | window(20))
}
pattern cut(a = 7, b = 9) {
  index trace = sum(softmax(q[-64:] * k), diagonals)
  index near = top(a, trace) with last 1
  index far = top(b, trace)
  keep causal & (diagonals(near) & window(100) | diagonals(far) \ window(100))
}
pattern pools(a = 2, b = 1) {
  index best = top(a, max(q, 64) * mean(k, 64)) with first 1 with last 1
  index other = top(b, mean(q, 64) * max(k, 64)) with last 2
  keep causal & (blocks(best) & window(128) | blocks(other) \ window(128))
}
pattern absorbed(a = 4) {
  index cols = top(a, sum(softmax(q[-64:] * k), queries))
  keep causal & (columns(cols) | diagonals(0..))
}
`

func TestOtherChoices(t *testing.T) {
	dev := openEmulator(t, emu.Options{})
	for i, name := range []string{"ends", "cut", "pools", "absorbed"} {
		p, err := compile.Load("odd.minf", []byte(odd), name, nil)
		require.NoError(t, err)
		for n, target := range compile.Targets() {
			if (i+n)%campaign.Few(2, 1) != 0 { // with -short targets take turns
				continue
			}
			c := attentionCase{program: p, target: target, headDim: 32, dtype: abi.F16}
			var l *runtime.Loaded
			if name != "absorbed" {
				l = c.load(t, emu.Options{})
			}
			for _, c.shape = range []qkv.Shape{{Batch: 2, QHeads: 2, KVHeads: 2, SeqQ: 130, SeqK: 333, QOffset: 203}, {Batch: 1, QHeads: 2, KVHeads: 1, SeqQ: 300, SeqK: 300}}[:campaign.Few(1, 2)] {
				if name == "absorbed" {
					c.runAbsorbed(t, dev)
					continue
				}
				c.launch(t, l, c.input(t), nil).check(t)
			}
		}
	}
}

// runAbsorbed runs a pattern whose choice cannot matter: no kernel computes it.
func (c attentionCase) runAbsorbed(t *testing.T, dev device.Device) {
	a, in := c.compile(t), c.input(t)
	for _, u := range a.Manifest.Patterns[0].Lowered[0].Kernels {
		require.Contains(t, []string{abi.Attend, abi.StoreWords}, u.Name, "and what writes down what heads there are")
	}
	res, err := runOnce(t, dev, a, c.host(in))
	require.NoError(t, err)
	causal := func(q, k int) bool { return k <= q }
	r, err := selfcheck.Compare(selfcheck.Case{In: in, Keep: causal, Scale: 1 / math.Sqrt(float64(c.headDim)), O: res.O, LSE: res.LSE})
	require.NoError(t, err)
	require.True(t, r.OK(), "%s", r)
}

// Budgets may differ by head; each head keeps what it would alone.
func TestBudgetsDifferByHead(t *testing.T) {
	for name, budgets := range map[string]map[string][]int64{
		"vertical_slash": {"vertical": {0, 40, 1000, 64}, "slash": {0, 300, 120, 101}},
		"block_sparse":   {"topk": {1, 2, 1000, 0}},
		"columns_window": {"vertical": {100, 31, 0, 500}},
	} {
		c := attentionCase{program: library(t, name), headDim: 16, dtype: abi.BF16, shape: qkv.Shape{Batch: 2, QHeads: 4, KVHeads: 2, SeqQ: 70, SeqK: 320, QOffset: 250}}
		l, in := c.load(t, emu.Options{}), c.input(t)
		all := c.launch(t, l, in, budgets)
		all.check(t)
		for h := range campaign.Few(2, 4) {
			c.params = map[string]int64{}
			for p, v := range budgets {
				c.params[p] = v[h]
			}
			alone := c.launch(t, l, in, nil)
			size := len(in.Q) / 8
			for _, head := range []int{h, 4 + h} {
				require.Equal(t, alone.res.O[head*size:][:size], all.res.O[head*size:][:size], "%s, head %d", name, h)
				require.Equal(t, alone.res.Chosen[head], all.res.Chosen[head])
			}
		}
	}
}

// The same call gives the same bits, however the emulator interleaves the warps of every kernel.
func TestChoicesDoNotDependOnWarpOrder(t *testing.T) {
	for name, params := range map[string]map[string]int64{"vertical_slash": {"vertical": 50, "slash": 120}, "block_sparse": {"topk": 2}} {
		c := attentionCase{program: library(t, name), headDim: 64, dtype: abi.BF16, params: params,
			shape: qkv.Shape{Batch: 1, QHeads: 3, KVHeads: 1, SeqQ: 130, SeqK: 400, QOffset: 270}}
		in := c.input(t)
		var first ended
		for seed := range uint64(campaign.Few(2, 3)) {
			e := c.launch(t, c.load(t, emu.Options{Seed: seed}), in, nil)
			if seed == 0 {
				first = e
			}
			require.Equal(t, first.res.O, e.res.O)
			require.Equal(t, first.res.LSE, e.res.LSE)
			require.Equal(t, first.res.Chosen, e.res.Chosen)
		}
	}
}

// What devices cannot compute is refused by name when compiling.
func TestIndexStagesThatDevicesCannotCompute(t *testing.T) {
	for rest, want := range map[string]string{
		"index c = top(n, sum(softmax(q[-64:] * k), queries)) keep columns(c) | window(9, 9)": "other parts of the pattern cut columns(c) into several bands",
	} {
		_, err := compile.Source("p.minf", []byte("pattern p(n = 9) { "+rest+" }"), "", compile.Options{Target: "sm_80", DType: "bf16", HeadDim: 64}, nil)
		require.ErrorContains(t, err, want)
	}
}

// deviceCall is a launch with memory of its own.
func deviceCall(t *testing.T, dev device.Device, c attentionCase, in *qkv.Input) runtimetest.Call {
	h := c.host(in)
	a := runtimetest.Call{Shape: h.Shape, Part: h.Parts[0]}
	for _, x := range []struct {
		to   *device.Ptr
		data []byte
	}{{&a.Q, in.Q}, {&a.K, in.K}, {&a.V, in.V}, {&a.O, make([]byte, len(in.Q))}} {
		var err error
		*x.to, err = dev.Alloc(int64(len(x.data)))
		require.NoError(t, err)
		require.NoError(t, dev.CopyToDevice(*x.to, x.data, nil))
	}
	return a
}

// TestWorkspace: the size that is asked for suffices, for smaller calls too, one byte less is refused, and nothing is
// written behind it.
func TestWorkspace(t *testing.T) {
	dev := openEmulator(t, emu.Options{})
	for name, params := range map[string]map[string]int64{"vertical_slash": {"vertical": 50, "slash": 120}, "block_sparse": {"topk": 2}} {
		c := attentionCase{program: library(t, name), headDim: 64, dtype: abi.BF16, params: params,
			shape: qkv.Shape{Batch: 1, QHeads: 2, KVHeads: 1, SeqQ: 300, SeqK: 300}}
		l, a := c.loadOn(t, dev), deviceCall(t, dev, c, c.input(t))
		call, err := a.Prepare(l)
		require.NoError(t, err)
		need := call.Workspace()
		require.Positive(t, need)
		require.ErrorContains(t, a.Run(l, nil), "Workspace is a null pointer, want")

		a.Workspace, err = dev.Alloc(need) // the emulator refuses what lies behind it
		require.NoError(t, err)
		a.WorkspaceBytes = need - 1
		err = a.Run(l, nil)
		require.ErrorIs(t, err, device.ErrBadCall)
		require.ErrorContains(t, err, "see the method Workspace")
		a.WorkspaceBytes = need
		require.NoError(t, a.Run(l, nil))
		chosen, err := call.ReadChosen(nil, a.Pointers)
		require.NoError(t, err)
		require.Len(t, chosen, 2)
		for n := range 300 { // shorter calls, larger budgets as far as they count
			a.SeqQ, a.SeqK = n, n
			shorter, err := a.Prepare(l)
			require.NoError(t, err)
			require.LessOrEqual(t, shorter.Workspace(), need, n)
		}
		a.SeqQ, a.SeqK = 65, 65
		require.NoError(t, a.Run(l, nil))
		a.Workspace += 16
		require.ErrorContains(t, a.Run(l, nil), "want an address that is a multiple of 256 bytes")
	}
}

func TestBadHeadParams(t *testing.T) {
	dev := openEmulator(t, emu.Options{})
	run := func(name string, params map[string]int64, heads map[string][]int64) error {
		c := attentionCase{program: library(t, name), headDim: 64, dtype: abi.BF16, params: params, shape: qkv.Shape{Batch: 1, QHeads: 2, KVHeads: 1, SeqQ: 65, SeqK: 65}}
		h := c.host(c.input(t))
		h.Parts[0].HeadParams = heads
		_, err := runOnce(t, dev, c.compile(t), h)
		return err
	}
	for _, c := range []struct {
		name, want string
		heads      map[string][]int64
	}{
		{"vertical_slash", "HeadParams has 3 values of slash, want one for each of 2 heads", map[string][]int64{"slash": {1, 2, 3}}},
		{"vertical_slash", `HeadParams has "slush", want parameters that are budgets`, map[string][]int64{"slush": {1, 2}}},
		{"vertical_slash", "head 1: vertical must be at least 0, got -1", map[string][]int64{"vertical": {1, -1}}},
		{"vertical_slash", "head 0: vertical must be at most 1073741824", map[string][]int64{"vertical": {1 << 40, 1}}},
		{"columns_window", `HeadParams has "window", want parameters that are budgets`, map[string][]int64{"window": {1, 2}}},
		{"a_shape", "no data decides what a_shape keeps", map[string][]int64{"window": {1, 2}}},
	} {
		err := run(c.name, nil, c.heads)
		require.ErrorIs(t, err, device.ErrBadCall)
		require.ErrorContains(t, err, c.want)
	}
	require.ErrorContains(t, run("vertical_slash", map[string]int64{"vertical": -1}, nil), "vertical must be at least 0, got -1")
}

// An artifact whose program does not fit its kernels is refused before anything is loaded.
func TestArtifactsWithBadPrograms(t *testing.T) {
	c := attentionCase{program: library(t, "vertical_slash"), headDim: 64, dtype: abi.BF16}
	data, err := c.compile(t).Encode()
	require.NoError(t, err)
	program := func(old, new string) func(a *artifact.Artifact) {
		return func(a *artifact.Artifact) {
			text := &a.Manifest.Programs[a.Manifest.Patterns[0].Lowered[0].Program]
			require.Contains(t, *text, old)
			*text = strings.Replace(*text, old, new, 1)
		}
	}
	without := func(prefix string) func(a *artifact.Artifact) {
		return func(a *artifact.Artifact) {
			l := &a.Manifest.Patterns[0].Lowered[0]
			l.Kernels = slices.DeleteFunc(l.Kernels, func(u artifact.Use) bool { return strings.HasPrefix(u.Name, prefix) })
		}
	}
	kernel := func(name string, damage func(c *artifact.Code)) func(a *artifact.Artifact) {
		return func(a *artifact.Artifact) { damage(artifacttest.Kernel(a, name)) }
	}
	for want, damage := range map[string]func(a *artifact.Artifact){
		"part decide: there is no kernel decide":           without("decide"),
		"part numbers: there is no kernel store_words":     without("store_words"),
		"part choose: there is no kernel probe_stats.1 or": without("probe_stats."),
		`kernel parameter "w7" is listed twice`:            kernel(abi.StoreWords, func(c *artifact.Code) { c.Params[9].Name = "w7" }),
		"threads is 2048, want 1 to 1024":                  kernel(abi.StoreWords, func(c *artifact.Code) { c.Threads = 2048 }),
		"module is 99, want one of the file's":             kernel(abi.Decide, func(c *artifact.Code) { c.Module = 99 }),
		`entry is "a b", want a PTX name`:                  kernel(abi.Decide, func(c *artifact.Code) { c.Entry = "a b" }),
		"shared_bytes is 2097152, want at most 1 MB":       kernel(abi.Decide, func(c *artifact.Code) { c.SharedBytes = 2 << 20 }),
		`kernel parameters are missing: i_diags_cover_words`: kernel(abi.Attend, func(c *artifact.Code) {
			c.Params = slices.DeleteFunc(c.Params, func(p artifact.Param) bool { return p.Name == "i_diags_cover_words" })
		}),
		"runs has no parameter run_cup":                                             program("run_cap = i_diags", "run_cup = i_diags"),
		"parameter words of runs has no argument, and nothing else is called words": program("      words = ceildiv(dist_pad, 32)\n", ""),
		"part choose: buffer i_diags_bits is read before it is written":             program("b_bits = at i_diags_bits", "b_bits = at diag_sum"),
		"select_top is given two arguments b_n":                                     program("b_n = reach", "b_n = reach\n          b_n = sk"),
		"program: line 2":                                                           program("variant probe_heads of", "variant probe_heads"),
		"slice_kv is defined twice":                                                 program("let slice_q = slice_kv*group", "let slice_kv = 1"),
	} {
		a, err := artifact.Read(data)
		require.NoError(t, err)
		damage(a)
		err = a.Verify()
		require.ErrorIs(t, err, artifact.ErrManifest, want)
		require.ErrorContains(t, err, want)
	}
}
