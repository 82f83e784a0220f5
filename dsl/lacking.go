package dsl

import (
	"fmt"
	"slices"
	"strings"
)

// lacking names what other programs have and the language has not, and the way round. Names of our own sets are not among them.
var lacking = []struct {
	names []string
	what  string // completes "the language has no ..."
	way   string
}{
	{[]string{"row", "query", "q_range", "query_range"}, "set of this name",
		"queries from one to another are `rows(from..to)`, the last n are `rows(-n..)`"},
	{[]string{"keys", "key", "k_range", "key_range", "cols", "column", "col"}, "set of this name",
		"keys from one to another are `columns(from..to)`, the first n are `sink(n)`"},
	{[]string{"softcap", "soft_cap", "logit_cap", "alibi", "bias", "score_mod", "tanh", "relative", "rel_bias", "temperature", "slope",
		"slopes", "rope"}, "score modifiers",
		"a pattern says which pairs are kept, not what their scores are: kernels compute the softmax of scale * q * k; scale or shift q and k before the call, the scale is --scale"},
	{[]string{"document", "documents", "doc", "docs", "doc_id", "segment", "segments", "segment_ids", "same_document", "packed",
		"varlen", "cu_seqlens", "padding", "pad_mask"}, "documents or padding",
		"give every document a call of its own, or a place in the batch; shorter sequences are calls with their own lengths"},
	{[]string{"token", "tokens", "per_token", "per_query", "topk_tokens", "selected", "indices", "gather"}, "choices for each token",
		"the data chooses columns and diagonals for a whole head, and blocks for every 64 query rows: `index b = top(n, mean(q, 64) * mean(k, 64))`, then `blocks(b)`"},
	{[]string{"head", "heads", "layer", "layers", "kv_head", "batch"}, "choices by head or layer",
		"a pattern is what one head runs; a head plan says which head runs which pattern with which parameters (minfc run --plan)"},
	{[]string{"random", "rand", "bigbird", "dropout"}, "random sets",
		"list the columns or distances that were drawn, as `columns(5..6) | columns(9..10)`, or take every n-th: `columns(0.. step n)`"},
	{[]string{"mask", "tensor", "bitmap", "custom_mask"}, "masks from tensors",
		"write the mask as sets; sets that depend on data come from the index stage"},
	{[]string{"local", "sliding_window", "sliding", "band", "banded", "near"}, "set of this name", "the n latest keys are `window(n)`, some on both sides `window(left, right)`"},
	{[]string{"global", "prefix", "prefix_lm", "prefixlm", "bos", "sinks", "first", "initial"}, "set of this name", "the first n keys are `sink(n)`; a prefix that all see and causal attention behind it are `sink(n) | causal`"},
	{[]string{"strided", "stride", "every", "dilated", "dilation", "mod", "modulo"}, "set of this name", "every n-th distance is `diagonals(0.. step n)`, every n-th key `columns(0.. step n)`"},
	{[]string{"vertical", "verticals", "slash", "slashes", "diagonal", "diag"}, "set of this name", "vertical lines are `columns(...)`, slashes are `diagonals(...)`"},
	{[]string{"block_sparse", "block_diagonal", "block_mask", "tile", "tiles"}, "fixed blocks", "blocks come from the index stage, `blocks(name)`; fixed ones are made of `columns` and `diagonals`"},
	{[]string{"not", "complement", "invert", "none", "empty"}, "set of this name", "the complement of a set is `all \\ set`, nothing is `all \\ all`"},
	{[]string{"and", "intersect", "intersection"}, "word for this", "pairs in both sets are `a & b`"},
	{[]string{"or", "union"}, "word for this", "pairs in either set are `a | b`"},
	{[]string{"minus", "except", "without", "difference"}, "word for this", "pairs in the left set and not in the right one are `a \\ b`"},
	{[]string{"if", "elif", "for", "while", "def", "return", "lambda", "where", "when", "unless", "xor"},
		"conditions, loops or functions",
		"a condition on the distance is `window` or `diagonals`, on the key `sink` or `columns`, on the query `rows`; join sets with `&`, `|` and `\\`"},
	{[]string{"abs", "floor", "ceil", "round", "log", "log2", "exp", "sqrt", "pow", "min", "len", "seqlen", "sq", "sk", "div"},
		"functions of numbers",
		"numbers have `+`, `-` and `*`, and the numbers of `top`, `with least` and `with most` also `sk`, `/`, `min` and `max`; compute others outside and pass them as a parameter"},
}

// lacks says what the language has not, and the way round, if a name is known to mean that elsewhere.
func lacks(name string) (what, way string, ok bool) {
	for _, l := range lacking {
		if slices.Contains(l.names, strings.ToLower(name)) {
			return l.what, l.way, true
		}
	}
	return "", "", false
}

// lackingMessage names what is not there: "the language has no score modifiers (`alibi`)".
func lackingMessage(what, name string) string {
	return fmt.Sprintf("the language has no %s (`%s`)", what, name)
}

// lackingCharacters names operators of other languages and the way round.
var lackingCharacters = map[string]struct{ what, way string }{
	"%":  {"remainder", "every n-th distance is `diagonals(0.. step n)`, every n-th key `columns(0.. step n)`"},
	"<":  {"comparisons", comparisons},
	">":  {"comparisons", comparisons},
	"?":  {"conditions", comparisons},
	"!":  {"negation", "the complement of a set is written `all \\ set`"},
	"~":  {"negation", "the complement of a set is written `all \\ set`"},
	"^":  {"exclusive or", "write `(a | b) \\ (a & b)` for what is in one of two sets"},
	"\"": {"strings", "names stand without quotes"},
	"'":  {"strings", "names stand without quotes"},
	"@":  {"matrix products", "products are written `q[-64:] * k`"},
}

const comparisons = "a condition on the distance is `window(n)`, for 0 <= q - k < n, or `diagonals(from..to)`; on the key `sink(n)`, for k < n, or `columns(from..to)`; on the query `rows(from..to)`"
