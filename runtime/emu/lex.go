package emu

import (
	"fmt"
	"strings"
)

type tokenKind uint8

const (
	tokEOF    tokenKind = iota
	tokWord             // opcodes, names, directives: letters, digits, _ $ % . and ::
	tokNumber           // starts with a digit
	tokPunct            // one character
	tokString
)

type token struct {
	kind       tokenKind
	text       string
	line       int
	start, end int // byte range in the source
}

// lex splits PTX text into tokens, without comments.
func lex(src string) ([]token, error) {
	out := make([]token, 0, len(src)/4) // of what the compiler emits, fewer characters make a token only in long lists
	line := 1
	for i := 0; i < len(src); {
		c := src[i]
		switch {
		case c == '\n':
			line++
			i++
		case c == ' ' || c == '\t' || c == '\r':
			i++
		case strings.HasPrefix(src[i:], "//"):
			i = skipLine(src, i)
		case strings.HasPrefix(src[i:], "/*"):
			n := strings.Index(src[i+2:], "*/")
			if n < 0 {
				return nil, fmt.Errorf("line %d: the comment that starts here has no end", line)
			}
			line += strings.Count(src[i:i+n+4], "\n")
			i += n + 4
		default:
			t, err := lexToken(src, i, line)
			if err != nil {
				return nil, err
			}
			out = append(out, t)
			i = t.end
		}
	}
	return append(out, token{kind: tokEOF, text: "end of file", line: line, start: len(src), end: len(src)}), nil
}

func skipLine(src string, i int) int {
	n := strings.IndexByte(src[i:], '\n')
	if n < 0 {
		return len(src)
	}
	return i + n
}

func lexToken(src string, i, line int) (token, error) {
	c := src[i]
	t := token{line: line, start: i}
	switch {
	case c >= '0' && c <= '9':
		t.kind, t.end = tokNumber, numberEnd(src, i)
	case isWordStart(c):
		t.kind, t.end = tokWord, wordEnd(src, i)
	case c == '"':
		n := strings.IndexAny(src[i+1:], "\"\n")
		if n < 0 || src[i+1+n] == '\n' {
			return t, fmt.Errorf("line %d: the string that starts here has no end", line)
		}
		t.kind, t.end = tokString, i+n+2
	case strings.IndexByte(",;:{}[]()<>+-!@|=*/&", c) >= 0:
		t.kind, t.end = tokPunct, i+1
	default:
		return t, fmt.Errorf("line %d: found the character %q, which PTX does not use", line, c)
	}
	t.text = src[i:t.end]
	return t, nil
}

func isWordStart(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_' || c == '$' || c == '%' || c == '.'
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

// wordEnd takes `::` into the word (cp.async...L2::128B) but leaves the single colon of a label.
func wordEnd(src string, i int) int {
	for i < len(src) {
		switch {
		case isWordStart(src[i]) || isDigit(src[i]):
			i++
		case strings.HasPrefix(src[i:], "::"):
			i += 2
		default:
			return i
		}
	}
	return i
}

// numberEnd takes the sign of a decimal exponent into the number (1.5e-3), but not after 0x or 0f.
func numberEnd(src string, start int) int {
	hex := start+1 < len(src) && src[start] == '0' && strings.IndexByte("xXfFdDbB", src[start+1]) >= 0
	i := start
	for i < len(src) {
		c := src[i]
		switch {
		case isDigit(c) || isWordStart(c) && c != '%' && c != '$':
			i++
		case (c == '-' || c == '+') && !hex && i > start && (src[i-1] == 'e' || src[i-1] == 'E'):
			i++
		default:
			return i
		}
	}
	return i
}
