package ptxgen

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/llir/llvm/ir"
	"github.com/llir/llvm/ir/constant"
	"github.com/llir/llvm/ir/types"
)

// asmOperand is one constraint of an inline asm.
type asmOperand struct {
	class class
	imm   bool // "n" or "i": the number is printed in place
	tied  int  // the result whose register it shares, or -1
}

// asmForm is an inline asm, read.
type asmForm struct {
	tmpl    template
	outs    []asmOperand
	ins     []asmOperand
	early   bool
	effects bool
}

var constraintClasses = map[string]class{"b": classPred, "h": classH, "r": classR, "f": classF, "l": classD}

// parseAsm reads text and constraints of a.
func parseAsm(a *ir.InlineAsm) (*asmForm, error) {
	f := &asmForm{effects: a.SideEffect}
	for _, c := range strings.Split(a.Constraint, ",") {
		if err := f.constraint(strings.TrimSpace(c)); err != nil {
			return nil, err
		}
	}
	var err error
	if f.tmpl, err = parseTemplate(a.Asm, len(f.outs)+len(f.ins)); err != nil {
		return nil, err
	}
	// Several statements: one may write a result before another reads its operand.
	f.early = f.early || strings.Count(a.Asm, ";") > 1
	return f, nil
}

func (f *asmForm) constraint(c string) error {
	switch {
	case c == "":
		return nil
	case strings.HasPrefix(c, "~{"):
		f.effects = f.effects || c == "~{memory}"
		return nil
	case strings.HasPrefix(c, "="):
		return f.output(strings.TrimPrefix(c, "="))
	}
	in := asmOperand{tied: -1, class: constraintClasses[c], imm: c == "n" || c == "i"}
	if k, err := strconv.Atoi(c); err == nil {
		if k < 0 || k >= len(f.outs) {
			return fmt.Errorf("asm constraint %q ties to a result that does not exist; there are %d", c, len(f.outs))
		}
		in.tied, in.class = k, f.outs[k].class
	}
	if in.class == classNone && !in.imm {
		return fmt.Errorf("asm constraint %q is not supported; want one of b, h, r, f, l, n, i or the number of a result", c)
	}
	for _, other := range f.ins {
		if in.tied >= 0 && other.tied == in.tied {
			return fmt.Errorf("asm constraint %q ties two operands to one result", c)
		}
	}
	f.ins = append(f.ins, in)
	return nil
}

func (f *asmForm) output(c string) error {
	if strings.HasPrefix(c, "&") {
		f.early = true
		c = c[1:]
	}
	class := constraintClasses[c]
	if class == classNone {
		return fmt.Errorf("asm constraint %q is not supported; want one of =b, =h, =r, =f, =l", "="+c)
	}
	if len(f.ins) > 0 {
		return fmt.Errorf("asm constraint %q stands behind an operand; results come first", "="+c)
	}
	f.outs = append(f.outs, asmOperand{class: class, tied: -1})
	return nil
}

// check compares the constraints with the types of the call.
func (f *asmForm) check(call *ir.InstCall, result types.Type) error {
	outs := partsOf(nil, result)
	if len(outs) != len(f.outs) {
		return fmt.Errorf("asm has %d results in its constraints, but its type %v holds %d", len(f.outs), result, len(outs))
	}
	for i, c := range outs {
		if c != f.outs[i].class {
			return fmt.Errorf("asm result %d does not fit its constraint in type %v", i, result)
		}
	}
	if len(call.Args) != len(f.ins) {
		return fmt.Errorf("asm has %d operands in its constraints, but the call passes %d", len(f.ins), len(call.Args))
	}
	if len(outs) == 0 && !f.effects {
		return fmt.Errorf("asm without result and side effect does nothing; mark it sideeffect")
	}
	for i, arg := range call.Args {
		if err := f.checkOperand(i, arg); err != nil {
			return err
		}
	}
	return nil
}

func (f *asmForm) checkOperand(i int, v interface{ Type() types.Type }) error {
	in := f.ins[i]
	if in.imm {
		if _, ok := unwrapArg(v).(*constant.Int); !ok {
			return fmt.Errorf("asm operand %d has an immediate constraint and wants an integer constant", i)
		}
		return nil
	}
	if classOf(v.Type()) != in.class {
		return fmt.Errorf("asm operand %d of type %v does not fit its constraint", i, v.Type())
	}
	return nil
}

// unwrapArg strips the parameter attributes of a call argument.
func unwrapArg(v interface{ Type() types.Type }) interface{ Type() types.Type } {
	if a, ok := v.(*ir.Arg); ok {
		return a.Value
	}
	return v
}
