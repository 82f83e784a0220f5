package dsl

import (
	"slices"

	"github.com/minfc/minfc/ir"
)

// argKind is what one argument of a set is.
type argKind uint8

const (
	argNumber argKind = iota
	argRange
	argRows   // a range of rows, without a step
	argChosen // the name of what the index stage chose
)

// argRule is one argument of a set. A number is at least min, unless it is free.
type argRule struct {
	kind argKind
	what string // "the size of window"; for a range "columns", so that its step is "the step of columns"
	min  int64
	want ir.IndexKind // of a chosen set
}

// setForm is one way to write a set: its name, its arguments, and what they make.
type setForm struct {
	name  string
	usage string
	args  []argRule
	build func(args []argValue) ir.Set
}

// argValue is a lowered argument: n for a number, name for a chosen set, rows for rows, the others for a range.
type argValue struct {
	n    ir.Poly
	from ir.Poly
	to   *ir.Poly
	step ir.Poly
	name string
	rows ir.Rows
}

// setForms lists every set of the language; a name may have several forms with different numbers of arguments.
var setForms = []setForm{
	{"all", "all", nil, func([]argValue) ir.Set { return ir.All{} }},
	{"causal", "causal", nil, func([]argValue) ir.Set { return ir.Causal{} }},
	{"window", "window(n)", []argRule{{kind: argNumber, what: "the size of window", min: 1}},
		func(a []argValue) ir.Set { return ir.Window{Left: a[0].n, Right: ir.Int(0)} }},
	{"window", "window(left, right)", []argRule{{kind: argNumber, what: "the left size of window", min: 1},
		{kind: argNumber, what: "the right size of window", min: 0}},
		func(a []argValue) ir.Set { return ir.Window{Left: a[0].n, Right: a[1].n} }},
	{"sink", "sink(n)", []argRule{{kind: argNumber, what: "the size of sink", min: 0}},
		func(a []argValue) ir.Set { return ir.Sink{N: a[0].n} }},
	{"columns", "columns(from..to step s)", []argRule{{kind: argRange, what: "columns", min: 1}},
		func(a []argValue) ir.Set { return ir.Columns{From: a[0].from, To: a[0].to, Step: a[0].step} }},
	{"diagonals", "diagonals(from..to step s)", []argRule{{kind: argRange, what: "diagonals", min: 1}},
		func(a []argValue) ir.Set { return ir.Diagonals{From: a[0].from, To: a[0].to, Step: a[0].step} }},
	{"rows", "rows(from..to)", []argRule{{kind: argRows, what: "rows"}}, func(a []argValue) ir.Set { return a[0].rows }},
	{"columns", "columns(name)", []argRule{{kind: argChosen, what: "columns", want: ir.KindColumns}}, chosen(ir.ChosenColumns)},
	{"diagonals", "diagonals(name)", []argRule{{kind: argChosen, what: "diagonals", want: ir.KindDistances}}, chosen(ir.ChosenDistances)},
	{"blocks", "blocks(name)", []argRule{{kind: argChosen, what: "blocks", want: ir.KindBlocks}}, chosen(ir.ChosenBlocks)},
}

func chosen(kind ir.ChosenKind) func([]argValue) ir.Set {
	return func(a []argValue) ir.Set { return ir.Chosen{Name: a[0].name, Kind: kind} }
}

// findSet returns the forms of a set, nil if there is no such set.
func findSet(name string) []setForm {
	var out []setForm
	for _, f := range setForms {
		if f.name == name {
			out = append(out, f)
		}
	}
	return out
}

// setNames lists the sets without repetition.
func setNames() []string {
	var out []string
	for _, f := range setForms {
		if !slices.Contains(out, f.name) {
			out = append(out, f.name)
		}
	}
	return out
}
