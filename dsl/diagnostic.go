package dsl

import (
	"fmt"
	"slices"
	"strings"
)

// Diagnostic is one complaint about a source file. All its texts are lower case without a full stop.
type Diagnostic struct {
	Code    string // stable, see Codes: E for errors, W for warnings
	Message string // what was found and what was wanted
	Primary Label
	Others  []Label // further places that explain it
	Notes   []string
	Help    string // what to do; empty when the message says it
	Edits   []Edit // what Help says, where it is a change of the text
}

// Edit puts a text in the place of what stands at a span.
type Edit struct {
	Span Span
	Text string
}

// offer makes the help a replacement; format has one %s for it.
func (d *Diagnostic) offer(s Span, text, format string) {
	d.Help, d.Edits = fmt.Sprintf(format, text), []Edit{{s, text}}
}

// Apply makes edits that do not overlap.
func Apply(src []byte, edits []Edit) []byte {
	edits = slices.Clone(edits)
	slices.SortFunc(edits, func(a, b Edit) int { return b.Span.Start - a.Span.Start })
	out := string(src)
	for _, e := range edits { // from the end, so that the places before keep
		out = out[:e.Span.Start] + e.Text + out[e.Span.End:]
	}
	return []byte(out)
}

// Label is a text beside a place in the source.
type Label struct {
	Span Span
	Text string
}

// IsWarning says whether compilation goes on.
func (d Diagnostic) IsWarning() bool { return strings.HasPrefix(d.Code, "W") }

// Diagnostics are sorted by their place in the source once they leave this package.
type Diagnostics []Diagnostic

// HasErrors says whether any is more than a warning.
func (ds Diagnostics) HasErrors() bool {
	return slices.ContainsFunc(ds, func(d Diagnostic) bool { return !d.IsWarning() })
}

// Sort puts them in the order of their places.
func (ds Diagnostics) Sort() {
	slices.SortStableFunc(ds, func(a, b Diagnostic) int { return a.Primary.Span.Start - b.Primary.Span.Start })
}

// Error is what Parse and Load return for a file with errors. Diagnostics holds its warnings too.
type Error struct {
	File        string
	Src         []byte
	Diagnostics Diagnostics
}

// Error is the full rendering, several lines.
func (e *Error) Error() string { return strings.TrimRight(Render(e.File, e.Src, e.Diagnostics), "\n") }
