// Package dsl reads the pattern language: it turns text into a syntax tree with source spans, checks names, types and
// values, and lowers every pattern to ir.Pattern. It knows neither tiles nor devices.
package dsl

import "github.com/minfc/minfc/ir"

// File is one source file.
type File struct {
	Name     string
	Src      []byte // without a byte order mark; spans count from its start
	Patterns []*Pattern
	Warnings Diagnostics // filled in by Load

	tokens []token         // everything but white space, for Format
	keeps  map[string]*Set // what each pattern keeps, by its name; filled in by Check
}

// Set is a set of a checked pattern where it is written. The parts are the sets that an operator joins, or what a named set stands for.
type Set struct {
	Span  Span
	Means ir.Set
	Parts []*Set
}

// KeptBy is the set that a pattern of the file keeps; nil of a pattern with errors.
func (f *File) KeptBy(pattern string) *Set { return f.keeps[pattern] }

// Span is a half-open range of byte offsets in File.Src.
type Span struct{ Start, End int }

// Pattern is `pattern Name(Params) { Clauses }`.
type Pattern struct {
	Span    Span
	Name    Ident
	Params  []*Param
	Clauses []Clause

	header int // the offset where the name and its parameters end
}

// Ident is a name where it is written.
type Ident struct {
	Span Span
	Name string
}

// Param is `Name = Default`, or `const Name = Default`.
type Param struct {
	Span    Span
	Const   bool
	Name    Ident
	Default *Number
}

// Clause is one statement of a pattern's body: *Index, *Let, *Keep or *Skip.
type Clause interface {
	clause()
	Pos() Span
}

type (
	// Index is `index Name = Value With...`; Group is the span of `shared by group` after the value, nil without it.
	Index struct {
		Span  Span
		Name  Ident
		Value Expr
		Group *Span
		With  []With
	}
	// Let is `let Name = Set`.
	Let struct {
		Span Span
		Name Ident
		Set  Expr
	}
	// Keep is `keep Set`, with Else or without.
	Keep struct {
		Span Span
		Set  Expr
		Else *Else
	}
	// Skip is `skip(Share)`.
	Skip struct {
		Span  Span
		Share Expr
	}
)

// Else is `else mean` or `else mean(N)`; N is nil where it is not written.
type Else struct {
	Span Span
	N    Expr
}

func (*Index) clause() {}
func (*Let) clause()   {}
func (*Keep) clause()  {}
func (*Skip) clause()  {}

// With is `with first N`, `with last N`, `with least N` or `with most N`; End is the word in the middle.
type With struct {
	Span Span
	End  Ident
	N    Expr
}

// Pos is the clause's span.
func (x *Index) Pos() Span { return x.Span }

// Pos is the clause's span.
func (x *Let) Pos() Span { return x.Span }

// Pos is the clause's span.
func (x *Keep) Pos() Span { return x.Span }

// Pos is the clause's span.
func (x *Skip) Pos() Span { return x.Span }

// Expr is an expression: *Number, *Name, *Call, *Unary, *Binary, *Paren, *Range or *Slice. Sets, numbers and values of the
// index stage share one syntax; the checker tells them apart, so that a mix-up gets a message about kinds and not about
// syntax.
type Expr interface {
	expr()
	Pos() Span
}

type (
	// Number is a literal; Text keeps its suffix. Value is math.MaxInt64 where the literal is larger, and -1 where it has
	// decimals or is malformed (then Parse returned an error).
	Number struct {
		Span  Span
		Text  string
		Value int64
	}
	// Name is a parameter, a named set or a set without arguments.
	Name struct {
		Span Span
		Name string
	}
	// Call is a set with arguments.
	Call struct {
		Span Span
		Func Ident
		Args []Expr
	}
	// Unary is -X.
	Unary struct {
		Span Span
		X    Expr
	}
	// Binary is X Op Y with Op one of | & \ + - *.
	Binary struct {
		Span Span
		Op   Ident
		X, Y Expr
	}
	// Paren is (X).
	Paren struct {
		Span Span
		X    Expr
	}
	// Range is From..To step Step; each of the three may be nil. It occurs as an argument only.
	Range struct {
		Span           Span
		From, To, Step Expr
	}
	// Slice is Of[From:To:Step]; each of the three may be nil. One colon is enough without a step.
	Slice struct {
		Span           Span
		Of             Ident
		From, To, Step Expr
	}
)

func (*Number) expr() {}
func (*Name) expr()   {}
func (*Call) expr()   {}
func (*Unary) expr()  {}
func (*Binary) expr() {}
func (*Paren) expr()  {}
func (*Range) expr()  {}
func (*Slice) expr()  {}

// Pos is the number's span.
func (x *Number) Pos() Span { return x.Span }

// Pos is the name's span.
func (x *Name) Pos() Span { return x.Span }

// Pos is the span from the set's name to the closing parenthesis.
func (x *Call) Pos() Span { return x.Span }

// Pos is the span from the sign to the end of the operand.
func (x *Unary) Pos() Span { return x.Span }

// Pos is the span of both operands.
func (x *Binary) Pos() Span { return x.Span }

// Pos is the span of the parentheses.
func (x *Paren) Pos() Span { return x.Span }

// Pos is the span from the first part that is there to the last.
func (x *Range) Pos() Span { return x.Span }

// Pos is the span from the name to the closing bracket.
func (x *Slice) Pos() Span { return x.Span }
