package e2e

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/compile"
	"github.com/minfc/minfc/half"
	"github.com/minfc/minfc/internal/campaign"
	"github.com/minfc/minfc/internal/qkv"
	"github.com/minfc/minfc/ir"
	"github.com/minfc/minfc/runtime"
	"github.com/minfc/minfc/runtime/emu"
)

// tied are choices of every kind of values.
const tied = `
pattern sums(cols = 45, diags = 110) {
  index probe = softmax(q[-64:] * k)
  index cols = top(cols, sum(probe, queries)) with first 30
  index diags = top(diags, sum(probe, diagonals)) with first 100
  keep causal & (columns(cols) | diagonals(diags))
}
pattern runs(n = 3) {
  index probe = softmax(q[-64:] * k)
  index cols = top(45, sum(probe, queries)) with first 30
  index diags = top(n, sum(probe, diagonals(48)))
  keep causal & (columns(cols) | diagonals(diags))
}
pattern spread(n = 90, step = 5) {
  index probe = softmax(q[::step] * k)
  index cols = top(n, sum(probe, queries))
  index diags = top(n, sum(probe, diagonals)) with first 3
  keep causal & (columns(cols) | diagonals(diags))
}
pattern more(n = 120, rows = 150) {
  index diags = top(n, sum(softmax(q[-rows:] * k), diagonals))
  keep causal & diagonals(diags)
}
pattern pooled(n = 3) {
  index chosen = top(n, mean(q, 64) * mean(k, 64)) with last 1
  keep causal & blocks(chosen)
}
pattern largest(n = 3) {
  index chosen = top(n, max(q, 64) * max(k, 64)) with last 1
  keep causal & blocks(chosen)
}
pattern shares(n = 3) {
  index chosen = top(n, softmax(mean(q, 64) * mean(k, 64)))
  keep causal & blocks(chosen)
}
pattern squares(n = 3) {
  index chosen = top(n, sum(softmax(mean(q * k, antidiagonals(8))), blocks))
  keep causal & blocks(chosen)
}
`

// tiedInputs are queries and keys whose values are equal but for few: sizes with products from 0 to 1e36, both signs.
var tiedInputs = []struct {
	name string
	q    func(i int) float64 // by row
	k    func(i int) float64 // by key
}{
	{"q is 0", func(int) float64 { return 0 }, func(i int) float64 { return float64(i%13) - 6 }},
	{"all equal", func(int) float64 { return 1 }, func(int) float64 { return 0.75 }},
	{"all equal and negative", func(int) float64 { return 3 }, func(int) float64 { return -5 }},
	{"period of 24", func(i int) float64 { return 1 + float64(i%5)/4 }, func(i int) float64 { return float64(i*7%24) / 16 }},
	{"huge", func(int) float64 { return 15000 }, func(int) float64 { return 15000 }},
	{"huge and negative", func(int) float64 { return 15000 }, func(int) float64 { return -15000 }},
	{"as large as it gets", func(int) float64 { return 1 << 57 }, func(i int) float64 { return float64(int64(1+i%3) << 57) }},
}

// TestEqualValuesGoToTheSmaller: what devices choose is exactly what the interpreter does, where values are equal or far apart.
func TestEqualValuesGoToTheSmaller(t *testing.T) {
	for i, name := range []string{"sums", "runs", "spread", "more", "pooled", "largest", "shares", "squares"}[:campaign.Few(2, 8)] {
		program, err := compile.Load("tied.minf", []byte(tied), name, nil)
		require.NoError(t, err)
		for n, target := range []string{"sm_80", "sm_90a"} {
			c := attentionCase{program: program, target: target, headDim: 64, dtype: abi.BF16}
			t.Run(c.kernel(), func(t *testing.T) {
				t.Parallel()
				l := c.load(t, emu.Options{})
				for j, in := range tiedInputs {
					if (n+j)%campaign.Few(2, 1) != 0 { // with -short targets take turns
						continue
					}
					n := []int{330, 300, 420}[(i+j)%3]
					c.shape = qkv.Shape{Batch: 1, QHeads: 1, KVHeads: 1, SeqQ: n, SeqK: n}
					if j%2 == 1 {
						c.shape.SeqQ, c.shape.QOffset = n-130, 130
					}
					t.Run(in.name, func(t *testing.T) { c.chooseExactly(t, l, in.q, in.k) })
				}
			})
		}
	}
}

// chooseExactly runs a case and compares its choices with the interpreter's.
func (c attentionCase) chooseExactly(t *testing.T, l *runtime.Loaded, q, k func(i int) float64) {
	in := c.input(t)
	head := ir.HeadInputs[float32]{Sq: in.SeqQ, Sk: in.SeqK, D: c.headDim, QOffset: in.QOffset, Scale: 1 / math.Sqrt(float64(c.headDim))}
	head.Q, in.Q = c.rows(t, in.SeqQ, q)
	head.K, in.K = c.rows(t, in.SeqK, k)
	e := c.launch(t, l, in, nil)
	want, err := ir.EvalIndex(l.Patterns()[0].Schedule().Index, e.values[0], head)
	require.NoError(t, err)
	for _, set := range want.Sets {
		got, err := e.res.Chosen[0].Asked.Find(set.Name)
		require.NoError(t, err)
		require.Equal(t, set.Members, got.Members, set.Name)
		require.True(t, slices.EqualFunc(set.Blocks, got.Blocks, slices.Equal), "%s: %v, want %v", set.Name, got.Blocks, set.Blocks)
	}
}

// rows makes n rows of one value each, and their bytes.
func (c attentionCase) rows(t *testing.T, n int, value func(i int) float64) ([]float32, []byte) {
	out := make([]float32, n*c.headDim)
	for i := range out {
		out[i] = float32(value(i / c.headDim))
	}
	data, err := half.Encode(c.dtype, out)
	require.NoError(t, err)
	require.NoError(t, half.Decode(c.dtype, out, data), fmt.Sprint(n, " rows"))
	return out, data
}
