package dsl

import (
	"fmt"
	"strings"

	"github.com/minfc/minfc/ir"
)

// number lowers an expression in a place where a number is wanted; false means that an error was reported.
func (c *checker) number(e Expr) (ir.Poly, bool) {
	switch x := e.(type) {
	case *Paren:
		return c.number(x.X)
	case *Number:
		if isDecimal(x.Text) {
			c.report(badNumber(x.Span, x.Text, "only the share of `top_p`, `near_max` or `skip` and the threshold of `above` may have decimals"))
			return ir.Poly{}, false
		}
		if x.Value > ir.MaxParam {
			c.aboveLimit(x.Span, x.Text)
			return ir.Poly{}, false
		}
		return ir.Int(max(0, x.Value)), x.Value >= 0
	case *Name:
		return c.numberName(x)
	case *Unary:
		p, ok := c.number(x.X)
		return ir.Int(0).Sub(p), ok
	case *Binary:
		return c.numberOperator(x)
	case *Call:
		if what, way, known := lacks(x.Func.Name); known && c.named(x.Func.Name) == nil {
			c.report(Diagnostic{Code: codeWantedNumber, Message: lackingMessage(what, x.Func.Name),
				Primary: Label{x.Span, "not a number"}, Help: way})
			return ir.Poly{}, false
		}
		return c.wantedNumber(x.Span, "this is a set", isIndexWord(x.Func.Name))
	case *Slice:
		return c.wantedNumber(x.Span, "these are queries", true)
	case *Range:
		c.report(Diagnostic{Code: codeNotARange, Message: "found a range, wanted a number", Primary: Label{x.Span, "this is a range"},
			Help: "only `columns`, `diagonals` and `rows` take ranges"})
		return ir.Poly{}, false
	default:
		c.internal(e.Pos(), e)
		return ir.Poly{}, false
	}
}

func (c *checker) wantedNumber(s Span, label string, index bool) (ir.Poly, bool) {
	what := "a set"
	if index {
		what = "a value of the index stage"
		label = "not a number"
	}
	c.report(Diagnostic{Code: codeWantedNumber, Message: "found " + what + ", wanted a number", Primary: Label{s, label},
		Help: "numbers are literals, parameters, and their sums and products"})
	return ir.Poly{}, false
}

func (c *checker) numberName(x *Name) (ir.Poly, bool) {
	if p := c.param(x.Name); p != nil {
		p.used = true
		return ir.Var(x.Name), true
	}
	if index := c.indexNamed(x.Name) != nil; index || findSet(x.Name) != nil || c.named(x.Name) != nil {
		return c.wantedNumber(x.Span, "this is a set", index)
	}
	c.unknownParam(x)
	return ir.Poly{}, false
}

func (c *checker) unknownParam(x *Name) {
	d := Diagnostic{Code: codeUnknownParam, Message: fmt.Sprintf("unknown parameter `%s`", x.Name), Primary: Label{x.Span, "not a parameter"}}
	var names []string
	for _, p := range c.params {
		names = append(names, p.decl.Name.Name)
	}
	what, way, known := lacks(x.Name)
	switch {
	case x.Name == "step":
		d.Help = "to give a range a step, write a number after the word, for example `step 2`"
	case isPosition(x.Name): // cannot be declared, either
		d.Help = "positions are not numbers of the language: pairs are picked by the distance q - k with `window` and `diagonals`, by the key with `sink` and `columns`, by the query with `rows`"
	case ir.Closest(x.Name, names) == "" && known:
		d.Notes = []string{lackingMessage(what, x.Name) + ": " + way}
		fallthrough
	default:
		c.suggest(&d, x.Name, names, "")
		if d.Help == "" {
			c.declareHelp(&d, x.Name)
		}
	}
	c.report(d)
}

// declareHelp shows how to declare a parameter, beside the parameters that the pattern has.
func (c *checker) declareHelp(d *Diagnostic, name string) {
	header := c.pattern.Name.Name + "("
	for _, p := range c.pattern.Params {
		if p.Const {
			header += "const "
		}
		header += p.Name.Name + " = " + p.Default.Text + ", "
	}
	if c.baked {
		header += fmt.Sprintf("const %s = %d)", name, goodRun)
	} else {
		header += name + " = 1024)"
	}
	d.Help = fmt.Sprintf("declare it: `pattern %s`", header)
	d.Edits = []Edit{{Span{c.pattern.Name.Span.Start, c.pattern.header}, header}}
}

// isPosition says whether a name stands for the position of the query or the key.
func isPosition(name string) bool { return name == "q" || name == "k" }

func (c *checker) numberOperator(x *Binary) (ir.Poly, bool) {
	if isSetOperator(x.Op.Name) {
		return c.wantedNumber(x.Span, fmt.Sprintf("`%s` makes a set", x.Op.Name), false)
	}
	if x.Op.Name == "/" {
		return c.noDivision(x)
	}
	l, okl := c.number(x.X)
	r, okr := c.number(x.Y)
	if !okl || !okr {
		return ir.Poly{}, false
	}
	switch x.Op.Name {
	case "+":
		l = l.Add(r)
	case "-":
		l = l.Sub(r)
	default:
		l = l.Mul(r)
	}
	return l, c.computable(x.Span, l)
}

// Limits on a polynomial. With the sum of coefficients (by magnitude) at most ir.MaxParam, one more operation cannot
// overflow 64 bits, because the sum of a product is at most the product of the sums.
const (
	maxTerms  = 64
	maxDegree = 4
)

func (c *checker) computable(s Span, p ir.Poly) bool {
	terms, sum, degree := 0, int64(0), 0
	p.Terms(func(coef int64, vars []string) {
		terms, sum, degree = terms+1, sum+max(coef, -coef), max(degree, len(vars))
	})
	if sum > ir.MaxParam {
		c.aboveLimit(s, p.String())
		return false
	}
	if terms > maxTerms || degree > maxDegree {
		c.report(Diagnostic{Code: codeTooManyTerms, Primary: Label{s, "too long"},
			Message: fmt.Sprintf("found an expression of %s of up to %s, wanted at most %d of up to %d",
				plural(terms, "term"), plural(degree, "parameter"), maxTerms, maxDegree),
			Help: "compute it outside and pass the result as one parameter"})
		return false
	}
	return true
}

// numberArgument lowers a number and requires its minimum.
func (c *checker) numberArgument(e Expr, rule argRule) (ir.Poly, bool) {
	p, ok := c.number(e)
	return p, ok && c.require(e.Pos(), p, rule.min, rule.what)
}

// rangeArgument lowers from..to step s; a missing from is 0, a missing step 1, a missing to no end.
func (c *checker) rangeArgument(e Expr, rule argRule) (argValue, bool) {
	r, isRange := e.(*Range)
	if !isRange {
		c.wantedRange(e, rule)
		return argValue{}, false
	}
	v, ok := argValue{step: ir.Int(1)}, true
	if r.From != nil {
		v.from, ok = c.bound(r.From)
	}
	if r.To != nil {
		to, good := c.bound(r.To)
		v.to, ok = &to, ok && good && c.rising(r, v.from, to)
	}
	if r.Step != nil {
		step, good := c.number(r.Step)
		v.step, ok = step, good && c.require(r.Step.Pos(), step, rule.min, "the step of "+rule.what) && ok
	}
	return v, ok
}

// wantedRange reports what stands in the place of a range.
func (c *checker) wantedRange(e Expr, rule argRule) {
	if x, isName := unparen(e).(*Name); isName && rule.kind == argRange && c.isUnknown(x.Name) && !isPosition(x.Name) {
		d := Diagnostic{Code: codeUnknownIndex, Message: fmt.Sprintf("unknown value `%s` of the index stage", x.Name),
			Primary: Label{x.Span, "not known"},
			Help:    fmt.Sprintf("write a range, `%s(from..to)`, or choose first: `index %s = top(n, ...)`", rule.what, x.Name)}
		c.report(d)
		return
	}
	if _, ok := c.number(e); !ok {
		return
	}
	d := Diagnostic{Code: codeWantedRange, Message: fmt.Sprintf("found a number, wanted a range for `%s`", rule.what),
		Primary: Label{e.Pos(), "this is a number"}, Help: "ranges are written `from..to`, `from..` or `..to`; the end is not included"}
	switch x := unparen(e).(type) {
	case *Name:
		d.offer(e.Pos(), x.Name+".."+x.Name+" + 1",
			"the one of number `"+x.Name+"` is `%s`; ranges are written `from..to`, `from..` or `..to`, their end is not included")
	case *Number:
		if x.Value < ir.MaxParam {
			d.offer(e.Pos(), fmt.Sprintf("%s..%d", x.Text, x.Value+1),
				"the one of number "+x.Text+" is `%s`; ranges are written `from..to`, `from..` or `..to`, their end is not included")
		}
	}
	c.report(d)
}

// isUnknown says whether a name means nothing in the pattern.
func (c *checker) isUnknown(name string) bool {
	return c.param(name) == nil && c.named(name) == nil && c.indexNamed(name) == nil && findSet(name) == nil && !isIndexWord(name)
}

// rising refuses a range that ends before it begins whatever the parameters are. Such a range is always a slip, such as
// swapped ends; one that is empty for some values only is not.
func (c *checker) rising(r *Range, from, to ir.Poly) bool {
	n, isConst := to.Sub(from).Const()
	if !isConst || n >= 0 {
		return true
	}
	d := Diagnostic{Code: codeEmptyRange, Message: fmt.Sprintf("the range begins at %s and ends before it, at %s", from, to),
		Primary: Label{r.Span, "always empty"}, Help: "write where it begins: without that it begins at 0"}
	if r.From != nil {
		d.Help, d.Edits = "swap the two ends", []Edit{{r.From.Pos(), c.text(r.To)}, {r.To.Pos(), c.text(r.From)}}
	}
	c.report(d)
	return false
}

// bound lowers an end of a range: any number that stays within the limit.
func (c *checker) bound(e Expr) (ir.Poly, bool) {
	p, ok := c.number(e)
	if !ok {
		return p, false
	}
	_, ok = c.atDefaults(e.Pos(), p)
	return p, ok
}

// atDefaults is the value of p with the parameters' defaults; false means that an error was reported.
func (c *checker) atDefaults(s Span, p ir.Poly) (int64, bool) {
	values := map[string]int64{}
	for _, name := range p.Vars() {
		x := c.param(name)
		if x.bad {
			return 0, false
		}
		values[name] = x.decl.Default.Value
	}
	v, err := p.Eval(values)
	if err != nil {
		c.aboveLimit(s, fmt.Sprintf("with the defaults, %s", p))
		return 0, false
	}
	return v, true
}

// require makes p >= least a condition of the pattern. What the compiler can see now is an error now; what depends on
// parameters is checked at launch, and the parameter's own minimum is raised where p is just that parameter.
func (c *checker) require(s Span, p ir.Poly, least int64, what string) bool {
	v, ok := c.atDefaults(s, p)
	if !ok {
		return false
	}
	if v < least {
		c.belowMinimum(s, p, v, least, what)
		return false
	}
	if p.AtLeast(least, nil) {
		return true
	}
	if vars := p.Vars(); len(vars) == 1 && p.Equal(ir.Var(vars[0])) {
		x := c.param(vars[0])
		x.min = max(x.min, least)
	}
	for _, r := range c.requires {
		if r.Min >= least && r.Value.Equal(p) {
			return true
		}
	}
	if len(c.requires) == ir.MaxParams {
		c.report(Diagnostic{Code: codeTooDeep,
			Message: fmt.Sprintf("the sets of the pattern need more than %d conditions on parameters", ir.MaxParams),
			Primary: Label{s, "one too many"}, Help: "split the pattern up, or write numbers in place of expressions with parameters"})
	}
	if len(c.requires) >= ir.MaxParams {
		return false
	}
	c.requires = append(c.requires, ir.Require{Value: p, Min: least, What: what})
	return true
}

func (c *checker) belowMinimum(s Span, p ir.Poly, v, least int64, what string) {
	d := Diagnostic{Code: codeBelowMinimum, Message: fmt.Sprintf("%s is %d, wanted at least %d", what, v, least),
		Primary: Label{s, fmt.Sprintf("below %d", least)}, Help: fmt.Sprintf("write a number from %d up", least)}
	var defaults []string
	if _, isConst := p.Const(); isConst {
		d.Edits = []Edit{{s, fmt.Sprint(least)}}
	}
	for _, name := range p.Vars() {
		x := c.param(name)
		defaults = append(defaults, name+" = "+x.decl.Default.Text)
		d.Others = append(d.Others, Label{x.decl.Default.Span, "the default"})
		d.Help = "change the default of `" + name + "`"
	}
	if len(defaults) > 0 {
		d.Notes = append(d.Notes, "with the defaults "+strings.Join(defaults, ", "))
	}
	c.report(d)
}
