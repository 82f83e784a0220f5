package passes

import (
	"slices"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/ir"
)

// Which heads run dense is decided from the lists, on the device. docs/fallback.md has the rules and their reasons.

// anyDistance is no bound.
const anyDistance = 1<<31 - 1

// decide compares what the lists of each head cost with the dense kernel, one list of each kind a launch.
func (b *programBuilder) decide() (out []ir.Step) {
	var left []ir.Segment
	for _, g := range b.schedule.Segments {
		if g.From.Kind != ir.SourceRange && g.From.Kind != ir.SourceMeans && !g.From.Kind.Given() {
			left = append(left, g)
		}
	}
	for len(left) > 0 {
		var taken []ir.SourceKind
		var later []ir.Segment
		kernel, byGroup := abi.Decide, b.choiceOf(left[0]).ByGroup
		if byGroup {
			kernel = abi.DecideByGroup
		}
		args := []ir.Arg{
			ir.NumberArg("carry", ir.N(int64(min(len(out), 1)))),
			ir.FloatArg("start", "price_fixed", 1), ir.FloatArg("dense", "price_limit", 1),
			ir.FloatArg("slot", "price_slot", 1), ir.FloatArg("column", "price_column", 1),
		}
		for _, g := range left {
			if slices.Contains(taken, g.From.Kind) || b.choiceOf(g).ByGroup != byGroup {
				later = append(later, g)
				continue
			}
			taken, args = append(taken, g.From.Kind), append(args, b.decideOn(g)...)
		}
		out, left = append(out, ir.Run{Kernel: kernel, Grid: [3]ir.Expr{allHeads, ir.N(1), ir.N(1)},
			Args: append(args, unlisted(args)...)}), later
	}
	return out
}

// choiceOf is the choice whose list a segment reads.
func (b *programBuilder) choiceOf(g ir.Segment) choice {
	return b.choices[slices.IndexFunc(b.choices, func(c choice) bool { return c.source == g.From })]
}

// unlisted are the arguments for lists that a launch does not look at.
func unlisted(args []ir.Arg) (out []ir.Arg) {
	for _, p := range abi.IndexParams[abi.Decide] {
		named := slices.ContainsFunc(args, func(a ir.Arg) bool { return a.Param == p.Name })
		_, isList := listSide[p.Name]
		switch {
		case named || !isList:
		case p.Type == "ptr":
			out = append(out, ir.NullArg(p.Name))
		default:
			out = append(out, ir.NumberArg(p.Name, ir.N(0)))
		}
	}
	return out
}

// listSide are the parameters of decide that say something of a list.
var listSide = map[string]bool{"runs": true, "run_count": true, "run_cap": true, "run_low": true, "run_reach": true,
	"cols": true, "col_count": true, "col_cap": true, "col_high": true, "col_near": true, "block_count": true}

// decideOn are the arguments for the list of a segment, with the bounds that cut it for a row block. The kernel that decides knows no
// bounds on rows: a list that they cut is priced as if all rows read it, which errs towards dense attention.
func (b *programBuilder) decideOn(g ir.Segment) []ir.Arg {
	c := b.choiceOf(g)
	low, reachOf, high, near := ir.N(0), ir.N(anyDistance), sk, ir.N(ir.MaxParam)
	for _, x := range g.Lo {
		if off := ir.PolyExpr(x.Off); x.Row {
			reachOf = ir.Call(ir.OpMin, reachOf, ir.N(ir.BlockSize).Minus(off))
		} else {
			low = ir.Call(ir.OpMax, low, off)
		}
	}
	for _, x := range g.Hi {
		if off := ir.PolyExpr(x.Off); x.Row {
			near = ir.Call(ir.OpMin, near, off)
		} else {
			high = ir.Call(ir.OpMin, high, off)
		}
	}
	switch g.From.Kind {
	case ir.SourceRuns:
		return append(c.same("runs", "run_count"), ir.NumberArg("run_cap", c.value("run_cap")),
			ir.NumberArg("run_low", low), ir.NumberArg("run_reach", reachOf))
	case ir.SourceBlocks:
		return c.same("block_count")
	default:
		return append(c.same("cols", "col_count"), ir.NumberArg("col_cap", c.value("col_cap")),
			ir.NumberArg("col_high", high), ir.NumberArg("col_near", near))
	}
}

// Kernel is what a program must know of an attention kernel.
type Kernel struct {
	Name        string // abi.Attend or abi.Dense
	Schedule    *ir.Schedule
	Rows        int // query rows that a block takes at a time
	BlocksPerSM int // of kernels with a queue, which are launched with as many blocks as run at once; else 0
}

// Attend adds an attention kernel to a program, in a part of its own.
func Attend(p *ir.Program, part string, k Kernel) {
	steps := []ir.Step{
		ir.Let{Name: "row_tiles", Expr: sq.Over(int64(k.Rows))},
		ir.Let{Name: "items", Expr: ir.Name("row_tiles").Times(allHeads)},
	}
	if k.Schedule.Skip != nil {
		steps = append(steps, ir.Zero{Buffer: "skips"})
	}
	grid := [3]ir.Expr{ir.Name("row_tiles"), qHeads, batch}
	if k.BlocksPerSM > 0 {
		steps = append(steps, ir.Zero{Buffer: "queue"})
		most := ir.N(int64(k.BlocksPerSM)).Times(ir.Name("multiprocessors"))
		grid = [3]ir.Expr{ir.Call(ir.OpMin, ir.Name("items"), most), ir.N(1), ir.N(1)}
	}
	p.Parts = append(p.Parts, ir.Part{Name: part, Steps: append(steps, ir.Run{Kernel: k.Name, Grid: grid, Args: k.params()})})
}

// params are the arguments that the pattern's parameters and the caller's lists are.
func (k Kernel) params() (out []ir.Arg) {
	for _, p := range abi.PatternParams(k.Schedule) {
		out = append(out, ir.NumberArg(p.Name, ir.Name(p.Name)))
	}
	for _, l := range k.Schedule.Lists() {
		if l.Kind.Given() {
			out = append(out, givenArgs(l)...)
		}
	}
	return out
}

// givenArgs are the arguments of a list that the caller gives: names of the launch.
func givenArgs(l ir.Source) (out []ir.Arg) {
	for _, f := range abi.ListFields[l.Kind] {
		param := ir.ListName(l.Name, f.Name)
		if f.Type == "ptr" {
			out = append(out, ir.AddressArg(param, f.Name, ir.N(0)))
		} else {
			out = append(out, ir.NumberArg(param, ir.Name(f.Name)))
		}
	}
	return out
}
