package dsl

import "github.com/minfc/minfc/ir"

// suggest offers the nearest candidate in place of what the diagnostic is about, or fallback.
func (c *checker) suggest(d *Diagnostic, name string, candidates []string, fallback string) {
	d.Help = didYouMean(name, candidates, fallback)
	if near := ir.Closest(name, candidates); near != "" {
		d.Edits = []Edit{{Span{d.Primary.Span.Start, d.Primary.Span.Start + len(name)}, near}}
	}
}

// didYouMean is the help line for a misspelt name, or fallback.
func didYouMean(name string, candidates []string, fallback string) string {
	if c := ir.Closest(name, candidates); c != "" {
		return "did you mean `" + c + "`?"
	}
	return fallback
}
