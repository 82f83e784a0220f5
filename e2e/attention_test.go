package e2e

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/compile"
	"github.com/minfc/minfc/half"
	"github.com/minfc/minfc/internal/campaign"
	"github.com/minfc/minfc/internal/qkv"
	"github.com/minfc/minfc/internal/selfcheck"
	"github.com/minfc/minfc/ir"
	"github.com/minfc/minfc/ir/irtest"
	"github.com/minfc/minfc/patterns"
	"github.com/minfc/minfc/runtime"
	"github.com/minfc/minfc/runtime/artifact"
	"github.com/minfc/minfc/runtime/device"
	"github.com/minfc/minfc/runtime/emu"
)

// attentionCase is one attention call on the emulator, from the pattern to the checked output.
type attentionCase struct {
	program *compile.Program
	target  string // "" for sm_80
	headDim int
	dtype   abi.DType
	shape   qkv.Shape
	params  map[string]int64 // of both bindings
	random  bool             // inputs without structure
	seed    uint64
}

// kernel names what is compiled for the case, and launched how it is run.
func (c attentionCase) kernel() string {
	return fmt.Sprintf("%s/%s/D%d/%s", c.program.Pattern.Name, c.options().Target, c.headDim, c.dtype)
}

func (c attentionCase) launched() string {
	s := c.shape
	return fmt.Sprintf("b%d_h%d_%d_q%d_k%d_at%d/%v", s.Batch, s.QHeads, s.KVHeads, s.SeqQ, s.SeqK, s.QOffset, c.params)
}

func (c attentionCase) input(t *testing.T) *qkv.Input {
	c.shape.HeadDim = c.headDim
	in, err := qkv.Generate(c.shape, c.dtype, c.seed)
	require.NoError(t, err)
	if c.random {
		rng := rand.New(rand.NewPCG(c.seed, 1))
		for _, p := range []*[]byte{&in.Q, &in.K, &in.V} {
			values := make([]float32, len(*p)/2)
			for i := range values {
				values[i] = float32(rng.NormFloat64())
			}
			*p, err = half.Encode(c.dtype, values)
			require.NoError(t, err)
		}
	}
	return in
}

// host is the call, without the fallback: everything here is so short that dense attention would win.
func (c attentionCase) host(in *qkv.Input) runtime.HostCall {
	h := in.Call()
	h.NoFallback, h.Parts = true, []runtime.Part{{Params: c.program.Pattern.ValuesAt(ir.BindLaunch, c.params)}}
	return h
}

// runOnce loads an artifact, runs one call and closes what it loaded.
func runOnce(t *testing.T, dev device.Device, a *artifact.Artifact, h runtime.HostCall) (runtime.HostResult, error) {
	l, err := runtime.Load(dev, a, artifact.Select{})
	require.NoError(t, err)
	defer func() { require.NoError(t, l.Close()) }()
	return l.RunHost(t.Context(), h)
}

func openEmulator(t *testing.T, opts emu.Options) device.Device {
	dev, err := emu.Open(opts)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, dev.Close()) })
	return dev
}

func (c attentionCase) options() compile.Options {
	return compile.Options{Target: cmp.Or(c.target, "sm_80"), DType: c.dtype, HeadDim: c.headDim}
}

func (c attentionCase) artifact() (*artifact.Artifact, error) {
	return c.program.With(c.program.Pattern.ValuesAt(ir.BindConst, c.params)).Compile(c.options(), &compile.Observer{Verify: true})
}

// compiled has the artifacts of cases, which tests share, by what they are compiled from.
var compiled sync.Map

// compile is the artifact of a case, which nobody may change.
func (c attentionCase) compile(t *testing.T) *artifact.Artifact {
	key := fmt.Sprint(c.kernel(), c.program.Pattern.ValuesAt(ir.BindConst, c.params), c.program.Pattern)
	once, _ := compiled.LoadOrStore(key, sync.OnceValues(c.artifact))
	a, err := once.(func() (*artifact.Artifact, error))()
	require.NoError(t, err)
	return a
}

// load loads a case's kernel on a device of its own: tests run beside each other, and many cases share one kernel.
func (c attentionCase) load(t *testing.T, opts emu.Options) *runtime.Loaded {
	return c.loadOn(t, openEmulator(t, opts))
}

func (c attentionCase) loadOn(t *testing.T, dev device.Device) *runtime.Loaded {
	return load(t, dev, c.compile(t))
}

func load(t *testing.T, dev device.Device, a *artifact.Artifact) *runtime.Loaded {
	l, err := runtime.Load(dev, a, artifact.Select{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, l.Close()) })
	return l
}

func (c attentionCase) run(t *testing.T, l *runtime.Loaded) { c.compare(t, l, c.input(t)) }

// compare holds the result of a case on some inputs against float64.
func (c attentionCase) compare(t *testing.T, l *runtime.Loaded, in *qkv.Input) {
	res, err := l.RunHost(t.Context(), c.host(in))
	require.NoError(t, err)
	values, err := ir.CheckLaunch(c.program.Pattern.Params, c.program.Pattern.Requires, c.params)
	require.NoError(t, err)
	keep, err := c.program.Pattern.EndingAt(in.End()).Keeps(values)
	require.NoError(t, err)
	output := selfcheck.Case{In: in, Keep: keep, Pool: c.program.Pattern.Pool, Scale: 1 / math.Sqrt(float64(c.headDim)), O: res.O, LSE: res.LSE}
	if s := c.program.Pattern.Skip; s != nil {
		share, err := s.Log2(values)
		require.NoError(t, err)
		output.Skips = slices.Repeat([]float64{math.Exp2(share)}, in.Batch*in.QHeads)
	}
	report, err := selfcheck.Compare(output)
	require.NoError(t, err)
	require.True(t, report.OK(), "%s", report)
}

func library(t *testing.T, name string) *compile.Program {
	file, src, ok := patterns.Source(name)
	require.True(t, ok)
	p, err := compile.Load(file, src, "", nil)
	require.NoError(t, err)
	return p
}

// Every head dim and type, every library pattern, lengths on both sides of tile edges, Sq != Sk, GQA.
var (
	headDims  = []int{16, 32, 64, 80, 96, 128, 144, 192, 208, 256}
	shortDims = []int{64, 128, 256} // with -short
	lengths   = []int{1, 63, 64, 65, 127, 200, 513}
	groups    = [][2]int{{2, 2}, {4, 1}, {8, 1}, {1, 1}}
	settings  = map[string][]map[string]int64{
		"dense":        {nil},
		"full":         {nil},
		"a_shape":      {{"sink": 5, "window": 70}, {"sink": 0, "window": 1}, {"sink": 130, "window": 64}, nil},
		"sliding":      {{"window": 1}, {"window": 100}, nil},
		"dilated":      {{"window": 300}, nil},
		"strided":      {{"stride": 1}, {"stride": 7}, {"stride": 200}, nil},
		"longformer":   {{"global": 9, "reach": 30}, {"global": 0, "reach": 70}, {"global": 70, "reach": 0}, nil},
		"prefix_lm":    {{"prefix": 0}, {"prefix": 70}, {"prefix": 200}, nil},
		"triangle_mix": {{"sink": 5, "window": 70, "last": 30}, nil},
		"tri_shape":    {{"sink": 5, "window": 70, "last": 30}, {"sink": 5, "window": 20, "last": 0}, {"sink": 0, "window": 9, "last": 1 << 30}, nil},
	}
)

// pick chooses the i-th of many cases so that all values of every dimension come up with all others in time.
func pick[T any](rng *rand.Rand, from []T) T { return from[rng.IntN(len(from))] }

func randomShape(rng *rand.Rand) qkv.Shape {
	g := pick(rng, groups)
	s := qkv.Shape{Batch: 1 + rng.IntN(2), QHeads: g[0], KVHeads: g[1], SeqQ: pick(rng, lengths), SeqK: pick(rng, lengths)}
	switch rng.IntN(3) {
	case 0:
		s.SeqK = s.SeqQ
	case 1:
		s.QOffset = max(0, s.SeqK-s.SeqQ) // the last chunk of a prefill
	default:
		s.QOffset = rng.IntN(200)
	}
	for s.Batch*s.QHeads*s.SeqQ*s.SeqK > 1<<20 { // keep a case short
		s.Batch, s.QHeads = max(1, s.Batch/2), max(s.KVHeads, s.QHeads/2)
		if s.Batch == 1 && s.QHeads == s.KVHeads {
			break
		}
	}
	return s
}

// formats are both, the i-th first: tests that take turns take the first one alone.
func formats(i int) []abi.DType {
	both := []abi.DType{abi.BF16, abi.F16, abi.BF16}
	return both[i%2:][:2]
}

// Every pattern has a kernel of each head dim and target, with -short one kernel; types and inputs take turns but in a campaign.
func TestLibraryPatternsAgreeWithFloat64(t *testing.T) {
	const shapes = 2
	kinds := campaign.Cases(1, 1, shapes) // of inputs of a kernel
	for p, name := range patterns.Names() {
		program := library(t, name)
		if len(program.Pattern.Index) > 0 {
			continue // what it keeps depends on the inputs
		}
		require.Contains(t, settings, name, "a new library pattern needs settings here")
		for n, d := range headDims {
			if testing.Short() && d != shortDims[p%len(shortDims)] {
				continue
			}
			for i, target := range compile.Targets() {
				if (p+i)%campaign.Few(2, 1) != 0 { // with -short targets take turns
					continue
				}
				for _, f := range formats(n + p)[:campaign.Cases(1, 1, 2)] {
					c := attentionCase{program: program, target: target, headDim: d, dtype: f}
					t.Run(c.kernel(), func(t *testing.T) {
						t.Parallel()
						l, rng := c.load(t, emu.Options{}), rand.New(rand.NewPCG(uint64(n), uint64(len(name)+len(f)+len(target))))
						for i := range shapes {
							c.shape, c.params = randomShape(rng), pick(rng, settings[name])
							c.random, c.seed = i%2 == 1, rng.Uint64()
							if i != n%shapes && kinds == 1 {
								continue
							}
							t.Run(c.launched(), func(t *testing.T) { c.run(t, l) })
						}
					})
				}
			}
		}
	}
}

// Every listed length against itself: a tile edge that is off by one shows here.
func TestEveryLength(t *testing.T) {
	for _, target := range compile.Targets() {
		for _, d := range []int{64, 128, 192, 256}[:campaign.Few(2, 4)] { // one head dim a tile shape
			c := attentionCase{program: library(t, "a_shape"), target: target, headDim: d, dtype: abi.BF16, params: map[string]int64{"sink": 10, "window": 100}}
			t.Run(c.kernel(), func(t *testing.T) {
				t.Parallel()
				l := c.load(t, emu.Options{})
				for i, n := range lengths {
					c.shape, c.seed = qkv.Shape{Batch: 1, QHeads: 1, KVHeads: 1, SeqQ: n, SeqK: n}, uint64(i)
					t.Run(c.launched(), func(t *testing.T) { c.run(t, l) })
				}
			})
		}
	}
}

// Random set expressions: whatever the language can say, the kernel computes.
func TestRandomPatternsAgreeWithFloat64(t *testing.T) {
	refused, cases := 0, campaign.Cases(20, 200, 1000)
	for seed := range uint64(cases) {
		rng := rand.New(rand.NewPCG(seed, 3))
		p := irtest.SkipBySeed(seed, irtest.RowsBySeed(seed, irtest.RandomPattern(rng)))
		c := attentionCase{program: &compile.Program{Pattern: p}, headDim: pick(rng, []int{32, 64, 128, 256}), dtype: abi.BF16, seed: seed}
		c.shape = qkv.Shape{Batch: 1, QHeads: 1, KVHeads: 1, SeqQ: 1 + rng.IntN(200), SeqK: 1 + rng.IntN(200), QOffset: rng.IntN(100)}
		if rng.IntN(4) == 0 {
			c.shape.QOffset = irtest.AtLimit(rng, ir.Shape{Sq: c.shape.SeqQ}).QOffset
		}
		c.params = irtest.RandomValues(rng, p)
		c.target = pick(rng, compile.Targets())
		a, err := c.artifact()
		if err != nil { // the generator cannot know the limit of bands
			require.ErrorContains(t, err, "disjoint bands")
			refused++
			continue
		}
		t.Run(fmt.Sprintf("%d/%s/%s", seed, c.kernel(), c.launched()), func(t *testing.T) {
			t.Parallel()
			c.run(t, load(t, openEmulator(t, emu.Options{}), a))
		})
	}
	require.Less(t, refused, cases/20)
}

// The same call gives the same bits, however the emulator interleaves the warps.
func TestResultsDoNotDependOnWarpOrder(t *testing.T) {
	for _, target := range compile.Targets() {
		for _, d := range []int{64, 128, 256}[:campaign.Few(1, 3)] {
			c := attentionCase{program: library(t, "a_shape"), target: target, headDim: d, dtype: abi.BF16, params: map[string]int64{"window": 150},
				shape: qkv.Shape{Batch: 1, QHeads: 2, KVHeads: 1, SeqQ: 150, SeqK: 300, QOffset: 150}}
			in := c.input(t)
			var first runtime.HostResult
			for seed := range uint64(4) {
				l := c.load(t, emu.Options{Seed: seed})
				res, err := l.RunHost(t.Context(), c.host(in))
				require.NoError(t, err)
				if seed == 0 {
					first = res
				}
				require.Equal(t, first.O, res.O)
				require.Equal(t, first.LSE, res.LSE)
			}
		}
	}
}

// Compiling twice gives the same bytes: artifacts can be cached and compared.
func TestCompileIsDeterministic(t *testing.T) {
	for _, name := range patterns.Names() {
		c := attentionCase{program: library(t, name), headDim: 128, dtype: abi.BF16}
		var files [2][]byte
		for i := range files {
			a, err := c.artifact()
			require.NoError(t, err)
			files[i], err = a.Encode()
			require.NoError(t, err)
		}
		require.Equal(t, files[0], files[1], name)
	}
}
