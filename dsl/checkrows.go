package dsl

import (
	"fmt"

	"github.com/minfc/minfc/ir"
)

// rowsArgument lowers from..to, where an end that begins with a minus counts from the end of the call.
func (c *checker) rowsArgument(e Expr, rule argRule) (ir.Rows, bool) {
	r, isRange := e.(*Range)
	if !isRange {
		c.wantedRange(e, rule)
		return ir.Rows{}, false
	}
	if r.Step != nil {
		c.steppedRows(r)
		return ir.Rows{}, false
	}
	out, ok := ir.Rows{}, true
	if r.From != nil {
		out.From, ok = c.rowBound(r.From)
	}
	if r.To != nil {
		to, good := c.rowBound(r.To)
		ok = ok && good && (to.FromEnd != out.From.FromEnd || c.rising(r, out.From.Off, to.Off))
		out.To = &to
	}
	return out, ok
}

func (c *checker) rowBound(e Expr) (ir.RowBound, bool) {
	p, ok := c.bound(e)
	return ir.RowBound{FromEnd: beginsWithMinus(e), Off: p}, ok
}

// beginsWithMinus looks at what is written, not at values: of rows(-n..) there are none when n is 0.
func beginsWithMinus(e Expr) bool {
	switch x := e.(type) {
	case *Paren:
		return beginsWithMinus(x.X)
	case *Binary:
		return beginsWithMinus(x.X)
	case *Unary:
		return true
	}
	return false
}

func (c *checker) steppedRows(r *Range) {
	text := ".."
	if r.From != nil {
		text = c.text(r.From) + text
	}
	if r.To != nil {
		text += c.text(r.To)
	}
	c.report(Diagnostic{Code: codeSyntax, Message: "found a step, wanted rows without one", Primary: Label{r.Step.Pos(), "not wanted"},
		Help: fmt.Sprintf("write `rows(%s)`: the language has no sets of every n-th row", text), Edits: []Edit{{r.Span, text}}})
}
