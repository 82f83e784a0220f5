package ir

import (
	"fmt"
	"strings"
)

// MapPolys returns s with every polynomial replaced by f of it. Sets of unknown kind stay; Verify refuses them.
func MapPolys(s Set, f func(Poly) Poly) Set {
	return mapSet(s, func(s Set) Set { return mapPolys(s, f) })
}

// mapSet returns s with every set without operands replaced by f of it.
func mapSet(s Set, f func(Set) Set) Set {
	each := func(sets []Set) (out []Set) {
		for _, s := range sets {
			out = append(out, mapSet(s, f))
		}
		return out
	}
	switch s := s.(type) {
	case Union:
		return Union{each(s.Sets)}
	case Intersect:
		return Intersect{each(s.Sets)}
	case Minus:
		return Minus{mapSet(s.Left, f), mapSet(s.Right, f)}
	default:
		return f(s)
	}
}

// mapPolys is MapPolys of a set without operands.
func mapPolys(s Set, f func(Poly) Poly) Set {
	switch s := s.(type) {
	case Window:
		return Window{f(s.Left), f(s.Right)}
	case Sink:
		return Sink{f(s.N)}
	case Columns:
		return Columns{f(s.From), mapEnd(s.To, f), f(s.Step)}
	case Diagonals:
		return Diagonals{f(s.From), mapEnd(s.To, f), f(s.Step)}
	case Rows:
		return mapRows(s, func(b RowBound) RowBound { return RowBound{b.FromEnd, f(b.Off)} })
	default: // All, Causal and Chosen
		return s
	}
}

func mapEnd(to *Poly, f func(Poly) Poly) *Poly {
	if to == nil {
		return nil
	}
	p := f(*to)
	return &p
}

// FormatSet writes s in one line: "causal & (sink(n) | window(w, 0))". Equal texts mean equal sets.
func FormatSet(s Set) string {
	switch s := s.(type) {
	case All:
		return "all"
	case Causal:
		return "causal"
	case Window:
		return fmt.Sprintf("window(%s, %s)", s.Left, s.Right)
	case Sink:
		return fmt.Sprintf("sink(%s)", s.N)
	case Columns:
		return "columns" + formatRange(s.From, s.To, s.Step)
	case Diagonals:
		return "diagonals" + formatRange(s.From, s.To, s.Step)
	case Rows:
		return formatRows(s)
	case Chosen:
		return fmt.Sprintf("%s(%s)", s.Kind, s.Name)
	case Union:
		return formatMembers(s.Sets, " | ", "nothing")
	case Intersect:
		return formatMembers(s.Sets, " & ", "all")
	case Minus:
		return formatMember(s.Left) + ` \ ` + formatMember(s.Right)
	default:
		return fmt.Sprintf("unknown set %T", s)
	}
}

func formatRange(from Poly, to *Poly, step Poly) string {
	end := ""
	if to != nil {
		end = to.String()
	}
	if step.Equal(Int(1)) {
		return fmt.Sprintf("(%s..%s)", from, end)
	}
	return fmt.Sprintf("(%s..%s step %s)", from, end, step)
}

func formatMembers(sets []Set, operator, none string) string {
	var parts []string
	for _, s := range sets {
		parts = append(parts, formatMember(s))
	}
	if len(parts) == 0 {
		return none
	}
	return strings.Join(parts, operator)
}

// formatMember puts parentheses around what has an operator.
func formatMember(s Set) string {
	members := 0
	switch s := s.(type) {
	case Union:
		members = len(s.Sets)
	case Intersect:
		members = len(s.Sets)
	case Minus:
		members = 2
	}
	if members > 1 {
		return "(" + FormatSet(s) + ")"
	}
	return FormatSet(s)
}
