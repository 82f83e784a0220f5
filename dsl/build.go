package dsl

import (
	"math"
	"strconv"
	"strings"
)

// Limits on the size of one expression. They keep every later walk over the tree within a small stack, whatever the input.
const (
	maxNesting = 64  // parentheses in parentheses
	maxDepth   = 256 // height of the tree: operators in a row
)

// builder turns the grammar's structs into the tree and notes where that tree is too high.
type builder struct{ tooDeep []Span }

func (b *builder) pattern(g *gPattern) *Pattern {
	p := &Pattern{Span: join(spanOf(g.Key), spanOf(g.Close)), Name: ident(g.Name), header: spanOf(g.Name).End}
	if g.CloseParams.Value != "" {
		p.header = spanOf(g.CloseParams).End
	}
	for _, x := range g.Params {
		p.Params = append(p.Params, b.param(x))
	}
	for _, x := range g.Clauses {
		p.Clauses = append(p.Clauses, b.clause(x))
	}
	return p
}

func (b *builder) param(g *gParam) *Param {
	p := &Param{Span: join(spanOf(g.Name), spanOf(g.Default)), Name: ident(g.Name), Default: number(g.Default)}
	if g.Const.Value != "" {
		p.Const, p.Span.Start = true, spanOf(g.Const).Start
	}
	return p
}

func (b *builder) clause(g *gClause) Clause {
	switch {
	case g.Index != nil:
		return b.index(g.Index)
	case g.Let != nil:
		x := b.whole(g.Let.Set)
		return &Let{join(spanOf(g.Let.Key), x.Pos()), ident(g.Let.Name), x}
	}
	if g.Skip != nil {
		return &Skip{join(spanOf(g.Skip.Key), spanOf(g.Skip.Close)), b.whole(g.Skip.Share)}
	}
	return b.keep(g.Keep)
}

func (b *builder) keep(g *gKeep) Clause {
	set := b.whole(g.Set)
	x := &Keep{Span: join(spanOf(g.Key), set.Pos()), Set: set}
	if g.Else == nil {
		return x
	}
	x.Else = &Else{Span: join(spanOf(g.Else.Key), spanOf(g.Else.Mean))}
	if of := g.Else.Keys; of != nil {
		x.Else.N, x.Else.Span = b.whole(of.N), join(x.Else.Span, spanOf(of.Close))
	}
	x.Span = join(x.Span, x.Else.Span)
	return x
}

func (b *builder) index(g *gIndex) Clause {
	v := b.whole(g.Value)
	x := &Index{Span: join(spanOf(g.Key), v.Pos()), Name: ident(g.Name), Value: v}
	if g.Group.Key.Value != "" {
		span := join(spanOf(g.Group.Key), spanOf(g.Group.End))
		x.Group, x.Span = &span, join(x.Span, span)
	}
	for _, w := range g.With {
		n := b.whole(w.N)
		x.With = append(x.With, With{join(spanOf(w.Key), n.Pos()), ident(w.End), n})
		x.Span = join(x.Span, n.Pos())
	}
	return x
}

// whole builds a clause's expression and checks its height.
func (b *builder) whole(g *gExpr) Expr {
	e, height := b.expr(g)
	if height > maxDepth {
		b.tooDeep = append(b.tooDeep, e.Pos())
	}
	return e
}

// The functions below return the height of the tree beside it.

func (b *builder) expr(g *gExpr) (Expr, int) {
	e, h := b.meet(g.First)
	for _, r := range g.Rest {
		y, hy := b.meet(r.X)
		e, h = binary(r.Op, e, y), 1+max(h, hy)
	}
	return e, h
}

func (b *builder) meet(g *gMeet) (Expr, int) {
	e, h := b.sum(g.First)
	for _, r := range g.Rest {
		y, hy := b.sum(r.X)
		e, h = binary(r.Op, e, y), 1+max(h, hy)
	}
	return e, h
}

func (b *builder) sum(g *gSum) (Expr, int) {
	e, h := b.product(g.First)
	for _, r := range g.Rest {
		y, hy := b.product(r.X)
		e, h = binary(r.Op, e, y), 1+max(h, hy)
	}
	return e, h
}

func (b *builder) product(g *gProduct) (Expr, int) {
	e, h := b.unary(g.First)
	for _, r := range g.Rest {
		y, hy := b.unary(r.X)
		e, h = binary(r.Op, e, y), 1+max(h, hy)
	}
	return e, h
}

func (b *builder) unary(g *gUnary) (Expr, int) {
	e, h := b.primary(g.X)
	for i := len(g.Minus) - 1; i >= 0; i-- {
		e, h = &Unary{join(spanOf(g.Minus[i]), e.Pos()), e}, h+1
	}
	return e, h
}

func (b *builder) primary(g *gPrimary) (Expr, int) {
	switch {
	case g.Number != nil:
		return number(*g.Number), 1
	case g.Name != nil:
		return b.name(g.Name)
	}
	e, h := b.expr(g.Paren.X)
	return &Paren{join(spanOf(g.Paren.Open), spanOf(g.Paren.Close)), e}, h + 1
}

func (b *builder) name(g *gName) (Expr, int) {
	switch {
	case g.Slice != nil:
		return b.slice(g)
	case g.Call == nil:
		return &Name{spanOf(g.Name), g.Name.Value}, 1
	}
	c := &Call{Span: join(spanOf(g.Name), spanOf(g.Call.Close)), Func: ident(g.Name)}
	height := 0
	for _, a := range g.Call.Args {
		e, h := b.arg(a)
		c.Args, height = append(c.Args, e), max(height, h)
	}
	return c, height + 1
}

func (b *builder) slice(g *gName) (Expr, int) {
	x := &Slice{Span: join(spanOf(g.Name), spanOf(g.Slice.Close)), Of: ident(g.Name)}
	height := 0
	for _, part := range []struct {
		from *gExpr
		to   *Expr
	}{{g.Slice.From, &x.From}, {g.Slice.To, &x.To}, {g.Slice.Step, &x.Step}} {
		if part.from != nil {
			e, h := b.expr(part.from)
			*part.to, height = e, max(height, h)
		}
	}
	return x, height + 1
}

func (b *builder) arg(g *gArg) (Expr, int) {
	switch {
	case g.Head != nil:
		return b.rangeOf(nil, 0, g.Head)
	case g.Range != nil:
		from, h := b.expr(g.From)
		return b.rangeOf(from, h, g.Range)
	}
	return b.expr(g.From)
}

func (b *builder) rangeOf(from Expr, height int, g *gRange) (Expr, int) {
	r := &Range{Span: spanOf(g.Dots), From: from}
	if from != nil {
		r.Span.Start = from.Pos().Start
	}
	h := 0
	if g.To != nil {
		r.To, h = b.expr(g.To)
		r.Span, height = join(r.Span, r.To.Pos()), max(height, h)
	}
	if g.Step != nil {
		r.Step, h = b.expr(g.Step.X)
		r.Span, height = join(r.Span, r.Step.Pos()), max(height, h)
	}
	return r, height + 1
}

func binary(op token, x, y Expr) Expr {
	return &Binary{join(x.Pos(), y.Pos()), ident(op), x, y}
}

func ident(t token) Ident { return Ident{spanOf(t), t.Value} }

func join(a, b Span) Span { return Span{a.Start, b.End} }

func number(t token) *Number {
	v, _ := literal(t.Value)
	return &Number{spanOf(t), t.Value, v}
}

// suffixes multiply a literal.
var suffixes = map[byte]int64{'k': 1 << 10, 'm': 1 << 20}

// literal is the value of a number as written, and whether it is well formed. Beyond 63 bits it stays at the largest value.
func literal(text string) (int64, bool) {
	digits, scale := text, int64(1)
	if s, ok := suffixes[text[len(text)-1]]; ok {
		digits, scale = text[:len(text)-1], s
	}
	if digits == "" || strings.Trim(digits, "0123456789") != "" {
		return -1, false
	}
	v, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || v > math.MaxInt64/scale {
		return math.MaxInt64, true
	}
	return v * scale, true
}

// isDecimal says whether a number is written with decimals, as in 0.95.
func isDecimal(text string) bool {
	whole, decimals, found := strings.Cut(text, ".")
	return found && whole != "" && decimals != "" && strings.Trim(whole+decimals, "0123456789") == ""
}

// fixed is a number, whole or with decimals, in units of 10^-places. It is -1 if there are more decimals that are not 0, and
// math.MaxInt64 beyond 63 bits.
func fixed(text string, places int) int64 {
	whole, decimals, _ := strings.Cut(text, ".")
	decimals = strings.TrimRight(decimals, "0")
	if len(decimals) > places {
		return -1
	}
	v, ok := literal(whole)
	if !ok {
		return -1
	}
	for range places {
		if v > math.MaxInt64/10 {
			return math.MaxInt64
		}
		v *= 10
	}
	d, _ := strconv.ParseInt(decimals+strings.Repeat("0", places-len(decimals)), 10, 64)
	return v + min(d, math.MaxInt64-v)
}
