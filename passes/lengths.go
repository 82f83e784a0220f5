package passes

import (
	"errors"
	"fmt"
	"slices"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/ir"
)

// Lengths turns a program into one whose kernels read lengths from device memory (abi/lengths.go): the records are written first, and every
// kernel of the index stage that depends on lengths is the one that reads them. Buffers and grids stay as they are, for the longest batch
// entry that a call allows. A probe of other rows than the last 64 is refused: which of its tiles have keys is for the host to say.
func Lengths(p *ir.Program) error {
	for i := range p.Parts {
		steps, err := lengthsOf(p.Parts[i].Steps, ir.N(0))
		if err != nil {
			return fmt.Errorf("%s: %w", p.Name, err)
		}
		p.Parts[i].Steps = steps
	}
	grid := [3]ir.Expr{batch.Over(abi.LengthsThreads), ir.N(1), ir.N(1)}
	p.Parts = append([]ir.Part{{Name: ir.PartLengths, Steps: []ir.Step{ir.Run{Kernel: abi.Lengths, Grid: grid}}}}, p.Parts...)
	return nil
}

// ErrSpreadProbe refuses a program.
var ErrSpreadProbe = errors.New("it probes other rows than the last 64, which no kernel does where lengths are in device memory; " +
	"probe the last 64 rows, or run sequences of different lengths one by one")

// lengthsOf are steps whose grids begin with a batch entry.
func lengthsOf(steps []ir.Step, entry ir.Expr) (out []ir.Step, err error) {
	for _, s := range steps {
		switch x := s.(type) {
		case ir.For:
			first := entry
			if x.Var == "entry" {
				first = ir.Name("entry")
			}
			x.Steps, err = lengthsOf(x.Steps, first)
			s = x
		case ir.Run:
			s, err = runByLengths(x, entry)
		}
		if err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	return out, nil
}

func runByLengths(r ir.Run, entry ir.Expr) (ir.Run, error) {
	if r.Kernel == abi.Spread(abi.ProbeStats) {
		return r, ErrSpreadProbe
	}
	if !abi.DependsOnLengths(r.Kernel) {
		return r, nil
	}
	args := append(slices.Clone(r.Args), ir.AddressArg(abi.LengthsParam.Name, abi.LengthsParam.Name, ir.N(abi.LengthsBytes).Times(entry)))
	has := func(param string) bool {
		return slices.ContainsFunc(args, func(a ir.Arg) bool { return a.Param == param })
	}
	for _, p := range abi.IndexParams[abi.ByLengths(r.Kernel)] {
		switch p.Name {
		case "a_of":
			args = append(args, ir.NumberArg(p.Name, candidatesOf(r, "a_n")))
		case "b_of":
			args = append(args, ir.NumberArg(p.Name, candidatesOf(r, "b_n")))
		case "of":
			of := rowsOf(r)
			if r.Kernel == abi.GroupMean {
				of = meansOf(r)
			}
			args = append(args, ir.NumberArg(p.Name, of))
		case "hq":
			if !has("hq") {
				args = append(args, ir.NumberArg(p.Name, headsOf(r)))
			}
		}
	}
	r.Kernel, r.Args = abi.ByLengths(r.Kernel), args
	return r, nil
}

// headsOf is how many heads of a batch entry a kernel scores: those of a slice, or its kv heads.
func headsOf(r ir.Run) ir.Expr {
	if r.Grid[2].String() == "score_groups" {
		return ir.Name("score_kv")
	}
	return ir.Name("score_q")
}

// rowsOf is 0 if a kernel's rows are queries, and 1 if they are keys.
func rowsOf(r ir.Run) ir.Expr {
	if numberOf(r, "n").String() == sq.String() {
		return ir.N(0)
	}
	return ir.N(1)
}

// meansOf is 0 if means are of columns and 1 if they are of distances; else how many elements each row block has.
func meansOf(r ir.Run) ir.Expr {
	switch numberOf(r, "n").String() {
	case columns.String():
		return ir.N(0)
	case reach.String():
		return ir.N(1)
	}
	return headDim
}

// candidatesOf is 0 if the candidates of a choice are columns; else how many distances a candidate has.
func candidatesOf(r ir.Run, n string) ir.Expr {
	switch x := numberOf(r, n); {
	case x.String() == columns.String():
		return ir.N(0)
	case x.Op == ir.OpCeilDiv: // runs
		return x.Args[1]
	}
	return ir.N(1)
}

func numberOf(r ir.Run, param string) ir.Expr {
	return r.Args[slices.IndexFunc(r.Args, func(a ir.Arg) bool { return a.Param == param })].Expr
}
