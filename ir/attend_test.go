package ir_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/ir"
)

func TestAttendByHand(t *testing.T) {
	q := []float64{1, 0}
	k := []float64{math.Log(2), 5, 0, 9, math.Log(5), 7}
	v := []float64{1, 10, 4, 40, 100, 1000}
	// exp of the scores is 2, 1, 5; key 2 is not kept: weights 2/3 and 1/3
	out, lse := ir.Attend(q, k, v, func(k int) bool { return k < 2 }, 1)
	require.InDeltaSlice(t, []float64{2, 20}, out, 1e-12)
	require.InDelta(t, math.Log(3), lse, 1e-12)

	out, lse = ir.Attend(q, k, v, func(k int) bool { return false }, 1)
	require.Equal(t, []float64{0, 0}, out)
	require.True(t, math.IsInf(lse, -1))
}

// TestAttendIsStable: scores of +-1000 overflow exp; only their differences count.
func TestAttendIsStable(t *testing.T) {
	q := []float32{1}
	for _, k := range [][]float32{{1000, 999, -1000}, {-1000, 999, 1000}, {-2000, -1001, -1000}} {
		out, lse := ir.Attend(q, k, []float32{1, 2, 3}, func(int) bool { return true }, 1)
		require.False(t, math.IsNaN(out[0]) || math.IsInf(lse, 0))
		best := max(k[0], k[1], k[2])
		require.InDelta(t, float64(best)+math.Log(1+math.Exp(-1)), lse, 0.35)
	}
}

// TestLogitsThatAreNotFinite: a logit of -Inf has no weight wherever it stands; others that are not finite, and none but -Inf, give NaN.
// What is not kept is not looked at.
func TestLogitsThatAreNotFinite(t *testing.T) {
	inf, nan := math.Inf(1), math.NaN()
	all := func(int) bool { return true }
	for _, k := range [][]float64{{-inf, 1, 2}, {1, -inf, 2}, {1, 2, -inf}} {
		v := []float64{3, 3, 3}
		out, lse := ir.Attend([]float64{1}, k, v, all, 1)
		require.InDelta(t, 3, out[0], 1e-12)
		require.InDelta(t, math.Log(math.E+math.E*math.E), lse, 1e-12)
	}
	for _, k := range [][]float64{{1, inf}, {inf, 1}, {nan, 1}, {1, nan}, {-inf, -inf}} {
		out, lse := ir.Attend([]float64{1}, k, []float64{3, 3}, all, 1)
		require.True(t, math.IsNaN(out[0]) && math.IsNaN(lse), "%v", k)
	}
	out, lse := ir.Attend([]float64{1}, []float64{nan, 2}, []float64{nan, 3}, func(k int) bool { return k == 1 }, 1)
	require.Equal(t, []float64{3, 2}, []float64{out[0], lse})
}

// TestReferenceSharesKeys: query heads read their kv head, rows sit at their position, listed rows are the rows of the whole call.
func TestReferenceSharesKeys(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	in := ir.Inputs[float32]{B: 2, Hq: 4, Hk: 2, Sq: 3, Sk: 7, D: 2, QOffset: 2, Scale: 0.7}
	in.Keep = func(q, k int) bool { return k <= q }
	fill := func(n int) []float32 {
		out := make([]float32, n)
		for i := range out {
			out[i] = float32(rng.NormFloat64())
		}
		return out
	}
	in.Q, in.K, in.V = fill(2*4*3*2), fill(2*2*7*2), fill(2*2*7*2)
	out, lse, err := ir.Reference(in, nil)
	require.NoError(t, err)
	for b := range 2 {
		for h := range 4 {
			for i := range 3 {
				row, kv := (b*4+h)*3+i, (b*2+h/2)*7*2
				want, wantLSE := ir.Attend(in.Q[row*2:row*2+2], in.K[kv:kv+14], in.V[kv:kv+14], func(k int) bool { return k <= 2+i }, 0.7)
				require.Equal(t, want, out[row*2:row*2+2])
				require.Equal(t, wantLSE, lse[row])
			}
		}
	}
	some, someLSE, err := ir.Reference(in, []int{2, 0})
	require.NoError(t, err)
	require.Len(t, someLSE, 2*4*2)
	require.Equal(t, out[2*2:3*2], some[:2])
	require.Equal(t, out[:2], some[2:4])
}

func TestReferenceRefusesWrongSizes(t *testing.T) {
	in := ir.Inputs[float64]{B: 1, Hq: 3, Hk: 2, Sq: 1, Sk: 1, D: 1}
	_, _, err := ir.Reference(in, nil)
	require.ErrorContains(t, err, "query heads a multiple of kv heads")
	in.Hk = 1
	_, _, err = ir.Reference(in, nil)
	require.ErrorContains(t, err, "q has 0 elements, want 3")
	in.Q, in.K, in.V = make([]float64, 3), make([]float64, 1), make([]float64, 1)
	_, _, err = ir.Reference(in, []int{1})
	require.ErrorContains(t, err, "query row 1 does not exist, there are 1")
}
