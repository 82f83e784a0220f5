package ir

import (
	"fmt"
	"math"
	"math/bits"
	"strconv"
	"strings"
)

// Expr is an integer expression over the numbers of a launch: lengths, heads, strides, parameters and the values that a program
// defines from them. Unlike a Poly it has no canonical form and divides; it is evaluated once a launch, never proved about. Sums and
// products are 64-bit, and one that does not fit is an error.
type Expr struct {
	Op    ExprOp
	Const int64  // of OpConst
	Name  string // of OpName
	Args  []Expr // of all others
}

// ExprOp is what an expression does.
type ExprOp uint8

// The operations. Divisors are above 0.
const (
	OpConst ExprOp = iota
	OpName
	OpAdd
	OpSub
	OpMul
	OpCeilDiv  // a / b, rounded up
	OpFloorDiv // a / b, rounded down
	OpMin
	OpMax
	OpAtLeast // 1 if a >= b, else 0
	OpPick    // b if a is not 0, else c
	OpCount   // a as a number of things: 0 to MaxParam; MaxParam also where a does not fit
	OpBitLen  // binary digits of a, which is at least 0
)

// exprFunctions are the operations that are written as calls.
var exprFunctions = map[ExprOp]struct {
	word string
	args int
}{
	OpCeilDiv: {"ceildiv", 2}, OpFloorDiv: {"floordiv", 2}, OpMin: {"min", 2}, OpMax: {"max", 2},
	OpAtLeast: {"atleast", 2}, OpPick: {"pick", 3}, OpCount: {"count", 1}, OpBitLen: {"bitlen", 1},
}

// N is a constant.
func N(v int64) Expr { return Expr{Op: OpConst, Const: v} }

// Name is the value of a name.
func Name(name string) Expr { return Expr{Op: OpName, Name: name} }

// Call is an operation that is written as a call, on arguments.
func Call(op ExprOp, args ...Expr) Expr { return Expr{Op: op, Args: args} }

// Plus returns e + o, without terms that are 0.
func (e Expr) Plus(o Expr) Expr {
	switch {
	case e.is(0):
		return o
	case o.is(0):
		return e
	}
	return Call(OpAdd, e, o)
}

// Minus returns e - o.
func (e Expr) Minus(o Expr) Expr {
	if o.is(0) {
		return e
	}
	return Call(OpSub, e, o)
}

// Times returns e * o, without factors that are 1.
func (e Expr) Times(o Expr) Expr {
	switch {
	case e.is(1) || o.is(0):
		return o
	case o.is(1) || e.is(0):
		return e
	}
	return Call(OpMul, e, o)
}

// Over returns e / n, rounded up.
func (e Expr) Over(n int64) Expr {
	if n == 1 {
		return e
	}
	return Call(OpCeilDiv, e, N(n))
}

func (e Expr) is(v int64) bool { return e.Op == OpConst && e.Const == v }

// PolyExpr is a polynomial as an expression, in which a parameter has the name that kernels know it by.
func PolyExpr(p Poly) Expr {
	sum := N(0)
	p.Terms(func(coef int64, vars []string) {
		product := N(max(coef, -coef))
		for _, v := range vars {
			product = product.Times(Name(ParamName(v)))
		}
		if coef < 0 {
			sum = sum.Minus(product)
		} else {
			sum = sum.Plus(product)
		}
	})
	return sum
}

// ParamName is the name of a pattern's parameter in programs and kernels, where it stands among names of other things.
func ParamName(name string) string { return "p_" + name }

// Names calls f for every name in e.
func (e Expr) Names(f func(name string)) {
	if e.Op == OpName {
		f(e.Name)
	}
	for _, a := range e.Args {
		a.Names(f)
	}
}

// Env holds the values of names.
type Env map[string]int64

// Eval computes e. Errors say which name or which operation has no value.
func (e Expr) Eval(env Env) (int64, error) {
	switch e.Op {
	case OpConst:
		return e.Const, nil
	case OpName:
		v, known := env[e.Name]
		if !known {
			return 0, fmt.Errorf("%s has no value here", e.Name)
		}
		return v, nil
	case OpCount:
		return e.Args[0].count(env)
	case OpPick:
		c, err := e.Args[0].Eval(env)
		if err != nil {
			return 0, err
		}
		if c != 0 {
			return e.Args[1].Eval(env)
		}
		return e.Args[2].Eval(env)
	}
	var v [2]int64
	for i, a := range e.Args {
		var err error
		if v[i], err = a.Eval(env); err != nil {
			return 0, err
		}
	}
	return e.apply(v[0], v[1])
}

// overflowError is the error of a number that has no place in 64 bits.
type overflowError struct{ e Expr }

func (o overflowError) Error() string { return fmt.Sprintf("%s does not fit 64 bits", o.e) }

// count clips the value of e to numbers of things.
func (e Expr) count(env Env) (int64, error) {
	v, err := e.Eval(env)
	if _, large := err.(overflowError); large {
		return MaxParam, nil
	}
	return min(max(v, 0), MaxParam), err
}

func (e Expr) apply(a, b int64) (int64, error) {
	switch e.Op {
	case OpAdd, OpSub:
		if e.Op == OpSub && b == math.MinInt64 {
			return 0, overflowError{e}
		}
		if e.Op == OpSub {
			b = -b
		}
		if sum := a + b; (sum > a) == (b > 0) {
			return sum, nil
		}
		return 0, overflowError{e}
	case OpMul:
		if product := a * b; a == 0 || product/a == b && !(a == -1 && b == -b && b != 0) {
			return product, nil
		}
		return 0, overflowError{e}
	case OpCeilDiv, OpFloorDiv:
		return e.divide(a, b)
	case OpMin:
		return min(a, b), nil
	case OpMax:
		return max(a, b), nil
	case OpAtLeast:
		if a >= b {
			return 1, nil
		}
		return 0, nil
	case OpBitLen:
		return int64(bits.Len64(uint64(max(a, 0)))), nil
	}
	return 0, fmt.Errorf("unknown operation %d", e.Op)
}

func (e Expr) divide(a, b int64) (int64, error) {
	if b <= 0 {
		return 0, fmt.Errorf("%s divides by %d, want a divisor above 0", e, b)
	}
	q, rest := a/b, a%b
	switch {
	case e.Op == OpFloorDiv && rest < 0:
		q--
	case e.Op == OpCeilDiv && rest > 0:
		q++
	}
	return q, nil
}

// String writes e as ParseExpr reads it: "batch*q_heads + ceildiv(sq, 64)".
func (e Expr) String() string {
	switch e.Op {
	case OpConst:
		return strconv.FormatInt(e.Const, 10)
	case OpName:
		return e.Name
	case OpAdd, OpSub:
		sign := " + "
		if e.Op == OpSub {
			sign = " - "
		}
		return e.Args[0].String() + sign + e.Args[1].inside(OpAdd, OpSub)
	case OpMul:
		return e.Args[0].inside(OpAdd, OpSub) + "*" + e.Args[1].inside(OpAdd, OpSub, OpMul)
	}
	f, known := exprFunctions[e.Op]
	if !known {
		return fmt.Sprintf("operation(%d)", e.Op)
	}
	return f.word + "(" + joinExprs(e.Args) + ")"
}

// inside writes an operand, in parentheses if it is one of these operations.
func (e Expr) inside(ops ...ExprOp) string {
	for _, op := range ops {
		if e.Op == op {
			return "(" + e.String() + ")"
		}
	}
	return e.String()
}

func joinExprs(list []Expr) string {
	var parts []string
	for _, e := range list {
		parts = append(parts, e.String())
	}
	return strings.Join(parts, ", ")
}

// ParseExpr reads what String wrote.
func ParseExpr(text string) (Expr, error) {
	words, err := splitWords(text)
	if err != nil {
		return Expr{}, err
	}
	c := &cursor{number: 1, words: words}
	e := c.expr()
	return e, c.end()
}

// MarshalText is String.
func (e Expr) MarshalText() ([]byte, error) { return []byte(e.String()), nil }

// UnmarshalText is ParseExpr.
func (e *Expr) UnmarshalText(text []byte) (err error) {
	*e, err = ParseExpr(string(text))
	return err
}

// expr reads a sum of products; it ends before the first word that cannot go on.
func (c *cursor) expr() Expr {
	if c.deeper(); c.err != nil {
		return Expr{}
	}
	defer func() { c.depth-- }()
	sum := c.exprProduct()
	for {
		switch {
		case c.accept("+"):
			sum = Call(OpAdd, sum, c.exprProduct())
		case c.accept("-"):
			sum = Call(OpSub, sum, c.exprProduct())
		default:
			return sum
		}
	}
}

// deeper keeps nested expressions from growing without end.
func (c *cursor) deeper() {
	if c.depth++; c.depth > maxDepth {
		c.fail("expressions are nested more than %d deep", maxDepth)
	}
}

func (c *cursor) exprProduct() Expr {
	product := c.exprFactor()
	for c.accept("*") {
		product = Call(OpMul, product, c.exprFactor())
	}
	return product
}

func (c *cursor) exprFactor() Expr {
	switch {
	case c.accept("("):
		e := c.expr()
		c.expect(")")
		return e
	case !isName(c.peek()):
		return N(c.signed())
	}
	word := c.next()
	if !c.accept("(") {
		return Name(word)
	}
	for op, f := range exprFunctions {
		if f.word == word {
			return Call(op, c.exprArgs(f.args)...)
		}
	}
	c.fail("found %q, want a function of expressions", word)
	return Expr{}
}

// exprArgs reads n arguments and the parenthesis behind them.
func (c *cursor) exprArgs(n int) []Expr {
	args := []Expr{c.expr()}
	for len(args) < n {
		c.expect(",")
		args = append(args, c.expr())
	}
	c.expect(")")
	return args
}
