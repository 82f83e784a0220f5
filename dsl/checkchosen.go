package dsl

import (
	"fmt"

	"github.com/minfc/minfc/ir"
)

// chosenArgument looks up what the index stage chose under a name.
func (c *checker) chosenArgument(e Expr, rule argRule) (string, bool) {
	what := "a number"
	switch x := unparen(e).(type) {
	case *Name:
		if v := c.indexNamed(x.Name); v != nil {
			return c.chosenName(x, v, rule)
		}
		if c.param(x.Name) == nil && findSet(x.Name) == nil && c.named(x.Name) == nil {
			return "", c.unknownIndex(x.Span, "value", x.Name, c.indexNames())
		}
		what = "`" + x.Name + "`"
	case *Call, *Slice:
		what = "a value without a name"
	case *Range:
		what = "a range"
	}
	c.report(Diagnostic{Code: codeWrongKind, Message: fmt.Sprintf("found %s, wanted the name of %s", what, rule.want),
		Primary: Label{e.Pos(), "not a name of the index stage"},
		Help:    fmt.Sprintf("choose first, `index name = top(n, ...)`, then write `%s(name)`", rule.what)})
	return "", false
}

func (c *checker) chosenName(x *Name, v *indexUse, rule argRule) (string, bool) {
	v.used = true
	kind, ok := ir.IndexType(c.defs, v.name)
	switch {
	case !ok: // its errors are reported
		return "", false
	case kind == rule.want:
		return v.name, true
	}
	c.wrongKind(x.Span, kind, rule.want)
	d := &c.ds[len(c.ds)-1]
	d.Others = append(d.Others, Label{v.decl.Name.Span, "defined here"})
	return "", false
}

// fits says whether the arguments look like the arguments of a form: names of the index stage, or what makes ranges and numbers.
func (c *checker) fits(f setForm, args []Expr) bool {
	for i, rule := range f.args {
		if rule.kind == argRange && c.looksChosen(args[i]) {
			return false
		}
	}
	return true
}

func (c *checker) looksChosen(e Expr) bool {
	switch x := unparen(e).(type) {
	case *Slice:
		return true
	case *Call:
		return isIndexWord(x.Func.Name)
	case *Name:
		return c.indexNamed(x.Name) != nil ||
			c.param(x.Name) == nil && (ir.Closest(x.Name, c.indexNames()) != "" || c.definedLater(x.Name)) && c.named(x.Name) == nil
	}
	return false
}

// indexAsSet reports a value of the index stage where a set is wanted; v is nil for one without a name.
func (c *checker) indexAsSet(at Span, name string, v *indexUse) (ir.Set, bool) {
	help := "choose first, for example `index name = top(n, ...)`, then keep `columns(name)`, `diagonals(name)` or `blocks(name)`"
	var edits []Edit
	if v != nil {
		v.used = true
		kind, _ := ir.IndexType(c.defs, v.name)
		if chosen, ok := kind.Chosen(); ok {
			help = fmt.Sprintf("write `%s(%s)`", chosen, name)
			edits = []Edit{{at, fmt.Sprintf("%s(%s)", chosen, name)}}
		}
	}
	c.report(Diagnostic{Code: codeWantedSet, Message: fmt.Sprintf("found `%s` of the index stage, wanted a set", name),
		Primary: Label{at, "not a set"}, Help: help, Edits: edits})
	return nil, false
}

// sliceAsSet reports brackets in a set; users of other languages write ranges so.
func (c *checker) sliceAsSet(x *Slice) (ir.Set, bool) {
	help := "ranges are written `from..to`, for example `columns(0..4)`"
	if x.Of.Name == "q" || x.Of.Name == "k" {
		help = "give it a name in the index stage first: `index name = ...`"
	}
	c.report(Diagnostic{Code: codeWantedSet, Message: fmt.Sprintf("found rows of `%s`, wanted a set", x.Of.Name),
		Primary: Label{x.Span, "not a set"}, Help: help})
	return nil, false
}
