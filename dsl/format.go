package dsl

import (
	"bytes"
	"slices"
	"strings"
)

// maxWidth is the length in bytes from which a line is broken.
const maxWidth = 100

// Format writes a file that Parse accepted in the canonical layout. Comments stay where they are between the other
// tokens; of blank lines one is kept between clauses. Formatting the result again changes nothing.
//
// It works on tokens, not on the tree, so that no comment can get lost.
func Format(f *File) []byte {
	w := &formatter{ts: f.tokens, starts: itemStarts(f.tokens)}
	for i := range w.ts {
		w.token(i)
	}
	if w.b.Len() > 0 {
		w.b.WriteByte('\n')
	}
	return w.b.Bytes()
}

type formatter struct {
	b       bytes.Buffer
	ts      []token
	starts  []bool   // see itemStarts
	inBody  bool     // between { and }
	inHead  bool     // between pattern and {
	parens  int      // open parentheses
	wrapAt  []string // operators before which the current clause is broken
	wrapAll bool     // every parameter of the current head has a line of its own
	binary  bool     // the last token is an operator between two operands
}

// gap is what stands before a token.
type gap uint8

const (
	none gap = iota
	space
	newline
	blank // an empty line
)

func (w *formatter) token(i int) {
	t := w.ts[i]
	w.enter(i)
	switch g := w.gapBefore(i); {
	case i == 0 || g == none:
	case g == space:
		w.b.WriteByte(' ')
	case g == newline:
		w.b.WriteString("\n" + w.indent(i))
	default:
		w.b.WriteString("\n\n" + w.indent(i))
	}
	w.b.WriteString(t.Value)
	w.leave(i)
}

// enter updates the state that a token's own line break depends on.
func (w *formatter) enter(i int) {
	switch w.ts[i].Value {
	case "pattern":
		w.inHead, w.inBody, w.parens = true, false, 0
		w.wrapAll = w.headIsLong(i)
	case "keep", "let", "index", "skip":
		w.parens = 0
		w.wrapAt = w.breakAt(i)
	case "}":
		w.inBody, w.parens = false, 0
	case ")":
		w.parens--
	}
}

func (w *formatter) leave(i int) {
	switch w.ts[i].Value {
	case "{":
		w.inBody, w.inHead = true, false
	case "(":
		w.parens++
	}
	w.binary = isOperator(w.ts[i].Value) && w.afterOperand(i)
}

func (w *formatter) gapBefore(i int) gap {
	if i == 0 {
		return none
	}
	prev, t := w.ts[i-1], w.ts[i]
	lines := t.Pos.Line - prev.Pos.Line
	switch {
	case t.Type == kComment && lines == 0:
		return space
	case w.starts[i] && prev.Value != "{" && (lines > 1 || w.afterPattern(i)):
		return blank
	case t.Type == kComment, prev.Type == kComment, w.starts[i], prev.Value == "{", t.Value == "}":
		return newline
	case w.inHead && w.wrapAll && w.wrapsHead(prev, t):
		return newline
	case w.inBody && w.parens == 0 && slices.Contains(w.wrapAt, t.Value):
		return newline
	case w.spaced(prev, t, i):
		return space
	}
	return none
}

// itemStarts says for every token whether a pattern or clause begins there, or a comment before one or before the end of
// a body.
func itemStarts(ts []token) []bool {
	starts := make([]bool, len(ts))
	next := true
	for i := len(ts) - 1; i >= 0; i-- {
		v := ts[i].Value
		starts[i] = v == "pattern" || v == "keep" || v == "let" || v == "index" || v == "skip" || (ts[i].Type == kComment && next)
		next = starts[i] || v == "}"
	}
	return starts
}

// afterPattern says whether the token follows a pattern's end and the comment on that line, if there is one.
func (w *formatter) afterPattern(i int) bool {
	prev := w.ts[i-1]
	if prev.Type == kComment && i > 1 && w.ts[i-2].Pos.Line == prev.Pos.Line {
		prev = w.ts[i-2]
	}
	return prev.Value == "}"
}

func (w *formatter) wrapsHead(prev, t token) bool {
	return (w.parens == 1 && (prev.Value == "(" || prev.Value == ",")) || t.Value == ")"
}

// spaced says whether two tokens of one line are set apart.
func (w *formatter) spaced(prev, t token, i int) bool {
	switch {
	case prev.Value == "(" || t.Value == ")" || t.Value == ",":
		return false
	case prev.Value == "[" || t.Value == "[" || prev.Value == ":" || t.Value == ":" || t.Value == "]":
		return false
	case prev.Value == ",":
		return true
	case t.Value == "..":
		return false
	case prev.Value == "..":
		return t.Value == "step" && t.Type == kKeyword
	case isOperator(prev.Value):
		return w.binary
	case t.Value == "(":
		return prev.Type != kIdent && prev.Value != "skip"
	}
	return true
}

func isOperator(s string) bool { return len(s) == 1 && strings.Contains(`|&\+-*/`, s) }

// afterOperand tells a binary minus from a sign.
func (w *formatter) afterOperand(i int) bool {
	for i--; i >= 0; i-- {
		if w.ts[i].Type != kComment {
			return endsOperand(w.ts[i])
		}
	}
	return false
}

func (w *formatter) indent(i int) string {
	switch {
	case w.inBody && w.starts[i], w.inHead && w.ts[i].Value != ")" && w.ts[i].Value != "pattern":
		return "  "
	case w.inBody:
		return "    "
	}
	return ""
}

// headIsLong says whether the head of the pattern at i needs a line for each parameter.
func (w *formatter) headIsLong(i int) bool {
	width := 0
	for ; i < len(w.ts) && w.ts[i].Value != "{"; i++ {
		if w.ts[i].Type == kComment {
			return true
		}
		width += len(w.ts[i].Value) + 1
	}
	return width > maxWidth
}

// breakAt returns the operators before which the clause at i is broken: none if it is short, else the loosest it has, and `else`.
func (w *formatter) breakAt(i int) []string {
	width, depth, found := 0, 0, []string(nil)
	for n := i; n < len(w.ts) && w.ts[n].Value != "}" && (n == i || !w.starts[n]); n++ {
		switch v := w.ts[n].Value; {
		case w.ts[n].Type == kComment:
			continue
		case v == "(":
			depth++
		case v == ")":
			depth--
		case depth == 0 && v == "|":
			found = []string{"|"}
		case depth == 0 && v == "with":
			found = []string{"with"}
		case depth == 0 && (v == "&" || v == `\`) && found == nil:
			found = []string{"&", `\`}
		}
		width += len(w.ts[n].Value) + 1
	}
	if width <= maxWidth {
		return nil
	}
	return append(found, "else")
}
