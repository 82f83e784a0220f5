package dsl_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/tools/txtar"

	"github.com/minfc/minfc/dsl"
	"github.com/minfc/minfc/patterns"
)

func diagnose(src []byte) dsl.Diagnostics {
	f, _, err := dsl.Load("a", src)
	if e, ok := err.(*dsl.Error); ok {
		return e.Diagnostics
	}
	return f.Warnings
}

// errorsIn counts errors: a change that mends one may leave something unused.
func errorsIn(ds dsl.Diagnostics) (n int) {
	for _, d := range ds {
		if !d.IsWarning() {
			n++
		}
	}
	return n
}

// requireHelpful applies what each diagnostic suggests: one error less, and none in its place.
func requireHelpful(t *testing.T, src []byte, codes map[string]int) {
	t.Helper()
	before := diagnose(src)
	for _, d := range before {
		if len(d.Edits) == 0 {
			continue
		}
		after := dsl.Apply(src, d.Edits)
		found := diagnose(after)
		text := fmt.Sprintf("%s[%s]: %s\n%s\nbecame\n%s", d.Message, d.Code, d.Help, src, after)
		if strings.HasPrefix(d.Code, "E01") { // more of the pattern is read then, which may have errors of its own
			require.False(t, slices.ContainsFunc(found, func(x dsl.Diagnostic) bool { return x.Code == d.Code && x.Primary == d.Primary }), text)
		} else {
			require.Less(t, errorsIn(found), errorsIn(before), text)
		}
		codes[d.Code]++
	}
}

// What help says to write is right where it says it: no help leads into another error.
func TestHelpApplied(t *testing.T) {
	codes := map[string]int{}
	for _, path := range archives(t) {
		a, err := txtar.ParseFile(path)
		require.NoError(t, err)
		requireHelpful(t, a.Files[0].Data, codes)
	}
	const index = "index s = softmax(q[-64:] * k) index c = top(9, sum(s, queries)) index d = top(n, sum(s, diagonals)) "
	for _, body := range []string{
		"keep sink(size)", "keep sink(size + n)", "keep columns(0..end step n)", "keep windw(n)", "keep n", "keep causal & zero",
		"keep columns(n)", "keep diagonals(4)",
		"keep columns(9..4)", "keep window(0)", "keep causal()", "let a = all keep a(3)", "keep causal ; keep", "kep causal",
		"keep sink(n) # comment",
		index + "keep columns(c) | d", index + "keep columns(c) | diagonals(d) | c", index + "keep columns(cc)",
		"index a = top(n, q[-64:] * k) keep columns(a)", "index a = top_p(0.9, mean(q, 64)) keep blocks(a)",
		"index a = above(0.9, mean(k, 64)) keep blocks(a)",
		"index a = top_p(1.5, sum(softmax(q[-64:] * k), queries)) keep columns(a)", "index a = top_p(0, sum(softmax(q[-64:] * k), queries)) keep columns(a)",
		"index a = top(n, mean(q, 32) * mean(k, 64)) keep blocks(a)", "index a = top(n, sum(softmax(q[0:64] * k), queries)) keep columns(a)",
		"index a = top(n, sum(softmax(mean(q * k, antidiagonals(3))), blocks)) keep blocks(a)", "index a = top(n, sum(q[-64:] * k, queries)) keep columns(a)",
		"index a = top(n, sum(softmx(q[-64:] * k), queries)) keep columns(a)",
	} {
		requireHelpful(t, []byte("pattern p(n = 4, const zero = 0) { "+body+" }"), codes)
	}
	for _, code := range []string{"E0102", "E0105", "E0203", "E0204", "E0209", "E0301", "E0303", "E0304", "E0306", "E0307", "E0401",
		"E0402", "E0405"} {
		require.NotZero(t, codes[code], code)
	}
}

// TestWhatTheLanguageLacks: names and signs of other languages are named as what they are, with the way round.
func TestWhatTheLanguageLacks(t *testing.T) {
	for body, want := range map[string][2]string{
		"keep causal & row(3)":                      {"no set of this name (`row`)", "the last n are `rows(-n..)`"},
		"keep causal & k % 4":                       {"no remainder (`%`)", "`columns(0.. step n)`"},
		"keep softcap(30)":                          {"no score modifiers (`softcap`)", "--scale"},
		"keep alibi & causal":                       {"no score modifiers (`alibi`)", "softmax of scale * q * k"},
		"keep causal & documents(3)":                {"no documents or padding (`documents`)", "a call of its own"},
		"keep causal & tokens(3)":                   {"no choices for each token (`tokens`)", "`blocks(b)`"},
		"keep causal where q":                       {"no conditions, loops or functions (`where`)", "`window` or `diagonals`"},
		"keep causal if n":                          {"no conditions, loops or functions (`if`)", "`window` or `diagonals`"},
		"keep q < k":                                {"no comparisons (`<`)", "`sink(n)`"},
		"keep ! causal":                             {"no negation (`!`)", "`all \\ set`"},
		"keep head(3)":                              {"no choices by head or layer (`head`)", "--plan"},
		"keep random(3)":                            {"no random sets (`random`)", "every n-th"},
		"keep local(3)":                             {"no set of this name (`local`)", "`window(n)`"},
		"keep global(3)":                            {"no set of this name (`global`)", "`sink(n)`"},
		"keep strided(3)":                           {"no set of this name (`strided`)", "`diagonals(0.. step n)`"},
		"keep causal and all":                       {"no word for this (`and`)", "`a & b`"},
		"keep causal or all":                        {"no word for this (`or`)", "`a | b`"},
		"keep window(min(n, 4))":                    {"no functions of numbers (`min`)", "pass them as a parameter"},
		"keep window(abs(n))":                       {"no functions of numbers (`abs`)", "`+`, `-` and `*`"},
		"index a = softcap(q[-64:] * k) keep all":   {"no score modifiers (`softcap`)", "scale or shift"},
		"index a = top(n, topk_tokens(q)) keep all": {"no choices for each token", "every 64 query rows"},
	} {
		ds := diagnose([]byte("pattern p(n = 4) { " + body + " }"))
		require.NotEmpty(t, ds, body)
		require.Contains(t, ds[0].Message, "the language has "+want[0], body)
		require.Contains(t, ds[0].Help, want[1], body)
	}
	for _, name := range []string{"q", "k"} {
		for _, body := range []string{"sink(%s)", "window(%s)", "columns(%s)", "columns(%s..4)", "diagonals(..%s)"} {
			ds := diagnose([]byte("pattern p { keep " + fmt.Sprintf(body, name) + " }"))
			require.Len(t, ds, 1, body)
			require.Contains(t, ds[0].Help, "positions are not numbers of the language", body)
			require.Empty(t, ds[0].Edits)
		}
	}
}

// Words of other languages do not stand in the way of names of one's own.
func TestLackingWordsAreNames(t *testing.T) {
	src := "pattern rows(head = 4, mod = 2) { let local = window(head) index token = top(mod, sum(softmax(q[-64:] * k), queries)) keep causal & (local | columns(token)) }"
	require.Empty(t, diagnose([]byte(src)))
	for _, name := range patterns.Names() {
		_, src, _ := patterns.Source(name)
		require.Empty(t, diagnose(src))
	}
	ds := diagnose([]byte("pattern p(n = 3) { let locals = sink(n) keep local }"))
	require.Equal(t, "did you mean `locals`?", ds[0].Help)
}
