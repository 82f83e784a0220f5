package ir

// Reduced drops from Off what is a multiple of Step, and a sign-free remainder of what is left: equal tests become equal
// values. It is exact: Off changes by a multiple of Step.
func (t Test) Reduced() Test {
	if len(t.Step.terms) != 1 || t.Step.terms[0].coef < 1 {
		return t
	}
	step := t.Step.terms[0]
	var out []term
	for _, m := range t.Off.terms {
		if m.coef != overflow && dividesVars(step.vars, m.vars) {
			m.coef = floorMod(m.coef, step.coef)
		}
		out = append(out, m)
	}
	t.Off = canonical(out)
	return t
}

// kept is the test as a segment has it: reduced where Off then is a number. Else Off stays as the language has it, because
// what is left of some terms may be beyond the limits at a launch where Off itself is not: n - 5 modulo 7 is n + 2.
func (t Test) kept() Test {
	if r := t.Reduced(); len(r.Off.Vars()) == 0 {
		return r
	}
	return t
}

// dividesVars says whether the product of a divides the product of b. Both are sorted.
func dividesVars(a, b []string) bool {
	for _, v := range b {
		if len(a) > 0 && a[0] == v {
			a = a[1:]
		}
	}
	return len(a) == 0
}

func floorMod(a, n int64) int64 {
	if r := a % n; r < 0 {
		return r + n
	} else {
		return r
	}
}

func gcd(a, b int64) int64 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// always says whether t holds for every pair, never whether it holds for none: the residues modulo 1.
func (t Test) always() bool { return t.unit() && !t.Not }
func (t Test) never() bool  { return t.unit() && t.Not }
func (t Test) unit() bool   { return t.Step.Equal(Int(1)) }

// implies says whether every pair that passes t provably passes o.
func (t Test) implies(o Test) bool {
	switch {
	case t.Diag != o.Diag:
		return false
	case !t.Not && !o.Not:
		return refines(t, o)
	case !t.Not && o.Not:
		return clash(t, o)
	case t.Not && o.Not:
		return refines(o, t)
	default:
		return false
	}
}

// excludes says whether provably no pair passes both t and o.
func (t Test) excludes(o Test) bool {
	switch {
	case t.Diag != o.Diag:
		return false
	case !t.Not && !o.Not:
		return clash(t, o)
	case !t.Not && o.Not:
		return refines(t, o)
	case t.Not && !o.Not:
		return refines(o, t)
	default:
		return false
	}
}

// refines says whether the residue class of t lies in the residue class of o, whatever their Not says.
func refines(t, o Test) bool {
	if t.Step.Equal(o.Step) && t.Reduced().Off.Equal(o.Reduced().Off) {
		return true
	}
	m, n, diff, known := classNumbers(t, o)
	return known && m%n == 0 && floorMod(diff, n) == 0
}

// clash says whether the residue classes of t and o have no member in common, whatever their Not says.
func clash(t, o Test) bool {
	m, n, diff, known := classNumbers(t, o)
	return known && floorMod(diff, gcd(m, n)) != 0
}

// classNumbers are the two steps and the difference of the offsets, if these are known numbers.
func classNumbers(t, o Test) (m, n, diff int64, known bool) {
	m, a := t.Step.Const()
	n, b := o.Step.Const()
	diff, c := t.Off.Sub(o.Off).Const()
	return m, n, diff, a && b && c && m > 0 && n > 0
}

// classHoldsZero says whether 0 is provably in the residue class of t, whatever its Not says.
func (t Test) classHoldsZero() bool { return t.Reduced().Off.Equal(Poly{}) }

// classMissesZero says whether 0 is provably outside the residue class of t, whatever its Not says.
func (t Test) classMissesZero() bool { return clash(t, Test{Diag: t.Diag, Step: t.Step}) }
