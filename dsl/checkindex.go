package dsl

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/minfc/minfc/ir"
)

// indexUse is a named value of the index stage.
type indexUse struct {
	decl *Index
	name string // of its definition, which another name may have made first; "" where the value has errors
	used bool
}

// index lowers a clause of the index stage. Values without a name of their own get definitions named after the clause, and
// equal values are defined once, so that nothing is computed twice.
func (c *checker) index(x *Index) {
	c.freshName(x.Name, "the index value")
	c.clause = x.Name.Name
	v, ok := c.value(x.Value)
	v, ok = c.byGroup(x, v, ok)
	for i, w := range x.With {
		if v, ok = c.with(x, i, w, v, ok); !ok {
			break // one message for a clause is enough
		}
	}
	ok = ok && c.bounds(x, v)
	use := &indexUse{decl: x}
	if ok {
		use.name = c.define(x.Name.Name, v)
	}
	c.indexes = append(c.indexes, use)
}

// byGroup makes a choice one for all query heads of a kv head.
func (c *checker) byGroup(x *Index, v ir.Index, ok bool) (ir.Index, bool) {
	if !ok || x.Group == nil {
		return v, ok
	}
	if s, chooses := c.choiceHere(x, v); chooses {
		s.ByGroup = true
		return s, true
	}
	c.report(Diagnostic{Code: codeNotAChoice, Message: "`shared by group` after a value that chooses nothing",
		Primary: Label{*x.Group, "nothing is chosen here"}, Others: []Label{{x.Value.Pos(), "this value"}},
		Help: "write it after `top`, `top_p`, `above` or `near_max`"})
	return v, false
}

// choiceHere is the choice that a clause makes, not one that it names.
func (c *checker) choiceHere(x *Index, v ir.Index) (ir.Select, bool) {
	s, chooses := v.(ir.Select)
	_, isCall := unparen(x.Value).(*Call)
	return s, chooses && isCall
}

// with forces members into a choice, or limits their number.
func (c *checker) with(x *Index, i int, w With, v ir.Index, ok bool) (ir.Index, bool) {
	s, chooses := c.choiceHere(x, v)
	if ok && !chooses {
		c.report(Diagnostic{Code: codeNotAChoice, Message: fmt.Sprintf("`with %s` after a value that chooses nothing", w.End.Name),
			Primary: Label{w.Span, "nothing is chosen here"}, Others: []Label{{x.Value.Pos(), "this value"}},
			Help: "write it after `top`, `top_p`, `above` or `near_max`"})
		return v, false
	}
	if j := slices.IndexFunc(x.With[:i], func(y With) bool { return y.End.Name == w.End.Name }); j >= 0 {
		c.report(Diagnostic{Code: codeNotAChoice, Message: fmt.Sprintf("found a second `with %s`, wanted one", w.End.Name),
			Primary: Label{w.Span, "second"}, Others: []Label{{x.With[j].Span, "first"}}, Help: "remove one of them"})
		return v, false
	}
	good, rule := false, argRule{what: "the number after `with " + w.End.Name + "`"}
	switch w.End.Name {
	case "first":
		s.First, good = c.numberArgument(w.N, rule)
	case "last":
		s.Last, good = c.numberArgument(w.N, rule)
	case "least":
		s.Least, good = c.memberNumber(w.N, rule)
	default:
		s.Most, good = c.memberNumber(w.N, rule)
	}
	if !ok || !good {
		return v, false
	}
	return s, true
}

// bounds refuses bounds of a choice that say nothing or contradict each other.
func (c *checker) bounds(x *Index, v ir.Index) bool {
	s, _ := v.(ir.Select)
	if s.Least == nil {
		return true
	}
	with := func(end string) With {
		return x.With[slices.IndexFunc(x.With, func(w With) bool { return w.End.Name == end })]
	}
	w := with("least")
	if s.Rule == ir.Top {
		c.report(Diagnostic{Code: codeNotAChoice, Message: "`with least` after `top`, which chooses a number whatever the values are",
			Primary: Label{w.Span, "says nothing"}, Others: []Label{{x.Value.Pos(), "this number"}}, Help: "write the larger number in `top`: `top(max(n, 64), x)`"})
		return false
	}
	if s.Most == nil {
		return true
	}
	defaults := map[string]int64{}
	for _, p := range c.params {
		defaults[p.decl.Name.Name] = p.decl.Default.Value
	}
	least, errL := s.Least.At(defaults, 0) // at no length is it smaller
	most, errM := s.Most.At(defaults, ir.MaxParam)
	if errL != nil || errM != nil || least <= most { // what does not fit is reported already
		return true
	}
	c.report(Diagnostic{Code: codeNotAChoice, Message: fmt.Sprintf("at least %d are wanted, and at most %d", least, most),
		Primary: Label{w.Span, "more than the most"}, Others: []Label{{with("most").Span, "the most"}},
		Help: "write a least number that is no larger than the most"})
	return false
}

// maxIndex is the limit of ir on definitions.
const maxIndex = 64

// define returns the name of the definition of v: of an equal one, or of a new one called name.
func (c *checker) define(name string, v ir.Index) string {
	text := ir.IndexDef{Value: v}.String()
	for _, d := range c.defs {
		if (ir.IndexDef{Value: d.Value}).String() == text {
			return d.Name
		}
	}
	if len(c.defs) == maxIndex {
		c.report(Diagnostic{Code: codeTooDeep, Message: fmt.Sprintf("the index stage has more than %d values", maxIndex),
			Primary: Label{c.pattern.Name.Span, "too large"}, Help: "split the pattern up"})
	}
	if len(c.defs) <= maxIndex {
		c.defs = append(c.defs, ir.IndexDef{Name: name, Value: v})
	}
	return name
}

// freeName is a name for a part of the current clause that no clause of the pattern has.
func (c *checker) freeName(v ir.Index) string {
	base := c.clause + "_" + v.Word()
	name := base
	for n := 2; c.definedLater(name) || slices.ContainsFunc(c.defs, func(d ir.IndexDef) bool { return d.Name == name }); n++ {
		name = fmt.Sprintf("%s_%d", base, n)
	}
	return name
}

// operand lowers a value that another one uses, gives it a name and checks its kind. The first kind wanted is the one that
// help is about.
func (c *checker) operand(e Expr, wants ...ir.IndexKind) (string, bool) {
	v, ok := c.value(e)
	if !ok {
		return "", false
	}
	name := c.define(c.freeName(v), v)
	kind, _ := ir.IndexType(c.defs, name)
	if slices.Contains(wants, kind) {
		return name, true
	}
	c.wrongKind(e.Pos(), kind, wants...)
	return "", false
}

func (c *checker) wrongKind(s Span, kind ir.IndexKind, wants ...ir.IndexKind) {
	wanted := wants[0].String()
	if wants[0] == ir.KindColumnValues {
		wanted = "values over columns, distances or blocks"
	}
	c.report(Diagnostic{Code: codeWrongKind, Message: fmt.Sprintf("found %s, wanted %s", kind, wanted),
		Primary: Label{s, kind.String()}, Help: toGet[[2]ir.IndexKind{kind, wants[0]}]})
	c.convert(&c.ds[len(c.ds)-1])
}

// conversion finds, in a help of toGet, what to write in place of a value that is called x there.
var conversion = regexp.MustCompile("^(.*first: )`([^`=]*\\bx\\b[^`]*)`$")

// convert writes the value itself in place of x, where the help is a replacement and the value is short.
func (c *checker) convert(d *Diagnostic) {
	m := conversion.FindStringSubmatch(d.Help)
	value := string(c.src[d.Primary.Span.Start:d.Primary.Span.End])
	if m == nil || len(value) > 40 || strings.ContainsAny(value, "\n/") {
		return
	}
	text := regexp.MustCompile(`\bx\b`).ReplaceAllLiteralString(m[2], value)
	d.offer(d.Primary.Span, text, strings.ReplaceAll(m[1], "%", "%%")+"`%s`")
}

func unparen(e Expr) Expr {
	for {
		p, ok := e.(*Paren)
		if !ok {
			return e
		}
		e = p.X
	}
}

// value lowers an expression in a place where a value of the index stage is wanted; false means that an error was reported.
func (c *checker) value(e Expr) (ir.Index, bool) {
	switch x := unparen(e).(type) {
	case *Name:
		return c.valueName(x)
	case *Call:
		return c.valueCall(x)
	case *Binary:
		return c.valueOperator(x)
	case *Slice:
		return c.notAValue(x.Span, "some rows of a tensor alone", "multiply queries by keys: `q[-64:] * k`")
	case *Number, *Unary:
		return c.notAValue(e.Pos(), "a number", "")
	case *Range:
		return c.notAValue(x.Span, "a range", "")
	default:
		c.internal(e.Pos(), e)
		return nil, false
	}
}

func (c *checker) notAValue(s Span, what, help string) (ir.Index, bool) {
	if help == "" {
		help = "values are written " + quoted(indexUsages())
	}
	c.report(Diagnostic{Code: codeWrongKind, Message: "found " + what + ", wanted a value of the index stage",
		Primary: Label{s, "not a value of the index stage"}, Help: help})
	return nil, false
}

func (c *checker) valueName(x *Name) (ir.Index, bool) {
	v := c.indexNamed(x.Name)
	switch {
	case v != nil:
		v.used = true
		i := slices.IndexFunc(c.defs, func(d ir.IndexDef) bool { return d.Name == v.name })
		if i < 0 {
			return nil, false // its errors are reported
		}
		return c.defs[i].Value, true
	case x.Name == "q" || x.Name == "k":
		return c.notAValue(x.Span, "a whole tensor",
			"write `q[-64:] * k` for the logits of some queries, or `mean(q, 64) * mean(k, 64)` for scores of blocks")
	case findSet(x.Name) != nil || c.named(x.Name) != nil:
		return c.notAValue(x.Span, "a set", "")
	case c.param(x.Name) != nil:
		c.param(x.Name).used = true
		return c.notAValue(x.Span, fmt.Sprintf("the parameter `%s`", x.Name), "")
	}
	return nil, c.unknownIndex(x.Span, "value", x.Name, c.indexNames())
}

// unknownIndex reports a name that is not known in the index stage.
func (c *checker) unknownIndex(s Span, what, name string, known []string) bool {
	d := Diagnostic{Code: codeUnknownIndex, Message: fmt.Sprintf("unknown %s `%s` of the index stage", what, name),
		Primary: Label{s, "not known"}}
	c.suggest(&d, name, known, "values are written "+quoted(indexUsages()))
	lack, way, lacking := lacks(name)
	switch {
	case c.definedLater(name):
		d.Help, d.Edits = "a name is known in the clauses after its own: move the clause of `"+name+"` up", nil
	case lacking && ir.Closest(name, c.indexNames()) == "":
		d.Message, d.Help, d.Edits = lackingMessage(lack, name), way, nil
	}
	c.report(d)
	return false
}

func (c *checker) valueCall(x *Call) (ir.Index, bool) {
	f := findIndexForm(x.Func.Name)
	switch {
	case f == nil && findSet(x.Func.Name) != nil:
		return c.notAValue(x.Span, "a set", "")
	case f == nil:
		return nil, c.unknownIndex(x.Func.Span, "function", x.Func.Name, indexFuncNames())
	case len(x.Args) != f.args:
		c.report(Diagnostic{Code: codeArgumentCount,
			Message: fmt.Sprintf("`%s` with %s, wanted %d", f.name, plural(len(x.Args), "argument"), f.args),
			Primary: Label{x.Span, "wrong number of arguments"}, Help: "write `" + f.usage + "`"})
		return nil, false
	}
	return f.lower(c, x)
}

// valueOperator lowers a product: of some queries with the keys, or of pooled queries with pooled keys.
func (c *checker) valueOperator(x *Binary) (ir.Index, bool) {
	if isSetOperator(x.Op.Name) {
		return c.notAValue(x.Span, "a set", "")
	}
	if x.Op.Name != "*" {
		return c.notAValue(x.Span, "`"+x.Op.Name+"`", "the only operator of the index stage is `*`")
	}
	left, right := unparen(x.X), unparen(x.Y)
	if s, ok := left.(*Slice); ok {
		return c.probe(s, right)
	}
	if s, ok := right.(*Slice); ok {
		return c.notAValue(s.Span, "some rows as the second factor", "the queries come first: `q[-64:] * k`")
	}
	q, okq := c.operand(left, ir.KindPooledQ)
	k, okk := c.operand(right, ir.KindPooledK)
	return ir.BlockScores{Q: q, K: k}, okq && okk
}

func (c *checker) indexNamed(name string) *indexUse {
	i := slices.IndexFunc(c.indexes, func(v *indexUse) bool { return v.decl.Name.Name == name })
	if i < 0 {
		return nil
	}
	return c.indexes[i]
}

func (c *checker) indexNames() []string {
	var out []string
	for _, v := range c.indexes {
		out = append(out, v.decl.Name.Name)
	}
	return out
}

// quoted lists code for a message: "`a`, `b` or `c`".
func quoted(code []string) string {
	all := "`" + strings.Join(code, "`, `") + "`"
	if i := strings.LastIndex(all, "`, `"); i >= 0 {
		all = all[:i] + "` or `" + all[i+4:]
	}
	return all
}
