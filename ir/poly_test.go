package ir

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// randomPoly draws small polynomials in a and b.
func randomPoly(rng *rand.Rand) Poly {
	p := Int(int64(rng.IntN(9) - 4))
	for range rng.IntN(4) {
		m := Int(int64(rng.IntN(7) - 3))
		for range rng.IntN(3) {
			m = m.Mul(Var([]string{"a", "b"}[rng.IntN(2)]))
		}
		p = p.Add(m)
	}
	return p
}

// TestPolyArithmetic compares with arithmetic on values, and keeps the canonical form.
func TestPolyArithmetic(t *testing.T) {
	for seed := range uint64(2000) {
		rng := rand.New(rand.NewPCG(seed, 6))
		p, o := randomPoly(rng), randomPoly(rng)
		values := map[string]int64{"a": int64(rng.IntN(9)), "b": int64(rng.IntN(9))}
		x, y := mustEval(t, p, values), mustEval(t, o, values)
		require.Equal(t, x+y, mustEval(t, p.Add(o), values))
		require.Equal(t, x-y, mustEval(t, p.Sub(o), values))
		require.Equal(t, x*y, mustEval(t, p.Mul(o), values))
		require.True(t, p.Add(o).Sub(o).Equal(p), "%s + %s", p, o)
		require.True(t, p.Mul(o).Equal(o.Mul(p)))
		c, constant := p.Substitute(values).Const()
		require.True(t, constant)
		require.Equal(t, x, c)
	}
}

func mustEval(t *testing.T, p Poly, values map[string]int64) int64 {
	v, err := p.Eval(values)
	require.NoError(t, err)
	return v
}

// TestAtLeastIsSound: what is proven holds for all values from the minimum on.
func TestAtLeastIsSound(t *testing.T) {
	proven := 0
	for seed := range uint64(5000) {
		rng := rand.New(rand.NewPCG(seed, 7))
		p, bound := randomPoly(rng), int64(rng.IntN(20)-10)
		min := map[string]int64{"a": int64(rng.IntN(3)), "b": int64(rng.IntN(3))}
		if !p.AtLeast(bound, min) {
			continue
		}
		proven++
		for a := min["a"]; a < 8; a++ {
			for b := min["b"]; b < 8; b++ {
				if got := mustEval(t, p, map[string]int64{"a": a, "b": b}); got < bound {
					t.Fatalf("seed %d: %s >= %d is proven, but it is %d at a = %d, b = %d", seed, p, bound, got, a, b)
				}
			}
		}
	}
	require.Greater(t, proven, 500)
}

func TestAtLeastKnows(t *testing.T) {
	a, b := Var("a"), Var("b")
	min := map[string]int64{"a": 2, "b": 1}
	require.True(t, a.Add(b).AtLeast(3, min))
	require.False(t, a.Add(b).AtLeast(4, min))
	require.True(t, a.Mul(b).Sub(b).AtLeast(1, min), "(a-1)*b with a >= 2, b >= 1")
	require.False(t, a.Mul(b).Sub(b).AtLeast(2, min))
	require.False(t, a.Sub(b).AtLeast(0, min), "b may be larger")
	require.True(t, a.Mul(a).Sub(a.Mul(Int(3))).Add(Int(2)).AtLeast(0, min), "(a-1)*(a-2) with a >= 2")
}

// TestPolyOverflowProvesNothing: numbers that no longer fit stay marked, whatever is done to them.
func TestPolyOverflowProvesNothing(t *testing.T) {
	big := Int(1 << 52)
	for _, p := range []Poly{
		big.Mul(big), big.Mul(big).Sub(big.Mul(big)), big.Add(big).Add(big), Int(math.MinInt64), Int(math.MaxInt64),
		big.Mul(big).Mul(Var("a")).Add(Int(1)), Int(math.MinInt64).Mul(Int(-1)),
	} {
		require.False(t, p.AtLeast(-1<<62, nil), p.String())
		require.Error(t, p.check(), p.String())
	}
	min := map[string]int64{"a": MaxParam}
	require.False(t, Var("a").Mul(Var("a")).Mul(Var("a")).AtLeast(1, min), "a*a*a overflows at its minimum: not proven")
	_, err := Var("a").Mul(Var("a")).Eval(min)
	require.ErrorContains(t, err, "a*a is 1152921504606846976, beyond the limit")
}

func TestPolyString(t *testing.T) {
	a, b := Var("a"), Var("b")
	for want, p := range map[string]Poly{
		"0":                {},
		"-1":               Int(-1),
		"a*b - 2*a + 1":    b.Mul(a).Sub(a.Add(a)).Add(Int(1)),
		"-a + b - 3":       b.Sub(a).Sub(Int(3)),
		"-2*a*a + 1":       a.Mul(a).Mul(Int(-2)).Add(Int(1)),
		"2147483648":       Int(1 << 31),
		"a*a - a*b":        a.Mul(a).Sub(a.Mul(b)),
		"9007199254740992": Int(1 << 53),
	} {
		require.Equal(t, want, p.String())
	}
}
