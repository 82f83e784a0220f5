package search

import (
	"fmt"
	"slices"

	"github.com/minfc/minfc/plan"
)

// A plan that is given is measured as a search would measure it: its heads are the candidates, each on the layers that have it, and there is
// nothing to choose. So plans of any origin, on inputs that no search has seen, are compared by the same numbers.

// checkGiven finds what is wrong with a plan to measure.
func (c *Config) checkGiven() error {
	switch s := c.Source; {
	case c.Rule != Given:
		return nil
	case c.Goal != (Goal{}) || c.Candidates != nil || c.Floor != (Floor{}):
		return fmt.Errorf("a plan that is measured is what it is: goals, candidates and floors are for searches")
	case len(c.Plan) != s.Layers:
		return fmt.Errorf("the plan has %s, and the inputs are of %d", counted(len(c.Plan), "layer"), s.Layers)
	}
	for _, heads := range c.Plan {
		if len(heads) != c.Source.Shape.QHeads {
			return fmt.Errorf("the plan is for %s, and the inputs have %d", counted(len(heads), "query head"), c.Source.Shape.QHeads)
		}
	}
	return nil
}

// named are the heads of the given plan, with the patterns that go by their names here: a published plan comes with a library of its own.
func (s *searcher) named() (out []plan.Head) {
	for _, h := range slices.Concat(s.Plan...) {
		h.Pattern = s.Patterns.Known[h.Pattern.Name]
		out = append(out, h)
	}
	return out
}

// at is the candidate that a head of the given plan runs.
func (s *searcher) at(layer, head int) int {
	name := s.Plan[layer][head].String()
	return slices.IndexFunc(s.list, func(c candidate) bool { return c.Head.String() == name })
}

// runs says whether a candidate counts in a layer. Dense attention does in all, as what others are compared with.
func (s *searcher) runs(layer, at int) bool {
	return s.Rule != Given || at == 0 || slices.ContainsFunc(s.Plan[layer], func(h plan.Head) bool { return h.String() == s.list[at].Head.String() })
}

// given are the choices of the given plan, one for each head.
func (s *searcher) given() (out []choice) {
	heads := s.Source.Shape.QHeads
	for i, options := range s.options {
		out = append(out, options[s.at(i/heads, i%heads)].choice)
	}
	return out
}
