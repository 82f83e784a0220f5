package ir

import "slices"

// Budgets lists the launch parameters that say how many members the data chooses and nothing else, in the order of the pattern:
// they may differ by head within one launch.
func (p *Pattern) Budgets() []string {
	var others []string
	MapPolys(p.Keep, func(x Poly) Poly {
		others = append(others, x.Vars()...)
		return x
	})
	return budgets(p.Params, p.Index, others)
}

// Budgets are the budgets of the schedule's pattern, as far as the schedule still depends on parameters.
func (s *Schedule) Budgets() []string {
	var others []string
	for _, g := range s.Segments {
		others = append(others, g.Vars()...)
	}
	return budgets(s.Params, s.Index, others)
}

// budgets leaves out what sets or segments depend on, and what the index stage uses otherwise.
func budgets(params []Param, index []IndexDef, others []string) (out []string) {
	var numbers []string
	for _, d := range index {
		if x, ok := d.Value.(parameterized); ok {
			n := x.numbers()
			numbers, others = addVars(addVars(numbers, n.budgets), n.parts), addVars(addVars(others, n.others), n.runs)
		}
	}
	for _, p := range params {
		if p.Binding == BindLaunch && slices.Contains(numbers, p.Name) && !slices.Contains(others, p.Name) {
			out = append(out, p.Name)
		}
	}
	return out
}

func addVars(names []string, polys []Poly) []string {
	for _, p := range polys {
		names = append(names, p.Vars()...)
	}
	return names
}
