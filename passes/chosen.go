package passes

import (
	"fmt"
	"slices"

	"github.com/minfc/minfc/ir"
)

// What disjoint does about chosen sets.

func isListed(g ir.Segment) bool { return g.From.Kind != ir.SourceRange }

func clash(a, b ir.Source) error {
	return &ir.Unsupported{Reason: ir.ChosenSets, Chosen: chosenSets(a, b),
		Found: fmt.Sprintf("%s meets %s, and a kernel reads one list of chosen keys at a time", sourceText(a), sourceText(b)),
		Help:  "unite chosen sets with |, or intersect each with sets of known bounds alone"}
}

func takenAway(s ir.Source) error {
	return &ir.Unsupported{Reason: ir.ChosenSets, Chosen: chosenSets(s),
		Found: sourceText(s) + " is taken away from another set, but what the data chose can only be added or cut",
		Help:  "write what to keep as a union instead"}
}

func chosenSets(sources ...ir.Source) (out []ir.Chosen) {
	for _, s := range sources {
		if c, ok := s.Chosen(); ok {
			out = append(out, c)
		}
	}
	return out
}

// sourceText is the source as a pattern writes it: "columns(cols)".
func sourceText(s ir.Source) string {
	chosen, ok := s.Chosen()
	if !ok {
		return s.String()
	}
	return ir.FormatSet(chosen)
}

// usedIndex leaves out the definitions that no band needs: another part may have absorbed what they chose.
func usedIndex(defs []ir.IndexDef, bands []ir.Segment) []ir.IndexDef {
	used := map[string]bool{}
	for _, g := range bands {
		used[g.From.Name] = true
		for _, s := range g.Except {
			used[s.Name] = true
		}
	}
	var out []ir.IndexDef
	for _, d := range slices.Backward(defs) {
		if !used[d.Name] {
			continue
		}
		for _, name := range d.Value.Operands() {
			used[name] = true
		}
		out = append(out, d)
	}
	slices.Reverse(out)
	return out
}
