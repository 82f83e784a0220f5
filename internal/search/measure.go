package search

import (
	"errors"
	"fmt"
	"math"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/half"
)

// reference is what dense attention computes of a prompt.
type reference struct {
	outcome
	power   []float64  // of each head: the weighted mean square of its output, [QHeads]
	needles [][]needle // of each head, its retrieval rows
}

// measured is what a candidate does to one head of one prompt.
type measured struct {
	error2  float64 // weighted square of the difference to dense attention, over the square of dense attention itself
	mass    float64 // kept part of attention, the weighted mean over the sampled rows
	density float64 // kept pairs over causal pairs
	millis  float64 // predicted, with the head's part of the index stage
	lost    float64 // mass of the keys that retrieval rows look at and that the candidate loses
}

// scorer compares outcomes with a reference.
type scorer struct {
	dtype          abi.DType
	heads, headDim int
	rows           sample
}

// power fills in the weighted mean square of each head's output.
func (s scorer) power(ref *reference) error {
	ref.power = make([]float64, s.heads)
	return eachHead(s.heads, func(h int) error {
		row := make([]float32, s.headDim)
		for i, w := range s.rows.weights {
			if err := s.decode(row, ref.o, i, h); err != nil {
				return err
			}
			for _, x := range row {
				ref.power[h] += w * float64(x) * float64(x)
			}
		}
		if !finite(ref.power[h]) || !finite(ref.lse[(s.rows.rows()-1)*s.heads+h]) {
			return fmt.Errorf("dense attention of head %d is no number in the sampled rows: q, k or v are too large for %s, or not finite", h, s.dtype)
		}
		return nil
	})
}

func finite(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }

// decode widens the output of a head in one of the sampled rows.
func (s scorer) decode(to []float32, o []byte, row, head int) error {
	bytes := 2 * s.headDim
	return half.Decode(s.dtype, to, o[(row*s.heads+head)*bytes:][:bytes])
}

// score measures a candidate in all heads: error, kept mass and what it loses.
func (s scorer) score(ref *reference, got outcome) ([]measured, error) {
	out := make([]measured, s.heads)
	return out, eachHead(s.heads, func(h int) error {
		m := &out[h]
		mine, dense := make([]float32, s.headDim), make([]float32, s.headDim)
		for i, w := range s.rows.weights {
			if err := errors.Join(s.decode(mine, got.o, i, h), s.decode(dense, ref.o, i, h)); err != nil {
				return err
			}
			for j := range mine {
				d := float64(mine[j]) - float64(dense[j])
				m.error2 += w * d * d
			}
			m.mass += w * s.kept(ref, got, i, h)
		}
		switch {
		case ref.power[h] > 0:
			m.error2 /= ref.power[h]
		case m.error2 > 0:
			m.error2 = 1 // of nothing, which some candidate makes something of
		}
		if !finite(m.error2) || !finite(m.mass) {
			return fmt.Errorf("internal: the output of head %d is no number where the one of dense attention is", h)
		}
		for _, n := range ref.needles[h] {
			if s.kept(ref, got, s.rows.answer(n.row), h) < heldMass {
				m.lost += n.mass
			}
		}
		return nil
	})
}

// kept is the part of a row's attention that a candidate keeps. Rounding can bring it above all of it.
func (s scorer) kept(ref *reference, got outcome, row, head int) float64 {
	at := row*s.heads + head
	return min(1, math.Exp(got.lse[at]-ref.lse[at]))
}
