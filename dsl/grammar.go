package dsl

import (
	"io"

	"github.com/alecthomas/participle/v2"
	"github.com/alecthomas/participle/v2/lexer"
)

// The grammar, one struct a rule. It is LL(1): the next token decides every choice, so a lookahead of 0 makes the parser
// commit at once and report the first token that fits nowhere.
type (
	gPattern struct {
		Key         token      `parser:"@'pattern'"`
		Name        token      `parser:"@Ident"`
		Params      []*gParam  `parser:"( '(' ( @@ ( ',' @@ )* )?"`
		CloseParams token      `parser:"@')' )?"`
		Clauses     []*gClause `parser:"'{' @@*"`
		Close       token      `parser:"@'}'"`
	}
	gParam struct {
		Const   token `parser:"@'const'?"`
		Name    token `parser:"@Ident"`
		Default token `parser:"'=' @Number"`
	}
	gClause struct {
		Index *gIndex `parser:"@@"`
		Let   *gLet   `parser:"| @@"`
		Keep  *gKeep  `parser:"| @@"`
		Skip  *gSkip  `parser:"| @@"`
	}
	gIndex struct {
		Key   token    `parser:"@'index'"`
		Name  token    `parser:"@Ident"`
		Value *gExpr   `parser:"'=' @@"`
		Group gByGroup `parser:"@@?"`
		With  []gWith  `parser:"@@*"`
	}
	gByGroup struct {
		Key token `parser:"@'shared'"`
		By  token `parser:"@'by'"`
		End token `parser:"@'group'"`
	}
	gWith struct {
		Key token  `parser:"@'with'"`
		End token  `parser:"@('first' | 'last' | 'least' | 'most')"`
		N   *gExpr `parser:"@@"`
	}
	gLet struct {
		Key  token  `parser:"@'let'"`
		Name token  `parser:"@Ident"`
		Set  *gExpr `parser:"'=' @@"`
	}
	gKeep struct {
		Key  token  `parser:"@'keep'"`
		Set  *gExpr `parser:"@@"`
		Else *gElse `parser:"@@?"`
	}
	gElse struct {
		Key  token `parser:"@'else'"`
		Mean token `parser:"@'mean'"`
		Keys *gOf  `parser:"@@?"`
	}
	gOf struct {
		Open  token  `parser:"@'('"`
		N     *gExpr `parser:"@@"`
		Close token  `parser:"@')'"`
	}
	gSkip struct {
		Key   token  `parser:"@'skip'"`
		Open  token  `parser:"@'('"`
		Share *gExpr `parser:"@@"`
		Close token  `parser:"@')'"`
	}
	gExpr struct {
		First *gMeet   `parser:"@@"`
		Rest  []gUnion `parser:"@@*"`
	}
	gUnion struct {
		Op token  `parser:"@'|'"`
		X  *gMeet `parser:"@@"`
	}
	gMeet struct {
		First *gSum   `parser:"@@"`
		Rest  []gMore `parser:"@@*"`
	}
	gMore struct {
		Op token `parser:"@('&' | '\\\\')"`
		X  *gSum `parser:"@@"`
	}
	gSum struct {
		First *gProduct `parser:"@@"`
		Rest  []gTerm   `parser:"@@*"`
	}
	gTerm struct {
		Op token     `parser:"@('+' | '-')"`
		X  *gProduct `parser:"@@"`
	}
	gProduct struct {
		First *gUnary   `parser:"@@"`
		Rest  []gFactor `parser:"@@*"`
	}
	gFactor struct {
		Op token   `parser:"@( '*' | '/' )"`
		X  *gUnary `parser:"@@"`
	}
	gUnary struct {
		Minus []token   `parser:"@'-'*"`
		X     *gPrimary `parser:"@@"`
	}
	gPrimary struct {
		Number *token  `parser:"@Number"`
		Name   *gName  `parser:"| @@"`
		Paren  *gParen `parser:"| @@"`
	}
	gName struct {
		Name  token   `parser:"@Ident"`
		Call  *gCall  `parser:"( @@"`
		Slice *gSlice `parser:"| @@ )?"`
	}
	gSlice struct {
		Open  token  `parser:"@'['"`
		From  *gExpr `parser:"@@?"`
		To    *gExpr `parser:"':' @@?"`
		Step  *gExpr `parser:"( ':' @@? )?"`
		Close token  `parser:"@']'"`
	}
	gCall struct {
		Open  token   `parser:"@'('"`
		Args  []*gArg `parser:"( @@ ( ',' @@ )* )?"`
		Close token   `parser:"@')'"`
	}
	gParen struct {
		Open  token  `parser:"@'('"`
		X     *gExpr `parser:"@@"`
		Close token  `parser:"@')'"`
	}
	gArg struct {
		From  *gExpr  `parser:"( @@"`
		Range *gRange `parser:"@@? )"`
		Head  *gRange `parser:"| @@"`
	}
	gRange struct {
		Dots token  `parser:"@'..'"`
		To   *gExpr `parser:"@@?"`
		Step *gStep `parser:"@@?"`
	}
	gStep struct {
		Key token  `parser:"@'step':Keyword"`
		X   *gExpr `parser:"@@"`
	}
)

var parser = participle.MustBuild[gPattern](participle.Lexer(rules), participle.UseLookahead(0))

// tokenStream hands tokens that are already made to the parser.
type tokenStream struct{ tokens []token }

func (s *tokenStream) Next() (lexer.Token, error) {
	if len(s.tokens) == 0 {
		return token{}, io.ErrUnexpectedEOF // the list ends with an end-of-file token, after which nobody asks
	}
	t := s.tokens[0]
	s.tokens = s.tokens[1:]
	return t, nil
}

// parseTokens parses one pattern from the front of ts, with end as the offset after the last of them. It returns how many
// tokens the pattern took, or the index of the token that fits nowhere (len(ts) is the end).
func parseTokens(ts []token, end int) (g *gPattern, n int, bad bool) {
	eof := token{Type: lexer.EOF, Pos: lexer.Position{Offset: end}}
	stream, err := lexer.Upgrade(&tokenStream{append(ts[:len(ts):len(ts)], eof)})
	if err != nil {
		return nil, 0, true
	}
	g, err = parser.ParseFromLexer(stream, participle.AllowTrailing(true))
	if err == nil {
		return g, tokenAt(ts, spanOf(g.Close).End), false
	}
	at := end
	if perr, ok := err.(participle.Error); ok {
		at = perr.Position().Offset
	}
	return nil, tokenAt(ts, at), true
}

// tokenAt is the index of the first token that starts at the offset or after it.
func tokenAt(ts []token, offset int) int {
	for i, t := range ts {
		if t.Pos.Offset >= offset {
			return i
		}
	}
	return len(ts)
}
