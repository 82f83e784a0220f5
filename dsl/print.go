package dsl

import (
	"fmt"
	"strings"
)

// PrintAST writes the tree of a file, one node a line with its span as line:column-line:column.
func PrintAST(f *File) string {
	return printTree(f, true)
}

func printTree(f *File, spans bool) string {
	p := &astPrinter{lines: newLineMap(f.Src), spans: spans}
	for _, x := range f.Patterns {
		p.line(0, x.Span, "pattern "+x.Name.Name)
		for _, y := range x.Params {
			p.param(y)
		}
		for _, y := range x.Clauses {
			p.clause(y)
		}
	}
	return p.b.String()
}

type astPrinter struct {
	b     strings.Builder
	lines lineMap
	spans bool
}

func (p *astPrinter) line(depth int, s Span, text string) {
	p.b.WriteString(strings.Repeat("  ", depth) + text)
	if p.spans {
		l, c := p.lines.position(s.Start)
		l2, c2 := p.lines.position(s.End)
		fmt.Fprintf(&p.b, "  @%d:%d-%d:%d", l, c, l2, c2)
	}
	p.b.WriteByte('\n')
}

func (p *astPrinter) param(x *Param) {
	kind := "param "
	if x.Const {
		kind = "const param "
	}
	p.line(1, x.Span, kind+x.Name.Name+" = "+x.Default.Text)
}

func (p *astPrinter) clause(x Clause) {
	switch x := x.(type) {
	case *Index:
		p.line(1, x.Span, "index "+x.Name.Name)
		p.expr(2, "", x.Value)
		if x.Group != nil {
			p.line(2, *x.Group, "shared by group")
		}
		for _, w := range x.With {
			p.line(2, w.Span, "with "+w.End.Name)
			p.expr(3, "", w.N)
		}
	case *Let:
		p.line(1, x.Span, "let "+x.Name.Name)
		p.expr(2, "", x.Set)
	case *Keep:
		p.line(1, x.Span, "keep")
		p.expr(2, "", x.Set)
		if x.Else != nil {
			p.line(2, x.Else.Span, "else mean")
			p.optional(3, "", x.Else.N)
		}
	case *Skip:
		p.line(1, x.Span, "skip")
		p.expr(2, "", x.Share)
	default:
		p.line(1, x.Pos(), fmt.Sprintf("internal: unexpected %T", x))
	}
}

func (p *astPrinter) expr(depth int, role string, e Expr) {
	switch x := e.(type) {
	case *Number:
		p.line(depth, x.Span, role+"number "+x.Text)
	case *Name:
		p.line(depth, x.Span, role+"name "+x.Name)
	case *Call:
		p.line(depth, x.Span, role+"call "+x.Func.Name)
		for _, a := range x.Args {
			p.expr(depth+1, "", a)
		}
	case *Unary:
		p.line(depth, x.Span, role+"negate")
		p.expr(depth+1, "", x.X)
	case *Binary:
		p.line(depth, x.Span, role+"binary "+x.Op.Name)
		p.expr(depth+1, "", x.X)
		p.expr(depth+1, "", x.Y)
	case *Paren:
		p.line(depth, x.Span, role+"paren")
		p.expr(depth+1, "", x.X)
	case *Range:
		p.line(depth, x.Span, role+"range")
		p.optional(depth+1, "from ", x.From)
		p.optional(depth+1, "to ", x.To)
		p.optional(depth+1, "step ", x.Step)
	case *Slice:
		p.line(depth, x.Span, role+"slice of "+x.Of.Name)
		p.optional(depth+1, "from ", x.From)
		p.optional(depth+1, "to ", x.To)
		p.optional(depth+1, "step ", x.Step)
	default:
		p.line(depth, e.Pos(), fmt.Sprintf("internal: unexpected %T", e))
	}
}

func (p *astPrinter) optional(depth int, role string, e Expr) {
	if e != nil {
		p.expr(depth, role, e)
	}
}
