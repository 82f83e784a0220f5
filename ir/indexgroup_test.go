package ir_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/ir"
)

var groupDefs = []string{
	"index l = probe last 9", "index p = softmax l", "index heat = sum p over queries", "index stripes = sum p over runs 16",
	"index mq = pool mean q", "index mk = pool mean k", "index tiles = blocks mq mk", "index shares = softmax tiles",
	"index cols = top 20 from heat first 1 by group", "index diags = mass 600 from stripes by group", "index own = top 20 from heat first 1",
	"index best = top 2 from tiles by group", "index some = near 800 from shares last 1 by group",
}

func groupInputs(rng *rand.Rand, heads int) (in []ir.HeadInputs[float64]) {
	const sq, sk, d, offset = 130, 200, 4, 70
	normal := func(n int) []float64 {
		out := make([]float64, n)
		for i := range out {
			out[i] = rng.NormFloat64()
		}
		return out
	}
	k := normal(sk * d)
	var group [][]float64
	for range heads {
		group = append(group, normal(sq*d))
	}
	for _, q := range group {
		in = append(in, ir.HeadInputs[float64]{Q: q, K: k, Group: group, Sq: sq, Sk: sk, D: d, QOffset: offset, Scale: 1.5})
	}
	return in
}

// Heads of a group choose the same, from the means of what each head would choose from; what is no choice by group stays a head's own.
func TestChoicesByGroupAreFromMeans(t *testing.T) {
	defs := parseIndex(t, groupDefs...)
	require.NoError(t, ir.VerifyIndex(defs, nil, nil))
	heads := groupInputs(rand.New(rand.NewPCG(1, 2)), 3)
	sums := map[string]ir.IndexValues{}
	var first *ir.Selection
	for i, in := range heads {
		sel, from, err := ir.EvalIndexValues(defs, nil, in)
		require.NoError(t, err)
		alone := in
		alone.Group = nil
		_, single, err := ir.EvalIndexValues(defs, nil, alone)
		require.NoError(t, err)
		if first == nil {
			first = sel
		}
		for n, s := range sel.Sets {
			if s.Name == "own" {
				require.NotEqual(t, first.Sets[1].Members, s.Members)
				require.Equal(t, single["own"], from["own"])
				continue
			}
			require.Equal(t, first.Sets[n], s, "head %d", i)
			add(sums, s.Name, single[s.Name])
		}
		if i < len(heads)-1 {
			continue
		}
		for name, sum := range sums {
			for r, row := range sum {
				for j, x := range row {
					require.InDelta(t, x/3, from[name][r][j], 1e-12, "%s, %d", name, j)
				}
			}
		}
	}
}

func add(sums map[string]ir.IndexValues, name string, x ir.IndexValues) {
	if sums[name] == nil {
		for _, row := range x {
			sums[name] = append(sums[name], make([]float64, len(row)))
		}
	}
	for r, row := range x {
		for j, v := range row {
			sums[name][r][j] += v
		}
	}
}

// A head without others chooses as it would without the words, and a group of heads of other lengths is refused.
func TestGroupsOfOneHead(t *testing.T) {
	defs := parseIndex(t, groupDefs[:9]...)
	in := groupInputs(rand.New(rand.NewPCG(3, 2)), 1)[0]
	sel, err := ir.EvalIndex(defs, nil, in)
	require.NoError(t, err)
	in.Group = nil
	alone, err := ir.EvalIndex(defs, nil, in)
	require.NoError(t, err)
	require.Equal(t, alone, sel)
	in.Group = [][]float64{in.Q, in.Q[:8]}
	_, err = ir.EvalIndex(defs, nil, in)
	require.EqualError(t, err, "q of head 1 of the group has 8 elements, want 520")
}

// A block score that is no number in one head comes after all others for the group.
func TestGroupsWithoutANumber(t *testing.T) {
	defs := parseIndex(t, "index mq = pool mean q", "index mk = pool mean k", "index tiles = blocks mq mk", "index best = top 1 from tiles by group")
	k := make([]float64, 3*64)
	for i := range k {
		k[i] = float64(i / 64)
	}
	ones, bad := make([]float64, 3*64), make([]float64, 3*64)
	for i := range ones {
		ones[i], bad[i] = 1, 1
	}
	bad[190] = math.NaN() // in the last row block
	sel, err := ir.EvalIndex(defs, nil, ir.HeadInputs[float64]{Q: ones, K: k, Group: [][]float64{ones, bad}, Sq: 192, Sk: 192, D: 1, Scale: 1})
	require.NoError(t, err)
	require.Equal(t, [][]int{{0}, {1}, {0}}, sel.Sets[0].Blocks, "equal values go to the smaller block")
}
