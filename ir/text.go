package ir

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Both text forms are trees of lines: one thing a line, children indented by two more spaces. node is such a line
// split into words. A word is a name, a number, a quoted string or an operator.
type node struct {
	number int // line number, from 1
	words  []string
	kids   []*node
}

// Limits that keep hostile text cheap.
const (
	maxDepth = 200
	maxWords = 1024 // in one line
	maxLines = 1 << 16
)

// lineError is an error at a line of a text form.
func lineError(number int, format string, args ...any) error {
	return fmt.Errorf("line %d: "+format, append([]any{number}, args...)...)
}

// readTree splits text into its single root line and the lines below it.
func readTree(text string) (*node, error) {
	lines := strings.Split(text, "\n")
	if len(lines) > maxLines {
		return nil, lineError(maxLines, "the text is too long, want at most %d lines", maxLines)
	}
	stack := []*node{{}}
	for i, raw := range lines {
		if strings.TrimSpace(raw) == "" {
			continue
		}
		body := strings.TrimLeft(raw, " ")
		indent := len(raw) - len(body)
		depth := indent / 2
		if indent%2 != 0 || depth >= len(stack) || depth > maxDepth {
			return nil, lineError(i+1, "indented by %d spaces, want at most %d, in steps of two", indent, 2*min(len(stack)-1, maxDepth))
		}
		words, err := splitWords(body)
		if err != nil {
			return nil, lineError(i+1, "%w", err)
		}
		n := &node{number: i + 1, words: words}
		stack = stack[:depth+1]
		stack[depth].kids = append(stack[depth].kids, n)
		stack = append(stack, n)
	}
	if len(stack[0].kids) != 1 {
		return nil, fmt.Errorf("found %d definitions in the text, want one", len(stack[0].kids))
	}
	return stack[0].kids[0], nil
}

// splitWords cuts one line into words.
func splitWords(s string) ([]string, error) {
	var out []string
	for {
		s = strings.TrimLeft(s, " ")
		if s == "" {
			return out, nil
		}
		n := wordLen(s)
		if n == 0 {
			return nil, fmt.Errorf("found %.20q, want a name, a number or an operator", s)
		}
		if len(out) == maxWords {
			return nil, fmt.Errorf("the line is too long, want at most %d words", maxWords)
		}
		out, s = append(out, s[:n]), s[n:]
	}
}

// wordLen is the length of the word s begins with, 0 if there is none.
func wordLen(s string) int {
	switch {
	case s[0] == '"':
		quoted, err := strconv.QuotedPrefix(s)
		if err != nil {
			return 0
		}
		return len(quoted)
	case isDigit(s[0]):
		return spanLen(s, isDigit)
	case isLetter(s[0]):
		return spanLen(s, func(c byte) bool { return isLetter(c) || isDigit(c) })
	case strings.HasPrefix(s, "!=") || strings.HasPrefix(s, ">="):
		return 2
	case strings.IndexByte("+-*=(),./", s[0]) >= 0:
		return 1
	}
	return 0
}

func spanLen(s string, in func(byte) bool) int {
	for i := range len(s) {
		if !in(s[i]) {
			return i
		}
	}
	return len(s)
}

func isDigit(c byte) bool  { return '0' <= c && c <= '9' }
func isLetter(c byte) bool { return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || c == '_' }

// isName says whether s can name a pattern or a parameter.
func isName(s string) bool { return s != "" && isLetter(s[0]) && wordLen(s) == len(s) }

// cursor reads the words of one line. The first error stays, so that readers need no error plumbing.
type cursor struct {
	number int
	words  []string
	err    error
	depth  int // of the expression that is being read
}

func (n *node) cursor() *cursor { return &cursor{number: n.number, words: n.words} }

func (c *cursor) fail(format string, args ...any) {
	if c.err == nil {
		c.err = lineError(c.number, format, args...)
	}
}

// peek is the next word, "" at the end of the line or after an error.
func (c *cursor) peek() string {
	if c.err != nil || len(c.words) == 0 {
		return ""
	}
	return c.words[0]
}

func (c *cursor) next() string {
	w := c.peek()
	if w != "" {
		c.words = c.words[1:]
	}
	return w
}

// accept takes the next words if they are these.
func (c *cursor) accept(words ...string) bool {
	if c.err != nil || len(c.words) < len(words) || !slices.Equal(c.words[:len(words)], words) {
		return false
	}
	c.words = c.words[len(words):]
	return true
}

func (c *cursor) expect(words ...string) {
	if !c.accept(words...) {
		c.fail("found %s, want %q", found(c.peek()), strings.Join(words, " "))
	}
}

func found(word string) string {
	if word == "" {
		return "the end of the line"
	}
	return strconv.Quote(word)
}

func (c *cursor) name() string {
	if !isName(c.peek()) {
		c.fail("found %s, want a name", found(c.peek()))
	}
	return c.next()
}

// integer reads a number without sign, at most coefLimit.
func (c *cursor) integer() int64 {
	w := c.next()
	v, err := strconv.ParseInt(w, 10, 64)
	if err != nil || v > coefLimit || !isDigit(w[0]) {
		c.fail("found %s, want a number of at most %d", found(w), int64(coefLimit))
		return 0
	}
	return v
}

// signed reads a number that may have a minus sign.
func (c *cursor) signed() int64 {
	if c.accept("-") {
		return -c.integer()
	}
	return c.integer()
}

func (c *cursor) quoted() string {
	s, err := strconv.Unquote(c.peek())
	if err != nil {
		c.fail("found %s, want a text in quotes", found(c.peek()))
	}
	c.next()
	return s
}

// poly reads a sum of products, as Poly.String writes it; it ends before the first word that cannot go on.
func (c *cursor) poly() Poly {
	sum, minus := Poly{}, c.accept("-")
	for c.err == nil {
		t := c.product()
		if minus {
			t = t.Mul(Int(-1))
		}
		sum = sum.Add(t)
		minus = c.accept("-")
		if !minus && !c.accept("+") {
			break
		}
	}
	return sum
}

func (c *cursor) product() Poly {
	p := c.factor()
	for n := 1; c.accept("*"); n++ {
		if n > maxDegree {
			c.fail("more than %d factors in one product", maxDegree+1)
			return Poly{}
		}
		p = p.Mul(c.factor())
	}
	return p
}

func (c *cursor) factor() Poly {
	if isName(c.peek()) {
		return Var(c.next())
	}
	return Int(c.integer())
}

// end reports words left over.
func (c *cursor) end() error {
	if w := c.peek(); w != "" {
		c.fail("found %q after the end of what is meant here", w)
	}
	return c.err
}

// leaf ends a line that has no lines below it.
func (c *cursor) leaf(n *node) error {
	if err := c.end(); err != nil {
		return err
	}
	if len(n.kids) > 0 {
		return lineError(n.kids[0].number, "nothing can stand below %q", strings.Join(n.words, " "))
	}
	return nil
}
