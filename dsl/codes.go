package dsl

import "fmt"

// Code is one row of the table of diagnostics.
type Code struct {
	Code    string
	Meaning string
	Example string // source text that earns it
	Do      string // what to do about it
	Right   string // what the example may have meant, without errors and warnings
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
	codeNotAPool      = "E0309"
	codeBelowMinimum  = "E0401"
	codeEmptyRange    = "E0402"
	codeAboveLimit    = "E0403"
	codeTooManyTerms  = "E0404"
	codeNotAShare     = "E0405"
	codeManySkips     = "E0210"
	codeOfLength      = "E0406"
	codeNoKernel      = "E0601"
	codeTooManyBands  = "E0602"
	codeUnusedParam   = "W0501"
	codeUnusedLet     = "W0502"
	codeUnusedIndex   = "W0503"
)

// Codes lists every diagnostic in order. Codes are never reused for another meaning.
var Codes = []Code{
	{codeNotUTF8, "the file is not UTF-8 text", "pattern p { keep \\xff }",
		"save the file as UTF-8; the place is that of the first bad byte",
		"pattern p { keep causal }"},
	{codeBadCharacter, "a character that the language does not use", "pattern p { keep causal ; }",
		"remove the character: clauses need no end, sets are joined with `|`, `&` and `\\`, comments begin with `//`",
		"pattern p { keep causal }"},
	{codeBadNumber, "a number that is not a whole number with an optional suffix k or m", "pattern p(n = 1.5k) { keep sink(n) }",
		"write whole numbers; the suffix k multiplies by 1024, m by 1048576. Shares and thresholds alone have decimals",
		"pattern p(n = 1536) { keep sink(n) }"},
	{codeSyntax, "something else was wanted at this place", "pattern p { keep causal & }",
		"look at the place and at what was wanted there; a pattern is `pattern name(n = 1) { keep SET }`",
		"pattern p { keep causal & sink(4) }"},
	{codeUnknownWord, "a misspelt keyword", "pattern p { kep causal }",
		"write one of the keywords pattern, const, index, with, let, keep, else, skip",
		"pattern p { keep causal }"},
	{codeTooDeep, "an expression that is nested too deeply or too large", "pattern p { keep ((((...)))) }",
		"split the expression up with `let name = ...`, and use named sets less often",
		"pattern p { keep all }"},
	{codeNoPattern, "the file holds no pattern", "// only a comment",
		"write a pattern",
		"pattern dense { keep causal }"},
	{codeSamePattern, "two patterns of a file have the same name", "pattern p { keep all } pattern p { keep causal }",
		"rename one of the two",
		"pattern p { keep all } pattern dense { keep causal }"},
	{codeSameParam, "two parameters of a pattern have the same name", "pattern p(n = 1, n = 2) { keep sink(n) }",
		"rename one of the two, or remove it",
		"pattern p(n = 1) { keep sink(n) }"},
	{codeUnknownSet, "a set that does not exist", "pattern p { keep windw(4) }",
		"write one of the sets of the language (docs/language.md), or give the set a name first, `let name = ...`",
		"pattern p { keep window(4) }"},
	{codeUnknownParam, "a parameter that does not exist", "pattern p(size = 4) { keep window(sise) }",
		"declare the parameter with a default behind the name of the pattern, or correct the name. q and k are no numbers: distances are written with `window` and `diagonals`, keys with `sink` and `columns`",
		"pattern p(size = 4) { keep window(size) }"},
	{codeTakenName, "a named set or index value whose name is already taken", "pattern p { let causal = all keep causal }",
		"choose another name",
		"pattern p { let past = causal keep past }"},
	{codeNoKeep, "a pattern that keeps nothing because it has no keep clause", "pattern p { let a = all }",
		"say which pairs are kept",
		"pattern p { let a = all keep a }"},
	{codeManyKeeps, "a pattern with more than one keep clause", "pattern p { keep causal keep sink(4) }",
		"join the two sets: `|` for what is in either, `&` for what is in both",
		"pattern p { keep causal | sink(4) }"},
	{codePositionName, "a parameter named q or k: these stand for the positions of the query and the key", "pattern p(k = 4) { keep sink(k) }",
		"choose another name; nothing has to be declared to speak of positions",
		"pattern p(n = 4) { keep sink(n) }"},
	{codeUnknownIndex, "a value or function of the index stage that does not exist", "pattern p { index a = softmax(logits) keep causal }",
		"write one of the values of the index stage (docs/language.md), or move the clause that defines the name up",
		"pattern p { index scores = q[-64:] * k index a = top(9, sum(softmax(scores), queries)) keep columns(a) }"},
	{codeManySkips, "a pattern with more than one skip clause", "pattern p { keep causal skip(0.001) skip(0.01) }",
		"keep one of the two",
		"pattern p { keep causal skip(0.001) }"},
	{codeArgumentCount, "a set or a function of the index stage with too many or too few arguments", "pattern p { keep window }",
		"give as many arguments as the set or function has",
		"pattern p { keep window(4) }"},
	{codeWantedNumber, "a set where a number is wanted", "pattern p { keep window(causal) }",
		"write a number: a literal, a parameter, or their sums and products",
		"pattern p { keep window(4) & causal }"},
	{codeWantedSet, "a number where a set is wanted", "pattern p(n = 4) { keep causal & n }",
		"give the number to a set",
		"pattern p(n = 4) { keep causal & window(n) }"},
	{codeWantedRange, "a number where a range is wanted", "pattern p { keep columns(4) }",
		"write `from..to`, whose end is not included: column 4 alone is `columns(4..5)`",
		"pattern p { keep columns(4..5) }"},
	{codeNotARange, "a range where a number is wanted", "pattern p { keep window(0..4) }",
		"write one number: `window(4)` is already a range of distances",
		"pattern p { keep window(4) }"},
	{codeWrongKind, "a value of the index stage of the wrong kind", "pattern p { index d = top(9, sum(softmax(q[-64:] * k), diagonals)) keep columns(d) }",
		"make the value of the wanted kind first: scores to probabilities with `softmax`, those to values with `sum`, those to a choice with `top`; sums over queries choose columns, over diagonals distances",
		"pattern p { index d = top(9, sum(softmax(q[-64:] * k), diagonals)) keep diagonals(d) }"},
	{codeNotSupported, "something that the index stage does not do", "pattern p { index m = mean(q, 32) keep causal }",
		"write it with what the index stage has: pools over 64 or 128 rows, the last n queries or every n-th, sums over queries, diagonals, runs of 16 to 128 diagonals whose size is known when the kernel is compiled, or blocks",
		"pattern p { index b = top(4, mean(q, 64) * mean(k, 64)) keep causal & blocks(b) }"},
	{codeNotAChoice, "`with` or `shared by group` after a value that chooses nothing, `with` twice for one end, or with bounds that no choice can have", "pattern p { index s = softmax(q[-64:] * k) with first 3 keep causal }",
		"write `with` behind `top`, `top_p`, `above` or `near_max`, each of first, last, least and most once, the least no larger than the most",
		"pattern p { index s = top(9, sum(softmax(q[-64:] * k), queries)) with first 3 keep columns(s) }"},
	{codeNotAPool, "`else mean` with a number of keys that kernels have no means of", "pattern p { keep window(64) else mean(100) }",
		"write one of `else mean(64)`, `else mean(128)`, `else mean(256)` and `else mean(512)`; `else mean` is the last of them",
		"pattern p { keep window(64) else mean(128) }"},
	{codeBelowMinimum, "a value below the smallest legal one", "pattern p { keep window(0) }",
		"write a number that is large enough, or raise the default of the parameter",
		"pattern p { keep window(1) }"},
	{codeEmptyRange, "a range that ends before it begins, for every value of the parameters", "pattern p { keep columns(8..4) }",
		"swap the two ends",
		"pattern p { keep columns(4..8) }"},
	{codeAboveLimit, "a value beyond 1073741824, the limit for positions", "pattern p { keep sink(4096m) }",
		"leave the set out to keep everything, or write a smaller number: no sequence is longer",
		"pattern p { keep all }"},
	{codeTooManyTerms, "a product of parameters that is too long to compute with", "pattern p(n = 2) { keep sink(n*n*n*n*n) }",
		"compute the product outside and pass it as one parameter",
		"pattern p(n = 32) { keep sink(n) }"},
	{codeNotAShare, "a share of the mass that is 0 or more than 1, or a share of `skip` above 1", "pattern p { index c = top_p(1.5, sum(softmax(q[-64:] * k), queries)) keep columns(c) }",
		"write more than 0 and at most 1; a parameter in its place counts thousandths, for `skip` millionths",
		"pattern p { index c = top_p(0.95, sum(softmax(q[-64:] * k), queries)) keep columns(c) }"},
	{codeOfLength, "a division where no number has one, or a number of members that falls as the length grows", "pattern p(n = 9) { keep window(n / 2) }",
		"compute it outside and pass the result as a parameter; only the numbers of `top`, `with least` and `with most` have `sk`, the length, and `/`, `min` and `max`",
		"pattern p { index c = top(min(8k, sk / 16), sum(softmax(q[-64:] * k), queries)) keep columns(c) }"},
	{codeNoKernel, "sets chosen by the data that are combined in a way that no kernel has", "pattern p { index s = softmax(q[-64:] * k) index c = top(9, sum(s, queries)) index d = top(9, sum(s, diagonals)) keep columns(c) & diagonals(d) }",
		"unite chosen sets with `|`, and cut them with sets of the language alone; docs/language.md has the table of what combines",
		"pattern p { index s = softmax(q[-64:] * k) index c = top(9, sum(s, queries)) index d = top(9, sum(s, diagonals)) keep causal & (columns(c) | diagonals(d)) }"},
	{codeTooManyBands, "a set that falls into more disjoint bands, or bands with more conditions, than a kernel holds", "pattern p { keep columns(0..1) | columns(2..3) | ... | columns(128..129) }",
		"write a row of bands as one set with a step, join parts that overlap, or give bounds a known order: `window(n + m)` is known to hold `window(n)`, `window(m)` is not",
		"pattern p { keep columns(0..129 step 2) }"},
	{codeUnusedParam, "a parameter that nothing uses", "pattern p(n = 4) { keep causal }",
		"use the parameter, or remove it",
		"pattern p { keep causal }"},
	{codeUnusedLet, "a named set that nothing uses", "pattern p { let a = sink(4) keep causal }",
		"use the set, or remove it",
		"pattern p { keep causal }"},
	{codeUnusedIndex, "a value of the index stage that nothing uses", "pattern p { index s = softmax(q[-64:] * k) keep causal }",
		"keep what the value chooses, or remove it",
		"pattern p { keep causal }"},
}

// Explain returns what a code means, with an example and what to do about it; false means that there is no such code.
func Explain(code string) (string, bool) {
	for _, c := range Codes {
		if c.Code == code {
			return fmt.Sprintf("%s: %s\n\nexample:\n\n    %s\n\nwhat to do: %s\n\nright:\n\n    %s\n", c.Code, c.Meaning, c.Example, c.Do, c.Right), true
		}
	}
	return "", false
}
