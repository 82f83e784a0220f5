package e2e

import (
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/half"
	"github.com/minfc/minfc/internal/campaign"
	"github.com/minfc/minfc/internal/qkv"
	"github.com/minfc/minfc/ir"
	"github.com/minfc/minfc/runtime"
	"github.com/minfc/minfc/runtime/emu"
)

// Inputs at the ends of their types: whatever is finite and whatever is not, a row is the mean of the values that it keeps.

// extreme fills q, k and v. Numbers in q and k are small integers times a power of two, so that float32 adds their products up exactly:
// which score is the largest is then no matter of rounding.
type extreme struct {
	name string
	fill func(rng *rand.Rand, f abi.DType, q, k, v []float32)
}

// largest is the exponent of the largest power of two of a format.
var largest = map[abi.DType]int{abi.BF16: 127, abi.F16: 15}

func integers(rng *rand.Rand, to []float32, exponent int) {
	for i := range to {
		to[i] = float32(math.Ldexp(float64(rng.IntN(5)-2), exponent))
	}
}

func normals(rng *rand.Rand, to []float32) {
	for i := range to {
		to[i] = float32(rng.NormFloat64())
	}
}

// notFinite puts NaN or an infinity in a few places.
func notFinite(rng *rand.Rand, to []float32) {
	for range 1 + rng.IntN(6) {
		to[rng.IntN(len(to))] = []float32{float32(math.NaN()), float32(math.Inf(1)), float32(math.Inf(-1))}[rng.IntN(3)]
	}
}

var extremes = []extreme{
	{"huge logits", func(rng *rand.Rand, f abi.DType, q, k, v []float32) {
		most := min(largest[f]-1, 59) // products of 16-bit floats reach 2^30 in f16, 2^118 and more in bf16
		integers(rng, q, rng.IntN(most+1))
		integers(rng, k, rng.IntN(most+1))
		normals(rng, v)
	}},
	{"logits that are all far below zero", func(rng *rand.Rand, f abi.DType, q, k, v []float32) {
		e := min(largest[f]-1, 8+rng.IntN(50))
		for i := range q {
			q[i] = float32(math.Ldexp(1, e))
		}
		for i := range k {
			k[i] = float32(math.Ldexp(-float64(1+rng.IntN(2)), e))
		}
		normals(rng, v)
	}},
	{"the largest values", func(rng *rand.Rand, f abi.DType, q, k, v []float32) {
		integers(rng, q, 0)
		integers(rng, k, 0)
		top := float32(65504)
		if f == abi.BF16 {
			top = 0x1.fep127
		}
		for i := range v {
			v[i] = top
			if i%3 == 0 {
				v[i] = -top
			}
		}
	}},
	{"values that are not finite", func(rng *rand.Rand, f abi.DType, q, k, v []float32) {
		integers(rng, q, 0)
		integers(rng, k, 0)
		normals(rng, v)
		notFinite(rng, v)
	}},
	{"huge logits and values that are not finite", func(rng *rand.Rand, f abi.DType, q, k, v []float32) {
		integers(rng, q, 10)
		integers(rng, k, 10)
		normals(rng, v)
		notFinite(rng, v)
	}},
}

var extremeKernels = []struct {
	target  string
	headDim int
}{{"sm_80", 64}, {"sm_80", 80}, {"sm_80", 128}, {"sm_80", 256}, {"sm_90a", 16}, {"sm_90a", 64}, {"sm_90a", 128}, {"sm_90a", 192}, {"sm_90a", 256}}

var extremePatterns = map[string]map[string]int64{
	"dense": nil, "full": nil, "a_shape": {"sink": 20, "window": 70}, "sliding": {"window": 33},
	"vertical_slash": {"vertical": 40, "slash": 110}, "slash_tiles_shared": {"vertical": 40, "runs": 2}, "block_sparse": {"topk": 2}, "columns_window": {"vertical": 40, "window": 65},
}

// Patterns, kernels and types take turns: in a campaign each pattern has every third pair of a kernel and a type, each pair two patterns or three.
func TestExtremeInputs(t *testing.T) {
	turn := 0
	for _, name := range slices.Sorted(maps.Keys(extremePatterns)) {
		turn++
		for _, k := range extremeKernels {
			for _, f := range []abi.DType{abi.BF16, abi.F16} {
				turn++
				if turn%campaign.Cases(31, 6, 3) != 0 {
					continue
				}
				c := attentionCase{program: library(t, name), target: k.target, headDim: k.headDim, dtype: f, params: extremePatterns[name]}
				t.Run(c.kernel(), func(t *testing.T) {
					t.Parallel()
					c.runExtremes(t)
				})
			}
		}
	}
}

func (c attentionCase) runExtremes(t *testing.T) {
	seed := uint64(c.headDim) + uint64(len(c.kernel()))
	l := c.load(t, emu.Options{Seed: seed})
	rng := rand.New(rand.NewPCG(seed, 5))
	for i, x := range extremes {
		if testing.Short() && i%2 == 1 {
			continue
		}
		c.shape = qkv.Shape{Batch: 1, QHeads: 2, KVHeads: 1, SeqQ: 1 + rng.IntN(200), HeadDim: c.headDim}
		c.shape.SeqK = c.shape.SeqQ + rng.IntN(70)
		c.shape.QOffset = rng.IntN(c.shape.SeqK - c.shape.SeqQ + 1)
		in, err := qkv.Generate(c.shape, c.dtype, 1)
		require.NoError(t, err)
		q, k, v := make([]float32, len(in.Q)/2), make([]float32, len(in.K)/2), make([]float32, len(in.V)/2)
		x.fill(rng, c.dtype, q, k, v)
		for to, values := range map[*[]byte][]float32{&in.Q: q, &in.K: k, &in.V: v} {
			*to, err = half.Encode(c.dtype, values)
			require.NoError(t, err)
		}
		require.NoError(t, half.Decode(c.dtype, v, in.V))
		t.Run(fmt.Sprintf("%s/%s", x.name, c.launched()), func(t *testing.T) { c.extremeCase(t, l, in, q, k, v) })
	}
}

// extremeCase runs a case and looks at every row.
func (c attentionCase) extremeCase(t *testing.T, l *runtime.Loaded, in *qkv.Input, q, k, v []float32) {
	h := c.host(in)
	h.Chosen = len(c.program.Pattern.Index) > 0
	call, err := l.Prepare(h.Shape, h.Parts...)
	require.NoError(t, err)
	res, err := l.RunHost(t.Context(), h)
	require.NoError(t, err)
	o := make([]float32, len(res.O)/2)
	require.NoError(t, half.Decode(c.dtype, o, res.O))
	values := finiteValues(v)
	for head := range in.QHeads {
		keep := c.kept(t, in, h.Chosen, func() []byte {
			cover, err := call.Cover(head, &res.Chosen[head], nil)
			require.NoError(t, err)
			return cover
		})
		for i := range in.SeqQ {
			at := (head*in.SeqQ + i) * in.HeadDim
			checkMean(t, meanCase{q: q[at:][:in.HeadDim], k: k, v: values, keep: func(j int) bool { return keep(i, j) }, f: c.dtype},
				o[at:][:in.HeadDim], float64(res.LSE[head*in.SeqQ+i]))
		}
	}
}

// kept is what a head keeps, by row and key.
func (c attentionCase) kept(t *testing.T, in *qkv.Input, chosen bool, cover func() []byte) func(i, j int) bool {
	if chosen {
		words := cover()
		return func(i, j int) bool { return words[i*in.SeqK+j] == 1 }
	}
	values, err := ir.CheckLaunch(c.program.Pattern.Params, c.program.Pattern.Requires, c.params)
	require.NoError(t, err)
	keep, err := c.program.Pattern.EndingAt(in.End()).Keeps(values)
	require.NoError(t, err)
	return func(i, j int) bool { return keep(in.QOffset+i, j) }
}

// valuesOf are the values of keys: the finite ones, 0 for others, and by key the columns that are not finite.
type valuesOf struct {
	finite []float32
	bad    []bool
}

func finiteValues(v []float32) valuesOf {
	out := valuesOf{make([]float32, len(v)), make([]bool, len(v))}
	for i, x := range v {
		if out.bad[i] = x != x || math.IsInf(float64(x), 0); !out.bad[i] {
			out.finite[i] = x
		}
	}
	return out
}

// meanCase is one row of attention.
type meanCase struct {
	q, k []float32
	v    valuesOf
	keep func(j int) bool
	f    abi.DType
}

// checkMean holds a row's output and LSE against float64: the finite part of it where all values are, else whatever is not finite.
func checkMean(t *testing.T, c meanCase, o []float32, lse float64) {
	d := len(c.q)
	poisoned, most := make([]bool, d), 0.0
	for j := range len(c.k) / d {
		if !c.keep(j) {
			continue
		}
		for i, x := range c.v.finite[j*d:][:d] {
			poisoned[i] = poisoned[i] || c.v.bad[j*d+i]
			most = max(most, math.Abs(float64(x)))
		}
	}
	want, wantLSE := ir.Attend(c.q, c.k, c.v.finite, c.keep, 1/math.Sqrt(float64(d)))
	tolerance := map[abi.DType]float64{abi.BF16: 8e-3, abi.F16: 1e-3}[c.f]
	for i, x := range o {
		got := float64(x)
		if poisoned[i] {
			require.True(t, got != got || math.IsInf(got, 0), "column %d keeps a value that is not finite, and is %v", i, got)
			continue
		}
		require.InDelta(t, want[i], got, tolerance*most, "column %d", i)
		require.LessOrEqual(t, math.Abs(got), most*(1+tolerance), "column %d: beyond the largest value", i)
	}
	if math.IsInf(wantLSE, -1) {
		require.Equal(t, wantLSE, lse)
		return
	}
	require.InDelta(t, wantLSE, lse, 1e-5+1e-6*math.Abs(wantLSE), "LSE")
}
