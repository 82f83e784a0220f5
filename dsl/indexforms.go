package dsl

import (
	"fmt"
	"slices"
	"strings"

	"github.com/minfc/minfc/ir"
)

// indexForm is a function of the index stage. lower gets as many arguments as args says.
type indexForm struct {
	name  string
	usage string
	args  int
	lower func(c *checker, call *Call) (ir.Index, bool)
}

// indexForms lists the functions of the index stage.
func indexForms() []indexForm {
	return []indexForm{
		{"softmax", "softmax(scores)", 1, (*checker).softmax},
		{"sum", "sum(probabilities, queries)", 2, (*checker).sum},
		{"sum", "sum(probabilities, diagonals)", 2, (*checker).sum},
		{"sum", "sum(probabilities, diagonals(64))", 2, (*checker).sum},
		{"sum", "sum(probabilities, blocks)", 2, (*checker).sum},
		{"mean", "mean(q, 64)", 2, pool(ir.ReduceMean)},
		{"mean", "mean(q * k, antidiagonals(8))", 2, pool(ir.ReduceMean)},
		{"max", "max(q, 64)", 2, pool(ir.ReduceMax)},
		{"top", "top(n, values)", 2, choose(ir.Top)},
		{"top_p", "top_p(share, values)", 2, choose(ir.TopP)},
		{"above", "above(threshold, values)", 2, choose(ir.Above)},
		{"near_max", "near_max(share, values)", 2, choose(ir.NearMax)},
	}
}

// Products are written with an operator: the logits of some queries, and the scores of blocks.
var productUsages = []string{"q[-n:] * k", "q[::step] * k", "pooled_q * pooled_k"}

// indexWords mean something in the index stage without being functions.
var indexWords = []string{"q", "k", "queries", "antidiagonals"}

// isIndexWord says whether no value may have this name.
func isIndexWord(name string) bool {
	return slices.Contains(indexWords, name) || findIndexForm(name) != nil
}

func findIndexForm(name string) *indexForm {
	forms := indexForms()
	i := slices.IndexFunc(forms, func(f indexForm) bool { return f.name == name })
	if i < 0 {
		return nil
	}
	return &forms[i]
}

func indexFuncNames() []string {
	var out []string
	for _, f := range indexForms() {
		out = append(out, f.name)
	}
	return slices.Compact(out)
}

// indexUsages lists how values of the index stage are written.
func indexUsages() []string {
	out := slices.Clone(productUsages)
	for _, f := range indexForms() {
		out = append(out, f.usage)
	}
	return out
}

// toGet says how to get from a kind of value to another that was wanted.
var toGet = map[[2]ir.IndexKind]string{
	{ir.KindScores, ir.KindProbabilities}:              "normalise them first: `softmax(x)`",
	{ir.KindScores, ir.KindColumnValues}:               "normalise and add them up first: `sum(softmax(x), queries)`",
	{ir.KindProbabilities, ir.KindColumnValues}:        "add them up first: `sum(x, queries)` or `sum(x, diagonals)`",
	{ir.KindPooledQ, ir.KindColumnValues}:              "multiply them by pooled keys first: `x * mean(k, 64)`",
	{ir.KindPooledK, ir.KindColumnValues}:              "multiply pooled queries by them first: `mean(q, 64) * x`",
	{ir.KindPooledK, ir.KindPooledQ}:                   "the queries come first: `mean(q, 64) * mean(k, 64)`",
	{ir.KindPooledQ, ir.KindPooledK}:                   "the second factor are keys: `mean(q, 64) * mean(k, 64)`",
	{ir.KindColumnValues, ir.KindColumns}:              "choose from them first: `index name = top(n, x)`",
	{ir.KindDistanceValues, ir.KindDistances}:          "choose from them first: `index name = top(n, x)`",
	{ir.KindRunValues, ir.KindDistances}:               "choose from them first: `index name = top(n, x)`",
	{ir.KindBlockValues, ir.KindBlocks}:                "choose from them first: `index name = top(n, x)`",
	{ir.KindSquareScores, ir.KindSquareProbabilities}:  "normalise them first: `softmax(x)`",
	{ir.KindSquareScores, ir.KindColumnValues}:         "normalise and add them up first: `sum(softmax(x), blocks)`",
	{ir.KindSquareProbabilities, ir.KindColumnValues}:  "add them up first: `sum(x, blocks)`",
	{ir.KindSquareProbabilities, ir.KindProbabilities}: "squares are added up over blocks: `sum(x, blocks)`",
	{ir.KindBlockShares, ir.KindBlocks}:                "choose from them first: `index name = top_p(0.9, x)`",
	{ir.KindColumns, ir.KindDistances}:                 "write `columns(x)`, or choose from a sum over diagonals",
	{ir.KindDistances, ir.KindColumns}:                 "write `diagonals(x)`, or choose from a sum over queries",
	{ir.KindBlocks, ir.KindColumns}:                    "write `blocks(x)`, or choose from a sum over queries",
	{ir.KindBlocks, ir.KindDistances}:                  "write `blocks(x)`, or choose from a sum over diagonals",
	{ir.KindColumns, ir.KindBlocks}:                    "write `columns(x)`, or choose from scores of blocks",
	{ir.KindDistances, ir.KindBlocks}:                  "write `diagonals(x)`, or choose from scores of blocks",
}

// probe lowers `q[-n:] * k` and `q[::step] * k`.
func (c *checker) probe(s *Slice, k Expr) (ir.Index, bool) {
	if name, ok := k.(*Name); !ok || name.Name != "k" || s.Of.Name != "q" {
		return c.notAValue(join(s.Span, k.Pos()), "a product of other tensors",
			"only queries can be picked out, and are multiplied by all keys: `q[-64:] * k`")
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
	return nil, c.notSupported(s.Span, "these queries cannot be picked out",
		"write `q[-64:]` for the last 64 queries, `q[::64]` for every 64th", Edit{s.Span, "q[-64:]"})
}

func (c *checker) notSupported(s Span, message, help string, edits ...Edit) bool {
	c.report(Diagnostic{Code: codeNotSupported, Message: message, Primary: Label{s, "not supported"}, Help: help, Edits: edits})
	return false
}

func (c *checker) softmax(x *Call) (ir.Index, bool) {
	of, ok := c.operand(x.Args[0], ir.KindScores, ir.KindBlockValues, ir.KindSquareScores)
	return ir.Softmax{Of: of}, ok
}

// sum lowers `sum(x, queries)` and the like.
func (c *checker) sum(x *Call) (ir.Index, bool) {
	axis := x.Args[1]
	if name, isName := unparen(axis).(*Name); isName && name.Name == "blocks" {
		of, ok := c.operand(x.Args[0], ir.KindSquareProbabilities)
		return ir.Sum{Of: of, Over: ir.OverBlocks}, ok
	}
	of, ok := c.operand(x.Args[0], ir.KindProbabilities)
	found := "something else"
	switch axis := unparen(axis).(type) {
	case *Call:
		if axis.Func.Name == "diagonals" {
			run, good := c.runSize(axis)
			return ir.Sum{Of: of, Over: ir.OverRuns, Run: run}, ok && good
		}
	case *Name:
		switch found = "`" + axis.Name + "`"; axis.Name {
		case "queries":
			return ir.Sum{Of: of, Over: ir.OverQueries}, ok
		case "diagonals":
			return ir.Sum{Of: of, Over: ir.OverDiagonals}, ok
		case "antidiagonals":
			return nil, c.notSupported(axis.Span, "sums over antidiagonals are not supported",
				"write `mean(q * k, antidiagonals(8))` for the scores of squares")
		}
	}
	c.report(Diagnostic{Code: codeWrongKind, Message: "found " + found + ", wanted `queries`, `diagonals`, `diagonals(64)` or `blocks`",
		Primary: Label{axis.Pos(), "not what a sum runs over"},
		Help: "a sum over queries gives a value for each column, one over diagonals for each distance, one over `diagonals(64)` for each 64 neighbouring distances, " +
			"one over blocks a share for each block"})
	return nil, false
}

// antidiagonals lowers `mean(q * k, antidiagonals(8))`.
func (c *checker) antidiagonals(x *Call, size *Call) (ir.Index, bool) {
	product, isProduct := unparen(x.Args[0]).(*Binary)
	if !isProduct || product.Op.Name != "*" || !isTensor(product.X, "q") || !isTensor(product.Y, "k") {
		return c.notAValue(x.Args[0].Pos(), "something else than `q * k`",
			"antidiagonals run over all queries and all keys: write `mean(q * k, antidiagonals(8))`")
	}
	if len(size.Args) == 1 {
		if n, isNumber := unparen(size.Args[0]).(*Number); isNumber && n.Value >= 2 && n.Value <= ir.BlockSize && n.Value&(n.Value-1) == 0 {
			return ir.Antidiagonals{Step: int(n.Value)}, true
		}
	}
	return nil, c.notSupported(size.Span, "squares of this size are not supported",
		fmt.Sprintf("write a power of 2 from 2 to %d: `antidiagonals(8)`", ir.BlockSize),
		Edit{size.Span, "antidiagonals(8)"})
}

// isTensor says whether an expression is the tensor of that name.
func isTensor(e Expr, name string) bool {
	n, isName := unparen(e).(*Name)
	return isName && n.Name == name
}

// pool lowers `mean(q, 64)`, `max(k, 128)` and the like.
func pool(with ir.Reduction) func(c *checker, x *Call) (ir.Index, bool) {
	return func(c *checker, x *Call) (ir.Index, bool) {
		if size, isCall := unparen(x.Args[1]).(*Call); isCall && with == ir.ReduceMean && size.Func.Name == "antidiagonals" {
			return c.antidiagonals(x, size)
		}
		of, isName := unparen(x.Args[0]).(*Name)
		size, isNumber := unparen(x.Args[1]).(*Number)
		switch {
		case !isName || of.Name != "q" && of.Name != "k":
			return c.notAValue(x.Args[0].Pos(), "something else than `q` or `k`",
				fmt.Sprintf("write `%s(q, 64)` or `%s(k, 64)`", x.Func.Name, x.Func.Name))
		case !isNumber || !slices.Contains(ir.PoolRows, int(size.Value)):
			const block, wide = ir.BlockSize, 2 * ir.BlockSize
			return nil, c.notSupported(x.Args[1].Pos(),
				fmt.Sprintf("pools over other numbers of rows than %d and %d are not supported", block, wide),
				fmt.Sprintf("write %d, the rows of a block, or %d", block, wide), Edit{x.Args[1].Pos(), fmt.Sprint(block)})
		}
		tensor := map[string]ir.Tensor{"q": ir.TensorQ, "k": ir.TensorK}[of.Name]
		return ir.Pool{Of: tensor, With: with, Rows: int(size.Value)}, true
	}
}

// choose lowers `top(n, x)` and the like.
func choose(rule ir.Rule) func(c *checker, x *Call) (ir.Index, bool) {
	return func(c *checker, x *Call) (ir.Index, bool) {
		n, okn := c.budget(x.Func.Name, x.Args[0], rule)
		before := len(c.ds)
		of, ok := c.operand(x.Args[1], ir.KindColumnValues, ir.KindDistanceValues, ir.KindRunValues, ir.KindBlockValues, ir.KindBlockShares)
		if rule != ir.Top && len(c.ds) == before+1 {
			c.sharesOfBlocks(&c.ds[before])
		}
		if kind, _ := ir.IndexType(c.defs, of); ok && rule != ir.Top && kind == ir.KindBlockValues {
			return nil, c.notSupported(x.Span, fmt.Sprintf("`%s` of block scores is not supported", x.Func.Name),
				fmt.Sprintf("make them shares of a whole first, `%s(..., softmax(x))`, or choose a number of them, `top(n, x)`", x.Func.Name))
		}
		return ir.Select{Of: of, Rule: rule, N: n}, ok && okn
	}
}

// sharesOfBlocks takes the softmax of scores of blocks that a help speaks of: other rules than top want shares.
func (c *checker) sharesOfBlocks(d *Diagnostic) {
	if len(d.Edits) == 1 && strings.Contains(d.Edits[0].Text, " * ") && strings.Contains(d.Help, "multiply") {
		text := "softmax(" + d.Edits[0].Text + ")"
		d.Help, d.Edits[0].Text = strings.Replace(d.Help, d.Edits[0].Text, text, 1), text
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

	ir.NearMax: {3, argRule{what: "the share of `near_max` in thousandths", min: 1}},
}

func (c *checker) budget(form string, e Expr, rule ir.Rule) (ir.Number, bool) {
	r := budgetRules[rule]
	if rule == ir.Top {
		return c.memberNumber(e, r.rule)
	}
	number, isLiteral := unparen(e).(*Number)
	if !isLiteral || number.Value < 0 && !isDecimal(number.Text) {
		return c.numberArgument(e, r.rule)
	}
	v := fixed(number.Text, r.places)
	switch {
	case v < 0:
		c.report(Diagnostic{Code: codeBadNumber, Message: fmt.Sprintf("found the number `%s`, wanted at most %d decimals", number.Text, r.places),
			Primary: Label{number.Span, "too many decimals"}, Help: "round it"})
	case r.rule.min == 1 && (v < 1 || v > 1000):
		c.report(Diagnostic{Code: codeNotAShare, Message: fmt.Sprintf("the share is %s, wanted more than 0 and at most 1", number.Text),
			Primary: Label{number.Span, "not a share"}, Help: fmt.Sprintf("write for example `%s(0.95, x)`", form), Edits: []Edit{{number.Span, "0.95"}}})
	case v > ir.MaxParam:
		c.report(Diagnostic{Code: codeAboveLimit, Message: fmt.Sprintf("%s is beyond the limit of 1073 for a threshold", number.Text),
			Primary: Label{number.Span, "too large"}, Help: "a sum of probabilities is at most the number of queries"})
	default:
		return ir.Int(v), true
	}
	return nil, false
}
