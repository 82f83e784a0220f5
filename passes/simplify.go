package passes

import (
	"slices"

	"github.com/minfc/minfc/ir"
)

// nothing is the empty set; All is its counterpart.
var nothing = ir.Union{}

// simplify rewrites the set from the leaves up. Every rule is an identity of sets.
func simplify(u *Unit) error {
	u.Pattern.Keep = simplifySet(u.Pattern.Keep, u.facts())
	return nil
}

func simplifySet(s ir.Set, f ir.Facts) ir.Set {
	switch s := s.(type) {
	case ir.Union:
		return simplifyUnion(simplifyAll(s.Sets, f))
	case ir.Intersect:
		return simplifyIntersect(simplifyAll(s.Sets, f), f)
	case ir.Minus:
		return simplifyMinus(simplifySet(s.Left, f), simplifySet(s.Right, f))
	default:
		return simplifyLeaf(s, f)
	}
}

func simplifyAll(sets []ir.Set, f ir.Facts) []ir.Set {
	var out []ir.Set
	for _, s := range sets {
		out = append(out, simplifySet(s, f))
	}
	return out
}

// simplifyLeaf finds primitives that keep nothing or everything.
func simplifyLeaf(s ir.Set, f ir.Facts) ir.Set {
	empty := false
	switch s := s.(type) {
	case ir.Window:
		empty = f.AtLeast(ir.Int(0).Sub(s.Left).Sub(s.Right), 0)
	case ir.Sink:
		empty = f.AtLeast(ir.Int(0).Sub(s.N), 0)
	case ir.Columns:
		empty = emptyRange(s.From, s.To, f) || s.To != nil && f.AtLeast(ir.Int(0).Sub(*s.To), 0)
		if s.To == nil && s.Step.Equal(ir.Int(1)) && f.AtLeast(ir.Int(0).Sub(s.From), 0) {
			return ir.All{}
		}
	case ir.Diagonals:
		empty = emptyRange(s.From, s.To, f)
	case ir.Rows:
		if empty = f.NoRow(s); !empty && f.EveryRow(s) {
			return ir.All{}
		}
	}
	if empty {
		return nothing
	}
	return s
}

func emptyRange(from ir.Poly, to *ir.Poly, f ir.Facts) bool {
	return to != nil && f.AtLeast(from.Sub(*to), 0)
}

// simplifyUnion: members are simple already.
func simplifyUnion(members []ir.Set) ir.Set {
	var flat []ir.Set
	for _, m := range members {
		if inner, ok := m.(ir.Union); ok {
			flat = append(flat, inner.Sets...) // drops nothing, too
		} else {
			flat = append(flat, m)
		}
	}
	if slices.ContainsFunc(flat, isAll) {
		return ir.All{}
	}
	// A | A&B = A
	flat = dropAbsorbed(distinct(flat), func(s ir.Set) []ir.Set {
		inner, _ := s.(ir.Intersect)
		return inner.Sets
	})
	if len(flat) == 1 {
		return flat[0]
	}
	return ir.Union{Sets: flat}
}

func simplifyIntersect(members []ir.Set, f ir.Facts) ir.Set {
	var flat []ir.Set
	for _, m := range members {
		if inner, ok := m.(ir.Intersect); ok {
			flat = append(flat, inner.Sets...)
		} else if !isAll(m) {
			flat = append(flat, m)
		}
	}
	if slices.ContainsFunc(flat, isNothing) {
		return nothing
	}
	// A & (A|B) = A
	flat = dropAbsorbed(distinct(flat), func(s ir.Set) []ir.Set {
		inner, _ := s.(ir.Union)
		return inner.Sets
	})
	if slices.ContainsFunc(flat, func(s ir.Set) bool { return looksBack(s, f) }) {
		flat = slices.DeleteFunc(flat, func(s ir.Set) bool { _, causal := s.(ir.Causal); return causal })
	}
	switch len(flat) {
	case 0:
		return ir.All{}
	case 1:
		return flat[0]
	}
	return ir.Intersect{Sets: flat}
}

// looksBack says whether s, another set than Causal, provably keeps only keys up to the query.
func looksBack(s ir.Set, f ir.Facts) bool {
	switch s := s.(type) {
	case ir.Window:
		return f.AtLeast(ir.Int(0).Sub(s.Right), 0)
	case ir.Diagonals:
		return f.AtLeast(s.From, 0)
	}
	return false
}

func simplifyMinus(left, right ir.Set) ir.Set {
	switch {
	case isNothing(left) || isAll(right) || same(left, right):
		return nothing
	case isNothing(right):
		return left
	}
	if inner, ok := left.(ir.Minus); ok { // (A \ B) \ C = A \ (B | C)
		return ir.Minus{Left: inner.Left, Right: simplifyUnion([]ir.Set{inner.Right, right})}
	}
	return ir.Minus{Left: left, Right: right}
}

func isAll(s ir.Set) bool { _, ok := s.(ir.All); return ok }

func isNothing(s ir.Set) bool {
	union, ok := s.(ir.Union)
	return ok && len(union.Sets) == 0
}

// same compares by text: polynomials are canonical, so equal sets that are written alike have equal texts.
func same(a, b ir.Set) bool { return ir.FormatSet(a) == ir.FormatSet(b) }

func contains(sets []ir.Set, s ir.Set) bool {
	return slices.ContainsFunc(sets, func(o ir.Set) bool { return same(s, o) })
}

// distinct keeps the first of equal members.
func distinct(sets []ir.Set) []ir.Set {
	var out []ir.Set
	for _, s := range sets {
		if !contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}

// dropAbsorbed drops every member one of whose parts is itself a member.
func dropAbsorbed(sets []ir.Set, parts func(ir.Set) []ir.Set) []ir.Set {
	var out []ir.Set
	for _, s := range sets {
		if !slices.ContainsFunc(parts(s), func(part ir.Set) bool { return contains(sets, part) }) {
			out = append(out, s)
		}
	}
	return out
}
