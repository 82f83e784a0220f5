package ir

import (
	"cmp"
	"fmt"
	"math"
	"math/big"
	"math/bits"
	"slices"
	"sort"
	"strconv"
	"strings"
)

// Poly is a polynomial in the parameters with integer coefficients, kept in a canonical form: terms sorted by their
// variables, equal ones added up, none with coefficient 0. Equal polynomials are therefore equal values.
type Poly struct{ terms []term }

type term struct {
	vars []string // sorted, with repetition: window*window is {"window","window"}
	coef int64
}

// Int is the constant polynomial c.
func Int(c int64) Poly { return canonical([]term{{nil, mulCoef(c, 1)}}) }

// Var is the parameter name.
func Var(name string) Poly { return canonical([]term{{[]string{name}, 1}}) }

// Add returns p + o.
func (p Poly) Add(o Poly) Poly { return p.merge(o, 1) }

// Sub returns p - o.
func (p Poly) Sub(o Poly) Poly { return p.merge(o, -1) }

// merge returns p + sign*o; both are sorted already. Proofs spend their time here.
func (p Poly) merge(o Poly, sign int64) Poly {
	a, b := p.terms, o.terms
	out := make([]term, 0, len(a)+len(b))
	for len(a) > 0 || len(b) > 0 {
		switch {
		case len(b) == 0 || len(a) > 0 && compareVars(a[0], b[0]) < 0:
			out, a = append(out, a[0]), a[1:]
		case len(a) == 0 || compareVars(a[0], b[0]) > 0:
			out, b = append(out, term{b[0].vars, mulCoef(b[0].coef, sign)}), b[1:]
		default:
			if c := addCoef(a[0].coef, mulCoef(b[0].coef, sign)); c != 0 {
				out = append(out, term{a[0].vars, c})
			}
			a, b = a[1:], b[1:]
		}
	}
	return Poly{slices.Clip(out)}
}

// Mul returns p * o.
func (p Poly) Mul(o Poly) Poly {
	var out []term
	for _, a := range p.terms {
		for _, b := range o.terms {
			vars := append(slices.Clone(a.vars), b.vars...)
			sort.Strings(vars)
			out = append(out, term{vars, mulCoef(a.coef, b.coef)})
		}
	}
	return canonical(out)
}

// Const returns the value of a polynomial without parameters.
func (p Poly) Const() (int64, bool) {
	switch {
	case len(p.terms) == 0:
		return 0, true
	case len(p.terms) == 1 && len(p.terms[0].vars) == 0 && p.terms[0].coef != overflow:
		return p.terms[0].coef, true
	}
	return 0, false
}

// Equal says whether p and o are the same polynomial.
func (p Poly) Equal(o Poly) bool {
	return slices.EqualFunc(p.terms, o.terms, func(a, b term) bool { return a.coef == b.coef && slices.Equal(a.vars, b.vars) })
}

// Vars returns the parameters in p, sorted.
func (p Poly) Vars() []string {
	var out []string
	for _, t := range p.terms {
		out = append(out, t.vars...)
	}
	sort.Strings(out)
	return slices.Compact(out)
}

// Terms calls f for every term in order; vars repeats a parameter as often as its power.
func (p Poly) Terms(f func(coef int64, vars []string)) {
	for _, t := range p.terms {
		f(t.coef, t.vars)
	}
}

// Substitute replaces parameters by values.
func (p Poly) Substitute(values map[string]int64) Poly {
	out := Poly{}
	for _, t := range p.terms {
		m := Int(t.coef)
		for _, v := range t.vars {
			if x, ok := values[v]; ok {
				m = m.Mul(Int(x))
			} else {
				m = m.Mul(Var(v))
			}
		}
		out = out.Add(m)
	}
	return out
}

// Bake is Substitute for values that a person chose: it refuses a result that no verifier accepts, in words about p.
func (p Poly) Bake(values map[string]int64) (Poly, error) {
	out := p.Substitute(values)
	if out.check() == nil {
		return out, nil
	}
	used := map[string]int64{}
	for _, name := range p.Vars() {
		if v, ok := values[name]; ok {
			used[name] = v
		}
	}
	if len(used) == len(p.Vars()) {
		if _, err := p.Eval(values); err != nil {
			return out, fmt.Errorf("%s, %w", strings.TrimSpace(formatValues(used)), err)
		}
	}
	return out, fmt.Errorf("%s, %s has a factor beyond the limit of %d", strings.TrimSpace(formatValues(used)), p, int64(MaxParam))
}

// Eval returns the value of p, or an error naming the parameter that is missing or the overflow beyond MaxParam.
func (p Poly) Eval(values map[string]int64) (int64, error) {
	sum, err := p.sum(values)
	if err != nil {
		return 0, err
	}
	if sum.CmpAbs(big.NewInt(MaxParam)) > 0 {
		return 0, beyond(p, sum)
	}
	return sum.Int64(), nil
}

func beyond(p Poly, value *big.Int) error {
	return fmt.Errorf("%s is %s, beyond the limit of %d", p, value, int64(MaxParam))
}

// sum is the value of p, whatever its size.
func (p Poly) sum(values map[string]int64) (*big.Int, error) {
	sum := new(big.Int)
	for _, t := range p.terms {
		m := big.NewInt(t.coef)
		for _, v := range t.vars {
			x, ok := values[v]
			if !ok {
				return nil, fmt.Errorf("no value for parameter %q", v)
			}
			m.Mul(m, big.NewInt(x))
		}
		sum.Add(sum, m)
	}
	return sum, nil
}

// AtLeast says whether p >= bound is certain when every parameter is at least its minimum (0 if it is not in min).
// It is sound, not complete: false means "not proven".
func (p Poly) AtLeast(bound int64, min map[string]int64) bool {
	if low := p.atMinimum(min); low == overflow || low < bound || !p.rises() {
		return false
	}
	for _, t := range p.aboveMinimum(min).terms {
		if len(t.vars) > 0 && t.coef < 0 {
			return false
		}
	}
	return true
}

// atMinimum is the value where every parameter is at its minimum, or overflow.
func (p Poly) atMinimum(min map[string]int64) int64 {
	sum := int64(0)
	for _, t := range p.terms {
		c := t.coef
		for _, v := range t.vars {
			c = mulCoef(c, min[v])
		}
		sum = addCoef(sum, c)
	}
	return sum
}

// rises says whether no term of the highest degree is negative: terms of the highest degree stay when parameters are
// shifted, so they show early that a proof must fail.
func (p Poly) rises() bool {
	for _, t := range p.terms {
		if len(t.vars) > 0 && t.coef < 0 && len(t.vars) == len(p.terms[0].vars) {
			return false
		}
	}
	return true
}

// aboveMinimum rewrites p in the excess of every parameter over its minimum, which is >= 0. So n*m - n with m >= 1
// becomes n*m' and shows that it is never negative.
func (p Poly) aboveMinimum(min map[string]int64) Poly {
	if len(p.terms) == 0 || len(p.terms[0].vars) < 2 {
		return p // of degree 1: only the constant would change
	}
	var out []term
	for _, t := range p.terms {
		m := Int(t.coef)
		for _, v := range t.vars {
			m = m.Mul(Var(v).Add(Int(min[v])))
		}
		out = append(out, m.terms...)
	}
	return canonical(out)
}

// coefLimit bounds the coefficients; beyond it one becomes overflow for good, so that no wrapped number can ever prove
// anything. Verifiers refuse it.
const (
	coefLimit = 1 << 53
	overflow  = math.MinInt64
)

func addCoef(a, b int64) int64 {
	if a == overflow || b == overflow || a+b > coefLimit || a+b < -coefLimit {
		return overflow
	}
	return a + b
}

func mulCoef(a, b int64) int64 {
	if a == overflow || b == overflow {
		return overflow
	}
	hi, lo := bits.Mul64(magnitude(a), magnitude(b))
	if hi != 0 || lo > coefLimit {
		return overflow
	}
	return a * b
}

func magnitude(a int64) uint64 {
	if a < 0 {
		return -uint64(a)
	}
	return uint64(a)
}

// Limits of a polynomial that a verifier accepts: enough for any pattern a person writes, small enough for proofs.
const (
	maxDegree = 6
	maxTerms  = 64
)

// check says why p cannot be used, if so.
func (p Poly) check() error {
	if len(p.terms) > maxTerms {
		return fmt.Errorf("%d terms in one expression, want at most %d", len(p.terms), maxTerms)
	}
	for _, t := range p.terms {
		switch {
		case t.coef == overflow || magnitude(t.coef) > MaxParam:
			return fmt.Errorf("a factor in %s is beyond the limit of %d", p, int64(MaxParam))
		case len(t.vars) > maxDegree:
			return fmt.Errorf("%d parameters multiplied in %s, want at most %d", len(t.vars), p, maxDegree)
		}
	}
	return nil
}

// String writes p as a sum: "window*step - 1", "0".
func (p Poly) String() string {
	if len(p.terms) == 0 {
		return "0"
	}
	var b strings.Builder
	for i, t := range p.terms {
		c := t.coef
		switch {
		case i == 0 && c < 0:
			b.WriteString("-")
		case i > 0 && c < 0:
			b.WriteString(" - ")
		case i > 0:
			b.WriteString(" + ")
		}
		factors := slices.Clone(t.vars)
		if magnitude(c) != 1 || len(factors) == 0 {
			factors = append([]string{strconv.FormatUint(magnitude(t.coef), 10)}, factors...)
		}
		b.WriteString(strings.Join(factors, "*"))
	}
	return b.String()
}

func compareVars(a, b term) int {
	if len(a.vars) != len(b.vars) {
		return cmp.Compare(len(b.vars), len(a.vars))
	}
	return slices.Compare(a.vars, b.vars)
}

// canonical sorts by descending degree, then by name, so that constants come last as people write them.
func canonical(ts []term) Poly {
	slices.SortStableFunc(ts, compareVars)
	var out []term
	for _, t := range ts {
		if n := len(out); n > 0 && slices.Equal(out[n-1].vars, t.vars) {
			out[n-1].coef = addCoef(out[n-1].coef, t.coef)
		} else {
			out = append(out, t)
		}
	}
	return Poly{slices.DeleteFunc(out, func(t term) bool { return t.coef == 0 })}
}
