package ir_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/ir"
)

const aShape = `schedule a_shape
  param sink = 128 min 0
  param window = 1024 min 1
  tile 128x64 longest-first
  segment 0
    lo   q - window + 1
    hi   q + 1
  segment 1
    hi   sink
    hi   q - window + 1
`

const crossed = `schedule crossed
  param step = 8 min 1
  param gap = 4 min 0
  require step - gap >= 1 "the step beyond the gap"
  tile 64x64 ascending
  segment 0
    hi   q + 1
    test q - k = 0 mod step
    hop  test 0
  segment 1
    hi   q + 1
    test k = 0 mod step
    test q - k != step mod step
  segment 2
    lo   q + 1
    hi   q + step - gap + 1
`

const verticalSlashSchedule = `schedule vertical_slash
  param vertical = 1000 min 0
  param slash = 6096 min 0
  index logits = probe last 64
  index probs = softmax logits
  index heat = sum probs over queries
  index trace = sum probs over diagonals
  index cols = top vertical from heat first 30
  index diags = top slash from trace first 100
  tile 64x64 longest-first
  segment 0
    from runs diags
    hi   q + 1
  segment 1
    from columns cols
    except runs diags
    hi   q + 1
    never-full
`

// verifyCase is a schedule with old replaced by new, and the error that it gets; "" for none.
type verifyCase struct{ name, text, old, new, want string }

func (c verifyCase) check(t *testing.T) {
	require.Contains(t, c.text, c.old)
	s, err := ir.ParseSchedule(strings.Replace(c.text, c.old, c.new, 1))
	require.NoError(t, err)
	if err = s.Verify(); c.want == "" {
		require.NoError(t, err)
	} else {
		require.ErrorContains(t, err, c.want)
	}
}

func TestScheduleVerify(t *testing.T) {
	for _, c := range []verifyCase{
		{"good", aShape, "", "", ""},
		{"good with tests", crossed, "", "", ""},
		{"touching", aShape, "hi   q - window + 1", "hi   q - window + 2", "segments 0 and 1 may keep the same pair"},
		{"overlap", aShape, "    hi   q - window + 1\n", "", "segments 0 and 1 may keep the same pair"},
		{"different kinds of position", aShape, "hi   q - window + 1", "hi   1 - window", ""}, // empty: window >= 1
		{"test kept by both", crossed, "test q - k != step mod step", "test q - k != 1 mod step", "segments 0 and 1 may keep the same pair"},
		{"undeclared", aShape, "lo   q - window", "lo   q - windw", `uses "windw", which is no declared parameter`},
		{"twice", aShape, "param sink", "param window", `parameter "window" is declared twice`},
		{"reserved", aShape, "param sink", "param k", `"k" cannot be the name of a parameter`},
		{"bad default", aShape, "window = 1024 min 1", "window = 0 min 1", `parameter "window" has minimum 1 and default 0`},
		{"huge default", aShape, "window = 1024 min 1", "window = 1073741825 min 1", `want 0 <= minimum <= default <= 1073741824`},
		{"tile", aShape, "128x64", "128x72", "the tile is 128x72, want positive multiples of 16"},
		{"no tile", aShape, "128x64", "0x0", "the tile is 0x0"},
		{"step may be 0", crossed, "step = 8 min 1", "step = 8 min 0", ""}, // the require still excludes it
		{"step may be -1", crossed, "require step - gap >= 1", "require step - gap >= -1", ""},
		{"step may be 0, unproven", crossed, "step = 8 min 1\n  param gap = 4 min 0\n  require step - gap >= 1", "step = 8 min 0\n  param gap = 4 min 0\n  require step >= 0", "the step step may be below 1"},
		{"hop out of range", crossed, "hop  test 0", "hop  test 1", "segment 0: hop is 1, want -1 or the index"},
		{"hop inverted", crossed, "    test k = 0 mod step\n    test q - k != step mod step\n", "    test q - k != 0 mod step\n    hop  test 0\n", "segment 1: hop is 0"},
		{"never-full", aShape, "    hi   q + 1\n", "    hi   q + 1\n    never-full\n", "segment 0: it says never-full"},
		{"never-full holds", aShape, "    hi   q + 1\n", "    hi   q + 1\n    lo   q - 62\n    never-full\n", ""},
		{"never-full just not", aShape, "    hi   q + 1\n", "    hi   q + 1\n    lo   q - 63\n    never-full\n", "it says never-full"},
		{"good with lists", verticalSlashSchedule, "", "", ""},
		{"column inside a run", verticalSlashSchedule, "    except runs diags\n    hi   q + 1\n    never-full\n", "    hi   q + 1\n",
			"segments 0 and 1 may keep the same pair"},
		{"the wrong run left out", verticalSlashSchedule, "except runs diags", "except columns cols", "segments 0 and 1 may keep the same pair"},
		{"one list, two bounds", verticalSlashSchedule, "  segment 1\n", "  segment 1\n    from runs diags\n    lo   q + 1\n  segment 2\n", ""},
		{"one list, twice", verticalSlashSchedule, "  segment 1\n", "  segment 1\n    from runs diags\n    lo   q\n  segment 2\n", "segments 0 and 1 may keep the same pair"},
		{"range beside a list", verticalSlashSchedule, "  segment 1\n", "  segment 1\n    lo   q\n  segment 2\n",
			"segments 0 and 1 may keep the same pair"},
		{"no such list", verticalSlashSchedule, "from columns cols", "from columns calls", "segment 1: the index stage chooses no columns calls"},
		{"list of another kind", verticalSlashSchedule, "from columns cols", "from columns diags",
			"segment 1: the index stage chooses no columns diags"},
		{"values are no list", verticalSlashSchedule, "from columns cols", "from columns heat",
			"segment 1: the index stage chooses no columns heat"},
		{"left out of another kind", verticalSlashSchedule, "except runs diags", "except blocks diags",
			"segment 1: the index stage chooses no blocks diags"},
		{"range leaves out", verticalSlashSchedule, "    from columns cols\n", "", "segment 1: it leaves out chosen sets, which only a segment that reads a list can do"},
		{"list hops", verticalSlashSchedule, "    from runs diags\n    hi   q + 1\n", "    from runs diags\n    hi   q + 1\n    test k = 0 mod 99\n    hop  test 0\n", "segment 0: hop is 0, but a segment that reads a list visits what the list says"},
		{"rows of a list", verticalSlashSchedule, "tile 64x64", "tile 128x64", "the tile has 128 rows, want 64"},
		{"keys of a list", verticalSlashSchedule, "tile 64x64", "tile 64x128", ""},
		{"index of the wrong type", verticalSlashSchedule, "from heat first 30", "from trace first 30",
			"segment 1: the index stage chooses no columns cols"},
		{"undeclared budget", verticalSlashSchedule, "top vertical", "top verticl", `uses "verticl", which is no declared parameter`},
		{"never-full list of 64 keys", verticalSlashSchedule, "tile 64x64", "tile 64x128", ""},
		{"never-full of a list, unproven", strings.Replace(verticalSlashSchedule, "    from runs diags\n    hi   q + 1\n", "    from runs diags\n    lo   q - 99\n    hi   q + 1\n    never-full\n", 1), "64x64", "64x128", "segment 0: it says never-full"},
		{"huge factor", aShape, "q - window + 1\n    hi   q + 1", "q - 1073741825*window + 1\n    hi   q + 1", "beyond the limit of 1073741824"},
		{"high degree", aShape, "q - window + 1\n    hi   q + 1", "q - window*window*window*window*window*window*window\n    hi   q + 1", "7 parameters multiplied"},
	} {
		t.Run(c.name, c.check)
	}
}

func TestScheduleProofs(t *testing.T) {
	for _, c := range []struct {
		name, text    string
		causal, keeps bool
	}{
		{"a_shape", aShape, true, true},
		{"a_shape, the window may be empty", strings.Replace(aShape, "1024 min 1", "1024 min 0", 1), true, false},
		{"crossed", crossed, false, true},
		{"columns", "schedule c\n  param n = 3 min 1\n  tile 64x64 ascending\n  segment 0\n    hi   q + 1\n    test k = 3*n mod n\n", true, true},
		{"columns without the first", "schedule c\n  param n = 3 min 1\n  tile 64x64 ascending\n  segment 0\n    hi   q + 1\n    test k = 1 mod n\n", true, false},
		{"odd distances", "schedule c\n  tile 64x64 ascending\n  segment 0\n    test q - k != 0 mod 2\n", false, false},
		{"not a far residue", "schedule c\n  tile 64x64 ascending\n  segment 0\n    test q - k != 3 mod 7\n", false, true},
		{"two halves", "schedule c\n  tile 64x64 ascending\n  segment 0\n    test k = 0 mod 2\n  segment 1\n    test k != 2 mod 2\n", false, true},
		{"vertical_slash", verticalSlashSchedule, true, true},
		{"no forced distance, a forced key", strings.Replace(verticalSlashSchedule, " first 100", "", 1), true, true},
		{"nothing forced", strings.NewReplacer(" first 100", "", " first 30", "").Replace(verticalSlashSchedule), true, false},
		{"nothing forced for sure", strings.NewReplacer(" first 100", " first slash", " first 30", "").Replace(verticalSlashSchedule),
			true, false},
		{"key 0 is cut away",
			strings.NewReplacer(" first 100", "", "never-full", "lo   1\n    never-full").Replace(verticalSlashSchedule), true, false},
		{"columns without a bound", strings.Replace(verticalSlashSchedule, "    hi   q + 1\n    never-full", "    never-full", 1), false, true},
		{"none", "schedule c\n  tile 64x64 ascending\n", true, false},
		{"future", "schedule c\n  tile 64x64 ascending\n  segment 0\n    lo   q + 1\n", false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, err := ir.ParseSchedule(c.text)
			require.NoError(t, err)
			require.Equal(t, c.causal, s.Causal(), "causal")
			require.Equal(t, c.keeps, s.EveryRowKeeps(), "every row keeps a key")
		})
	}
}

func TestPatternVerify(t *testing.T) {
	window := ir.Window{Left: ir.Var("n"), Right: ir.Int(0)}
	n := ir.Param{Name: "n", Default: 4}
	deep := ir.Set(ir.All{})
	for range 300 {
		deep = ir.Union{Sets: []ir.Set{deep}}
	}
	for _, c := range []struct {
		name string
		p    ir.Pattern
		want string
	}{
		{"good", ir.Pattern{Name: "x", Params: []ir.Param{n}, Keep: window}, ""},
		{"nil", ir.Pattern{Name: "x"}, "a set is missing"},
		{"nil inside", ir.Pattern{Name: "x", Keep: ir.Minus{Left: ir.All{}}}, "a set is missing"},
		{"pointer", ir.Pattern{Name: "x", Keep: &ir.Union{}}, "found a set of the unknown kind *ir.Union"},
		{"deep", ir.Pattern{Name: "x", Keep: deep}, "nested at most"},
		{"name", ir.Pattern{Name: "a b", Keep: ir.All{}}, `"a b" cannot be a name`},
		{"undeclared", ir.Pattern{Name: "x", Keep: window}, `uses "n"`},
		{"step", ir.Pattern{Name: "x", Params: []ir.Param{n}, Keep: ir.Columns{Step: ir.Var("n")}}, "the step n may be below 1"},
		{"required step", ir.Pattern{
			Name: "x", Params: []ir.Param{n}, Requires: []ir.Require{{Value: ir.Var("n").Sub(ir.Int(2)), Min: 1}},
			Keep: ir.Columns{Step: ir.Var("n")},
		}, ""},
		{"skip", ir.Pattern{Name: "x", Keep: ir.All{}, Skip: &ir.Skip{Share: ir.Int(ir.SkipUnits)}}, ""},
		{"skip of more than one", ir.Pattern{Name: "x", Keep: ir.All{}, Skip: &ir.Skip{Share: ir.Int(ir.SkipUnits + 1)}}, "the share 1000001 may lie beyond 0 to 1000000 millionths"},
		{"skip below 0", ir.Pattern{Name: "x", Keep: ir.All{}, Skip: &ir.Skip{Share: ir.Int(-1)}}, "may lie beyond"},
		{"skip by any parameter", ir.Pattern{Name: "x", Params: []ir.Param{n}, Keep: ir.All{}, Skip: &ir.Skip{Share: ir.Var("n")}}, "may lie beyond"},
		{"skip by a parameter with a bound", ir.Pattern{Name: "x", Params: []ir.Param{n}, Keep: ir.All{}, Skip: &ir.Skip{Share: ir.Var("n")},
			Requires: (ir.Skip{Share: ir.Var("n")}).Requires()}, ""},
		{"skip by an undeclared parameter", ir.Pattern{Name: "x", Keep: ir.All{}, Skip: &ir.Skip{Share: ir.Var("n")}}, `uses "n"`},
		{"wrapped factor", ir.Pattern{Name: "x", Keep: ir.Sink{N: ir.Int(1 << 40).Mul(ir.Int(1 << 40))}}, "beyond the limit"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := c.p.Verify(); c.want == "" {
				require.NoError(t, err)
			} else {
				require.ErrorContains(t, err, c.want)
			}
		})
	}
}

// TestVerifyReportsAllFaults: one run names every fault.
func TestVerifyReportsAllFaults(t *testing.T) {
	p := ir.Pattern{Name: "x", Keep: ir.Union{Sets: []ir.Set{ir.Sink{N: ir.Var("a")}, ir.Sink{N: ir.Var("b")}}}}
	err := p.Verify()
	require.ErrorContains(t, err, `uses "a"`)
	require.ErrorContains(t, err, `uses "b"`)
}
