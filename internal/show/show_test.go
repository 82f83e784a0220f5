package show

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// write puts a source of patterns into a file.
func write(t *testing.T, source string) string {
	name := filepath.Join(t.TempDir(), "p.minf")
	require.NoError(t, os.WriteFile(name, []byte(source), 0o644))
	return name
}

// loaded is a pattern of a source, or of the library.
func loaded(t *testing.T, source string, n int, set map[string]int64) *subject {
	if strings.Contains(source, "{") {
		source = write(t, source)
	}
	s, err := load(Request{File: source, SeqLen: n, Set: set})
	require.NoError(t, err)
	return s
}

// statics are sources of patterns that no data decides.
var statics = []string{
	"a_shape", "strided", "tri_shape", "longformer", "prefix_lm", "dilated", "sliding", "dense", "full",
	"pattern p { keep columns(3..90 step 7) | window(5, 3) }",
	"pattern p { keep causal & columns(0.. step 5) & diagonals(1.. step 3) }",
	"pattern p { keep causal \\ diagonals(0.. step 4) | rows(10..20) }",
	"pattern p { keep causal \\ columns(0.. step 5) \\ columns(1.. step 7) \\ columns(2.. step 9) }",
	"pattern p { keep causal \\ columns(0.. step 5) \\ columns(1.. step 7) \\ columns(2.. step 9) \\ columns(3.. step 11) \\ columns(4.. step 13) }",
	"pattern p(n = 9) { let near = window(n) keep causal & (near | rows(-n..) \\ sink(4)) }",
}

// small gives parameters of the library values that mean something at short lengths.
func small(s *subject) map[string]int64 {
	out := map[string]int64{}
	for _, p := range s.pattern.Params {
		if p.Default > 32 {
			out[p.Name] = 20
		}
	}
	return out
}

// asked is what the definition of a pattern's meaning says of a call.
func asked(t *testing.T, s *subject, n int) func(q, k int) bool {
	keeps, err := s.pattern.EndingAt(n).Keeps(s.values)
	require.NoError(t, err)
	return keeps
}

// Cells are counted in closed form; Keeps says pair by pair what they hold.
func TestPicturesHoldWhatPatternsKeep(t *testing.T) {
	for _, source := range statics {
		for _, n := range []int{1, 7, 64, 130, 200} {
			s := loaded(t, source, n, nil)
			s = loaded(t, source, n, small(s))
			g, err := s.draw()
			require.NoError(t, err, source)
			keeps := asked(t, s, n)
			for i, row := range g.kept {
				for j, kept := range row {
					want := countPairs(keeps, g.edges[i], g.edges[i+1], g.edges[j], g.edges[j+1])
					require.Equal(t, want, kept, "%s, length %d, cell %d,%d", source, n, i, j)
				}
			}
			requireDots(t, g, g.picture(s))
		}
	}
}

// requireDots wants a dot exactly where a cell has a kept pair.
func requireDots(t *testing.T, g *grid, p Picture) {
	bits := [4][2]rune{{0x01, 0x08}, {0x02, 0x10}, {0x04, 0x20}, {0x40, 0x80}}
	for i, row := range g.kept {
		line := []rune(p.Lines[i/4])
		for j, kept := range row {
			dot := (line[j/2]-0x2800)&bits[i%4][j%2] != 0
			require.Equal(t, kept > 0, dot, "cell %d,%d", i, j)
		}
	}
}

func TestDensityIsExact(t *testing.T) {
	for _, source := range statics {
		for _, n := range []int{1, 63, 200, 333} {
			s := loaded(t, source, n, nil)
			s = loaded(t, source, n, small(s))
			d, err := s.density(n)
			require.NoError(t, err)
			kept := countPairs(asked(t, s, n), 0, n, 0, n)
			require.InDelta(t, float64(kept)/float64(s.densePairs(n)), d.Part, 1e-12, "%s, length %d", source, n)
			require.True(t, d.Known && !d.AtMost)
		}
	}
}

// What budgets allow is no less than what they choose, and no more than dense attention.
func TestBudgetsBoundDensity(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, source := range []string{
		"vertical_slash", "slash_tiles", "slash_tiles_shared", "columns_window", "block_sparse", "sink_blocks", "block_means",
		"pattern p(n = 9) { index c = top_p(0.5, sum(softmax(q[-64:] * k), queries)) with first 3 with most n keep causal & columns(c) }",
		"pattern p(n = 9) { index c = top(n, sum(softmax(q[::50] * k), queries)) keep columns(c) }",
		"pattern p(n = 9) { index d = top(n, sum(softmax(q[-9:] * k), diagonals)) keep causal & (window(4) | diagonals(d)) }",
	} {
		for range 3 {
			n := 100 + rng.IntN(400)
			s := loaded(t, source, n, nil)
			set := map[string]int64{}
			for _, p := range s.pattern.Params {
				set[p.Name] = 1 + rng.Int64N(40)
			}
			s = loaded(t, source, n, set)
			g, err := s.draw()
			require.NoError(t, err)
			d, err := s.density(n)
			require.NoError(t, err)
			part := float64(g.picture(s).Kept) / float64(s.densePairs(n))
			require.True(t, d.Known && d.AtMost, source)
			require.LessOrEqual(t, part, d.Part, "%s, length %d, %v", source, n, set)
			require.LessOrEqual(t, d.Part, 1.0)
		}
	}
	s := loaded(t, "pattern p { index c = top_p(0.5, sum(softmax(q[-64:] * k), queries)) keep causal & columns(c) }", 100, nil)
	d, err := s.density(100)
	require.NoError(t, err)
	require.False(t, d.Known, "a share of the mass is no budget")
	s = loaded(t, "pattern p { index c = above(0.5, sum(softmax(q[-64:] * k), queries)) keep causal & columns(c) & window(10) }", 100, nil)
	d, err = s.density(100)
	require.NoError(t, err)
	require.True(t, d.Known, "the window bounds what a threshold does not")
}

// The picture of a choice is the same every time, and of parameters that keep a part of it.
func TestGeneratedHeads(t *testing.T) {
	s := loaded(t, "vertical_slash", 512, nil)
	a, err := s.draw()
	require.NoError(t, err)
	b, err := loaded(t, "vertical_slash", 512, nil).draw()
	require.NoError(t, err)
	require.Equal(t, a.kept, b.kept)
	require.Equal(t, "vertical=32 slash=128", a.params(s))
	set := loaded(t, "vertical_slash", 512, map[string]int64{"vertical": 40, "slash": 120})
	c, err := set.draw()
	require.NoError(t, err)
	require.Empty(t, c.params(set), "what a person sets stays")
	require.NotEqual(t, a.kept, c.kept)
}

func TestWords(t *testing.T) {
	s := loaded(t, `pattern p(a = 3, n = 1) {
  index best = top(n, mean(q, 64) * max(k, 128)) with first 1 with last 2 with most 9
  let near = window(a, n)
  keep (near | columns(a..20) | diagonals(-4..)) \ rows(..-n) | blocks(best)
}`, 100, nil)
	var got []string
	for _, p := range s.keeps() {
		got = append(got, strings.Repeat("  ", p.Depth)+p.Text)
	}
	require.Equal(t, []string{
		"any of:",
		"  the first of these without the second:",
		"    any of:",
		"      the nearest 3 keys (a), the query's own and before it, and the 1 key (n) after it",
		"      keys at positions 3 (a) to before 20",
		"      keys at distances -4 and up before the query",
		"    without every key of the queries at positions 0 to before 1 (n) before the end",
		"  the blocks that data chooses as best",
	}, got)
	require.Equal(t, []Choice{{"best", "the 1 key block (n) with the largest product of the mean of 64 queries with the maximum of 128 keys, " +
		"for each block of 64 queries; always the first; always the 2 nearest; at most 9"}}, s.choices())
	steps := loaded(t, "pattern p(const b = 2) { keep columns(4.. step b) | diagonals(..9 step 11) }", 100, nil).keeps()
	require.Equal(t, "keys at positions 4 and up, every 2nd (b)", steps[1].Text)
	require.Equal(t, "keys at distances 0 to before 9, every 11th before the query", steps[2].Text)
	require.Equal(t, Phrase{1, steps[2].Text, 1, 53}, steps[2], "where it is written")
	long := loaded(t, `pattern p(n = 5) {
  index sums = sum(softmax(q[-64:] * k), diagonals(64))
  index runs = near_max(0.2, sums) with least max(2, (sk - n) / 64) with most 2 * (sk / 128 + max(1, n))
  keep causal & diagonals(runs)
}`, 1024, nil)
	require.Equal(t, []Choice{{"runs", "the runs of 64 distances whose sum along the diagonals of the softmax of the logits of the last 64 queries is at least 20.0 % of the largest; " +
		"at least 15 (max(2, (sk - n) / 64)); at most 26 (2 * ((sk / 128) + max(1, n)))"}}, long.choices())
}

func TestRefusals(t *testing.T) {
	for _, c := range []struct {
		request Request
		want    string
	}{
		{Request{File: "a_shap", SeqLen: 64}, "did you mean"},
		{Request{File: "a_shape", SeqLen: 0}, "--seqlen is 0, want 1 to 1048576"},
		{Request{File: "a_shape", SeqLen: MaxLength + 1}, "--seqlen is 1048577"},
		{Request{File: "a_shape", SeqLen: 64, Pattern: "b_shape"}, "has no pattern"},
		{Request{File: "a_shape", SeqLen: 64, Set: map[string]int64{"windo": 3}}, "windo"},
		{Request{File: "a_shape", SeqLen: 64, Set: map[string]int64{"window": 0}}, "window"},
		{Request{File: write(t, "pattern p { keep windw(3) }"), SeqLen: 64}, "E0203"},
	} {
		_, err := Make(c.request)
		require.ErrorContains(t, err, c.want)
	}
}
