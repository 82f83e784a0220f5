package ir_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/ir"
)

// runChoice is a choice among runs in numbers, whose definition here is written apart from the interpreter.
type runChoice struct {
	run, last            int // of the probe
	rule                 ir.Rule
	n, first, end, limit int // end: forced at the far end
}

func (c runChoice) defs() []ir.IndexDef {
	probe, most := ir.Int(int64(c.last)), ir.Int(int64(c.limit))
	return []ir.IndexDef{
		{Name: "logits", Value: ir.Probe{Last: &probe}}, {Name: "probe", Value: ir.Softmax{Of: "logits"}},
		{Name: "stripes", Value: ir.Sum{Of: "probe", Over: ir.OverRuns, Run: ir.Int(int64(c.run))}},
		{Name: "d", Value: ir.Select{Of: "stripes", Rule: c.rule, N: ir.Int(int64(c.n)), First: ir.Int(int64(c.first)), Last: ir.Int(int64(c.end)), Most: &most}},
	}
}

// worth is what every run is worth: the sum of what its distances are worth, to which each pair of a probed query gives its probability.
// Added up in this order, equal distances make equal runs.
func (c runChoice) worth(in ir.HeadInputs[float32]) (out []float64) {
	distances := make([]float64, in.QOffset+in.Sq)
	for i := max(0, in.Sq-c.last); i < in.Sq; i++ {
		q, total := in.QOffset+i, 0.0
		e := make([]float64, min(in.Sk, q+1))
		for k := range e {
			for x := range in.D {
				e[k] += float64(in.Q[i*in.D+x]) * float64(in.K[k*in.D+x])
			}
			e[k] = math.Exp(in.Scale * e[k])
			total += e[k]
		}
		for k := range e {
			distances[q-k] += e[k] / total
		}
	}
	for run := range slices.Chunk(distances, c.run) {
		sum := 0.0
		for _, w := range run {
			sum += w
		}
		out = append(out, sum)
	}
	return out
}

// distances takes runs one by one, always the best one that is left: forced ones, then others as long as the rule wants more.
func (c runChoice) distances(worth []float64, there int) (out []int) {
	taken, have, all, number := make([]bool, len(worth)), 0.0, 0.0, 0
	take := func(g int) {
		taken[g], have, number = true, have+worth[g], number+1
	}
	for g, w := range worth {
		all += w
		if g < c.first || g >= len(worth)-c.end {
			take(g)
		}
	}
	for number < c.limit {
		best := -1
		for g, w := range worth {
			if !taken[g] && (best < 0 || w > worth[best]) {
				best = g
			}
		}
		more := best >= 0
		switch {
		case !more:
		case c.rule == ir.Top:
			more = number < c.n
		case c.rule == ir.TopP:
			more = have < float64(c.n)/1000*all && worth[best] > 0
		default:
			more = worth[best] > float64(c.n)/1e6
		}
		if !more {
			break
		}
		take(best)
	}
	for d := range there {
		if taken[d/c.run] {
			out = append(out, d)
		}
	}
	return out
}

// Random heads of odd lengths, with and without an offset, by every rule.
func TestRunsOfDistancesAgainstTheirDefinition(t *testing.T) {
	rng := rand.New(rand.NewPCG(11, 4))
	partial := 0
	for i := range 400 {
		sq, sk, offset := 1+rng.IntN(150), 1+rng.IntN(300), rng.IntN(2)*rng.IntN(200)
		in := randomHead(rng, sq, sk, offset)
		if rng.IntN(3) == 0 { // equal queries and keys: only the number of rows that see a distance differs
			for x := range in.Q {
				in.Q[x] = 1
			}
			for x := range in.K {
				in.K[x] = 1
			}
		}
		c := runChoice{run: 16 * (1 + rng.IntN(8)), last: []int{1, 5, 64, 200}[rng.IntN(4)], rule: ir.Rule(rng.IntN(3)),
			first: rng.IntN(2) * rng.IntN(4), end: rng.IntN(2) * rng.IntN(3), limit: []int{2, 5, 1000}[rng.IntN(3)]}
		c.n = map[ir.Rule][]int{ir.Top: {0, 1, 2, 3, 9, 100}, ir.TopP: {1, 100, 500, 900, 999}, ir.Above: {0, 1000, 100_000, 900_000, 4_900_000}}[c.rule][rng.IntN(5)]
		sel, err := ir.EvalIndex(c.defs(), nil, in)
		require.NoError(t, err)
		want := c.distances(c.worth(in), offset+sq)
		require.Equal(t, want, members(t, sel, "d"), "case %d: %+v of %d queries from %d, %d keys", i, c, sq, offset, sk)
		runs, whole := ir.RunsOf(want, c.run, offset+sq)
		require.True(t, whole)
		if n := len(runs); n > 0 && (runs[n-1]+1)*c.run > offset+sq {
			partial++
		}
	}
	require.Greater(t, partial, 40, "choices with a last run that is shorter")
}

// What a choice of runs promises: each run by itself takes MostTiles tiles at most, neighbours one less, whatever is chosen.
func TestTilesOfRuns(t *testing.T) {
	rng := rand.New(rand.NewPCG(12, 4))
	for range 3000 {
		run, share := 16*(1+rng.IntN(8)), rng.Float64()
		var distances []int
		runs := 0
		for g := range rng.IntN(40) {
			if rng.Float64() > share {
				continue
			}
			runs++
			for d := g * run; d < (g+1)*run; d++ {
				distances = append(distances, d)
			}
		}
		require.LessOrEqual(t, len(ir.CoverTiles(distances)), runs*ir.MostTiles(run), "%d runs of %d", runs, run)
	}
	require.Equal(t, [3]int{2, 2, 3}, [3]int{ir.MostTiles(16), ir.MostTiles(64), ir.MostTiles(128)})
	require.Equal(t, 1, ir.MostTiles(1))
	neighbours := make([]int, 64*9)
	for i := range neighbours {
		neighbours[i] = 64*5 + i
	}
	require.Len(t, ir.CoverTiles(neighbours), 10, "k neighbours of 64 cost k + 1")
}

func TestRunsOfMembers(t *testing.T) {
	span := func(from, to int) (out []int) {
		for d := from; d < to; d++ {
			out = append(out, d)
		}
		return out
	}
	for _, c := range []struct {
		members []int
		end     int
		runs    []int
		whole   bool
	}{
		{nil, 100, nil, true},
		{span(0, 16), 100, []int{0}, true},
		{slices.Concat(span(16, 48), span(96, 100)), 100, []int{1, 2, 6}, true},
		{span(96, 99), 100, nil, false},
		{span(0, 15), 100, nil, false},
		{span(1, 17), 100, nil, false},
		{slices.Concat(span(0, 10), span(20, 26)), 100, nil, false},
		{slices.Concat(span(0, 16), span(17, 32)), 100, nil, false},
	} {
		runs, whole := ir.RunsOf(c.members, 16, c.end)
		require.Equal(t, c.runs, runs, "%v", c.members)
		require.Equal(t, c.whole, whole, "%v", c.members)
	}
}

// Sizes are checked where they are known, and a launch parameter has no part in them.
func TestSizesOfRuns(t *testing.T) {
	defs := func(size string) []ir.IndexDef {
		return parseIndex(t, "index logits = probe last 64", "index probs = softmax logits", "index stripes = sum probs over runs "+size, "index d = top n from stripes")
	}
	params := []ir.Param{{Name: "n", Default: 4}, {Name: "width", Default: 40, Binding: ir.BindConst}}
	for _, good := range []string{"16", "48", "128", "width", "2*width + 16"} {
		require.NoError(t, ir.VerifyIndex(defs(good), params, nil), good)
	}
	for bad, why := range map[string]string{
		"0": "a run has 0 distances, want a multiple of 16 from 16 to 128", "-16": "a run has -16", "24": "a run has 24", "144": "a run has 144",
		"n": "the size of runs n depends on n, which is known at launch only; make it const", "n + width": "depends on n", "wide": "no declared parameter",
	} {
		require.ErrorContains(t, ir.VerifyIndex(defs(bad), params, nil), why, bad)
	}
	require.EqualError(t, ir.CheckRuns(defs("width"), map[string]int64{"width": 40}),
		`index "stripes": a run has 40 distances, want a multiple of 16 from 16 to 128 with width = 40`)
	require.NoError(t, ir.CheckRuns(defs("width"), map[string]int64{"width": 80}))
	require.Equal(t, 80, ir.RunSize(defs("width"), "d", map[string]int64{"width": 80}))
	require.Equal(t, 48, ir.RunSize(defs("48"), "d", nil))
	require.Equal(t, 1, ir.RunSize(defs("48"), "stripes", nil), "no choice")
	in := randomHead(rand.New(rand.NewPCG(1, 1)), 40, 40, 0)
	_, err := ir.EvalIndex(defs("width"), map[string]int64{"n": 1, "width": 40}, in)
	require.ErrorContains(t, err, "a run has 40 distances")
	sel, err := ir.EvalIndex(defs("width"), map[string]int64{"n": 9, "width": 32}, in)
	require.NoError(t, err)
	require.Len(t, members(t, sel, "d"), 40, "all of both runs")
	require.Error(t, ir.VerifyIndex([]ir.IndexDef{{Name: "a", Value: ir.Sum{Of: "b", Run: ir.Int(64)}}}, nil, nil), "runs of queries")
}
