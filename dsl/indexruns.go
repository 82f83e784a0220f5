package dsl

import (
	"fmt"

	"github.com/minfc/minfc/ir"
)

// goodRun is a size of runs that is written for a wrong one.
const goodRun = 64

// runSize lowers the size in `sum(x, diagonals(64))`, which is known when the kernel is compiled.
func (c *checker) runSize(x *Call) (ir.Poly, bool) {
	sizes := fmt.Sprintf("write a multiple of %d from %d to %d: `diagonals(%d)`", ir.RunUnit, ir.RunUnit, ir.MostRun, goodRun)
	whole := Edit{x.Span, fmt.Sprintf("diagonals(%d)", goodRun)}
	if len(x.Args) != 1 {
		return ir.Poly{}, c.notSupported(x.Span, fmt.Sprintf("runs with %s are not supported", plural(len(x.Args), "size")), sizes, whole)
	}
	c.baked = true
	size, ok := c.number(x.Args[0])
	if c.baked = false; !ok {
		return size, false
	}
	for _, name := range size.Vars() {
		if p := c.param(name); !p.decl.Const {
			return size, c.launchSize(x.Args[0].Pos(), p.decl)
		}
	}
	v, ok := c.atDefaults(x.Args[0].Pos(), size)
	if !ok || ir.CheckRun(v) == nil {
		return size, ok
	}
	c.notSupported(x.Span, fmt.Sprintf("runs of %d distances are not supported", v), sizes, whole)
	d := &c.ds[len(c.ds)-1]
	for _, name := range size.Vars() {
		d.Others = append(d.Others, Label{c.param(name).decl.Default.Span, "the default"})
	}
	return size, false
}

// launchSize refuses a size that depends on a launch parameter.
func (c *checker) launchSize(s Span, p *Param) bool {
	text := "const " + string(c.src[p.Span.Start:p.Span.End])
	return c.notSupported(s, fmt.Sprintf("the size of runs depends on `%s`, which is known at launch only", p.Name.Name),
		fmt.Sprintf("kernels are compiled for one size: declare the parameter as `%s`", text), Edit{p.Span, text})
}
