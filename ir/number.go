package ir

import (
	"fmt"
	"slices"
	"strings"
)

// Number is how many members a choice has, at least or at most: a Poly, or the KeyCount and an Operation, with which it depends on the
// length of a call.
type Number interface {
	// At is the value for a launch with so many keys that count: min(Sk, QOffset+Sq).
	At(values map[string]int64, keys int) (int64, error)
	// Vars are the parameters in it.
	Vars() []string
	String() string

	mapped(f func(Poly) Poly) Number
	expr(keys Expr) Expr
	keyed() bool // whether it depends on the length
}

// KeyCount is the number of keys that count, min(Sk, QOffset+Sq).
type KeyCount struct{}

// Operation is a number made of two: OpAdd, OpSub, OpMul, OpFloorDiv, OpMin or OpMax. Each of its parts, and the result, counts things:
// what is below 0 is 0, and what is beyond MaxParam is MaxParam, which is larger than any length. A divisor is a constant of at least 1,
// and what is subtracted does not depend on the length: no number falls as the length grows, so that a longer call needs no less memory.
type Operation struct {
	Op   ExprOp
	X, Y Number
}

// numberWords are the operations in the text form: "min(4096, floordiv(keys(), 16))".
var numberWords = map[ExprOp]string{OpAdd: "plus", OpSub: "minus", OpMul: "times", OpFloorDiv: "floordiv", OpMin: "min", OpMax: "max"}

const keysWord = "keys"

// At is Eval: a polynomial does not depend on the length.
func (p Poly) At(values map[string]int64, _ int) (int64, error) { return p.Eval(values) }

func (p Poly) mapped(f func(Poly) Poly) Number { return f(p) }
func (p Poly) expr(Expr) Expr                  { return PolyExpr(p) }
func (p Poly) keyed() bool                     { return false }

// At is the number of keys.
func (KeyCount) At(_ map[string]int64, keys int) (int64, error) { return int64(keys), nil }

// Vars are none.
func (KeyCount) Vars() []string { return nil }

func (KeyCount) String() string                  { return keysWord + "()" }
func (k KeyCount) mapped(func(Poly) Poly) Number { return k }
func (KeyCount) expr(keys Expr) Expr             { return keys }
func (KeyCount) keyed() bool                     { return true }

// At has no error: numbers that do not fit are as large as numbers get.
func (o Operation) At(values map[string]int64, keys int) (int64, error) {
	env := Env{"x": counted(o.X, values, keys), "y": counted(o.Y, values, keys)}
	return Call(OpCount, Call(o.Op, Name("x"), Name("y"))).Eval(env)
}

// counted is a number as a number of things.
func counted(n Number, values map[string]int64, keys int) int64 {
	v, err := n.At(values, keys)
	if err != nil {
		return MaxParam
	}
	return min(max(v, 0), MaxParam)
}

// Vars are the parameters of both parts, sorted.
func (o Operation) Vars() []string {
	out := slices.Concat(o.X.Vars(), o.Y.Vars())
	slices.Sort(out)
	return slices.Compact(out)
}

func (o Operation) String() string {
	return fmt.Sprintf("%s(%s, %s)", wordOfOp(o.Op), o.X, o.Y)
}

func wordOfOp(op ExprOp) string {
	if w, ok := numberWords[op]; ok {
		return w
	}
	return fmt.Sprintf("unknown(%d)", op)
}

func (o Operation) mapped(f func(Poly) Poly) Number {
	return Operation{o.Op, mapNumber(o.X, f), mapNumber(o.Y, f)}
}

// mapNumber is a number with every polynomial replaced by f of it; nil, no number, stays.
func mapNumber(n Number, f func(Poly) Poly) Number {
	if n == nil {
		return nil
	}
	return n.mapped(f)
}

func (o Operation) expr(keys Expr) Expr {
	return Call(OpCount, Call(o.Op, Call(OpCount, o.X.expr(keys)), Call(OpCount, o.Y.expr(keys))))
}

func (o Operation) keyed() bool { return o.X.keyed() || o.Y.keyed() }

// NumberExpr is a number as an expression of a program, given the expression of the keys that count.
func NumberExpr(n Number, keys Expr) Expr { return n.expr(keys) }

// DependsOnLength says whether a number does; nil, no number, does not.
func DependsOnLength(n Number) bool { return n != nil && n.keyed() }

// DependsOnLength says whether a number of the choice does.
func (x Select) DependsOnLength() bool {
	return slices.ContainsFunc([]Number{x.N, x.Least, x.Most}, DependsOnLength)
}

// verifyNumber checks the form of a number; its polynomials are checked elsewhere.
func verifyNumber(n Number) error {
	o, is := n.(Operation)
	if !is {
		return nil
	}
	if o.X == nil || o.Y == nil {
		return fmt.Errorf("%s has a part that is missing", wordOfOp(o.Op))
	}
	for _, part := range []Number{o.X, o.Y} {
		if err := verifyNumber(part); err != nil {
			return err
		}
	}
	switch _, known := numberWords[o.Op]; {
	case !known:
		return fmt.Errorf("unknown operation %d of a number", o.Op)
	case o.Op == OpSub && o.Y.keyed():
		return fmt.Errorf("%s falls as the length grows", o)
	case o.Op == OpFloorDiv:
		by, poly := o.Y.(Poly)
		if v, constant := by.Const(); !poly || !constant || v < 1 {
			return fmt.Errorf("%s divides by %s, want a constant of at least 1", o, o.Y)
		}
	}
	return nil
}

// leaves are the polynomials in a number.
func leaves(n Number) (out []Poly) {
	n.mapped(func(p Poly) Poly {
		out = append(out, p)
		return p
	})
	return out
}

// count reads what String writes: a polynomial, or a word with its parts in parentheses.
func (c *cursor) count() Number {
	if len(c.words) < 2 || c.words[1] != "(" {
		return c.poly()
	}
	word := c.next()
	c.expect("(")
	if word == keysWord {
		c.expect(")")
		return KeyCount{}
	}
	for op, w := range numberWords {
		if w == word {
			o := Operation{Op: op, X: c.count()}
			c.expect(",")
			o.Y = c.count()
			c.expect(")")
			return o
		}
	}
	var words []string
	for _, w := range numberWords {
		words = append(words, w)
	}
	slices.Sort(words)
	c.fail("found %s, want %s or %s", found(word), keysWord, strings.Join(words, " or "))
	return Poly{}
}
