package dsl

import (
	"bytes"
	"fmt"
	"slices"
	"unicode/utf8"

	"github.com/alecthomas/participle/v2/lexer"

	"github.com/minfc/minfc/ir"
)

// byteOrderMark may stand at the start of a file and means nothing.
var byteOrderMark = []byte("\ufeff")

// Parse reads a file. On bad syntax the error is an *Error that holds one diagnostic for every pattern that could not be
// read, and the file, never nil, holds the patterns that could.
func Parse(file string, src []byte) (*File, error) {
	f, ds := parse(file, src)
	if len(ds) > 0 {
		return f, &Error{file, f.Src, ds}
	}
	return f, nil
}

func parse(file string, src []byte) (*File, Diagnostics) {
	src = bytes.TrimPrefix(src, byteOrderMark)
	f := &File{Name: file, Src: src}
	if d, bad := notUTF8(src); bad {
		return f, Diagnostics{d}
	}
	tokens, err := tokenize(src)
	if err != nil {
		// The rules match any character, so the lexer has no reason to fail.
		return f, Diagnostics{{Code: codeBadCharacter, Message: "internal: " + err.Error()}}
	}
	f.tokens = tokens
	p := &fileParser{file: f, ds: badTokens(tokens)}
	for _, t := range tokens {
		if t.Type == kUnknown {
			p.unknown = append(p.unknown, t.Pos.Offset)
		}
	}
	p.run(significant(tokens))
	p.ds.Sort()
	return f, p.ds
}

// notUTF8 finds the first byte that is not UTF-8.
func notUTF8(src []byte) (Diagnostic, bool) {
	for i := 0; i < len(src); {
		r, n := utf8.DecodeRune(src[i:])
		if r == utf8.RuneError && n == 1 {
			return Diagnostic{
				Code:    codeNotUTF8,
				Message: fmt.Sprintf("found the byte 0x%02x, wanted UTF-8 text", src[i]),
				Primary: Label{Span{i, i + 1}, "this byte"},
				Help:    "save the file as UTF-8",
			}, true
		}
		i += n
	}
	return Diagnostic{}, false
}

// badCharacters says what to write instead of characters that other languages use; see lackingCharacters, too.
var badCharacters = map[string]string{
	"#": "comments begin with `//`",
	";": "remove it: a clause ends where the next begins",
	".": "ranges are written with two dots, `from..to`",
}

// badTokens reports unknown characters and malformed numbers.
func badTokens(tokens []token) Diagnostics {
	var ds Diagnostics
	for _, t := range tokens {
		switch t.Type {
		case kUnknown:
			ds = append(ds, badCharacter(t))
		case kNumber:
			if _, ok := literal(t.Value); !ok && !isDecimal(t.Value) {
				ds = append(ds, badNumber(spanOf(t), t.Value, "write decimal digits; the suffix k multiplies by 1024 and m by 1048576"))
			}
		}
	}
	return ds
}

func badCharacter(t token) Diagnostic {
	d := Diagnostic{Code: codeBadCharacter, Message: fmt.Sprintf("found the character %q, which the language does not use", t.Value),
		Primary: Label{spanOf(t), "not expected"}, Help: badCharacters[t.Value]}
	if l, ok := lackingCharacters[t.Value]; ok {
		d.Message, d.Help = lackingMessage(l.what, t.Value), l.way
	}
	if replaced := map[string]string{"#": "//", ";": " "}[t.Value]; replaced != "" {
		d.Edits = []Edit{{d.Primary.Span, replaced}}
	}
	return d
}

func badNumber(s Span, text, help string) Diagnostic {
	return Diagnostic{Code: codeBadNumber, Message: fmt.Sprintf("found the number `%s`, wanted a whole number such as 128, 4k or 1m", text),
		Primary: Label{s, "not a number"}, Help: help}
}

// fileParser reads pattern after pattern. After an error it goes on at the next `pattern`, so that each pattern's first
// mistake is reported. A pattern with characters that the language does not use is left out: they are reported, and what
// is missing in their place would only earn more messages.
type fileParser struct {
	file    *File
	unknown []int // offsets of unknown characters
	ds      Diagnostics
}

func (p *fileParser) run(ts []token) {
	if len(ts) == 0 && len(p.ds) == 0 {
		p.ds = append(p.ds, Diagnostic{Code: codeNoPattern, Message: "found no pattern in the file, wanted at least one",
			Primary: Label{Span{0, 0}, "no pattern"}, Help: "write for example `pattern dense { keep causal }`"})
	}
	for from := 0; len(ts) > 0; {
		n := nextPattern(ts, 1)
		end := len(p.file.Src)
		if n < len(ts) {
			end = ts[n].Pos.Offset
		}
		switch {
		case p.hasUnknown(from, end):
		case ts[0].Value == "pattern":
			p.one(ts[:n], ts[n:], end)
		default:
			p.stray(ts[0])
		}
		ts, from = ts[n:], end
	}
}

// hasUnknown says whether there is an unknown character between two offsets.
func (p *fileParser) hasUnknown(from, end int) bool {
	i, _ := slices.BinarySearch(p.unknown, from)
	return i < len(p.unknown) && p.unknown[i] < end
}

// one reads a pattern that should take all of ts; rest is what follows from the offset end on.
func (p *fileParser) one(ts, rest []token, end int) {
	if d, bad := tooNested(ts); bad {
		p.ds = append(p.ds, d)
		return
	}
	g, n, bad := parseTokens(ts, end)
	if bad {
		p.ds = append(p.ds, p.syntaxError(ts, rest, n))
		return
	}
	if n < len(ts) {
		p.stray(ts[n])
	}
	b := &builder{}
	pat := b.pattern(g)
	for _, s := range b.tooDeep {
		p.ds = append(p.ds, tooDeep(s, fmt.Sprintf("more than %d operators in a row", maxDepth)))
	}
	if len(b.tooDeep) == 0 {
		p.file.Patterns = append(p.file.Patterns, pat)
	}
}

// nextPattern is the index of the first `pattern` at from or after it.
func nextPattern(ts []token, from int) int {
	for i := from; i < len(ts); i++ {
		if ts[i].Value == "pattern" {
			return i
		}
	}
	return len(ts)
}

// tooNested finds parentheses that would take the parser too deep.
func tooNested(ts []token) (Diagnostic, bool) {
	depth := 0
	for _, t := range ts {
		switch t.Value {
		case "(", "[":
			if depth++; depth > maxNesting {
				return tooDeep(spanOf(t), fmt.Sprintf("more than %d parentheses inside each other", maxNesting)), true
			}
		case ")", "]":
			depth = max(0, depth-1)
		}
	}
	return Diagnostic{}, false
}

func tooDeep(s Span, what string) Diagnostic {
	return Diagnostic{Code: codeTooDeep, Message: "the expression is too large to read: " + what,
		Primary: Label{s, "too large"}, Help: "split it up with `let name = ...`"}
}

// stray reports what stands outside a pattern.
func (p *fileParser) stray(t token) {
	d := Diagnostic{Code: codeSyntax, Message: fmt.Sprintf("found %s, wanted `pattern` or the end of the file", describe(t)),
		Primary: Label{spanOf(t), "outside a pattern"}}
	if t.Type == kIdent && ir.Closest(t.Value, []string{"pattern"}) != "" {
		d = unknownWord(t, []string{"pattern"})
	}
	p.ds = append(p.ds, d)
}

func unknownWord(t token, words []string) Diagnostic {
	return Diagnostic{Code: codeUnknownWord, Message: fmt.Sprintf("unknown keyword `%s`", t.Value),
		Primary: Label{spanOf(t), "not a keyword"}, Help: didYouMean(t.Value, words, ""), Edits: []Edit{{spanOf(t), ir.Closest(t.Value, words)}}}
}

// describe names a token as messages do.
func describe(t token) string {
	switch {
	case t.Type == lexer.EOF:
		return "the end of the file"
	case t.Type == kKeyword && isReserved(t.Value):
		return "the reserved word `" + t.Value + "`"
	}
	return "`" + t.Value + "`"
}

func isReserved(word string) bool {
	return slices.Contains(reserved, word)
}
