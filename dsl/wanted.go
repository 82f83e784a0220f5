package dsl

import (
	"fmt"
	"slices"
	"strings"

	"github.com/alecthomas/participle/v2/lexer"

	"github.com/minfc/minfc/ir"
)

// candidates are the tokens that may be wanted somewhere, with their words in a message. The parser itself is asked which
// of them fit, so the list in a message never disagrees with the grammar.
var candidates = []struct {
	tok  token
	word string
}{
	{token{Type: kIdent, Value: "x"}, "a name"},
	{token{Type: kNumber, Value: "1"}, "a number"},
	{punct("("), "`(`"},
	{punct(")"), "`)`"},
	{punct("["), "`[`"},
	{punct("]"), "`]`"},
	{punct("{"), "`{`"},
	{punct("}"), "`}`"},
	{punct(","), "`,`"},
	{punct(":"), "`:`"},
	{punct("="), "`=`"},
	{punct(".."), "`..`"},
	{punct("|"), "`|`"},
	{punct("&"), "`&`"},
	{punct("-"), "`-`"},
	{word("step"), "`step`"},
	{word("const"), "`const`"},
	{token{Type: kIdent, Value: "first"}, "`first`"},
	{token{Type: kIdent, Value: "last"}, "`last`"},
	{token{Type: kIdent, Value: "least"}, "`least`"},
	{token{Type: kIdent, Value: "most"}, "`most`"},
	{token{Type: kIdent, Value: "shared"}, "`shared`"},
	{token{Type: kIdent, Value: "by"}, "`by`"},
	{token{Type: kIdent, Value: "group"}, "`group`"},
	{word("with"), "`with`"},
	{word("else"), "`else`"},
	{token{Type: kIdent, Value: "mean"}, "`mean`"},
	{word("index"), "`index`"},
	{word("let"), "`let`"},
	{word("keep"), "`keep`"},
	{word("skip"), "`skip`"},
}

// phrases replace groups of candidates that always come together.
var phrases = []struct {
	all  []string
	word string
}{
	{[]string{"a name", "a number", "`(`", "`-`"}, "an operand"},
	{[]string{"`|`", "`&`", "`-`"}, "an operator"},
}

// operands says what an operand is after a token: a number or a set.
var operands = map[string]string{
	"keep": "a set", "=": "a set", "|": "a set", "&": "a set", `\`: "a set",
	"+": "a number", "-": "a number", "*": "a number", "/": "a number", "step": "a number", "..": "a number",
}

func punct(s string) token { return token{Type: rules.Symbols()["Punct"], Value: s} }

func word(s string) token { return token{Type: kKeyword, Value: s} }

// syntaxError reports the token with index n of a pattern's tokens, which fits nowhere; rest is what follows them.
func (p *fileParser) syntaxError(ts, rest []token, n int) Diagnostic {
	n = max(n, 1) // the first token is `pattern`, which always fits
	found := token{Type: lexer.EOF, Pos: lexer.Position{Offset: len(p.file.Src)}}
	if after := slices.Concat(ts[n:], rest); len(after) > 0 {
		found = after[0]
	}
	fits := fitting(ts[:n])
	if words := keywordsIn(fits); found.Type == kIdent && ir.Closest(found.Value, words) != "" {
		return unknownWord(found, words)
	}
	wanted := wantedWords(fits, operandAfter(ts[:n]))
	d := Diagnostic{Code: codeSyntax, Message: fmt.Sprintf("found %s, wanted %s", describe(found), wanted),
		Primary: Label{p.visible(found, ts[n-1]), "wanted " + wanted}}
	if open, ok := unclosed(ts[:n]); ok && (found.Type == lexer.EOF || found.Value == "pattern" || found.Value == "}") {
		d.Others = append(d.Others, Label{spanOf(open), "not closed"})
	}
	wantsName := slices.Equal(fits, []string{"a name"})
	what, way, known := lacks(found.Value)
	switch {
	case known && !wantsName && (found.Type == kIdent || found.Type == kKeyword):
		d.Message, d.Help = lackingMessage(what, found.Value), way
	case found.Type == kKeyword && isReserved(found.Value):
		d.Help = "choose another name: this word is kept for later versions of the language"
	case found.Value == "=" && ts[n-1].Value == "=":
		d.Message, d.Help = lackingMessage("comparisons", "=="), comparisons
	case found.Value == "shared" && ts[n-1].Value != "with":
		d.Help = "write `shared by group` right after the choice, before all of `with`"
	case found.Value == ":":
		d.Help = "ranges are written `from..to`; colons stand in brackets only, as in `q[-64:]`"
	case found.Type == kKeyword && wantsName:
		d.Help = "choose another name: this is a word of the language"
	}
	return d
}

// visible is where an error is underlined: at the token, or after the last one at the end of the file.
func (p *fileParser) visible(found, last token) Span {
	if found.Type != lexer.EOF {
		return spanOf(found)
	}
	return Span{spanOf(last).End, spanOf(last).End}
}

// fitting lists the words of the candidates that may follow a prefix of a pattern.
func fitting(prefix []token) []string {
	end := spanOf(prefix[len(prefix)-1]).End
	var fits []string
	for _, c := range candidates {
		t := c.tok
		t.Pos.Offset = end
		_, n, bad := parseTokens(append(prefix[:len(prefix):len(prefix)], t), end+len(t.Value))
		if !bad || n > len(prefix) {
			fits = append(fits, c.word)
		}
	}
	if slices.Contains(fits, "a name") { // these are names where no clause gives them a meaning
		fits = slices.DeleteFunc(fits, func(w string) bool {
			return slices.Contains([]string{"`first`", "`last`", "`least`", "`most`", "`mean`", "`shared`", "`by`", "`group`"}, w)
		})
	}
	return fits
}

// keywordsIn lists the keywords among candidates' words.
func keywordsIn(fits []string) []string {
	var out []string
	for _, w := range fits {
		if bare := strings.Trim(w, "`"); bare != w && bare[0] >= 'a' && bare[0] <= 'z' {
			out = append(out, bare)
		}
	}
	return out
}

// operandAfter says what an operand would be after some tokens of a pattern.
func operandAfter(prefix []token) string {
	prev := prefix[len(prefix)-1].Value
	switch kind := operands[prev]; {
	case inIndex(prefix) && (prev == "=" || prev == "*"):
		return "a value of the index stage"
	case kind != "":
		return kind
	case inIndex(prefix):
		return "a value or a number"
	case lastClause(prefix) == "skip":
		return "a number"
	}
	return "a set or a number"
}

// inIndex says whether the last clause is of the index stage.
func inIndex(prefix []token) bool { return lastClause(prefix) == "index" }

// lastClause is the word that the last clause of a prefix begins with, "" before the first.
func lastClause(prefix []token) string {
	for i := len(prefix) - 1; i >= 0; i-- {
		if w := prefix[i].Value; slices.Contains([]string{"index", "let", "keep", "skip"}, w) {
			return w
		}
	}
	return ""
}

// wantedWords joins the words that fit: "a set", "`,` or `)`". An operand is called as given.
func wantedWords(fits []string, operand string) string {
	for _, p := range phrases {
		missing := func(w string) bool { return !slices.Contains(fits, w) }
		if slices.ContainsFunc(p.all, missing) {
			continue
		}
		what := p.word
		if p.word == "an operand" {
			what = operand
		}
		// After a name an operator is more likely meant than the parenthesis of a call or the bracket of a slice.
		covered := func(w string) bool { return slices.Contains(p.all, w) || w == "`(`" || w == "`[`" }
		fits = slices.DeleteFunc(slices.Clone(fits), covered)
		fits = append([]string{what}, fits...)
	}
	if len(fits) < 2 {
		return strings.Join(fits, "")
	}
	return strings.Join(fits[:len(fits)-1], ", ") + " or " + fits[len(fits)-1]
}

// unclosed is the innermost bracket that is still open.
func unclosed(ts []token) (token, bool) {
	var open []token
	for _, t := range ts {
		switch t.Value {
		case "(", "[", "{":
			open = append(open, t)
		case ")", "]", "}":
			open = open[:max(0, len(open)-1)]
		}
	}
	if len(open) == 0 {
		return token{}, false
	}
	return open[len(open)-1], true
}
