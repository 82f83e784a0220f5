package ir

import "slices"

// Facts is what holds for every legal launch: parameters are at least their minimum, and every Require holds. Proofs
// about schedules rest on it and on q >= 0 alone.
type Facts struct {
	min      map[string]int64
	requires []Require
	depth    int  // how many requires one proof may add up
	budget   *int // steps left; without any nothing more is proven, so that hostile text cannot keep a verifier busy
}

// proofBudget is some seconds of proofs. Schedules of use need thousands of steps; random ones at the limit of MaxSegments
// have been seen to need three million.
const proofBudget = 1 << 23

// NewFacts collects the facts of a pattern or schedule. The result belongs to one goroutine.
func NewFacts(params []Param, requires []Require) Facts {
	budget := proofBudget
	f := Facts{min: map[string]int64{}, depth: 1, budget: &budget}
	for _, p := range params {
		f.min[p.Name] = p.Min
	}
	for _, r := range requires {
		if _, constant := r.Value.Const(); !constant {
			f.requires = append(f.requires, r)
		}
	}
	return f
}

// deeper allows longer proofs. A verifier needs them: it must follow a chain of steps that a pass proved one by one.
func (f Facts) deeper() Facts {
	f.depth = 3
	return f
}

// AtLeast says whether p >= bound is proven. False means "not proven", not "false".
func (f Facts) AtLeast(p Poly, bound int64) bool {
	return f.prove(p, bound, f.depth)
}

// exhausted says that proofs were given up for lack of budget.
func (f Facts) exhausted() bool { return *f.budget < 0 }

func (f Facts) prove(p Poly, bound int64, depth int) bool {
	if *f.budget--; f.exhausted() {
		return false
	}
	if p.AtLeast(bound, f.min) {
		return true
	}
	if depth == 0 {
		return false
	}
	for _, r := range f.requires {
		// p >= bound follows from Value >= Min and p - Value >= bound - Min.
		if sharesVar(p, r.Value) && f.prove(p.Sub(r.Value), bound-r.Min, depth-1) {
			return true
		}
	}
	return false
}

func sharesVar(a, b Poly) bool {
	vars := a.Vars()
	return slices.ContainsFunc(b.Vars(), func(v string) bool { return slices.Contains(vars, v) })
}

// above says whether bound x >= bound y is proven in every row. A row bound q + Off is at least Off, as q >= 0.
func (f Facts) above(x, y Bound) bool {
	return (x.Row || !y.Row) && f.AtLeast(x.Off.Sub(y.Off), 0)
}
