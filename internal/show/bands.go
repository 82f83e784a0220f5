package show

import (
	"fmt"
	"strings"

	"github.com/minfc/minfc/ir"
)

// band is a segment of a schedule in one line: "q - window + 1 <= k < q + 1".
func band(g ir.Segment) string {
	text := between(bound(g.Lo), "k", bound(g.Hi))
	if rows := between(bound(g.RowLo), "q", bound(g.RowHi)); rows != "q" {
		text += ", where " + rows
	}
	if g.From.Kind == ir.SourceMeans {
		return fmt.Sprintf("%s: of %d keys each, before the block of 64 queries", g.From, g.Pool)
	}
	if g.From.Kind != ir.SourceRange {
		text = fmt.Sprintf("%s: %s", g.From, text)
	}
	for _, t := range g.Tests {
		text += ", where " + t.String()
	}
	for _, e := range g.Except {
		text += fmt.Sprintf(", without %s", e)
	}
	switch {
	case g.Hop >= 0:
		text += "; all tiles masked, empty ones skipped"
	case g.NeverFull && g.From.Kind == ir.SourceRange:
		text += "; all tiles masked"
	}
	return text
}

// between puts limits around a letter, those that there are.
func between(lo []string, x string, hi []string) string {
	if len(lo) > 0 {
		x = limit(lo, "max") + " <= " + x
	}
	if len(hi) > 0 {
		x += " < " + limit(hi, "min")
	}
	return x
}

// bound are limits as texts.
func bound[B fmt.Stringer](list []B) (out []string) {
	for _, b := range list {
		out = append(out, b.String())
	}
	return out
}

func limit(bounds []string, of string) string {
	if len(bounds) == 1 {
		return bounds[0]
	}
	return fmt.Sprintf("%s(%s)", of, strings.Join(bounds, ", "))
}
