package search

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/internal/bench"
	"github.com/minfc/minfc/ir"
	"github.com/minfc/minfc/passes"
	"github.com/minfc/minfc/plan"
)

// TestMInferenceFamilies: without a density the published budgets, with one the closed forms meet it and the others are scaled around it.
func TestMInferenceFamilies(t *testing.T) {
	known, err := plan.Library()
	require.NoError(t, err)
	var names []string
	for _, f := range families(known, 30000, 0) {
		require.Len(t, f, 1)
		names = append(names, f[0].String())
	}
	require.Equal(t, []string{"a_shape sink=1024 window=4096", "vertical_slash vertical=30 slash=2048", "vertical_slash vertical=100 slash=1800",
		"vertical_slash vertical=500 slash=1500", "vertical_slash vertical=3000 slash=200", "block_sparse topk=100"}, names)

	const n, density = 32768, 0.1
	of := families(known, n, density)
	require.Len(t, of, 6)
	for _, f := range of[1:5] {
		require.Greater(t, len(f), 10)
	}
	require.InEpsilon(t, density, densityOf(t, of[0][0], n), 0.01)
	require.InEpsilon(t, 4, float64(of[0][0].Params["window"])/float64(of[0][0].Params["sink"]), 0.02, "the published shape")
	topk, kept := int(of[5][0].Params["topk"]), 0
	for i := range n / 64 {
		kept += min(topk, i+1)
	}
	require.InEpsilon(t, density, float64(kept)/float64(n/64*(n/64+1)/2), 0.02)
}

// densityOf is the density of a static head.
func densityOf(t *testing.T, h plan.Head, n int) float64 {
	values, err := h.Values()
	require.NoError(t, err)
	s, err := passes.Run(h.Pattern, passes.Options{Tile: passes.Fixed(ir.Tile{Rows: 128, Keys: 64})})
	require.NoError(t, err)
	c, err := bench.CountWork(s, values, ir.Shape{Sq: n, Sk: n})
	require.NoError(t, err)
	return float64(c.Pairs) / (float64(n) * float64(n+1) / 2)
}

// TestByMInference: of each family the scale counts that is nearest to the density, then the least error, of equals the first.
func TestByMInference(t *testing.T) {
	o := func(density, e float64) option {
		return option{choice: choice{found: plan.Found{Density: density, Error: e}}}
	}
	of := []family{make(family, 1), make(family, 3)}
	got := byMInference(of, 0.1, [][]option{
		{o(0.1, 0.5), o(0.01, 0.9), o(0.11, 0.4), o(0.5, 0.1)}, // the best of all is too dear
		{o(0.1, 0.4), o(0.01, 0.9), o(0.11, 0.4), o(0.5, 0.1)},
		{o(0.1, 0.3), o(0.01, 0.1), o(0.11, 0.4), o(0.5, 0.1)},
	})
	require.Equal(t, []plan.Found{{Density: 0.11, Error: 0.4}, {Density: 0.1, Error: 0.4}, {Density: 0.1, Error: 0.3}}, []plan.Found{got[0].found, got[1].found, got[2].found})
}

// TestBuiltInCandidates: the closed forms keep the shares that they are made for, dense attention is the first, and none stands there twice.
func TestBuiltInCandidates(t *testing.T) {
	known, err := plan.Library()
	require.NoError(t, err)
	for _, n := range []int{1, 100, 512, 32768, 1 << 20} {
		list := BuiltIn(known, n)
		require.Equal(t, denseName, list[0].Pattern.Name)
		require.Equal(t, list, distinct(list))
		for _, h := range list {
			_, err := h.Values()
			require.NoError(t, err, "%d: %s", n, h)
		}
	}
	i := 0
	for _, h := range BuiltIn(known, 32768) {
		if h.Pattern.Name == "a_shape" {
			require.InDelta(t, shares[i], densityOf(t, h, 32768), 0.01, "%s", h)
			i++
		}
	}
	require.Equal(t, len(shares), i)
}
