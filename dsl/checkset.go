package dsl

import (
	"fmt"
	"slices"
	"strings"

	"github.com/minfc/minfc/ir"
)

// set lowers an expression in a place where a set is wanted, and notes its place; false means that an error was reported.
func (c *checker) set(e Expr) (ir.Set, bool) {
	first := len(c.parts)
	set, ok := c.setOf(e)
	c.parts = append(c.parts[:first], &Set{e.Pos(), set, slices.Clone(c.parts[first:])})
	return set, ok
}

func (c *checker) setOf(e Expr) (ir.Set, bool) {
	c.nodes++
	switch x := e.(type) {
	case *Paren:
		return c.set(x.X)
	case *Binary:
		return c.setOperator(x)
	case *Name:
		return c.setName(x.Span, x.Name, nil, false)
	case *Call:
		return c.setName(x.Func.Span, x.Func.Name, x, true)
	case *Number, *Unary:
		return c.wantedSet(e.Pos(), "this is a number")
	case *Slice:
		return c.sliceAsSet(x)
	case *Range:
		return c.wantedSet(e.Pos(), "this is a range")
	default:
		c.internal(e.Pos(), e)
		return nil, false
	}
}

func (c *checker) wantedSet(s Span, label string) (ir.Set, bool) {
	c.report(Diagnostic{Code: codeWantedSet, Message: "found a number, wanted a set", Primary: Label{s, label},
		Help: "sets are written " + usages(setForms)})
	return nil, false
}

func (c *checker) setOperator(x *Binary) (ir.Set, bool) {
	if !isSetOperator(x.Op.Name) {
		return c.wantedSet(x.Span, fmt.Sprintf("`%s` makes a number", x.Op.Name))
	}
	l, okl := c.set(x.X)
	r, okr := c.set(x.Y)
	if !okl || !okr || c.nodes > maxNodes {
		return nil, false
	}
	switch x.Op.Name {
	case "|":
		return ir.Union{Sets: flatten(l, r, func(s ir.Set) ([]ir.Set, bool) { u, ok := s.(ir.Union); return u.Sets, ok })}, true
	case "&":
		return ir.Intersect{Sets: flatten(l, r, func(s ir.Set) ([]ir.Set, bool) { u, ok := s.(ir.Intersect); return u.Sets, ok })}, true
	}
	return ir.Minus{Left: l, Right: r}, true
}

func isSetOperator(op string) bool { return op == "|" || op == "&" || op == `\` }

// flatten joins the members of two operands of one associative operator.
func flatten(l, r ir.Set, members func(ir.Set) ([]ir.Set, bool)) []ir.Set {
	var out []ir.Set
	for _, s := range []ir.Set{l, r} {
		if m, ok := members(s); ok {
			out = append(out, m...)
		} else {
			out = append(out, s)
		}
	}
	return out
}

// setName lowers a set of the language or a named set; call is nil where there are no parentheses.
func (c *checker) setName(at Span, name string, call *Call, called bool) (ir.Set, bool) {
	if forms := findSet(name); forms != nil {
		return c.form(at, name, forms, call)
	}
	if l := c.named(name); l != nil && !called {
		l.used = true
		c.nodes += l.nodes
		c.parts = append(c.parts, l.means)
		return l.set, l.set != nil
	}
	if v := c.indexNamed(name); v != nil || isIndexWord(name) && called {
		return c.indexAsSet(at, name, v)
	}
	if p := c.param(name); p != nil && !called {
		p.used = true
		d := Diagnostic{Code: codeWantedSet, Message: fmt.Sprintf("found the parameter `%s`, wanted a set", name),
			Primary: Label{at, "this is a number"}, Others: []Label{{p.decl.Name.Span, "declared as a parameter"}}}
		set := "window"
		if p.decl.Default.Value < 1 { // a window has a key
			set = "sink"
		}
		d.offer(at, set+"("+name+")", "give it to a set, for example `%s`")
		c.report(d)
		return nil, false
	}
	if c.named(name) != nil {
		d := Diagnostic{Code: codeArgumentCount, Message: fmt.Sprintf("the named set `%s` takes no arguments", name),
			Primary: Label{call.Span, "arguments not wanted"}}
		d.offer(call.Span, name, "write `%s`")
		c.report(d)
		return nil, false
	}
	c.unknownSet(at, name)
	return nil, false
}

func (c *checker) unknownSet(at Span, name string) {
	d := Diagnostic{Code: codeUnknownSet, Message: fmt.Sprintf("unknown set `%s`", name), Primary: Label{at, "not a set"}}
	what, way, known := lacks(name)
	own := ir.Closest(name, slices.Concat(c.letNames(), c.indexNames()))
	switch {
	case c.definedLater(name):
		d.Help = "a name is known in the clauses after its own: move the clause of `" + name + "` up"
	case known && own == "":
		d.Message, d.Help = lackingMessage(what, name), way
	default:
		c.suggest(&d, name, slices.Concat(setNames(), c.letNames(), c.indexNames()), "sets are written "+usages(setForms))
	}
	c.report(d)
}

func (c *checker) definedLater(name string) bool {
	return slices.ContainsFunc(c.pattern.Clauses, func(x Clause) bool {
		switch x := x.(type) {
		case *Let:
			return x.Name.Name == name
		case *Index:
			return x.Name.Name == name
		}
		return false
	})
}

func (c *checker) letNames() []string {
	var out []string
	for _, l := range c.lets {
		out = append(out, l.decl.Name.Name)
	}
	return out
}

// form picks the form of a set by the number of arguments and lowers them.
func (c *checker) form(at Span, name string, forms []setForm, call *Call) (ir.Set, bool) {
	var args []Expr
	if call != nil {
		args = call.Args
	}
	i := slices.IndexFunc(forms, func(f setForm) bool { return len(f.args) == len(args) && c.fits(f, args) })
	if i < 0 || (call != nil && len(args) == 0) {
		c.argumentCount(at, name, forms, call)
		return nil, false
	}
	values, ok := make([]argValue, len(args)), true
	for j, rule := range forms[i].args {
		good := false
		switch rule.kind {
		case argRange:
			values[j], good = c.rangeArgument(args[j], rule)
		case argRows:
			values[j].rows, good = c.rowsArgument(args[j], rule)
		case argChosen:
			values[j].name, good = c.chosenArgument(args[j], rule)
		default:
			values[j].n, good = c.numberArgument(args[j], rule)
		}
		ok = ok && good
	}
	if !ok {
		return nil, false
	}
	return forms[i].build(values), true
}

func (c *checker) argumentCount(at Span, name string, forms []setForm, call *Call) {
	var counts []string
	for _, f := range forms {
		if n := fmt.Sprint(len(f.args)); !slices.Contains(counts, n) {
			counts = append(counts, n)
		}
	}
	d := Diagnostic{Code: codeArgumentCount, Primary: Label{at, "arguments are missing"}, Help: "write " + usages(forms),
		Message: fmt.Sprintf("set `%s` without arguments, wanted %s", name, strings.Join(counts, " or "))}
	if call != nil {
		d.Message = fmt.Sprintf("set `%s` with %s, wanted %s", name, plural(len(call.Args), "argument"), strings.Join(counts, " or "))
		d.Primary = Label{call.Span, "wrong number of arguments"}
	}
	if p := c.param(name); p != nil {
		p.used = true
		d.Others = append(d.Others, Label{p.decl.Name.Span, "this parameter is a number; it does not hide the set"})
	}
	if call != nil && len(call.Args) == 0 && counts[0] == "0" {
		d.Message, d.Primary.Text = fmt.Sprintf("set `%s` with empty parentheses", name), "no parentheses wanted"
		d.Edits = []Edit{{call.Span, name}}
	}
	c.report(d)
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// usages lists forms as a user writes them.
func usages(forms []setForm) string {
	var out []string
	for _, f := range forms {
		out = append(out, "`"+f.usage+"`")
	}
	if len(out) == 1 {
		return out[0]
	}
	return strings.Join(out[:len(out)-1], ", ") + " or " + out[len(out)-1]
}
