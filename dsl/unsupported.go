package dsl

import "github.com/minfc/minfc/ir"

var unsupportedCodes = map[ir.Reason]string{ir.ChosenSets: codeNoKernel, ir.TooLarge: codeTooManyBands}

// Unsupported says of a set of the file why no kernel has it.
func Unsupported(s *Set, u *ir.Unsupported) Diagnostic {
	d := Diagnostic{Code: unsupportedCodes[u.Reason], Message: u.Found, Primary: Label{s.Span, "no kernel has this"}, Help: u.Help}
	for _, c := range u.Chosen {
		if at := s.find(c); at != nil && at.Span != s.Span {
			d.Others = append(d.Others, Label{at.Span, "chosen by the data"})
		}
	}
	return d
}

// find returns the first part that is the chosen set.
func (s *Set) find(c ir.Chosen) *Set {
	if s.Means == ir.Set(c) {
		return s
	}
	for _, p := range s.Parts {
		if at := p.find(c); at != nil {
			return at
		}
	}
	return nil
}
