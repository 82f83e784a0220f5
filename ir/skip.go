package ir

import (
	"fmt"
	"math"
	"strings"
)

// Skip lets a kernel leave tiles out as it walks them, by the scores that it has just computed: a tile (the query rows that are computed
// together, and the keys of a step) is left out if in every row of it each kept pair has a weight below Share times the weight of a pair
// that the row has met before. Weights are exp(scale q k). Which tiles these are depends on the order of the walk and on the size of its
// tiles, so the meaning of a pattern with a Skip is what it keeps without one, up to what SkipLoss allows.
// Source: BLASST (arXiv 2512.12087), whose threshold is ln of the share.
type Skip struct {
	Share Poly // in millionths, at most SkipUnits; 0 leaves no pair out
}

// SkipUnits are the parts of one that Skip.Share counts.
const SkipUnits = 1_000_000

// Log2 is the logarithm of the share to the base 2 for values that CheckLaunch accepted, -Inf of 0.
func (s Skip) Log2(values map[string]int64) (float64, error) {
	v, err := s.Share.Eval(values)
	return math.Log2(float64(v) / SkipUnits), err
}

// Requires are the conditions on the parameters: the share lies between 0 and 1.
func (s Skip) Requires() []Require {
	return []Require{{s.Share, 0, "the share of skip in millionths"}, {Int(SkipUnits).Sub(s.Share), 0, "what the share of skip leaves of a million"}}
}

// SkipLoss bounds what a row loses of which skipped pairs were left out at a share, a number between 0 and 1. mass is at most that part of
// what exp(logit) sums up to over all kept pairs; lse is how far the LSE may lie below the LSE of all kept pairs, never above. Each
// component of the output moves by at most mass times the difference between the largest and the smallest value of that component among the
// kept keys.
//
// Each left-out pair weighs less than share times a weight that stays in the sum, so together they weigh less than skipped*share times the
// sum of what stays (docs/skip.md has the proof).
func SkipLoss(skipped int, share float64) (mass, lse float64) {
	x := float64(skipped) * share
	return x / (1 + x), math.Log1p(x)
}

// printSkip writes the line of a skip, if there is one.
func printSkip(b *strings.Builder, s *Skip) {
	if s != nil {
		fmt.Fprintf(b, "  skip %s\n", s.Share)
	}
}

// readSkip reads the line of a skip; was is what a line before it said.
func readSkip(n *node, was *Skip) (*Skip, error) {
	if was != nil {
		return nil, lineError(n.number, `found a second "skip" line, want one`)
	}
	c := n.cursor()
	c.expect("skip")
	s := &Skip{c.poly()}
	return s, c.leaf(n)
}

// skip checks that the share stays between 0 and 1 in any legal launch.
func (c *checker) skip(s *Skip) {
	if s == nil || !c.poly(s.Share, "skip") {
		return
	}
	if !c.facts.AtLeast(s.Share, 0) || !c.facts.AtLeast(Int(SkipUnits).Sub(s.Share), 0) {
		c.fail("skip: the share %s may lie beyond 0 to %d millionths; require it", s.Share, SkipUnits)
	}
}
