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
			args = append(args, ir.NumberArg(p.Name, countOf(r, "a_n", columns)))
		case "b_of":
			args = append(args, ir.NumberArg(p.Name, countOf(r, "b_n", columns)))
		case "of":
			args = append(args, ir.NumberArg(p.Name, countOf(r, "n", sq)))
		case "hq":
			if !has("hq") {
				args = append(args, ir.NumberArg(p.Name, ir.Name("score_q")))
			}
		}
	}
	r.Kernel, r.Args = abi.ByLengths(r.Kernel), args
	return r, nil
}

// countOf is 0 if a kernel's count is the one that is given, and 1 if it is the other one that the kernel knows.
func countOf(r ir.Run, param string, first ir.Expr) ir.Expr {
	is := slices.ContainsFunc(r.Args, func(a ir.Arg) bool { return a.Param == param && a.Expr.String() == first.String() })
	if is {
		return ir.N(0)
	}
	return ir.N(1)
}
