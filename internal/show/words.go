package show

import (
	"fmt"
	"strings"

	"github.com/minfc/minfc/dsl"
	"github.com/minfc/minfc/ir"
)

// Phrase is one set of the keep clause in words.
type Phrase struct {
	Depth int    `json:"depth"` // how many sets it lies in
	Text  string `json:"text"`
	Line  int    `json:"line"`   // of the source, from 1
	Col   int    `json:"column"` // in characters, from 1
}

// keeps says what the keep clause keeps, a set a line, sets that an operator joins below it, and what stands for the rest.
func (s *subject) keeps() []Phrase {
	var out []Phrase
	var walk func(n *node, depth int, before string)
	walk = func(n *node, depth int, before string) {
		line, col := dsl.Position(s.file.Src, n.span.Start)
		out = append(out, Phrase{depth, before + s.phrase(n.set), line, col})
		for i, p := range n.parts {
			word := ""
			if _, is := n.set.(ir.Minus); is && i == 1 {
				word = "without "
			}
			walk(p, depth+1, word)
		}
	}
	walk(s.keep, 0, "")
	if pool := s.pattern.Pool; pool != 0 {
		text := fmt.Sprintf("and for other keys means of %d, one for each pool of so many that lies before the block of 64 queries", pool)
		out = append(out, Phrase{0, text, out[0].Line, out[0].Col})
	}
	return out
}

// phrase is a set in words, an operator by what it asks of the sets below it.
func (s *subject) phrase(set ir.Set) string {
	switch x := set.(type) {
	case ir.All:
		return "every key"
	case ir.Causal:
		return "keys up to the query's own"
	case ir.Window:
		return s.window(x)
	case ir.Sink:
		return fmt.Sprintf("the first %s", s.things(x.N, "key"))
	case ir.Columns:
		return "keys at positions " + s.span(x.From, x.To, x.Step)
	case ir.Diagonals:
		return "keys at distances " + s.span(x.From, x.To, x.Step) + " before the query"
	case ir.Rows:
		return s.rows(x)
	case ir.Chosen:
		return fmt.Sprintf("the %s that data chooses as %s", x.Kind, x.Name)
	case ir.Union:
		return "any of:"
	case ir.Intersect:
		return "all of:"
	case ir.Minus:
		return "the first of these without the second:"
	}
	return ir.FormatSet(set)
}

// skips says what a kernel may leave out, nothing where the pattern has no skip.
func (s *subject) skips() string {
	if s.pattern.Skip == nil {
		return ""
	}
	share := s.value(s.pattern.Skip.Share)
	if share == 0 {
		return "nothing: the share is 0"
	}
	return fmt.Sprintf("tiles in which no pair weighs %g of the largest before it in its row; times count all of them",
		float64(share)/ir.SkipUnits)
}

func (s *subject) window(x ir.Window) string {
	text := fmt.Sprintf("the nearest %s, the query's own and before it", s.things(x.Left, "key"))
	if right := s.value(x.Right); right != 0 {
		text += fmt.Sprintf(", and the %s after it", s.things(x.Right, "key"))
	}
	return text
}

// span is a range in words, the end left out.
func (s *subject) span(from ir.Poly, to *ir.Poly, step ir.Poly) string {
	text := s.number(from) + " and up"
	if to != nil {
		text = fmt.Sprintf("%s to before %s", s.number(from), s.number(*to))
	}
	if s.value(step) != 1 {
		text += fmt.Sprintf(", every %s", s.ordinal(step))
	}
	return text
}

func (s *subject) ordinal(p ir.Poly) string {
	suffix := "th"
	if v := s.value(p); v%100/10 != 1 {
		switch v % 10 {
		case 1:
			suffix = "st"
		case 2:
			suffix = "nd"
		case 3:
			suffix = "rd"
		}
	}
	return fmt.Sprintf("%d%s%s", s.value(p), suffix, s.origin(p))
}

// rows says which queries keep all keys.
func (s *subject) rows(x ir.Rows) string {
	at := func(b ir.RowBound) string {
		if b.FromEnd {
			return s.number(ir.Int(0).Sub(b.Off)) + " before the end"
		}
		return s.number(b.Off)
	}
	if x.To == nil && x.From.FromEnd {
		return fmt.Sprintf("every key of the last %s", s.things(ir.Int(0).Sub(x.From.Off), "query"))
	}
	if x.To == nil {
		return fmt.Sprintf("every key of the queries at positions %s and up", at(x.From))
	}
	return fmt.Sprintf("every key of the queries at positions %s to before %s", at(x.From), at(*x.To))
}

// value is the value of a number of the pattern. load has checked that all have one.
func (s *subject) value(n ir.Number) int64 { return s.valueAt(n, s.n) }

// valueAt is a number of a call of so many keys.
func (s *subject) valueAt(n ir.Number, keys int) int64 {
	v, err := n.At(s.values, keys)
	if err != nil {
		return 0
	}
	return v
}

// number is a value, and the parameters that it comes from: "1024 (window)".
func (s *subject) number(p ir.Number) string { return fmt.Sprint(s.value(p)) + s.origin(p) }

func (s *subject) origin(p ir.Number) string {
	if _, constant := p.(ir.Poly); constant && len(p.Vars()) == 0 {
		return ""
	}
	return " (" + spelled(p) + ")"
}

// infix are the operations that the language writes between their numbers.
var infix = map[ir.ExprOp]string{ir.OpAdd: "+", ir.OpSub: "-", ir.OpMul: "*", ir.OpFloorDiv: "/"}

// spelled is a number as the language writes it: "min(8192, sk / 16)".
func spelled(n ir.Number) string {
	switch n := n.(type) {
	case ir.KeyCount:
		return "sk"
	case ir.Operation:
		if op, between := infix[n.Op]; between {
			return fmt.Sprintf("%s %s %s", inner(n.X), op, inner(n.Y))
		}
		word, _, _ := strings.Cut(n.String(), "(")
		return fmt.Sprintf("%s(%s, %s)", word, spelled(n.X), spelled(n.Y))
	}
	return n.String()
}

// inner is spelled, in parentheses where it stands beside an operator and has one of its own.
func inner(n ir.Number) string {
	_, sum := n.(ir.Poly) // of several terms, where it has spaces
	if o, is := n.(ir.Operation); is {
		_, sum = infix[o.Op]
	}
	if text := spelled(n); sum && strings.Contains(text, " ") {
		return "(" + text + ")"
	}
	return spelled(n)
}

// things are so many of a noun: "1024 keys (window)".
func (s *subject) things(p ir.Number, noun string) string {
	return countOf(s.value(p), noun) + s.origin(p)
}

// countOf is a number of a noun, which is in the plural unless the number is 1.
func countOf(n int64, noun string) string {
	if n != 1 {
		noun = plural(noun)
	}
	return fmt.Sprintf("%d %s", n, noun)
}

// plural is of the words that are counted here.
func plural(noun string) string {
	switch first, rest, more := strings.Cut(noun, " of "); {
	case more:
		return first + "s of " + rest
	case strings.HasSuffix(noun, "y") && noun != "key":
		return strings.TrimSuffix(noun, "y") + "ies"
	case strings.HasSuffix(noun, "ch"):
		return noun + "es"
	}
	return noun + "s"
}
