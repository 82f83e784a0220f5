package dsl

import (
	"strings"

	"github.com/alecthomas/participle/v2/lexer"
)

// rules split the text into tokens. Keyword stands before Ident because the first rule that matches wins; Unknown takes
// what no other rule does, so that the lexer never stops and all bad characters are reported.
var rules = lexer.MustSimple([]lexer.SimpleRule{
	{Name: "Comment", Pattern: `//[^\n]*`},
	{Name: "Space", Pattern: `[ \t\r\n]+`},
	{Name: "Keyword", Pattern: `\b(pattern|const|index|with|let|keep|else|skip|` + strings.Join(reserved, "|") + `)\b`},
	{Name: "Ident", Pattern: `[A-Za-z_][A-Za-z0-9_]*`},
	{Name: "Number", Pattern: `[0-9]([A-Za-z0-9_]|\.[0-9])*`},
	{Name: "Punct", Pattern: `\.\.|[(){}\[\]:,=|&\\+*/-]`},
	{Name: "Unknown", Pattern: `[\s\S]`},
})

// reserved words have no meaning yet; they are kept free for refinements of sets.
var reserved = []string{"where", "exact"}

// The token types by name, and the one that ends a stream.
var (
	kComment = rules.Symbols()["Comment"]
	kSpace   = rules.Symbols()["Space"]
	kKeyword = rules.Symbols()["Keyword"]
	kIdent   = rules.Symbols()["Ident"]
	kNumber  = rules.Symbols()["Number"]
	kUnknown = rules.Symbols()["Unknown"]
)

type token = lexer.Token

// tokenize returns all tokens but white space; offsets are into src.
func tokenize(src []byte) ([]token, error) {
	lex, err := rules.LexString("", string(src))
	if err != nil {
		return nil, err
	}
	all, err := lexer.ConsumeAll(lex)
	var out []token
	for _, t := range all {
		if t.Type == kComment {
			t.Value = strings.TrimRight(t.Value, " \t\r")
		}
		if t.Type != kSpace && !t.EOF() {
			out = append(out, t)
		}
	}
	markSteps(out)
	return out, err
}

// significant drops comments and unknown characters.
func significant(all []token) []token {
	var out []token
	for _, t := range all {
		if t.Type != kComment && t.Type != kUnknown {
			out = append(out, t)
		}
	}
	return out
}

// markSteps makes a keyword of the word `step` where it is one.
func markSteps(all []token) {
	ts := significant(all)
	n := 0
	for i, t := range all {
		if t.Type == kComment || t.Type == kUnknown {
			continue
		}
		if t.Value == "step" && stepIsKeyword(ts, n) {
			all[i].Type, ts[n].Type = kKeyword, kKeyword
		}
		n++
	}
}

// stepIsKeyword tells the keyword from a parameter of the same name: `diagonals(0..window step step)` has both.
// An operand cannot follow an operand, so after one the word is the keyword. Straight after `..` it is the keyword when
// an operand follows it, and in `.. step step` the second word settles it by the same rule.
func stepIsKeyword(ts []token, i int) bool {
	if i == 0 {
		return false
	}
	prev := ts[i-1]
	if prev.Value != ".." {
		return endsOperand(prev)
	}
	if i+1 < len(ts) && ts[i+1].Value == "step" {
		return !startsOperand(ts, i+2)
	}
	return startsOperand(ts, i+1)
}

func endsOperand(t token) bool {
	return t.Type == kIdent || t.Type == kNumber || t.Value == ")" || t.Value == "]"
}

func startsOperand(ts []token, i int) bool {
	return i < len(ts) && (ts[i].Type == kIdent || ts[i].Type == kNumber || ts[i].Value == "(")
}

func spanOf(t token) Span { return Span{t.Pos.Offset, t.Pos.Offset + len(t.Value)} }
