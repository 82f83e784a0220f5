package dsl

// Code is one row of the table of diagnostics.
type Code struct {
	Code    string
	Meaning string
	Example string // source text that earns it
}

const (
	codeNotUTF8       = "E0101"
	codeBadCharacter  = "E0102"
	codeBadNumber     = "E0103"
	codeSyntax        = "E0104"
	codeUnknownWord   = "E0105"
	codeTooDeep       = "E0106"
	codeNoPattern     = "E0107"
	codeSamePattern   = "E0201"
	codeSameParam     = "E0202"
	codeUnknownSet    = "E0203"
	codeUnknownParam  = "E0204"
	codeTakenName     = "E0205"
	codeNoKeep        = "E0206"
	codeManyKeeps     = "E0207"
	codePositionName  = "E0208"
	codeUnknownIndex  = "E0209"
	codeArgumentCount = "E0301"
	codeWantedNumber  = "E0302"
	codeWantedSet     = "E0303"
	codeWantedRange   = "E0304"
	codeNotARange     = "E0305"
	codeWrongKind     = "E0306"
	codeNotSupported  = "E0307"
	codeNotAChoice    = "E0308"
	codeBelowMinimum  = "E0401"
	codeEmptyRange    = "E0402"
	codeAboveLimit    = "E0403"
	codeTooManyTerms  = "E0404"
	codeNotAShare     = "E0405"
	codeUnusedParam   = "W0501"
	codeUnusedLet     = "W0502"
	codeUnusedIndex   = "W0503"
)

// Codes lists every diagnostic in order. Codes are never reused for another meaning.
var Codes = []Code{
	{codeNotUTF8, "the file is not UTF-8 text", "pattern p { keep \\xff }"},
	{codeBadCharacter, "a character that the language does not use", "pattern p { keep causal ; }"},
	{codeBadNumber, "a number that is not a whole number with an optional suffix k or m", "pattern p(n = 1.5k) { keep sink(n) }"},
	{codeSyntax, "something else was wanted at this place", "pattern p { keep causal & }"},
	{codeUnknownWord, "a misspelt keyword", "pattern p { kep causal }"},
	{codeTooDeep, "an expression that is nested too deeply or too large", "pattern p { keep ((((...)))) }"},
	{codeNoPattern, "the file holds no pattern", "// only a comment"},
	{codeSamePattern, "two patterns of a file have the same name", "pattern p { keep all } pattern p { keep causal }"},
	{codeSameParam, "two parameters of a pattern have the same name", "pattern p(n = 1, n = 2) { keep sink(n) }"},
	{codeUnknownSet, "a set that does not exist", "pattern p { keep windw(4) }"},
	{codeUnknownParam, "a parameter that does not exist", "pattern p(size = 4) { keep window(sise) }"},
	{codeTakenName, "a named set or index value whose name is already taken", "pattern p { let causal = all keep causal }"},
	{codeNoKeep, "a pattern that keeps nothing because it has no keep clause", "pattern p { let a = all }"},
	{codeManyKeeps, "a pattern with more than one keep clause", "pattern p { keep causal keep sink(4) }"},
	{codePositionName, "a parameter named q or k: these stand for the positions of the query and the key", "pattern p(k = 4) { keep sink(k) }"},
	{codeUnknownIndex, "a value or function of the index stage that does not exist", "pattern p { index a = softmax(logits) keep causal }"},
	{codeArgumentCount, "a set or a function of the index stage with too many or too few arguments", "pattern p { keep window }"},
	{codeWantedNumber, "a set where a number is wanted", "pattern p { keep window(causal) }"},
	{codeWantedSet, "a number where a set is wanted", "pattern p(n = 4) { keep causal & n }"},
	{codeWantedRange, "a number where a range is wanted", "pattern p { keep columns(4) }"},
	{codeNotARange, "a range where a number is wanted", "pattern p { keep window(0..4) }"},
	{codeWrongKind, "a value of the index stage of the wrong kind", "pattern p { index d = top(9, sum(softmax(q[-64:] * k), diagonals)) keep columns(d) }"},
	{codeNotSupported, "something that the index stage does not do", "pattern p { index m = mean(q, 32) keep causal }"},
	{codeNotAChoice, "`with` after a value that chooses nothing, or twice for one end", "pattern p { index s = softmax(q[-64:] * k) with first 3 keep causal }"},
	{codeBelowMinimum, "a value below the smallest legal one", "pattern p { keep window(0) }"},
	{codeEmptyRange, "a range that ends before it begins, for every value of the parameters", "pattern p { keep columns(8..4) }"},
	{codeAboveLimit, "a value beyond 1073741824, the limit for positions", "pattern p { keep sink(4096m) }"},
	{codeTooManyTerms, "a product of parameters that is too long to compute with", "pattern p(n = 2) { keep sink(n*n*n*n*n) }"},
	{codeNotAShare, "a share of the mass that is 0 or more than 1", "pattern p { index c = top_p(1.5, sum(softmax(q[-64:] * k), queries)) keep columns(c) }"},
	{codeUnusedParam, "a parameter that nothing uses", "pattern p(n = 4) { keep causal }"},
	{codeUnusedLet, "a named set that nothing uses", "pattern p { let a = sink(4) keep causal }"},
	{codeUnusedIndex, "a value of the index stage that nothing uses", "pattern p { index s = softmax(q[-64:] * k) keep causal }"},
}

// Explain returns what a code means, with an example; false means that there is no such code.
func Explain(code string) (string, bool) {
	for _, c := range Codes {
		if c.Code == code {
			return c.Code + ": " + c.Meaning + "\n\nexample:\n\n    " + c.Example + "\n", true
		}
	}
	return "", false
}
