package codegen_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/compile"
	"github.com/minfc/minfc/half"
	"github.com/minfc/minfc/internal/campaign"
	"github.com/minfc/minfc/internal/codegen"
	"github.com/minfc/minfc/internal/codegen/lower"
	"github.com/minfc/minfc/internal/ptxgen"
	"github.com/minfc/minfc/internal/selfcheck"
	"github.com/minfc/minfc/ir"
	"github.com/minfc/minfc/patterns"
	"github.com/minfc/minfc/runtime"
	"github.com/minfc/minfc/runtime/artifact"
	"github.com/minfc/minfc/runtime/emu"
)

const scoresDim = 64

// scoresCase is causal attention whose logits are other ones than products: in a kernel, and in float64.
type scoresCase struct {
	name    string
	pattern string // of the library: dense, or columns and a window
	params  map[string]int64
	scores  lower.Scores
	logit   func(x float64, q, k int) float64
	sink    float64 // one more logit of every row, of no value; -inf for none
	scale   float64
	dtype   abi.DType
}

func (c scoresCase) load(t *testing.T, target string) *runtime.Loaded {
	file, src, ok := patterns.Source(c.pattern)
	require.True(t, ok)
	a, err := compile.Source(file, src, "", compile.Options{Target: target, DType: c.dtype, HeadDim: scoresDim}, nil)
	require.NoError(t, err)
	m := &a.Manifest.Patterns[0].Lowered[0]
	s, err := ir.ParseSchedule(m.Schedule)
	require.NoError(t, err)
	kernel, err := codegen.Attention(s, codegen.Config{HeadDim: scoresDim, DType: c.dtype, Target: target, Scores: &c.scores})
	require.NoError(t, err)
	a.Modules[a.Manifest.Kernel(m, abi.Attend).Module], err = ptxgen.Compile(kernel.Module, ptxgen.Options{Target: target})
	require.NoError(t, err)
	dev, err := emu.Open(emu.Options{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, dev.Close()) })
	l, err := runtime.Load(dev, a, artifact.Select{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, l.Close()) })
	return l
}

// row is the output and the LSE of query row i in float64. columns are the chosen ones.
func (c scoresCase) row(i int, q, k, v []float32, columns []int) (out []float64, lse float64) {
	const d = scoresDim
	logits, highest := make([]float64, i+1), c.sink
	for j := range logits {
		if window, ok := c.params["window"]; ok && i-j >= int(window) && !slices.Contains(columns, j) {
			logits[j] = math.Inf(-1)
			continue
		}
		for e := range d {
			logits[j] += float64(q[i*d+e]) * float64(k[j*d+e])
		}
		logits[j] = c.logit(logits[j]*c.scale, i, j)
		highest = max(highest, logits[j])
	}
	sum := math.Exp(c.sink - highest)
	out = make([]float64, d)
	for j, x := range logits {
		p := math.Exp(x - highest)
		sum += p
		for e := range out {
			out[e] += p * float64(v[j*d+e])
		}
	}
	for e := range out {
		out[e] /= sum
	}
	return out, highest + math.Log(sum)
}

func (c scoresCase) run(t *testing.T, target string, n int) {
	rng := rand.New(rand.NewPCG(uint64(n), 7))
	tensor := func(first ...float32) (data []byte, values []float32) {
		values = make([]float32, n*scoresDim)
		for i := range values {
			values[i] = float32(rng.NormFloat64())
		}
		for i, x := range first {
			values[i] = -x
		}
		data, err := half.Encode(c.dtype, values)
		require.NoError(t, err)
		require.NoError(t, half.Decode(c.dtype, values, data))
		return data, values
	}
	qb, q := tensor()
	kb, k := tensor(q[:scoresDim]...) // the first row's only logit is far below a sink
	vb, v := tensor()
	shape := runtime.Shape{Batch: 1, QHeads: 1, KVHeads: 1, SeqQ: n, SeqK: n, Scale: c.scale, NoFallback: true}
	res, err := c.load(t, target).RunHost(t.Context(), runtime.HostCall{Shape: shape, Q: qb, K: kb, V: vb,
		Parts: []runtime.Part{{Params: c.params}}, Chosen: true})
	require.NoError(t, err)
	o, limits := make([]float32, n*scoresDim), selfcheck.LimitsOf(c.dtype)
	require.NoError(t, half.Decode(c.dtype, o, res.O))
	var columns []int
	if res.Chosen != nil {
		columns = res.Chosen[0].Kept.Sets[0].Members
		require.Less(t, len(columns), n/2)
	}
	for i := range n {
		want, lse := c.row(i, q, k, v, columns)
		var diff, norm float64
		for e, x := range want {
			diff += math.Pow(float64(o[i*scoresDim+e])-x, 2)
			norm += x * x
		}
		require.LessOrEqual(t, math.Sqrt(diff), limits.Row*math.Sqrt(norm)+1e-6, "row %d", i)
		require.InDelta(t, lse, res.LSE[i], limits.LSE*max(1, math.Abs(lse)/16), "row %d", i)
	}
}

// softcap is c*tanh(x/c), with tanh(y) = 1 - 2/(1 + e^2y).
func softcap(c float64) lower.Modifier {
	return func(k *lower.RowTile, s lower.Score) lower.Value {
		power := k.Exp2(k.FMul(s.Logit, lower.F32(2*math.Log2E/c)))
		return k.FMA(k.Rcp(k.FAdd(power, lower.F32(1))), lower.F32(-2*c), lower.F32(c))
	}
}

// distanceBias adds slope*(key - query), as ALiBi does (arXiv 2108.12409).
func distanceBias(slope float64) lower.Modifier {
	return func(k *lower.RowTile, s lower.Score) lower.Value {
		distance := k.Block.NewSIToFP(k.Sub(s.Key(), s.Query()), lower.F32(0).Type())
		return k.FMA(distance, lower.F32(slope), s.Logit)
	}
}

func sink(logit float64) lower.Initial {
	return func(*lower.RowTile, int) (m, l lower.Value) { return lower.F32(logit), lower.F32(1) }
}

// TestScores: what stands between product and mask, and what rows begin with, is said in lower.Scores alone, for all backends: in tiles that
// are computed fast, in tiles that are computed again with care (a large scale makes them doubtful), and where keys are chosen columns.
func TestScores(t *testing.T) {
	const small = 0.125
	same := func(x float64, _, _ int) float64 { return x }
	none := math.Inf(-1)
	capped := func(x float64, _, _ int) float64 { return 1.5 * math.Tanh(x/1.5) }
	biased := func(x float64, q, k int) float64 { return x + 0.05*float64(k-q) }
	some := map[string]int64{"vertical": 100, "window": 20}
	cases := []scoresCase{
		{"softcap", "dense", nil, lower.Scores{Modifiers: []lower.Modifier{softcap(1.5)}}, capped, none, small, abi.F16},
		{"bias", "dense", nil, lower.Scores{Modifiers: []lower.Modifier{distanceBias(0.05)}}, biased, none, small, abi.F16},
		{"bias, with care", "dense", nil, lower.Scores{Modifiers: []lower.Modifier{distanceBias(50)}},
			func(x float64, q, k int) float64 { return x + 50*float64(k-q) }, none, 512, abi.BF16},
		{"bias of columns", "columns_window", some, lower.Scores{Modifiers: []lower.Modifier{distanceBias(0.05)}}, biased, none, small, abi.F16},
		{"bias, then softcap", "dense", nil, lower.Scores{Modifiers: []lower.Modifier{distanceBias(0.05), softcap(1.5)}},
			func(x float64, q, k int) float64 { return capped(biased(x, q, k), q, k) }, none, small, abi.F16},
		{"sink", "dense", nil, lower.Scores{Initial: sink(2)}, same, 2, small, abi.F16},
		{"sink, with care", "dense", nil, lower.Scores{Initial: sink(2)}, same, 2, 512, abi.BF16},
		{"sink and columns", "columns_window", some, lower.Scores{Initial: sink(2)}, same, 2, small, abi.F16},
	}
	for i, c := range cases {
		for n, target := range codegen.Targets() {
			if (i+i/4+n)%campaign.Few(2, 1) != 0 { // with -short targets take turns, for each kind of case
				continue
			}
			t.Run(fmt.Sprintf("%s/%s", c.name, target), func(t *testing.T) {
				t.Parallel()
				c.run(t, target, 300)
			})
		}
	}
}
