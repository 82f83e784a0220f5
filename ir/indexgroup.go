package ir

import (
	"fmt"
	"math"
	"slices"
)

// Choices by group. Query heads of one kv head read the same K and V, and often look at the same keys (GQA: arXiv 2305.13245). A choice by
// group is made once for all of them that take part, from the mean of what each of them would choose from: of sums of probabilities, of
// scores of blocks, or of shares of blocks after the softmax of each head. So no head counts for more than another, a mean of shares is
// a share of the same whole, and thresholds mean what they mean for one head.
//
// A union of what each head chooses has other numbers: its size is up to the budget times the heads, and only the data tells which. With a
// mean the budget is what a head pays. Whoever wants the union asks for the larger budget.

// ByGroup says whether the choice called name is made by group; false for a set that nobody chose.
func (s *Schedule) ByGroup(name string) bool { return byGroup(s.Index, name) }

// SomeByGroup says whether some list of the schedule is of a choice by group.
func (s *Schedule) SomeByGroup() bool {
	return slices.ContainsFunc(s.Lists(), func(l Source) bool { return s.ByGroup(l.Name) })
}

// ByGroup says the same of a pattern's choice.
func (p *Pattern) ByGroup(name string) bool { return byGroup(p.Index, name) }

func byGroup(defs []IndexDef, name string) bool {
	i := slices.IndexFunc(defs, func(d IndexDef) bool { return d.Name == name })
	if i < 0 {
		return false
	}
	s, ok := defs[i].Value.(Select)
	return ok && s.ByGroup
}

// evalGroup is the evaluation of a head, with the values of its group where a choice is made from them.
func evalGroup[F Float](defs []IndexDef, values map[string]int64, in HeadInputs[F]) (*indexEval, error) {
	e := newIndexEval(in, values)
	if !slices.ContainsFunc(defs, func(d IndexDef) bool { return byGroup(defs, d.Name) }) {
		return e, nil
	}
	for _, q := range in.Group {
		own := in
		own.Q = q
		member := newIndexEval(own, values)
		for _, d := range defs {
			if _, chooses := d.Value.(Select); chooses {
				continue // from which no value is computed
			}
			if err := member.define(d); err != nil {
				return nil, err
			}
		}
		e.group = append(e.group, member)
	}
	return e, nil
}

// chosenFrom are the values that a choice is made from: its own head's, or the means of a group.
func (e *indexEval) chosenFrom(s Select) (any, error) {
	own := e.results[s.Of]
	if !s.ByGroup || len(e.group) == 0 {
		return own, nil
	}
	switch of := own.(type) {
	case sums:
		var all [][]float64
		for _, m := range e.group {
			x, err := resultOf[sums](m, s.Of)
			if err != nil {
				return nil, err
			}
			all = append(all, x.values)
		}
		of.values = means(all)
		return of, nil
	case blockScores:
		out := make(blockScores, len(of))
		for t := range out {
			var all [][]float64
			for _, m := range e.group {
				x, err := resultOf[blockScores](m, s.Of)
				if err != nil {
					return nil, err
				}
				all = append(all, x[t])
			}
			out[t] = means(all)
		}
		return out, nil
	default:
		return nil, fmt.Errorf("internal: a choice by group from %T", own)
	}
}

// means are the means of lists, member by member: of finite ones and minus infinity. One that is no number becomes minus infinity, as a
// block score of NaN is.
func means(lists [][]float64) []float64 {
	out := slices.Clone(lists[0])
	for _, l := range lists[1:] {
		for i, x := range l {
			out[i] += x
		}
	}
	for i := range out {
		if out[i] /= float64(len(lists)); math.IsNaN(out[i]) {
			out[i] = math.Inf(-1)
		}
	}
	return out
}
