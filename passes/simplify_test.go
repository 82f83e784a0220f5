package passes

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/ir"
	"github.com/minfc/minfc/ir/irtest"
)

func TestSimplify(t *testing.T) {
	n, m := ir.Var("n"), ir.Var("m") // n >= 1, m >= 0
	f := ir.NewFacts([]ir.Param{{Name: "n", Min: 1}, {Name: "m"}}, nil)
	sink, window := ir.Sink{N: n}, ir.Window{Left: n, Right: ir.Int(0)}
	union := func(s ...ir.Set) ir.Set { return ir.Union{Sets: s} }
	both := func(s ...ir.Set) ir.Set { return ir.Intersect{Sets: s} }
	minus := func(a, b ir.Set) ir.Set { return ir.Minus{Left: a, Right: b} }
	zero := ir.Int(0)
	for _, c := range []struct {
		name string
		set  ir.Set
		want string
	}{
		{"flat union", union(sink, union(window, ir.Causal{})), "sink(n) | window(n, 0) | causal"},
		{"flat intersect", both(sink, both(ir.Causal{}, sink)), "sink(n) & causal"},
		{"all in a union", union(sink, ir.All{}), "all"},
		{"all in an intersect", both(sink, ir.All{}), "sink(n)"},
		{"empty union", union(), "nothing"},
		{"empty intersect", both(), "all"},
		{"nothing in a union", union(sink, union()), "sink(n)"},
		{"nothing in an intersect", both(sink, union()), "nothing"},
		{"equal members", union(sink, window, sink), "sink(n) | window(n, 0)"},
		{"absorbed by a union", union(sink, both(window, sink)), "sink(n)"},
		{"absorbed by an intersect", both(sink, union(window, sink)), "sink(n)"},
		{"causal implied by a window", both(ir.Causal{}, window), "window(n, 0)"},
		{"causal implied by diagonals", both(ir.Causal{}, ir.Diagonals{From: m, Step: n}), "diagonals(m.. step n)"},
		{"causal not implied", both(ir.Causal{}, ir.Window{Left: n, Right: m}), "causal & window(n, m)"},
		{"minus nothing", minus(sink, union()), "sink(n)"},
		{"minus all", minus(sink, ir.All{}), "nothing"},
		{"minus itself", minus(sink, sink), "nothing"},
		{"minus twice", minus(minus(ir.Causal{}, sink), window), `causal \ (sink(n) | window(n, 0))`},
		{"empty window", ir.Window{Left: zero.Sub(m), Right: zero}, "nothing"},
		{"empty sink", ir.Sink{N: zero}, "nothing"},
		{"empty range", ir.Diagonals{From: n, To: &m, Step: n}, "diagonals(n..m step n)"}, // not proven
		{"empty range, proven", ir.Diagonals{From: n.Add(m), To: &m, Step: n}, "nothing"},
		{"columns before key 0", ir.Columns{From: ir.Int(-5), To: &zero, Step: n}, "nothing"},
		{"all columns", ir.Columns{From: ir.Int(-5), Step: ir.Int(1)}, "all"},
	} {
		t.Run(c.name, func(t *testing.T) {
			require.Equal(t, c.want, ir.FormatSet(simplifySet(c.set, f)))
		})
	}
}

// TestEarlyPassesKeepTheMeaning: consts, simplify and classify rewrite the pattern, not what it keeps.
func TestEarlyPassesKeepTheMeaning(t *testing.T) {
	changed := 0
	for seed := range uint64(1500) {
		rng := rand.New(rand.NewPCG(seed, 9))
		p := irtest.RowsBySeed(seed, irtest.RandomPattern(rng))
		copied := *p
		u := &Unit{Pattern: &copied}
		for _, pass := range []func(*Unit) error{consts, simplify, classify} {
			require.NoError(t, pass(u), p.String())
			require.NoError(t, u.Pattern.Verify(), p.String())
		}
		values := irtest.RandomValues(rng, p)
		end := 1 + int(seed%60)
		want, err := p.EndingAt(end).Keeps(values)
		require.NoError(t, err)
		got, err := u.Pattern.EndingAt(end).Keeps(values)
		require.NoError(t, err)
		for q := range end {
			for k := range 60 {
				if want(q, k) != got(q, k) {
					t.Fatalf("seed %d: pair %d, %d differs between\n%s\n%s", seed, q, k, p, u)
				}
			}
		}
		if ir.FormatSet(p.Keep) != ir.FormatSet(u.Pattern.Keep) {
			changed++
		}
	}
	require.Greater(t, changed, 500)
}
