package show

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/internal/campaign"
	"github.com/minfc/minfc/ir"
)

// randomSet writes a static set.
func randomSet(rng *rand.Rand, depth int) string {
	n := func(most int) int { return rng.IntN(most) }
	if depth > 0 && n(3) > 0 {
		operator := []string{"&", "|", "\\"}[n(3)]
		return fmt.Sprintf("(%s %s %s)", randomSet(rng, depth-1), operator, randomSet(rng, depth-1))
	}
	from := n(40) - 10
	switch n(6) {
	case 0:
		return "causal"
	case 1:
		return fmt.Sprintf("window(%d, %d)", 1+n(40), n(9))
	case 2:
		return fmt.Sprintf("sink(%d)", n(30))
	case 3:
		return fmt.Sprintf("rows(%d..)", from)
	case 4:
		return fmt.Sprintf("columns(%d..%d step %d)", from, from+1+n(90), 1+n(30))
	}
	return fmt.Sprintf("diagonals(%d.. step %d)", from, 1+n(30))
}

// Of random patterns, pictures, density and explained tiles are what Keeps says.
func TestRandomPatterns(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 5))
	shown, cases := 0, campaign.Cases(20, 60, 600)
	for i := range cases {
		source, n := "pattern p { keep "+randomSet(rng, 3)+" }", 1+rng.IntN(140)
		s, err := load(Request{File: write(t, source), SeqLen: n})
		if err != nil { // a set that no kernel has, or a slip that the language refuses
			continue
		}
		shown++
		keeps := asked(t, s, n)
		g, err := s.draw()
		require.NoError(t, err, source)
		total := int64(0)
		for i, row := range g.kept {
			for j, kept := range row {
				total += kept
				require.Equal(t, countPairs(keeps, g.edges[i], g.edges[i+1], g.edges[j], g.edges[j+1]), kept, "case %d: %s, length %d", i, source, n)
			}
		}
		d, err := s.density(n)
		require.NoError(t, err, source)
		require.InDelta(t, float64(total)/float64(s.densePairs(n)), d.Part, 1e-12, "case %d: %s", i, source)
		size := ir.Tile{Rows: 16, Keys: 32}
		at := [2]int{rng.IntN(ceilDiv(n, 16)), rng.IntN(ceilDiv(n, 32))}
		tile, err := s.explain(at, size, nil)
		require.NoError(t, err, source)
		require.Equal(t, countPairs(keeps, tile.Queries[0], tile.Queries[1], tile.Keys[0], tile.Keys[1]), tile.Kept, "case %d: %s", i, source)
		require.NotEmpty(t, tile.Because, "case %d: %s", i, source)
	}
	require.Greater(t, shown, cases/3)
}
