package ir

// Widest is p as if the data had chosen all there is to choose: the same pattern without an index stage, which keeps
// whatever p can keep, and skips nothing: dense attention is what a sparse head falls back to. Its parameters are p's, budgets included.
func (p *Pattern) Widest() *Pattern {
	out := *p
	out.Index, out.Keep, out.Pool, out.Skip = nil, widen(p.Keep, All{}), 0, nil
	return &out
}

// widen replaces chosen sets; what a difference takes away keeps growing smaller, so there they become empty.
func widen(s, chosen Set) Set {
	each := func(sets []Set) []Set {
		var out []Set
		for _, x := range sets {
			out = append(out, widen(x, chosen))
		}
		return out
	}
	switch s := s.(type) {
	case Chosen:
		return chosen
	case Union:
		return Union{each(s.Sets)}
	case Intersect:
		return Intersect{each(s.Sets)}
	case Minus:
		opposite := Set(Union{})
		if _, all := chosen.(All); !all {
			opposite = All{}
		}
		return Minus{widen(s.Left, chosen), widen(s.Right, opposite)}
	default: // sets that do not depend on data
		return s
	}
}
