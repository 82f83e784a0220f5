package dsl

import (
	"slices"

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
		{"sum", "sum(probabilities, blocks)", 2, (*checker).sum},
		{"mean", "mean(q, 64)", 2, pool(ir.ReduceMean)},
		{"mean", "mean(q * k, antidiagonals(8))", 2, pool(ir.ReduceMean)},
		{"max", "max(q, 64)", 2, pool(ir.ReduceMax)},
		{"top", "top(n, values)", 2, choose(ir.Top)},
		{"top_p", "top_p(share, values)", 2, choose(ir.TopP)},
		{"above", "above(threshold, values)", 2, choose(ir.Above)},
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
