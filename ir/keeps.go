package ir

import "fmt"

// keepFunc says whether a pair is kept. q and k are absolute positions, k in [0, sk).
type keepFunc = func(q, k int) bool

// Keeps compiles p for the given parameters into the function that defines its meaning: the pairs (q, k) it keeps, for
// any query position and 0 <= k < sk. values holds every parameter, as CheckLaunch returns them. Where rows count from the end of
// the call, EndingAt goes first. What a pattern with an index stage keeps depends on data; KeepsWith is its meaning.
func (p *Pattern) Keeps(values map[string]int64) (func(q, k int) bool, error) {
	c := setCompiler{values, func(Chosen) (keepFunc, error) { return nil, errChosen }}
	keep, err := c.set(p.Keep)
	if err != nil {
		return nil, fmt.Errorf("pattern %q: %w", p.Name, err)
	}
	return keep, nil
}

// setCompiler turns sets into functions for given parameters.
type setCompiler struct {
	values map[string]int64
	chosen func(s Chosen) (keepFunc, error) // the meaning of what the index stage chose
}

func (c setCompiler) set(s Set) (keepFunc, error) {
	switch s := s.(type) {
	case All:
		return func(q, k int) bool { return true }, nil
	case Causal:
		return func(q, k int) bool { return k <= q }, nil
	case Window:
		n, err := evalAll(c.values, s.Left, s.Right)
		return func(q, k int) bool { return -n[1] <= q-k && q-k < n[0] }, err
	case Sink:
		n, err := evalAll(c.values, s.N)
		return func(q, k int) bool { return k < n[0] }, err
	case Columns:
		in, err := compileRange(s.From, s.To, s.Step, c.values)
		return func(q, k int) bool { return in(k) }, err
	case Diagonals:
		in, err := compileRange(s.From, s.To, s.Step, c.values)
		return func(q, k int) bool { return in(q - k) }, err
	case Rows:
		in, err := compileRows(s, c.values)
		return func(q, k int) bool { return in(q) }, err
	case Chosen:
		return c.chosen(s)
	default:
		return c.operator(s)
	}
}

func (c setCompiler) operator(s Set) (keepFunc, error) {
	switch s := s.(type) {
	case Union:
		keeps, err := c.sets(s.Sets)
		return func(q, k int) bool { return anyKeeps(keeps, q, k, true) }, err
	case Intersect:
		keeps, err := c.sets(s.Sets)
		return func(q, k int) bool { return !anyKeeps(keeps, q, k, false) }, err
	case Minus:
		keeps, err := c.sets([]Set{s.Left, s.Right})
		return func(q, k int) bool { return keeps[0](q, k) && !keeps[1](q, k) }, err
	default:
		return nil, fmt.Errorf("internal: no meaning for a set of kind %T", s)
	}
}

// anyKeeps says whether any member answers want.
func anyKeeps(keeps []keepFunc, q, k int, want bool) bool {
	for _, keep := range keeps {
		if keep(q, k) == want {
			return true
		}
	}
	return false
}

func (c setCompiler) sets(sets []Set) ([]keepFunc, error) {
	out := make([]keepFunc, len(sets))
	for i, s := range sets {
		keep, err := c.set(s)
		if err != nil {
			return nil, err
		}
		out[i] = keep
	}
	return out, nil
}

// compileRange is membership in from <= x < to with x = from modulo step.
func compileRange(from Poly, to *Poly, step Poly, values map[string]int64) (func(x int) bool, error) {
	n, err := evalAll(values, from, step)
	if err != nil {
		return nil, err
	}
	a, m := n[0], n[1]
	if m < 1 {
		return nil, fmt.Errorf("the step %s is %d, want at least 1", step, m)
	}
	if to == nil {
		return func(x int) bool { return a <= x && (x-a)%m == 0 }, nil
	}
	n, err = evalAll(values, *to)
	if err != nil {
		return nil, err
	}
	b := n[0]
	return func(x int) bool { return a <= x && x < b && (x-a)%m == 0 }, nil
}

// evalAll returns the values of polynomials, in order.
func evalAll(values map[string]int64, polys ...Poly) ([]int, error) {
	out := make([]int, len(polys))
	for i, p := range polys {
		v, err := p.Eval(values)
		if err != nil {
			return nil, err
		}
		out[i] = int(v)
	}
	return out, nil
}
