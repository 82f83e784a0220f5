package ir_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/ir"
)

func TestCheckLaunch(t *testing.T) {
	params := []ir.Param{{Name: "sink", Default: 128}, {Name: "window", Default: 1024, Min: 1}}
	requires := []ir.Require{
		{Value: ir.Var("window").Sub(ir.Var("sink")), Min: 1, What: "the window beyond the sink"},
		{Value: ir.Int(100).Sub(ir.Var("sink").Mul(ir.Int(-1))), Min: 0},
	}
	for _, c := range []struct {
		name   string
		values map[string]int64
		want   string
	}{
		{"defaults", nil, ""},
		{"given", map[string]int64{"sink": 0, "window": 1}, ""},
		{"minimum", map[string]int64{"window": 0}, "window must be at least 1, got 0"},
		{"limit", map[string]int64{"window": ir.MaxParam + 1}, "window must be at most 1073741824, got 1073741825"},
		{"misspelt", map[string]int64{"windw": 5}, `unknown parameter "windw"; did you mean "window"?`},
		{"unknown", map[string]int64{"stride": 5}, `unknown parameter "stride"; the pattern has sink, window`},
		{"require", map[string]int64{"sink": 9, "window": 9}, "the window beyond the sink (-sink + window) must be at least 1, got 0 with sink = 9, window = 9"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := ir.CheckLaunch(params, requires, c.values)
			if c.want != "" {
				require.EqualError(t, err, c.want)
				return
			}
			require.NoError(t, err)
			for name, v := range c.values {
				require.Equal(t, v, got[name])
			}
			require.Len(t, got, 2)
		})
	}
	_, err := ir.CheckLaunch(params, requires, map[string]int64{"a": 1, "b": 2, "window": -1})
	require.ErrorContains(t, err, `"a"`)
	require.ErrorContains(t, err, `"b"`)
	require.ErrorContains(t, err, "window must be at least 1, got -1")
	_, err = ir.CheckLaunch(nil, nil, map[string]int64{"a": 1})
	require.EqualError(t, err, `unknown parameter "a"; the pattern has no parameters`)
}

func TestCheckValues(t *testing.T) {
	s := &ir.Schedule{Name: "x", Tile: ir.Tile{Rows: 64, Keys: 64}, Segments: []ir.Segment{
		{Hop: -1, Hi: []ir.Bound{{Off: ir.Var("a").Mul(ir.Var("b"))}}, Tests: []ir.Test{{Off: ir.Var("b"), Step: ir.Var("a")}}},
	}}
	require.NoError(t, s.CheckValues(map[string]int64{"a": 1 << 15, "b": 1 << 15}))
	require.ErrorContains(t, s.CheckValues(map[string]int64{"a": 1<<15 + 1, "b": 1 << 15}),
		"a*b is 1073774592, beyond the limit of 1073741824")
	require.ErrorContains(t, s.CheckValues(map[string]int64{"a": 0, "b": 1}), "the step a is 0, want at least 1")
	require.ErrorContains(t, s.CheckValues(map[string]int64{"a": 1}), `no value for parameter "b"`)
}

// A row bound q + 1 - d stands for the distance d of the language, whose limit it may pass by one on one side.
func TestLimitsOfRowBounds(t *testing.T) {
	s := &ir.Schedule{Name: "x", Tile: ir.Tile{Rows: 64, Keys: 64}, Params: []ir.Param{{Name: "n"}}, Segments: []ir.Segment{
		{Hop: -1, Lo: []ir.Bound{{Row: true, Off: ir.Int(1 - ir.MaxParam)}}, Hi: []ir.Bound{{Row: true, Off: ir.Var("n").Add(ir.Int(1))}}},
		{Hop: -1, Lo: []ir.Bound{{Row: true, Off: ir.Var("n").Add(ir.Int(1))}}, Hi: []ir.Bound{{Row: true, Off: ir.Int(1 + ir.MaxParam)}}},
	}}
	require.NoError(t, s.Verify())
	again, err := ir.ParseSchedule(s.String())
	require.NoError(t, err)
	require.Equal(t, s.String(), again.String())
	require.NoError(t, s.CheckValues(map[string]int64{"n": ir.MaxParam}))
	require.ErrorContains(t, s.CheckValues(map[string]int64{"n": ir.MaxParam + 1}), "n is 1073741825, beyond the limit of 1073741824")
	for _, off := range []int64{-ir.MaxParam, 2 + ir.MaxParam} {
		s.Segments[0].Lo[0].Off = ir.Int(off)
		require.ErrorContains(t, s.Verify(), "beyond the limit of 1073741824")
	}
}

func TestClosest(t *testing.T) {
	known := []string{"sink", "window", "stride"}
	require.Equal(t, "window", ir.Closest("windw", known))
	require.Equal(t, "stride", ir.Closest("tsride", known))
	require.Equal(t, "", ir.Closest("columns", known))
	require.Equal(t, "", ir.Closest("x", nil))
}
