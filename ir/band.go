package ir

import (
	"cmp"
	"slices"
)

// The algebra of bands. A Segment is a conjunction of literals: lower and upper bounds on keys and on rows, tests, and memberships in
// chosen sets. All of it is sound but not complete: a band found empty is empty; one that is not found empty may still be.

// literal is one condition of a band.
type literal struct {
	kind  literalKind
	bound Bound    // of lower and upper
	row   RowBound // of rowLower and rowUpper
	test  Test
	// of member
	source Source
	except bool
}

type literalKind uint8

const (
	lower    literalKind = iota // bound <= k
	upper                       // k < bound
	rowLower                    // row <= q
	rowUpper                    // q < row
	residue                     // test holds
	member                      // the pair is in the chosen set source, or not in it where except is set
)

// not is the complement: the literals k >= x and k < x are each other's complement, and so are the literals of rows.
func (l literal) not() literal {
	switch l.kind {
	case lower:
		l.kind = upper
	case upper:
		l.kind = lower
	case rowLower:
		l.kind = rowUpper
	case rowUpper:
		l.kind = rowLower
	case residue:
		l.test.Not = !l.test.Not
	default:
		l.except = !l.except
	}
	return l
}

// literals lists the conditions of g, bounds first: cutting along a bound keeps the pieces free of tests.
func (g Segment) literals() []literal {
	var out []literal
	for _, b := range g.Lo {
		out = append(out, literal{kind: lower, bound: b})
	}
	for _, b := range g.Hi {
		out = append(out, literal{kind: upper, bound: b})
	}
	for _, b := range g.RowLo {
		out = append(out, literal{kind: rowLower, row: b})
	}
	for _, b := range g.RowHi {
		out = append(out, literal{kind: rowUpper, row: b})
	}
	for _, t := range g.Tests {
		out = append(out, literal{kind: residue, test: t})
	}
	if g.From.Kind != SourceRange {
		out = append(out, literal{kind: member, source: g.From})
	}
	for _, s := range g.Except {
		out = append(out, literal{kind: member, source: s, except: true})
	}
	return out
}

// with adds a literal to g and drops what it makes superfluous. The result is false when nothing can be left. A segment
// reads one chosen set only: a second one is not added, so the result may hold more than it should (see Chosen).
func (f Facts) with(g Segment, l literal) (Segment, bool) {
	ok := true
	switch l.kind {
	case lower:
		g, ok = f.withLower(g, l.bound)
	case upper:
		g, ok = f.withUpper(g, l.bound)
	case rowLower:
		return f.withRowLower(g, l.row)
	case rowUpper:
		return f.withRowUpper(g, l.row)
	case member:
		return g.withMember(l.source, l.except)
	default:
		g, ok = withTest(g, l.test.kept())
	}
	missed := func(t Test) bool { return l.touches(t) && f.missed(g, t) }
	return g, ok && !slices.ContainsFunc(g.Tests, missed)
}

// touches says whether l is t itself or bounds the same quantity.
func (l literal) touches(t Test) bool {
	if l.kind == residue {
		return l.test.Diag == t.Diag
	}
	return l.bound.Row == t.Diag
}

// missed says whether the bounds of g provably fall between two neighbouring residues of the positive test t.
func (f Facts) missed(g Segment, t Test) bool {
	if t.Not {
		return false
	}
	for _, lo := range g.Lo {
		for _, hi := range g.Hi {
			if lo.Row == t.Diag && hi.Row == t.Diag && f.between(lo, hi, t) {
				return true
			}
		}
	}
	return false
}

// between says whether x, which is k in lo <= k < hi or q-k if t is on diagonals, lies strictly between two neighbouring
// residues. Those around 0 are tried: with the reduced Off, Off-Step, Off and Off+Step.
func (f Facts) between(lo, hi Bound, t Test) bool {
	least, most := lo.Off, hi.Off.Sub(Int(1))
	if t.Diag {
		least, most = Int(0).Sub(most), Int(0).Sub(least)
	}
	if !f.AtLeast(t.Step.Add(least).Sub(most), 2) { // no gap is wide enough
		return false
	}
	inside := func(base Poly) bool { return f.AtLeast(least.Sub(base), 1) && f.AtLeast(base.Add(t.Step).Sub(most), 1) }
	off := t.Reduced().Off
	return inside(off) || inside(off.Sub(t.Step))
}

// keyZero is the lower bound every band has without saying so.
var keyZero = Bound{}

func (f Facts) withLower(g Segment, b Bound) (Segment, bool) {
	for _, hi := range g.Hi {
		if f.above(b, hi) {
			return g, false
		}
	}
	if !b.Row && f.above(keyZero, b) {
		return g, true
	}
	for _, lo := range g.Lo {
		if f.above(lo, b) {
			return g, true
		}
	}
	keep := slices.DeleteFunc(slices.Clone(g.Lo), func(lo Bound) bool { return f.above(b, lo) })
	g.Lo = append(keep, b)
	return g, true
}

func (f Facts) withUpper(g Segment, b Bound) (Segment, bool) {
	if f.above(keyZero, b) {
		return g, false
	}
	for _, lo := range g.Lo {
		if f.above(lo, b) {
			return g, false
		}
	}
	for _, hi := range g.Hi {
		if f.above(b, hi) {
			return g, true
		}
	}
	keep := slices.DeleteFunc(slices.Clone(g.Hi), func(hi Bound) bool { return f.above(hi, b) })
	g.Hi = append(keep, b)
	return g, true
}

func withTest(g Segment, t Test) (Segment, bool) {
	if t.never() || slices.ContainsFunc(g.Tests, t.excludes) {
		return g, false
	}
	if t.always() || slices.ContainsFunc(g.Tests, func(o Test) bool { return o.implies(t) }) {
		return g, true
	}
	keep := slices.DeleteFunc(slices.Clone(g.Tests), t.implies)
	g.Tests = append(keep, t)
	return g, true
}

// withMember adds the condition that pairs are in the chosen set s, or not in it. Sets are only known by name: two of them
// may be equal, disjoint or anything else.
func (g Segment) withMember(s Source, except bool) (Segment, bool) {
	inside, outside := g.From == s, slices.Contains(g.Except, s)
	switch {
	case inside && except || outside && !except:
		return g, false
	case except && !outside:
		g.Except = append(slices.Clone(g.Except), s)
	case !except && g.From.Kind == SourceRange:
		g.From = s
	}
	return g, true
}

// Clash says whether a and b read different chosen sets: no segment can read the pairs in both.
func Clash(a, b Segment) bool {
	return a.From.Kind != SourceRange && b.From.Kind != SourceRange && a.From != b.From
}

// Everything is the band without conditions.
func Everything() Segment { return Segment{Hop: -1} }

// Intersect returns the pairs in both a and b; false when there are provably none. Where they Clash it is a alone, cut by
// the other conditions of b.
func (f Facts) Intersect(a, b Segment) (Segment, bool) {
	ok := true
	for _, l := range b.literals() {
		if a, ok = f.with(a, l); !ok {
			return a, false
		}
	}
	return a, true
}

// Subtract returns disjoint bands that together are the pairs in b and not in a. Where b is free of tests it is cut along
// bounds first, so that few pieces get one; else along the tests of a first, so that one piece keeps the bounds of b. What
// a reads from a list comes last: every piece then reads the list of b alone, and one piece leaves out the list of a. What one list of the
// caller has is not taken from another one: every entry counts.
func (f Facts) Subtract(b, a Segment) []Segment {
	if _, ok := f.Intersect(b, a); !ok || apart(a, b) {
		return []Segment{b}
	}
	cuts := a.literals()
	if len(b.Tests) > 0 {
		slices.SortStableFunc(cuts, func(x, y literal) int {
			return cmp.Or(cmp.Compare(x.kind/member, y.kind/member), cmp.Compare(y.kind, x.kind))
		})
	}
	var out []Segment
	for _, l := range cuts {
		if piece, ok := f.with(b, l.not()); ok {
			out = append(out, piece)
		}
		var ok bool
		if b, ok = f.with(b, l); !ok {
			break
		}
	}
	return out
}

// Covers says whether the bands together provably hold every pair of g.
func (f Facts) Covers(bands []Segment, g Segment) bool {
	const enough = 256 // pieces: beyond it the proof is given up
	rest := []Segment{g}
	for _, band := range bands {
		var next []Segment
		for _, r := range rest {
			next = append(next, f.Subtract(r, band)...)
		}
		if rest = next; len(rest) == 0 {
			return true
		}
		if len(rest) > enough {
			return false
		}
	}
	return false
}

// Merge joins two disjoint bands that differ in one condition and its complement, if it finds one.
func (f Facts) Merge(a, b Segment) (Segment, bool) {
	for _, l := range a.literals() {
		rest, found := b.without(l.not())
		if !found {
			continue
		}
		common, _ := a.without(l)
		// a is common & l, b is rest & not l. Where each also meets the other's conditions, both are common & rest.
		if f.inside(a, rest) && f.inside(b, common) {
			return f.Intersect(common, rest)
		}
	}
	return a, false
}

// without removes the condition l from g.
func (g Segment) without(l literal) (Segment, bool) {
	same := func(b Bound) bool { return b.Row == l.bound.Row && b.Off.Equal(l.bound.Off) }
	sameRow := func(b RowBound) bool { return b.FromEnd == l.row.FromEnd && b.Off.Equal(l.row.Off) }
	var n int
	switch l.kind {
	case lower:
		n, g.Lo = dropFirst(g.Lo, same)
	case upper:
		n, g.Hi = dropFirst(g.Hi, same)
	case rowLower:
		n, g.RowLo = dropFirst(g.RowLo, sameRow)
	case rowUpper:
		n, g.RowHi = dropFirst(g.RowHi, sameRow)
	case member:
		return g.withoutMember(l)
	default:
		n, g.Tests = dropFirst(g.Tests, l.test.same)
	}
	return g, n > 0
}

func (g Segment) withoutMember(l literal) (Segment, bool) {
	if l.except {
		n, except := dropFirst(g.Except, func(s Source) bool { return s == l.source })
		g.Except = except
		return g, n > 0
	}
	found := g.From == l.source
	if found {
		g.From = Source{}
	}
	return g, found
}

func dropFirst[T any](list []T, match func(T) bool) (int, []T) {
	i := slices.IndexFunc(list, match)
	if i < 0 {
		return 0, list
	}
	return 1, slices.Delete(slices.Clone(list), i, i+1)
}

func (t Test) same(o Test) bool {
	return t.Diag == o.Diag && t.Not == o.Not && t.Step.Equal(o.Step) && t.Reduced().Off.Equal(o.Reduced().Off)
}

// inside says whether every pair of a provably meets all conditions of b.
func (f Facts) inside(a, b Segment) bool {
	for _, l := range b.literals() {
		if _, possible := f.with(a, l.not()); possible {
			return false
		}
	}
	return true
}
