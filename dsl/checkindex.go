package dsl

import (
	"fmt"
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
	for i, w := range x.With {
		v, ok = c.with(x, i, w, v, ok)
	}
	use := &indexUse{decl: x}
	if ok {
		use.name = c.define(x.Name.Name, v)
	}
	c.indexes = append(c.indexes, use)
}

// with forces members into a choice.
func (c *checker) with(x *Index, i int, w With, v ir.Index, ok bool) (ir.Index, bool) {
	s, chooses := v.(ir.Select)
	if _, isCall := unparen(x.Value).(*Call); ok && (!chooses || !isCall) {
		c.report(Diagnostic{Code: codeNotAChoice, Message: fmt.Sprintf("`with %s` after a value that chooses nothing", w.End.Name),
			Primary: Label{w.Span, "nothing is chosen here"}, Others: []Label{{x.Value.Pos(), "this value"}},
			Help: "write it after `top`, `top_p` or `above`"})
		return v, false
	}
	if j := slices.IndexFunc(x.With[:i], func(y With) bool { return y.End.Name == w.End.Name }); j >= 0 {
		c.report(Diagnostic{Code: codeNotAChoice, Message: fmt.Sprintf("found a second `with %s`, wanted one", w.End.Name),
			Primary: Label{w.Span, "second"}, Others: []Label{{x.With[j].Span, "first"}}, Help: "remove one of them"})
		return v, false
	}
	n, good := c.numberArgument(w.N, argRule{what: "the number after `with " + w.End.Name + "`"})
	if w.End.Name == "first" {
		s.First = n
	} else {
		s.Last = n
	}
	if !ok || !good {
		return v, false
	}
	return s, true
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
	base := c.clause + "_" + partName(v)
	name := base
	for n := 2; c.definedLater(name) || slices.ContainsFunc(c.defs, func(d ir.IndexDef) bool { return d.Name == name }); n++ {
		name = fmt.Sprintf("%s_%d", base, n)
	}
	return name
}

func partName(v ir.Index) string {
	switch v := v.(type) {
	case ir.Probe:
		return "scores"
	case ir.Softmax:
		return "softmax"
	case ir.Sum:
		return "sum"
	case ir.Pool:
		return []string{"mean", "max"}[v.With] + []string{"_q", "_k"}[v.Of]
	case ir.BlockScores:
		return "blocks"
	default:
		return "part"
	}
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
	if len(wants) == 3 {
		wanted = "values over columns, distances or blocks"
	}
	c.report(Diagnostic{Code: codeWrongKind, Message: fmt.Sprintf("found %s, wanted %s", kind, wanted),
		Primary: Label{s, kind.String()}, Help: toGet[[2]ir.IndexKind{kind, wants[0]}]})
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
		return c.notAValue(x.Span, "a whole tensor", "write `q[-64:] * k` for the logits of some queries, or `mean(q, 64) * mean(k, 64)` for scores of blocks")
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
	help := didYouMean(name, known, "values are written "+quoted(indexUsages()))
	if c.definedLater(name) {
		help = "a name is known in the clauses after its own: move the clause of `" + name + "` up"
	}
	c.report(Diagnostic{Code: codeUnknownIndex, Message: fmt.Sprintf("unknown %s `%s` of the index stage", what, name),
		Primary: Label{s, "not known"}, Help: help})
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
		c.report(Diagnostic{Code: codeArgumentCount, Message: fmt.Sprintf("`%s` with %s, wanted %d", f.name, plural(len(x.Args), "argument"), f.args),
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

// probe lowers `q[-n:] * k` and `q[::step] * k`.
func (c *checker) probe(s *Slice, k Expr) (ir.Index, bool) {
	if name, ok := k.(*Name); !ok || name.Name != "k" || s.Of.Name != "q" {
		return c.notAValue(join(s.Span, k.Pos()), "a product of other tensors", "only queries can be picked out, and are multiplied by all keys: `q[-64:] * k`")
	}
	switch {
	case s.From != nil && s.To == nil && s.Step == nil:
		n, ok := c.number(s.From)
		last := ir.Int(0).Sub(n)
		if v, isConst := n.Const(); ok && isConst && v >= 0 {
			return c.badSlice(s)
		}
		return ir.Probe{Last: &last}, ok && c.require(s.From.Pos(), last, 1, "the number of last queries")
	case s.From == nil && s.To == nil && s.Step != nil:
		n, ok := c.numberArgument(s.Step, argRule{what: "the step of queries", min: 1})
		return ir.Probe{Stride: &n}, ok
	}
	return c.badSlice(s)
}

func (c *checker) badSlice(s *Slice) (ir.Index, bool) {
	return nil, c.notSupported(s.Span, "these queries cannot be picked out", "write `q[-64:]` for the last 64 queries, `q[::64]` for every 64th")
}

func (c *checker) notSupported(s Span, message, help string) bool {
	c.report(Diagnostic{Code: codeNotSupported, Message: message, Primary: Label{s, "not supported"}, Help: help})
	return false
}

func (c *checker) softmax(x *Call) (ir.Index, bool) {
	of, ok := c.operand(x.Args[0], ir.KindScores, ir.KindBlockValues)
	if kind, _ := ir.IndexType(c.defs, of); ok && kind == ir.KindBlockValues {
		return nil, c.notSupported(x.Span, "the softmax of block scores is not supported", "choose from the scores as they are: `top(n, x)`")
	}
	return ir.Softmax{Of: of}, ok
}

func (c *checker) sum(x *Call) (ir.Index, bool) {
	of, ok := c.operand(x.Args[0], ir.KindProbabilities)
	axis, found := x.Args[1], "something else"
	name, isName := unparen(axis).(*Name)
	if !isName {
		name = &Name{}
	} else {
		found = "`" + name.Name + "`"
	}
	switch name.Name {
	case "queries":
		return ir.Sum{Of: of, Over: ir.OverQueries}, ok
	case "diagonals":
		return ir.Sum{Of: of, Over: ir.OverDiagonals}, ok
	case "antidiagonals":
		return nil, c.notSupported(axis.Pos(), "antidiagonals are not supported", "sum over `queries` or over `diagonals`")
	}
	c.report(Diagnostic{Code: codeWrongKind, Message: "found " + found + ", wanted `queries` or `diagonals`",
		Primary: Label{axis.Pos(), "not what a sum runs over"}, Help: "a sum over queries gives a value for each column, one over diagonals for each distance"})
	return nil, false
}

// pool lowers `mean(q, 64)` and the like.
func pool(with ir.Reduction) func(c *checker, x *Call) (ir.Index, bool) {
	return func(c *checker, x *Call) (ir.Index, bool) {
		of, isName := unparen(x.Args[0]).(*Name)
		size, isNumber := unparen(x.Args[1]).(*Number)
		switch {
		case !isName || of.Name != "q" && of.Name != "k":
			return c.notAValue(x.Args[0].Pos(), "something else than `q` or `k`", fmt.Sprintf("write `%s(q, 64)` or `%s(k, 64)`", x.Func.Name, x.Func.Name))
		case !isNumber || size.Value != ir.BlockSize:
			return nil, c.notSupported(x.Args[1].Pos(), fmt.Sprintf("blocks of other sizes than %d are not supported", ir.BlockSize),
				fmt.Sprintf("write %d: kernels work on blocks of 64 queries by 64 keys", ir.BlockSize))
		case of.Name == "q":
			return ir.Pool{Of: ir.TensorQ, With: with}, true
		}
		return ir.Pool{Of: ir.TensorK, With: with}, true
	}
}

// choose lowers `top(n, x)` and the like.
func choose(rule ir.Rule) func(c *checker, x *Call) (ir.Index, bool) {
	return func(c *checker, x *Call) (ir.Index, bool) {
		n, okn := c.budget(x.Args[0], rule)
		of, ok := c.operand(x.Args[1], ir.KindColumnValues, ir.KindDistanceValues, ir.KindBlockValues)
		if kind, _ := ir.IndexType(c.defs, of); ok && rule != ir.Top && kind == ir.KindBlockValues {
			return nil, c.notSupported(x.Span, fmt.Sprintf("`%s` of block scores is not supported", x.Func.Name),
				"block scores are no probabilities: choose a number of them, `top(n, x)`")
		}
		return ir.Select{Of: of, Rule: rule, N: n}, ok && okn
	}
}

// budgetRules say how the first argument of a choice is counted: a literal has so many decimals, and an expression with
// parameters counts in units of the last of them.
var budgetRules = map[ir.Rule]struct {
	places int
	rule   argRule
}{
	ir.Top:   {0, argRule{what: "the number that `top` chooses"}},
	ir.TopP:  {3, argRule{what: "the share of `top_p` in thousandths", min: 1}},
	ir.Above: {6, argRule{what: "the threshold of `above` in millionths"}},
}

func (c *checker) budget(e Expr, rule ir.Rule) (ir.Poly, bool) {
	r := budgetRules[rule]
	number, isLiteral := unparen(e).(*Number)
	if !isLiteral || r.places == 0 || number.Value < 0 && !isDecimal(number.Text) {
		return c.numberArgument(e, r.rule)
	}
	v := fixed(number.Text, r.places)
	switch {
	case v < 0:
		c.report(Diagnostic{Code: codeBadNumber, Message: fmt.Sprintf("found the number `%s`, wanted at most %d decimals", number.Text, r.places),
			Primary: Label{number.Span, "too many decimals"}, Help: "round it"})
	case rule == ir.TopP && (v < 1 || v > 1000):
		c.report(Diagnostic{Code: codeNotAShare, Message: fmt.Sprintf("the share is %s, wanted more than 0 and at most 1", number.Text),
			Primary: Label{number.Span, "not a share"}, Help: "write for example `top_p(0.95, x)`"})
	case v > ir.MaxParam:
		c.report(Diagnostic{Code: codeAboveLimit, Message: fmt.Sprintf("%s is beyond the limit of 1073 for a threshold", number.Text),
			Primary: Label{number.Span, "too large"}, Help: "a sum of probabilities is at most the number of queries"})
	default:
		return ir.Int(v), true
	}
	return ir.Poly{}, false
}

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

// fits says whether the arguments look like those of a form: names of the index stage, or what makes ranges and numbers.
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
			c.param(x.Name) == nil && (closest(x.Name, c.indexNames()) != "" || c.definedLater(x.Name)) && c.named(x.Name) == nil
	}
	return false
}

// indexAsSet reports a value of the index stage where a set is wanted; v is nil for one without a name.
func (c *checker) indexAsSet(at Span, name string, v *indexUse) (ir.Set, bool) {
	help := "choose first, for example `index name = top(n, ...)`, then keep `columns(name)`, `diagonals(name)` or `blocks(name)`"
	if v != nil {
		v.used = true
		kind, _ := ir.IndexType(c.defs, v.name)
		if chosen, ok := kind.Chosen(); ok {
			help = fmt.Sprintf("write `%s(%s)`", chosen, name)
		}
	}
	c.report(Diagnostic{Code: codeWantedSet, Message: fmt.Sprintf("found `%s` of the index stage, wanted a set", name),
		Primary: Label{at, "not a set"}, Help: help})
	return nil, false
}

// sliceAsSet reports brackets in a set; those who know other languages write ranges so.
func (c *checker) sliceAsSet(x *Slice) (ir.Set, bool) {
	help := "ranges are written `from..to`, for example `columns(0..4)`"
	if x.Of.Name == "q" || x.Of.Name == "k" {
		help = "give it a name in the index stage first: `index name = ...`"
	}
	c.report(Diagnostic{Code: codeWantedSet, Message: fmt.Sprintf("found rows of `%s`, wanted a set", x.Of.Name), Primary: Label{x.Span, "not a set"}, Help: help})
	return nil, false
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
