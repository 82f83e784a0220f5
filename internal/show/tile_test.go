package show

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/ir"
)

// because are the reasons for a tile in short: "partial 1:29".
func because(t *Tile) (out []string) {
	for _, r := range t.Because {
		out = append(out, fmt.Sprintf("%s %d:%d", r.Class, r.Line, r.Col))
	}
	return out
}

func TestReasonsForTiles(t *testing.T) {
	size := ir.Tile{Rows: 16, Keys: 16}
	for _, c := range []struct {
		set   string
		at    [2]int
		class Class
		want  []string // columns count from the keep clause on
	}{
		{"causal", [2]int{1, 2}, Empty, []string{"empty 1:18"}},
		{"causal", [2]int{2, 2}, Partial, []string{"partial 1:18"}},
		{"causal", [2]int{2, 1}, Full, []string{"full 1:18"}},
		{"causal & (sink(16) | window(32))", [2]int{5, 0}, Full, []string{"full 1:18", "full 1:28"}},
		{"causal & (sink(16) | window(32))", [2]int{5, 1}, Empty, []string{"empty 1:28", "empty 1:39"}},
		{"causal & (sink(20) | window(32))", [2]int{5, 1}, Partial, []string{"partial 1:28"}},
		{"sink(8) | columns(8..)", [2]int{0, 0}, Full, []string{"full 1:18"}},
		{"causal & columns(0..16) & columns(16..32)", [2]int{5, 3}, Empty, []string{"empty 1:27"}},
		{"columns(0..20) & columns(20..32)", [2]int{5, 1}, Empty, []string{"empty 1:18"}},
		{"causal \\ window(40)", [2]int{5, 5}, Empty, []string{"partial 1:18", "partial 1:27"}},
		{"causal \\ window(40)", [2]int{5, 3}, Partial, []string{"partial 1:27"}},
		{"causal \\ window(40)", [2]int{5, 1}, Full, []string{"full 1:18"}},
		{"causal \\ rows(-15..)", [2]int{5, 4}, Partial, []string{"partial 1:27"}},
		{"all", [2]int{6, 6}, Full, []string{"full 1:18"}},
	} {
		s := loaded(t, "pattern p { keep "+c.set+" }", 100, nil)
		got, err := s.explain(c.at, size, nil)
		require.NoError(t, err)
		require.Equal(t, c.class, got.Class, c.set)
		require.Equal(t, c.want, because(got), c.set)
	}
	s := loaded(t, "pattern p { keep causal \\ window(40) }", 100, nil)
	got, err := s.explain([2]int{5, 3}, size, nil)
	require.NoError(t, err)
	require.Equal(t, "taken away: the nearest 40 keys, the query's own and before it", got.Because[0].Text)
}

// Whatever the pattern, the class is what the pairs say, and the sets that decide have places of their own.
func TestTilesAreExplained(t *testing.T) {
	size := ir.Tile{Rows: 32, Keys: 16}
	for _, source := range statics {
		n := 130
		s := loaded(t, source, n, nil)
		s = loaded(t, source, n, small(s))
		keeps := asked(t, s, n)
		for r := range ceilDiv(n, size.Rows) {
			for c := range ceilDiv(n, size.Keys) {
				got, err := s.explain([2]int{r, c}, size, nil)
				require.NoError(t, err)
				require.Equal(t, countPairs(keeps, r*32, min(n, r*32+32), c*16, min(n, c*16+16)), got.Kept)
				require.Equal(t, got.Kept == got.Pairs, got.Class == Full)
				require.Equal(t, got.Kept == 0, got.Class == Empty)
				require.NotEmpty(t, got.Because, "%s %d,%d", source, r, c)
				for _, b := range got.Because {
					require.Positive(t, b.Line)
					require.NotEmpty(t, b.Text)
				}
			}
		}
	}
}

func TestTilesOfGeneratedHeads(t *testing.T) {
	s := loaded(t, "block_sparse", 1024, nil)
	g, err := s.draw()
	require.NoError(t, err)
	size := ir.Tile{Rows: ir.BlockSize, Keys: ir.BlockSize}
	seen := map[Class]bool{}
	for c := range 15 {
		got, err := s.explain([2]int{15, c}, size, g.head)
		require.NoError(t, err)
		require.Equal(t, g.kept[60][4*c] > 0, got.Class == Full, "a block is kept whole or not at all")
		seen[got.Class] = true
	}
	require.True(t, seen[Full] && seen[Empty] && !seen[Partial])
}

func TestTilesOutsideAreRefused(t *testing.T) {
	s := loaded(t, "a_shape", 100, nil)
	for _, at := range [][2]int{{-1, 0}, {0, -1}, {7, 0}, {0, 7}} {
		_, err := s.explain(at, ir.Tile{Rows: 16, Keys: 16}, nil)
		require.ErrorContains(t, err, "100 tokens have row tiles 0 to 6 of 16 queries and key tiles 0 to 6 of 16 keys")
	}
}
