package runtime_test

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/compile"
	"github.com/minfc/minfc/internal/campaign"
	"github.com/minfc/minfc/internal/input"
	"github.com/minfc/minfc/internal/qkv"
	"github.com/minfc/minfc/internal/selfcheck"
	"github.com/minfc/minfc/patterns"
	"github.com/minfc/minfc/plan"
	"github.com/minfc/minfc/runtime"
	"github.com/minfc/minfc/runtime/artifact"
	"github.com/minfc/minfc/runtime/device"
	"github.com/minfc/minfc/runtime/emu"
)

// group compiles the patterns that layers need.
func group(t *testing.T, target string, headDim int, layers ...[]plan.Head) *artifact.Artifact {
	t.Helper()
	a, err := compile.Plan(layers, nil, compile.Options{Target: target, DType: "bf16", HeadDim: headDim}, &compile.Observer{Verify: true})
	require.NoError(t, err)
	return a
}

// head is a pattern of the library with parameters: head("a_shape", "window", 4).
func head(t *testing.T, name string, params ...any) plan.Head {
	known, err := plan.Library()
	require.NoError(t, err)
	h := plan.Head{Pattern: known[name], Params: map[string]int64{}}
	for i := 0; i < len(params); i += 2 {
		h.Params[params[i].(string)] = int64(params[i+1].(int))
	}
	return h
}

// sharedPatterns makes heads of one pattern have the same one, as the heads of a plan do.
func sharedPatterns(heads []plan.Head) []plan.Head {
	for i := range heads {
		n := slices.IndexFunc(heads, func(h plan.Head) bool { return h.Pattern.Name == heads[i].Pattern.Name })
		heads[i].Pattern = heads[n].Pattern
	}
	return heads
}

// grouped is a layer of several patterns on the emulator.
type grouped struct {
	dev   device.Device
	heads []plan.Head
	layer *plan.LoadedLayer
	in    *qkv.Input
	ran   *[]emu.Stats // kernels, in the order of their launches
}

func newGrouped(t *testing.T, a *artifact.Artifact, shape qkv.Shape, heads []plan.Head) *grouped {
	t.Helper()
	const processors = 5 // so that blocks with a queue are more than a row of the grid
	var ran []emu.Stats
	var mu sync.Mutex // launches may be concurrent
	dev, err := emu.Open(emu.Options{Multiprocessors: processors, Observe: func(s emu.Stats) {
		mu.Lock()
		defer mu.Unlock()
		ran = append(ran, s)
	}})
	require.NoError(t, err)
	t.Cleanup(func() { dev.Close() })
	k, err := plan.Load(dev, a, artifact.Select{})
	require.NoError(t, err)
	t.Cleanup(func() { k.Close() })
	g := &grouped{dev: dev, heads: heads, ran: &ran}
	g.layer, err = k.Bind(heads)
	require.NoError(t, err)
	g.in, err = qkv.Generate(shape, abi.BF16, 5)
	require.NoError(t, err)
	return g
}

func (g *grouped) run(t *testing.T, noFallback bool) runtime.HostResult {
	t.Helper()
	h := g.in.Call()
	h.Chosen, h.NoFallback = true, noFallback
	res, err := g.layer.RunHost(t.Context(), h)
	require.NoError(t, err)
	return res
}

// attentions are the launches of attention kernels.
func (g *grouped) attentions() (out []device.Launch) {
	for _, s := range *g.ran {
		if strings.HasPrefix(s.Kernel, "attention") {
			out = append(out, s.Launch)
		}
	}
	return out
}

// check holds every head against float64 attention over what it reports to keep.
func (g *grouped) check(t *testing.T, res runtime.HostResult) {
	t.Helper()
	in := g.in
	output := selfcheck.Case{In: in, Scale: 1 / math.Sqrt(float64(in.HeadDim)), O: res.O, LSE: res.LSE}
	for h := range in.Batch * in.QHeads {
		head := g.heads[h%in.QHeads]
		values, err := head.Values()
		require.NoError(t, err)
		keeps, err := head.Pattern.Keeps(values)
		if len(head.Pattern.Index) > 0 {
			if keeps, err = head.Pattern.CoverWith(values, res.Chosen[h].Kept); res.Chosen[h].Dense {
				keeps, err = head.Pattern.Widest().Keeps(values)
			}
		}
		require.NoError(t, err)
		output.Keeps, output.Pools = append(output.Keeps, keeps), append(output.Pools, head.Pattern.Pool)
	}
	report, err := selfcheck.Compare(output)
	require.NoError(t, err)
	require.True(t, report.OK(), "%s", report)
}

// mixed are eight heads of four patterns, of which two are decided by the data, some cheap and some dear.
func mixed(t *testing.T) []plan.Head {
	return sharedPatterns([]plan.Head{
		head(t, "vertical_slash", "vertical", 30, "slash", 100), head(t, "block_sparse", "topk", 1),
		head(t, "vertical_slash", "vertical", 600, "slash", 600), head(t, "a_shape", "sink", 3, "window", 70),
		head(t, "a_shape", "sink", 64, "window", 200), head(t, "dense"),
		head(t, "block_sparse", "topk", 12), head(t, "vertical_slash", "vertical", 200, "slash", 110),
	})
}

// mixedArtifacts are the artifacts of mixed heads, by target and head dim, which tests share and nobody may change.
var mixedArtifacts sync.Map

func mixedGroup(t *testing.T, target string, headDim int) *artifact.Artifact {
	once, _ := mixedArtifacts.LoadOrStore(fmt.Sprint(target, headDim), sync.OnceValue(func() *artifact.Artifact { return group(t, target, headDim, mixed(t)) }))
	return once.(func() *artifact.Artifact)()
}

// TestGroupsRouteHeadsInOneLaunch: heads of all patterns, and heads that the device finds faster without sparsity, are one launch.
func TestGroupsRouteHeadsInOneLaunch(t *testing.T) {
	for _, target := range compile.Targets() {
		for _, shape := range []qkv.Shape{
			{Batch: 1, QHeads: 8, KVHeads: 4, SeqQ: 300, SeqK: 800, QOffset: 500, HeadDim: 32},
			{Batch: 2, QHeads: 8, KVHeads: 2, SeqQ: 700, SeqK: 700, HeadDim: 64},
			{Batch: 1, QHeads: 8, KVHeads: 8, SeqQ: 600, SeqK: 600, HeadDim: 192},
		}[:campaign.Few(1, 3)] {
			t.Run(fmt.Sprint(target, shape.SeqQ), func(t *testing.T) {
				heads, a := mixed(t), mixedGroup(t, target, shape.HeadDim)
				if shape.KVHeads == 2 { // lists of blocks, and the words of their heads, begin with head 4
					heads[1], heads[5] = heads[5], heads[1]
					a = group(t, target, shape.HeadDim, heads)
				}
				g := newGrouped(t, a, shape, heads)
				for h := range heads {
					if len(heads[h].Pattern.Index) > 0 {
						price := max(1, float64(shape.HeadDim)/96)
						g.layer.Pattern(h).PriceLists(440*price, 530*price, 620*price)
					}
				}
				res := g.run(t, false)
				require.Len(t, g.attentions(), 1)
				routes := map[string]int{}
				for h, c := range res.Chosen {
					if p := heads[h%len(heads)].Pattern; len(p.Index) > 0 {
						routes[fmt.Sprint(p.Name, c.Dense)]++
					}
				}
				if shape.HeadDim < 192 {
					require.Len(t, routes, 4, "heads of both patterns and both kinds: %v", routes)
				} else {
					require.GreaterOrEqual(t, len(routes), 3, "one pattern with heads of both kinds: %v", routes)
				}
				g.check(t, res)
			})
		}
	}
}

// TestGroupsOfShortInputs: where dense attention is known to win, nothing is chosen or stored: there is one launch and nothing else.
func TestGroupsOfShortInputs(t *testing.T) {
	for _, target := range compile.Targets()[campaign.Few(1, 0):] {
		heads := mixed(t)
		g := newGrouped(t, mixedGroup(t, target, 64), qkv.Shape{Batch: 1, QHeads: 8, KVHeads: 2, SeqQ: 300, SeqK: 300, HeadDim: 64}, heads)
		res := g.run(t, false)
		require.Equal(t, 1, len(*g.ran))
		body, err := abi.RangeBody(target, 64)
		require.NoError(t, err)
		require.EqualValues(t, (300+body.Rows-1)/body.Rows, g.attentions()[0].Grid[0], "as wide as a dense kernel's tiles, not as those beside lists")
		for h, c := range res.Chosen {
			require.Equal(t, len(heads[h].Pattern.Index) > 0, c.Dense)
		}
		g.check(t, res)
	}
}

// TestGroupsOfManyHeads: as many as a launch has places for, and more, which take further launches.
func TestGroupsOfManyHeads(t *testing.T) {
	window, dense := head(t, "a_shape", "sink", 1, "window", 5), head(t, "dense")
	for heads, launches := range map[int]int{100: 1, 128: 1, 131: 2, 260: 3} {
		if testing.Short() && heads != 131 {
			continue
		}
		for _, target := range compile.Targets()[campaign.Few(1, 0):] {
			layer := slices.Repeat([]plan.Head{window, dense, dense}, 87)[:heads]
			shape := qkv.Shape{Batch: 2, QHeads: heads, KVHeads: 1, SeqQ: 20, SeqK: 20, HeadDim: 16}
			g := newGrouped(t, group(t, target, 16, layer), shape, layer)
			g.check(t, g.run(t, true))
			require.Equal(t, launches, len(*g.ran), "%s, %d heads", target, heads)
		}
	}
}

// TestEmptyGroupCalls: without queries nothing runs, without keys all outputs are zeros.
func TestEmptyGroupCalls(t *testing.T) {
	for _, target := range compile.Targets()[:campaign.Few(1, 2)] {
		heads, a := mixed(t), mixedGroup(t, target, 32)
		g := newGrouped(t, a, qkv.Shape{Batch: 1, QHeads: 8, KVHeads: 2, SeqQ: 0, SeqK: 70, HeadDim: 32}, heads)
		require.Empty(t, g.run(t, true).O)
		require.Empty(t, *g.ran)
		g = newGrouped(t, a, qkv.Shape{Batch: 1, QHeads: 8, KVHeads: 2, SeqQ: 70, SeqK: 0, HeadDim: 32}, heads)
		res := g.run(t, true)
		require.Equal(t, make([]byte, 2*8*70*32), res.O)
		for _, lse := range res.LSE {
			require.True(t, math.IsInf(float64(lse), -1))
		}
	}
}

// TestGroupsAreConcurrent: several goroutines launch on one layer, each in memory of its own, calls of other lengths.
func TestGroupsAreConcurrent(t *testing.T) {
	heads := mixed(t)
	g := newGrouped(t, mixedGroup(t, "sm_80", 32), qkv.Shape{Batch: 1, QHeads: 8, KVHeads: 2, SeqQ: 1, SeqK: 1, HeadDim: 32}, heads)
	var all sync.WaitGroup
	for n := range campaign.Few(2, 4) {
		in, err := qkv.Generate(qkv.Shape{Batch: 1, QHeads: 8, KVHeads: 2, SeqQ: 100 + 60*n, SeqK: 100 + 60*n, HeadDim: 32}, abi.BF16, 3)
		require.NoError(t, err)
		own := &grouped{dev: g.dev, heads: heads, layer: g.layer, in: in}
		first := own.run(t, true)
		for range 2 {
			all.Go(func() {
				if again := own.run(t, true); !slices.Equal(first.O, again.O) {
					t.Errorf("length %d: another result", in.SeqQ)
				}
			})
		}
	}
	all.Wait()
}

// TestKernelsAreConcurrent: launches of one kernel, of several lengths and budgets, plan beside each other.
func TestKernelsAreConcurrent(t *testing.T) {
	dev, err := emu.Open(emu.Options{})
	require.NoError(t, err)
	defer dev.Close()
	file, src, _ := patterns.Source("vertical_slash")
	a, err := compile.Source(file, src, "", compile.Options{Target: "sm_80", DType: "bf16", HeadDim: 32}, nil)
	require.NoError(t, err)
	k, err := runtime.Load(dev, a, artifact.Select{})
	require.NoError(t, err)
	defer k.Close()
	var all sync.WaitGroup
	for n := range 3 {
		in, err := qkv.Generate(qkv.Shape{Batch: 1, QHeads: 2, KVHeads: 1, SeqQ: 70 + 60*n, SeqK: 70 + 60*n, HeadDim: 32}, abi.BF16, 3)
		require.NoError(t, err)
		run := func() runtime.HostResult {
			h := in.Call()
			h.Parts = []runtime.Part{{HeadParams: map[string][]int64{"vertical": {5, int64(10 * n)}, "slash": {101, 110}}}}
			h.NoFallback, h.Chosen = true, true
			res, err := k.RunHost(t.Context(), h)
			if err != nil {
				t.Error(err)
			}
			return res
		}
		first := run()
		for range 2 {
			all.Go(func() {
				if again := run(); !slices.Equal(first.O, again.O) {
					t.Errorf("length %d: another result", in.SeqQ)
				}
			})
		}
	}
	all.Wait()
}

// checkParts says what is wrong with a call, of which nothing runs.
func checkParts(t *testing.T, l *runtime.Loaded, a runtime.Call, parts []runtime.Part) error {
	p, err := l.Prepare(a.Shape, parts...)
	if err != nil {
		return err
	}
	bad := p.Check(a.Pointers)
	if bad != nil {
		require.Equal(t, bad.Error(), p.Run(nil, a.Pointers).Error())
	}
	return bad
}

// TestBadParts: parts that do not fit the layer or each other are refused, and nothing runs.
func TestBadParts(t *testing.T) {
	var ran int
	dev, err := emu.Open(emu.Options{Observe: func(emu.Stats) { ran++ }})
	require.NoError(t, err)
	defer dev.Close()
	heads := sharedPatterns([]plan.Head{head(t, "a_shape", "window", 9), head(t, "vertical_slash"), head(t, "a_shape", "window", 8)})
	g, err := runtime.Load(dev, group(t, "sm_80", 32, heads), artifact.Select{})
	require.NoError(t, err)
	defer g.Close()
	good := runtime.Call{Shape: runtime.Shape{Batch: 1, QHeads: 4, KVHeads: 2, SeqQ: 64, SeqK: 64, NoFallback: true}}
	for _, p := range []*device.Ptr{&good.Q, &good.K, &good.V, &good.O, &good.Workspace} {
		*p, err = dev.Alloc(1 << 20)
		require.NoError(t, err)
	}
	good.WorkspaceBytes = 1 << 20
	budgets := map[string][]int64{"vertical": {3, 4}, "slash": {5, 6}}
	parts := []runtime.Part{{Pattern: 0, Heads: []int{0, 3}}, {Pattern: 1, Heads: []int{1, 2}, HeadParams: budgets}}
	run := func(a runtime.Call, parts ...runtime.Part) error { return checkParts(t, g, a, parts) }
	require.NoError(t, run(good, parts...))
	require.NoError(t, run(good, parts[1:]...), "heads may be left out")
	require.ErrorContains(t, run(good), "the artifact has 2 patterns, want parts that say which heads run which")
	for want, spoil := range map[string]func(a *runtime.Call, p *runtime.Part){
		"part 1: Pattern is 2, want one of 2":                     func(a *runtime.Call, p *runtime.Part) { p.Pattern = 2 },
		"part 1 has no heads":                                     func(a *runtime.Call, p *runtime.Part) { p.Heads = nil },
		"two parts have head 3":                                   func(a *runtime.Call, p *runtime.Part) { p.Heads = []int{2, 3} },
		"part 1 has the heads [1 4], want ascending ones from 0 ": func(a *runtime.Call, p *runtime.Part) { p.Heads = []int{1, 4} },
		"part 1 has the heads [2 1], want ascending":              func(a *runtime.Call, p *runtime.Part) { p.Heads = []int{2, 1} },
		"part 1 has the heads [-1 1], want ascending":             func(a *runtime.Call, p *runtime.Part) { p.Heads = []int{-1, 1} },
		"head 1: bad call: HeadParams has 2 values of slash,":     func(a *runtime.Call, p *runtime.Part) { p.Heads = []int{1} },
		"heads 1-2: bad call: head 1: slash must":                 func(a *runtime.Call, p *runtime.Part) { p.HeadParams = map[string][]int64{"slash": {-1, 0}} },
		`heads 1-2: bad call: unknown parameter "breadth"`:        func(a *runtime.Call, p *runtime.Part) { p.Params = map[string]int64{"breadth": 1} },
		"O overlaps Q":                            func(a *runtime.Call, p *runtime.Part) { a.O = a.Q },
		"Workspace overlaps V":                    func(a *runtime.Call, p *runtime.Part) { a.Workspace = a.V },
		"O is a null pointer":                     func(a *runtime.Call, p *runtime.Part) { a.O = 0 },
		"Workspace has 255 bytes":                 func(a *runtime.Call, p *runtime.Part) { a.WorkspaceBytes = 255 },
		"want QHeads to be a multiple of KVHeads": func(a *runtime.Call, p *runtime.Part) { a.KVHeads = 3 },
	} {
		a, bad := good, slices.Clone(parts)
		spoil(&a, &bad[1])
		err := run(a, bad...)
		require.ErrorIs(t, err, device.ErrBadCall)
		require.ErrorContains(t, err, want)
	}
	require.Zero(t, ran)
}

// TestMoreHeadsThanOneGridHas: sections that have no room beside each other take launches of their own.
func TestMoreHeadsThanOneGridHas(t *testing.T) {
	const n = 40000
	heads := sharedPatterns([]plan.Head{head(t, "columns_window", "window", 9), head(t, "columns_window", "window", 8)})
	dev := runtime.NewFakeDevice()
	g, err := runtime.Load(dev, group(t, "sm_80", 32, heads), artifact.Select{})
	require.NoError(t, err)
	parts := []runtime.Part{{Params: map[string]int64{"window": 9}}, {Params: map[string]int64{"window": 8}}}
	for h := range n {
		parts[h%2].Heads = append(parts[h%2].Heads, h)
	}
	p, err := g.Prepare(runtime.Shape{Batch: 1, QHeads: n, KVHeads: n, SeqQ: 64, SeqK: 64, NoFallback: true}, parts...)
	require.NoError(t, err)
	require.Equal(t, 2, p.Launches())
}

// TestGroupsWithTooFewSections: more sets of parameters than the artifact was compiled for take more launches.
func TestGroupsWithTooFewSections(t *testing.T) {
	compiled := sharedPatterns([]plan.Head{head(t, "a_shape", "window", 40), head(t, "a_shape", "window", 9), head(t, "vertical_slash")})
	heads := []plan.Head{compiled[2]}
	for window := range 5 {
		heads = append(heads, plan.Head{Pattern: compiled[0].Pattern, Params: map[string]int64{"sink": 2, "window": int64(1 + 20*window)}})
	}
	g := newGrouped(t, group(t, "sm_90a", 32, compiled), qkv.Shape{Batch: 1, QHeads: 6, KVHeads: 2, SeqQ: 150, SeqK: 150, HeadDim: 32}, heads)
	p, err := g.layer.Prepare(runtime.Shape{Batch: 1, QHeads: 6, KVHeads: 2, SeqQ: 150, SeqK: 150})
	require.NoError(t, err)
	require.Equal(t, 3, p.Launches(), "five windows, two at a time")
	g.check(t, g.run(t, true))
	require.Len(t, g.attentions(), 3)
}

// TestGroupsOfEveryHeadDim: all shapes of blocks, alone and beside others, with two batch entries and lengths that no tile divides.
func TestGroupsOfEveryHeadDim(t *testing.T) {
	for _, target := range compile.Targets()[campaign.Few(1, 0):] {
		for _, d := range []int{64, 192, 16, 80, 112, 128, 256}[:campaign.Few(1, 7)] {
			t.Run(fmt.Sprint(target, d), func(t *testing.T) {
				heads := sharedPatterns([]plan.Head{
					head(t, "a_shape", "sink", 3, "window", 30), head(t, "block_sparse", "topk", 2), head(t, "dense"),
					head(t, "vertical_slash", "vertical", 20, "slash", 80), head(t, "columns_window", "vertical", 31, "window", 9), head(t, "block_sparse", "topk", 1),
				})
				a := group(t, target, d, heads)
				for _, s := range []qkv.Shape{
					{Batch: 2, QHeads: 6, KVHeads: 3, SeqQ: 70, SeqK: 131, QOffset: 61},
					{Batch: 1, QHeads: 4, KVHeads: 4, SeqQ: 170, SeqK: 170}, // three row tiles of a head: where blocks take two, the last one has one
					{Batch: 1, QHeads: 4, KVHeads: 4, SeqQ: 60, SeqK: 90, QOffset: 30},
				}[:campaign.Few(2, 3)] {
					s.HeadDim = d
					g := newGrouped(t, a, s, heads[:s.QHeads])
					g.check(t, g.run(t, true))
					require.Len(t, g.attentions(), 1)
				}
			})
		}
	}
}

// TestPlansAndPatternsAreLoadedAlike: what is in an artifact is for Load to find out, one pattern or several.
func TestPlansAndPatternsAreLoadedAlike(t *testing.T) {
	dev, err := emu.Open(emu.Options{})
	require.NoError(t, err)
	defer dev.Close()
	a := group(t, compile.TargetAuto, 32, []plan.Head{head(t, "a_shape"), head(t, "vertical_slash")})
	_, err = runtime.Load(dev, a, artifact.Select{HeadDim: 64})
	require.ErrorIs(t, err, artifact.ErrTarget)
	require.ErrorContains(t, err, "want head dim 64, it has (head dim 32, bf16, sm_80) (head dim 32, bf16, sm_90a)")
	g, err := runtime.Load(dev, a, artifact.Select{Target: "sm_80"})
	require.NoError(t, err)
	defer g.Close()
	require.Equal(t, artifact.Build{Target: "sm_80", DType: "bf16", HeadDim: 32, Groups: g.Build().Groups}, g.Build())
	require.Len(t, g.Patterns(), 2)

	in, err := input.Read("a_shape")
	require.NoError(t, err)
	a, err = compile.Source(in.Name, in.Source, "", compile.Options{Target: "sm_80", DType: "bf16", HeadDim: 32}, nil)
	require.NoError(t, err)
	one, err := runtime.Load(dev, a, artifact.Select{})
	require.NoError(t, err)
	defer one.Close()
	data, err := qkv.Generate(qkv.Shape{Batch: 1, QHeads: 4, KVHeads: 2, SeqQ: 90, SeqK: 90, HeadDim: 32}, abi.BF16, 3)
	require.NoError(t, err)
	parts := []runtime.Part{{Heads: []int{0, 2}, Params: map[string]int64{"window": 9}}, {Heads: []int{1, 3}, Params: map[string]int64{"window": 40}}}
	h := data.Call()
	h.Parts = parts
	want, err := g.RunHost(t.Context(), h)
	require.NoError(t, err)
	got, err := one.RunHost(t.Context(), h)
	require.NoError(t, err)
	require.Equal(t, want.O, got.O, "a pattern alone takes parts as the patterns of a plan do")
	require.Equal(t, want.LSE, got.LSE)
}

// TestGroupsAreReproducible: the same patterns give the same bytes.
func TestGroupsAreReproducible(t *testing.T) {
	heads := mixed(t)
	first, err := group(t, compile.TargetAuto, 64, heads).Encode()
	require.NoError(t, err)
	again, err := group(t, compile.TargetAuto, 64, heads).Encode()
	require.NoError(t, err)
	require.Equal(t, first, again)
	a, err := artifact.Read(first)
	require.NoError(t, err)
	sections := map[string]int{}
	for _, b := range a.Manifest.Builds {
		for _, n := range b.Groups {
			sections[b.Target] = max(sections[b.Target], len(a.Manifest.Codes[n].Sections))
		}
	}
	require.Equal(t, map[string]int{"sm_80": 7, "sm_90a": 7}, sections, "two of a_shape, one of dense, sparse and dense ones of two")
}

// BenchmarkGroupLaunch is what a layer of 32 heads costs the host, of 32 layers that take turns.
func BenchmarkGroupLaunch(b *testing.B) {
	t := &testing.T{}
	heads := mixed(t)
	b.ReportAllocs()
	k, err := plan.Load(runtime.NewFakeDevice(), group(t, "sm_80", 128, heads), artifact.Select{})
	require.NoError(b, err)
	var layers []*plan.LoadedLayer
	for n := range 32 {
		var layer []plan.Head
		for h := range 32 {
			x := heads[h%len(heads)]
			x.Params = maps.Clone(x.Params)
			if len(x.Pattern.Index) > 0 {
				x.Params[x.Pattern.Params[0].Name] += int64(n) // budgets by layer
			}
			layer = append(layer, x)
		}
		l, err := k.Bind(layer)
		require.NoError(b, err)
		layers = append(layers, l)
	}
	shape := runtime.Shape{Batch: 1, QHeads: 32, KVHeads: 8, SeqQ: 1 << 17, SeqK: 1 << 17}
	at := runtime.Pointers{Q: 1 << 42, K: 2 << 42, V: 3 << 42, O: 4 << 42, Workspace: 1 << 20, WorkspaceBytes: 1 << 40}
	for n := 0; b.Loop(); n++ {
		p, err := layers[n%len(layers)].Prepare(shape)
		require.NoError(b, err)
		require.NoError(b, p.Run(nil, at))
	}
}
