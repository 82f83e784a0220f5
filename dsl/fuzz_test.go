package dsl_test

import (
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/tools/txtar"

	"github.com/minfc/minfc/dsl"
	"github.com/minfc/minfc/internal/campaign"
	"github.com/minfc/minfc/patterns"
)

// FuzzLoad feeds arbitrary bytes: no panic, spans inside the source, errors that render, and formatting that keeps the
// meaning and the comments.
func FuzzLoad(f *testing.F) {
	for _, name := range patterns.Names() {
		_, src, _ := patterns.Source(name)
		f.Add(src)
	}
	for _, path := range archives(f) {
		a, err := txtar.ParseFile(path)
		require.NoError(f, err)
		f.Add(a.Files[0].Data)
	}
	f.Fuzz(requireSound)
}

func requireSound(t *testing.T, src []byte) {
	file, ps, err := dsl.Load("fuzz", src)
	if err != nil {
		e, ok := err.(*dsl.Error)
		require.True(t, ok)
		require.NotEmpty(t, e.Error())
		require.NotContains(t, e.Error(), "internal:")
		require.Empty(t, ps)
		for _, d := range e.Diagnostics {
			require.LessOrEqual(t, d.Primary.Span.End, len(src))
		}
	}
	for _, p := range ps {
		require.NoError(t, p.Verify(), "what the checker accepts, the verifier of ir accepts")
	}
	dsl.PrintAST(file)
	requireFormatRoundTrip(t, src)
}

// TestMutatedFiles changes tokens of readable files at random. Unlike random bytes, most of the results get past
// the lexer, and many past the parser.
func TestMutatedFiles(t *testing.T) {
	cases := campaign.Few(60, 600)
	words := strings.Fields("pattern const let keep step index a n sink window causal all columns diagonals 0 1 4k 1m 99999m " +
		"index with first last least most q k softmax sum queries mean 64 top top_p above near_max sk / min max blocks 0.5 [ ] : ( ) { } , = .. | & \\ + - * // //c ; \u00e9")
	var seeds [][]string
	for _, name := range patterns.Names() {
		_, src, _ := patterns.Source(name)
		seeds = append(seeds, splitTokens(string(src)))
	}
	for _, path := range archives(t) {
		a, err := txtar.ParseFile(path)
		require.NoError(t, err)
		if _, err := dsl.Parse("", a.Files[0].Data); err == nil {
			seeds = append(seeds, splitTokens(string(a.Files[0].Data)))
		}
	}
	rnd := rand.New(rand.NewPCG(1, 2))
	parsed := 0
	for range cases {
		ts := slices.Clone(seeds[rnd.IntN(len(seeds))])
		for range 1 + rnd.IntN(2) {
			i := rnd.IntN(len(ts))
			switch rnd.IntN(4) {
			case 0:
				ts[i] = words[rnd.IntN(len(words))]
			case 1:
				ts = slices.Insert(ts, i, " "+words[rnd.IntN(len(words))]+" ")
			case 2:
				ts = slices.Insert(ts, i, "\n", "// a comment", "\n")
			case 3:
				ts = slices.Delete(ts, i, min(i+1+rnd.IntN(2), len(ts)-1))
			}
		}
		src := []byte(strings.Join(ts, ""))
		requireSound(t, src)
		if _, err := dsl.Parse("", src); err == nil {
			parsed++
		}
	}
	require.Greater(t, parsed, cases/5, "too few mutants are valid to say anything about formatting")
}

// splitTokens cuts a text into words, signs and white space, all kept.
func splitTokens(src string) []string {
	return regexp.MustCompile(`[A-Za-z0-9_]+|\s+|//[^\n]*|.`).FindAllString(src, -1)
}

func BenchmarkLoad(b *testing.B) {
	file, src, _ := patterns.Source("a_shape")
	for b.Loop() {
		if _, _, err := dsl.Load(file, src); err != nil {
			b.Fatal(err)
		}
	}
}
