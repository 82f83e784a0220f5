package passes

import (
	"slices"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/ir"
)

// What share of the attention mass a call kept is measured on sampled rows, by a program of its own (docs/recall.md). A launch of its first
// kernel looks at up to 64 rows that lie a step apart.

// RecallParams are the numbers that Recall is bound to, as parameters of a pattern would be.
//
//	first, step, rows  which rows of q are looked at: rows of them, 1 to 64, step apart, from first on
//	before, sampled    how many rows the bindings before this one looked at, and how many all of them look at
var RecallParams = []ir.Param{{Name: "first"}, {Name: "step", Min: 1}, {Name: "rows", Min: 1}, {Name: "before"}, {Name: "sampled", Min: 1}}

// Recall is the program that compares the sums of sampled rows with their sums over all keys up to each row's position. A call that is bound
// with q_offset sk - 1 or more compares with the sums over all keys.
func Recall() *ir.Program {
	b := &programBuilder{Program: &ir.Program{Name: "recall"}, schedule: &ir.Schedule{}, shaped: map[string]bool{}}
	number := func(name string) ir.Expr { return ir.Name(ir.ParamName(name)) }
	all := ir.Int(abi.ProbeRows)
	p := probe{name: "recall", last: &all} // of keys in their order
	b.Variants = []ir.Variant{{Name: p.variant(), Of: abi.ProbeHeadsPerBlock, For: ir.Name("sharers")}}
	b.define("chunk_room", p.room())
	b.Limits = []ir.Limit{
		{Value: allHeads, Most: 1<<16 - 1, What: "Batch times QHeads of a recall; split larger calls"},
		{Value: number("step"), Most: maxStep, What: "the step from row to row of a recall; look at more rows"},
	}
	b.store()
	b.buffer("probe_stats", "f32", false, allHeads, ir.Name("chunk_room"), ir.N(abi.ProbeRows), ir.N(2))
	b.buffer("probe_lse", "f32", false, allHeads, ir.N(abi.ProbeRows), ir.N(2))

	last := ir.Name("probe_rows").Minus(ir.N(1)).Times(ir.Name("step"))
	keys := ir.Call(ir.OpMin, sk, qOffset.Plus(ir.Name("row0")).Plus(last).Plus(ir.N(1)))
	steps := []ir.Step{
		ir.Let{Name: "entry", Expr: ir.N(0)}, ir.Let{Name: "kv", Expr: ir.N(0)}, ir.Let{Name: "first_head", Expr: ir.N(0)},
		ir.Let{Name: "slice_kv", Expr: kvHeads}, ir.Let{Name: "slice_q", Expr: qHeads}, ir.Let{Name: "slice_batch", Expr: batch},
		ir.Let{Name: "row0", Expr: number("first")}, ir.Let{Name: "probe_rows", Expr: number("rows")}, ir.Let{Name: "step", Expr: number("step")},
	}
	stats, _, _ := p.stats(abi.RecallStats, keys.Over(ir.BlockSize))
	compare := ir.Run{Kernel: abi.Recall, Grid: [3]ir.Expr{ir.N(1), qHeads, batch},
		Args: []ir.Arg{ir.NumberArg("hq", qHeads), ir.NumberArg("before", number("before")), ir.NumberArg("sampled", number("sampled"))}}
	b.part(ir.PartRecall, slices.Concat(steps, stats, []ir.Step{compare}))
	return b.Program
}
