package ir_test

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/internal/campaign"
	"github.com/minfc/minfc/ir"
	"github.com/minfc/minfc/ir/irtest"
	"github.com/minfc/minfc/passes"
)

// everyLine has every line that a schedule can have, with parameters named like words of the form.
const everyLine = `schedule a_shape
  param lo = 128 min 0
  param mod = 1024 min 1
  const block = 64 min 16
  require block*mod - lo >= -3 "the \"odd\" one"
  index heat = sum probs over queries
  index cols = top lo from heat first 30
  skip lo - 3
  tile 128x64 longest-first
  segment 0
    from columns cols
    except runs diags
    except blocks best
    lo   q - mod + 1
    lo   3
    hi   q
  segment 1
    hi   lo
    hi   q - mod + 1
    test q - k = 2*lo mod block
    test k != mod mod mod
    hop  test 0
    never-full
`

const everySet = `pattern a_shape
  param from = 128 min 0
  const to = 1024 min 1
  require -from*from + to >= 1 ""
  index strides = probe stride from
  skip 1000
  keep
    intersect
      causal
      union
        sink from
        window left window right -1
        minus
          columns from from to to step step
          diagonals from -2*from + 1 step 3
        union
        chosen columns from
        chosen diagonals to
        chosen blocks best
      all
`

func TestTextFormsKeepEveryLine(t *testing.T) {
	s, err := ir.ParseSchedule(everyLine)
	require.NoError(t, err)
	require.Equal(t, everyLine, s.String())
	require.Equal(t, []ir.Bound{{Off: ir.Var("lo")}, {Row: true, Off: ir.Int(1).Sub(ir.Var("mod"))}}, s.Segments[1].Hi)
	require.Equal(t, ir.Test{Diag: true, Off: ir.Int(2).Mul(ir.Var("lo")), Step: ir.Var("block")}, s.Segments[1].Tests[0])
	require.Equal(t, ir.Source{Kind: ir.SourceColumns, Name: "cols"}, s.Segments[0].From)
	require.Equal(t, []ir.Source{{Kind: ir.SourceRuns, Name: "diags"}, {Kind: ir.SourceBlocks, Name: "best"}}, s.Segments[0].Except)
	require.Equal(t, []int{-1, 0}, []int{s.Segments[0].Hop, s.Segments[1].Hop})

	p, err := ir.ParsePattern(everySet)
	require.NoError(t, err)
	require.Equal(t, everySet, p.String())
}

// TestTextRoundTrip: what is printed, parsed and printed again is the same, and means the same value.
func TestTextRoundTrip(t *testing.T) {
	for seed := range uint64(campaign.Few(150, 500)) {
		rng := rand.New(rand.NewPCG(seed, 3))
		p := irtest.RowsBySeed(seed, irtest.RandomPattern(rng))
		tile := irtest.RandomTile(rng)
		if seed%2 == 1 {
			p, tile.Rows = irtest.RowsBySeed(seed, irtest.RandomDynamic(rng)), ir.BlockSize
		}
		p = irtest.SkipBySeed(seed, p)
		again, err := ir.ParsePattern(p.String())
		require.NoError(t, err, p.String())
		require.Equal(t, p.String(), again.String())
		require.NoError(t, again.Verify())

		s, err := passes.Run(p, passes.Options{Tile: passes.Fixed(tile)})
		if err != nil {
			continue // too many bands, or chosen sets that meet
		}
		back, err := ir.ParseSchedule(s.String())
		require.NoError(t, err, s.String())
		require.Equal(t, s.String(), back.String())
		require.NoError(t, back.Verify())
	}
}

func TestPatternTextErrors(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"", "found 0 definitions in the text, want one"},
		{"schedule x\n", `line 1: found "schedule", want "pattern"`},
		{"pattern x\n", `line 1: pattern "x" has no "keep" line`},
		{"pattern x\npattern y\n", "found 2 definitions"},
		{"pattern x y\n", `line 1: found "y" after the end`},
		{"pattern x\n  param n = 1\n", `line 2: found the end of the line, want "min"`},
		{"pattern x\n  param n = z min 0\n", `line 2: found "z", want a number`},
		{"pattern x\n  keep\n", `line 2: found "keep", want "param", "const", "require", "index", "skip" or "keep" with one set below it`},
		{"pattern x\n  skip 1\n  skip 2\n", `line 3: found a second "skip" line, want one`},
		{"pattern x\n  skip\n", `line 2: found the end of the line, want a number`},
		{"pattern x\n  keep\n    all\n  skip 1\n", `line 4: found "skip" after "keep"`},
		{"pattern x\n  keep\n    windw 3\n", `line 3: found "windw", want a set`},
		{"pattern x\n  keep\n    sink 3 4\n", `line 3: found "4" after the end`},
		{"pattern x\n  keep\n    sink 3 *\n", "line 3: found the end of the line, want a number"},
		{"pattern x\n  keep\n    minus\n      all\n", "line 3: found 1 sets below minus, want two"},
		{"pattern x\n  keep\n    all\n      all\n", `line 4: nothing can stand below "all"`},
		{"pattern x\n  keep\n      all\n", "line 3: indented by 6 spaces, want at most 4"},
		{"pattern x\n  keep\n   all\n", "line 3: indented by 3 spaces"},
		{"pattern x\n  keep\n    all\n  param n = 0 min 0\n", `line 4: found "param" after "keep"`},
		{"pattern x\n  keep\n    chosen rows r\n", `line 3: found "rows", want columns or diagonals or blocks`},
		{"pattern x\n  keep\n    chosen columns\n", "line 3: found the end of the line, want a name"},
		{"pattern x\n  index c = topp 3 from x\n", `line 2: found "topp", want a value of the index stage`},
		{"pattern x\n  keep\n    all\n  index c = probe last 3\n", `line 4: found "index" after "keep"`},
		{"pattern x\n\tkeep\n", "line 2: found"},
		{"pattern x\n  keep\n    sink 99999999999999999999\n", "line 3: found \"99999999999999999999\", want a number of at most"},
		{"pattern x\n  require n >= 1 words\n", `line 2: found "words", want a text in quotes`},
	} {
		_, err := ir.ParsePattern(c.text)
		require.ErrorContains(t, err, c.want, "%q", c.text)
	}
}

func TestScheduleTextErrors(t *testing.T) {
	const head = "schedule x\n  tile 64x64 ascending\n  segment 0\n"
	for _, c := range []struct{ text, want string }{
		{"schedule x\n", `line 1: schedule "x" has no "tile" line`},
		{"schedule x\n  tile 64 ascending\n", `line 2: want the tile as "128x64"`},
		{"schedule x\n  tile 64x64 sideways\n", `line 2: found the order "sideways", want one of ascending, longest-first`},
		{"schedule x\n  segment 0\n", `line 2: found "segment 0", want "param"`},
		{"schedule x\n  tile 64x64 ascending\n  segment 1\n", `line 3: found "1", want "0"`},
		{head + "    low 3\n", `line 4: found "low", want "from", "pool", "except", "rows lo", "rows hi", "lo", "hi"`},
		{head + "    lo 2*q\n", "line 4: found 2*q in a bound, want q once"},
		{head + "    lo q*q\n", "line 4: found q*q in a bound"},
		{head + "    test k = 3\n", `line 4: found the end of the line, want "mod"`},
		{head + "    from range r\n", `line 4: found "range", want runs or blocks or columns`},
		{head + "    except runs\n", "line 4: found the end of the line, want a name"},
		{head + "    from runs a\n    from runs b\n", "line 5: a segment reads one list only; it reads runs a already"},
		{"schedule x\n  tile 64x64 ascending\n  index c = probe last 3\n", `line 3: found "index c = probe last 3", want "param", "const", "require", "index" and "skip" lines, then one "tile"`},
		{"schedule x\n  tile 64x64 ascending\n  skip 1\n", `line 3: found "skip 1", want "param"`},
		{head + "    hop test x\n", `line 4: found "x", want a number`},
	} {
		_, err := ir.ParseSchedule(c.text)
		require.ErrorContains(t, err, c.want, "%q", c.text)
	}
}

func FuzzParsePattern(f *testing.F) {
	f.Add(everySet)
	f.Add("pattern x\n  index a = pool mean q\n  index b = pool max k\n  index s = blocks a b\n  index c = top 3 from s\n  keep\n    union\n      chosen blocks c\n      causal\n")
	f.Add("pattern x\n  keep\n    sink 3*3 - 1\n")
	f.Fuzz(func(t *testing.T, text string) {
		p, err := ir.ParsePattern(text)
		if err != nil {
			return
		}
		again, err := ir.ParsePattern(p.String())
		require.NoError(t, err)
		require.Equal(t, p.String(), again.String())
		if p.Verify() != nil {
			return
		}
		// Verified means: no step panics. Refusals are fine.
		_, err = passes.Run(p, passes.Options{Tile: passes.Fixed(ir.Tile{Rows: 64, Keys: 64}), Verify: true})
		if err != nil {
			require.NotContains(t, err.Error(), "internal")
		}
	})
}

func FuzzParseSchedule(f *testing.F) {
	f.Add(everyLine)
	f.Add(verticalSlashSchedule)
	f.Fuzz(func(t *testing.T, text string) {
		s, err := ir.ParseSchedule(text)
		if err != nil {
			return
		}
		again, err := ir.ParseSchedule(s.String())
		require.NoError(t, err)
		require.Equal(t, s.String(), again.String())
		if s.Verify() != nil {
			return
		}
		s.Causal()
		s.EveryRowKeeps()
		values, err := ir.CheckLaunch(s.Params, s.Requires, nil)
		if err != nil || s.CheckValues(values) != nil {
			return
		}
		launched, err := s.Bind(values)
		require.NoError(t, err)
		shape := ir.Shape{Sq: 40, Sk: 90, QOffset: 50}
		sel := irtest.RandomSelection(rand.New(rand.NewPCG(1, 6)), s.Index, shape)
		for i := range shape.Sq {
			_, err := launched.RowWith(sel, shape, i)
			require.NoError(t, err)
		}
	})
}
