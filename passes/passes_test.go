package passes

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/ir"
)

var tile128x64 = ir.Tile{Rows: 128, Keys: 64}

// parsePattern makes a pattern of declarations and the set below keep.
func parsePattern(t *testing.T, lines string) *ir.Pattern {
	t.Helper()
	p, err := ir.ParsePattern("pattern test\n" + lines)
	require.NoError(t, err)
	return p
}

// after returns the text that pass name leaves.
func after(t *testing.T, name string, p *ir.Pattern, opts Options) string {
	t.Helper()
	got, seen := "", []string(nil)
	opts.Tile, opts.Verify = Fixed(tile128x64), true
	opts.After = func(n, text string) {
		seen = append(seen, n)
		if n == name {
			got = text
		}
	}
	_, err := Run(p, opts)
	require.NoError(t, err)
	require.Contains(t, seen, name)
	return got
}

// TestTableKeepsItsOrder: every constraint holds, and each pass has one.
func TestTableKeepsItsOrder(t *testing.T) {
	require.NoError(t, checkOrder(table, constraints))
	for _, p := range Table() {
		named := func(c Constraint) bool { return c.Earlier == p.Name || c.Later == p.Name }
		require.True(t, slices.ContainsFunc(Constraints(), named), "no reason for the place of %s", p.Name)
		require.NotEmpty(t, p.Does)
	}
}

func TestCheckOrderFindsFaults(t *testing.T) {
	swapped := Table()
	slices.Reverse(swapped)
	require.EqualError(t, checkOrder(swapped, constraints), "pass consts must run before simplify: a part may only turn out empty or implied with its numbers known")
	require.ErrorContains(t, checkOrder(table[1:], constraints), "pass consts must run before")
	require.EqualError(t, checkOrder(append(Table(), table[0]), constraints), "pass consts is in the table twice")
}

func TestHooksSeeEveryPass(t *testing.T) {
	var names, timed []string
	_, err := Run(parsePattern(t, "  keep\n    causal\n"), Options{
		Tile:  Fixed(tile128x64),
		After: func(name, text string) { names = append(names, name); require.Contains(t, text, "test\n") },
		Time:  func(name string, took time.Duration) { timed = append(timed, name) },
	})
	require.NoError(t, err)
	require.Equal(t, []string{"consts", "simplify", "classify", "disjoint", "tile", "split", "order"}, names)
	require.Equal(t, names, timed)
}

func TestRunLeavesThePatternAlone(t *testing.T) {
	p := parsePattern(t, "  const n = 3 min 1\n  param m = 3 min 1\n  keep\n    union\n      columns from 0 step n\n      sink m\n      window left n right 0\n")
	before := p.String()
	_, err := Run(p, Options{Tile: Fixed(tile128x64)})
	require.NoError(t, err)
	require.Equal(t, before, p.String())
}

func TestRunRefuses(t *testing.T) {
	good := parsePattern(t, "  const n = 3 min 1\n  param m = 3 min 0\n  require n - m >= 0 \"n beyond m\"\n  keep\n    sink n\n")
	for _, c := range []struct {
		name string
		opts Options
		want string
	}{
		{"unknown const", Options{Consts: map[string]int64{"nn": 4}}, `pattern "test": unknown parameter "nn"; the pattern has n`},
		{"launch parameter", Options{Consts: map[string]int64{"m": 4}}, `pattern "test": parameter m of test is set at launch, not when compiling: it is not const`},
		{"below minimum", Options{Consts: map[string]int64{"n": 0}}, `pattern "test": n must be at least 1, got 0`},
		{"no tile", Options{}, `no tile size was given (0x0)`},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Run(good, c.opts)
			require.ErrorContains(t, err, c.want)
		})
	}
	_, err := Run(&ir.Pattern{Name: "x"}, Options{Tile: Fixed(tile128x64)})
	require.EqualError(t, err, `pattern "x": a set is missing`)
	settled := parsePattern(t, "  const n = 3 min 1\n  require n - 2 >= 1 \"n beyond 2\"\n  keep\n    sink n\n")
	_, err = Run(settled, Options{Tile: Fixed(tile128x64), Consts: map[string]int64{"n": 2}})
	require.ErrorContains(t, err, `pattern "test": n beyond 2 (n - 2) must be at least 1, got 0 with n = 2`)
}

// The tile is chosen knowing whether lists are read, which not every pattern with an index stage does.
func TestTileIsAskedOfTheSchedule(t *testing.T) {
	choose := func(s *ir.Schedule) ir.Tile {
		if len(s.Lists()) > 0 {
			return ir.Tile{Rows: ir.BlockSize, Keys: ir.BlockSize}
		}
		return tile128x64
	}
	for set, want := range map[string]ir.Tile{
		"intersect\n      causal\n      chosen blocks b\n":                                {Rows: ir.BlockSize, Keys: ir.BlockSize},
		"union\n      causal\n      intersect\n        causal\n        chosen blocks b\n": tile128x64,
	} {
		s, err := Run(parsePattern(t, chosenHead+"  keep\n    "+set), Options{Tile: choose, Verify: true})
		require.NoError(t, err)
		require.Equal(t, want, s.Tile)
	}
}
