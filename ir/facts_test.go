package ir

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestFactsUseConditions: minima and conditions add up to proofs, as far as the depth goes.
func TestFactsUseConditions(t *testing.T) {
	a, b, c := Var("a"), Var("b"), Var("c")
	f := NewFacts([]Param{{Name: "a", Min: 2}, {Name: "b"}, {Name: "c"}}, []Require{{Value: a.Sub(b), Min: 1}, {Value: b.Sub(c), Min: 3}})
	require.True(t, f.AtLeast(a, 2))
	require.True(t, f.AtLeast(a.Sub(b), 1))
	require.False(t, f.AtLeast(a.Sub(b), 2))
	require.False(t, f.AtLeast(a.Sub(c), 4), "needs two conditions")
	require.True(t, f.deeper().AtLeast(a.Sub(c), 4))
	require.False(t, f.deeper().AtLeast(a.Sub(c), 5))
}

// TestProofsEnd: without budget nothing is proven, and the verifier says why.
func TestProofsEnd(t *testing.T) {
	s, err := ParseSchedule("schedule x\n  tile 16x16 ascending\n  segment 0\n    hi   3\n  segment 1\n    lo   3\n")
	require.NoError(t, err)
	require.NoError(t, s.Verify())
	c := &checker{facts: NewFacts(nil, nil)}
	*c.facts.budget = 1
	c.disjoint(s.Segments)
	require.ErrorContains(t, c.err("schedule", "x"), "too involved to verify")
}
