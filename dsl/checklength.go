package dsl

import (
	"fmt"

	"github.com/minfc/minfc/ir"
)

// Numbers of members may depend on the length: `top(min(8k, sk / 16), x)`.

// lengthName is the number of keys that count, where no parameter has the name.
const lengthName = "sk"

// memberNumber lowers a number of members, which may depend on the length or be divided. Other numbers have to be at least 0 at a launch;
// what the length gives counts as 0 where it is below.
func (c *checker) memberNumber(e Expr, rule argRule) (ir.Number, bool) {
	if !c.ofLength(e) {
		return c.numberArgument(e, rule)
	}
	return c.lengthNumber(e)
}

// ofLength says whether an expression has something that only numbers of members have.
func (c *checker) ofLength(e Expr) bool {
	switch x := e.(type) {
	case *Paren:
		return c.ofLength(x.X)
	case *Unary:
		return c.ofLength(x.X)
	case *Binary:
		return x.Op.Name == "/" || c.ofLength(x.X) || c.ofLength(x.Y)
	case *Name:
		return x.Name == lengthName && c.param(x.Name) == nil
	case *Call:
		return boundOps[x.Func.Name] != 0
	}
	return false
}

// boundOps are the functions of numbers.
var boundOps = map[string]ir.ExprOp{"min": ir.OpMin, "max": ir.OpMax}

func (c *checker) lengthNumber(e Expr) (ir.Number, bool) {
	if !c.ofLength(e) {
		return c.number(e)
	}
	switch x := unparen(e).(type) {
	case *Name:
		return ir.KeyCount{}, true
	case *Call:
		return c.boundNumber(x)
	case *Binary:
		return c.lengthOperator(x)
	}
	return nil, c.notOfLength(e.Pos(), "a number that falls as the length grows", "falls with the length", fallingHelp)
}

// boundNumber lowers `min(a, b)` and `max(a, b)`.
func (c *checker) boundNumber(x *Call) (n ir.Number, ok bool) {
	if len(x.Args) < 2 {
		c.report(Diagnostic{Code: codeArgumentCount, Message: fmt.Sprintf("`%s` of numbers with %s, wanted 2 or more", x.Func.Name, plural(len(x.Args), "argument")),
			Primary: Label{x.Span, "wrong number of arguments"}, Help: fmt.Sprintf("write `%s(8k, sk / 16)`", x.Func.Name)})
		return nil, false
	}
	for i, a := range x.Args {
		y, good := c.lengthNumber(a)
		switch {
		case !good:
			return nil, false
		case i == 0:
			n = y
		default:
			n = ir.Operation{Op: boundOps[x.Func.Name], X: n, Y: y}
		}
	}
	return n, true
}

// lengthOps are the operators of numbers.
var lengthOps = map[string]ir.ExprOp{"+": ir.OpAdd, "-": ir.OpSub, "*": ir.OpMul, "/": ir.OpFloorDiv}

func (c *checker) lengthOperator(x *Binary) (ir.Number, bool) {
	op, known := lengthOps[x.Op.Name]
	if !known {
		return c.wantedNumber(x.Span, fmt.Sprintf("`%s` makes a set", x.Op.Name), false)
	}
	if by, literal := unparen(x.Y).(*Number); op == ir.OpFloorDiv && (!literal || isDecimal(by.Text) || by.Value < 1) {
		return nil, c.notOfLength(x.Y.Pos(), "a division by something else than a number from 1 up", "not a divisor", "divide by a literal: `sk / 16`")
	}
	l, okl := c.lengthNumber(x.X)
	r, okr := c.lengthNumber(x.Y)
	if !okl || !okr {
		return nil, false
	}
	n := ir.Operation{Op: op, X: l, Y: r}
	if op == ir.OpSub && ir.DependsOnLength(r) {
		return nil, c.notOfLength(x.Span, "a number that falls as the length grows", "falls with the length", fallingHelp)
	}
	return n, true
}

const fallingHelp = "a longer call may need no less memory, so that numbers only rise: write for example `min(4k, sk / 16)`"

// notOfLength reports what numbers cannot be made of; it returns false.
func (c *checker) notOfLength(s Span, found, label, help string) bool {
	c.report(Diagnostic{Code: codeOfLength, Message: "found " + found, Primary: Label{s, label}, Help: help})
	return false
}

// noDivision reports a division in a place where numbers have none.
func (c *checker) noDivision(x *Binary) (ir.Poly, bool) {
	return ir.Poly{}, c.notOfLength(x.Span, "a division in a place where no number has one", "not a number of members",
		"only the numbers of `top`, `with least` and `with most` have `sk`, `/`, `min` and `max`; compute others outside and pass them as a parameter")
}
