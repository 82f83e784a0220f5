package passes

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/internal/campaign"
	"github.com/minfc/minfc/ir"
	"github.com/minfc/minfc/ir/irtest"
)

// TestRandomPatterns compares the schedule with the definition on random patterns: the same pairs, each once, and nothing
// but kept pairs in full tiles.
func TestRandomPatterns(t *testing.T) {
	patterns := campaign.Few(120, 1500)
	refused, segments, full, hops := 0, 0, 0, 0
	for seed := range uint64(patterns) {
		rng := rand.New(rand.NewPCG(seed, 1))
		p := irtest.RowsBySeed(seed, irtest.RandomPattern(rng))
		tile := irtest.RandomTile(rng)
		s, err := Run(p, Options{Tile: Fixed(tile), Verify: true})
		if err != nil {
			require.NotContains(t, err.Error(), "internal", "seed %d\n%s", seed, p)
			require.Contains(t, err.Error(), "disjoint bands", "seed %d\n%s", seed, p)
			refused++
			continue
		}
		segments += len(s.Segments)
		causal, keeping := s.Causal(), s.EveryRowKeeps()
		for range 2 {
			values := irtest.RandomValues(rng, p)
			shape := irtest.RandomShape(rng, 70, 200)
			if rng.IntN(4) == 0 {
				shape = irtest.AtLimit(rng, shape)
			}
			f, h, err := compare(p, s, values, shape)
			require.NoError(t, err, "seed %d, %+v, %v\n%s\n%s", seed, shape, values, p, s)
			full, hops = full+f, hops+h
			require.NoError(t, checkClaims(p, values, shape, causal, keeping), "seed %d, %+v, %v\n%s\n%s", seed, shape, values, p, s)
		}
	}
	t.Logf("%d patterns, %d refused, %d segments, %d full tiles, %d tiles hopped over", patterns, refused, segments, full, hops)
	require.Less(t, refused, patterns/50)
	require.Greater(t, full, patterns/4)
	require.Greater(t, hops, patterns/10)
}

// checkClaims checks what the schedule proves about all rows on one launch.
func checkClaims(p *ir.Pattern, values map[string]int64, shape ir.Shape, causal, keeping bool) error {
	keep, err := p.EndingAt(shape.End()).Keeps(values)
	if err != nil {
		return err
	}
	for q := shape.QOffset; q < shape.QOffset+shape.Sq; q++ {
		kept := 0
		for k := range shape.Sk {
			if !keep(q, k) {
				continue
			}
			kept++
			if causal && k > q {
				return fmt.Errorf("proven causal, but query %d keeps key %d", q, k)
			}
		}
		if keeping && q < shape.Sk && kept == 0 {
			return fmt.Errorf("proven that every row keeps a key, but query %d keeps none", q)
		}
	}
	return nil
}

// compare checks one launch; it counts the full tiles, and the tiles that hops left out.
func compare(p *ir.Pattern, s *ir.Schedule, values map[string]int64, shape ir.Shape) (full, hops int, err error) {
	keep, err := p.EndingAt(shape.End()).Keeps(values)
	if err != nil {
		return 0, 0, err
	}
	launched, err := s.Bind(values)
	if err != nil {
		return 0, 0, err
	}
	for i := range shape.Sq {
		row, err := launched.Row(shape, i)
		if err != nil {
			return 0, 0, err
		}
		for k := range shape.Sk {
			if want := keep(shape.QOffset+i, k); want != (row[k] == 1) {
				return 0, 0, fmt.Errorf("query row %d, key %d: the pattern says %v, the schedule %v", i, k, want, !want)
			}
		}
	}
	return compareTiles(keep, s, launched, values, shape)
}

// compareTiles checks that full tiles hold kept pairs only. A full tile counts all of its rows, so a wrong one also shows in
// Row; here the claim itself is checked.
func compareTiles(keep func(q, k int) bool, s *ir.Schedule, launched *ir.Launched, values map[string]int64,
	shape ir.Shape) (full, hops int, err error) {
	plain := *s
	plain.Segments = append([]ir.Segment(nil), s.Segments...)
	for i := range plain.Segments {
		plain.Segments[i].Hop = -1
	}
	for n := 0; n*s.Tile.Rows < shape.Sq; n++ {
		first, last := shape.RowTile(n, s.Tile.Rows)
		tiles := launched.Tiles(shape, n)
		all, err := plain.Tiles(values, shape, n)
		if err != nil {
			return 0, 0, err
		}
		hops += max(0, len(all)-len(tiles))
		for _, t := range tiles {
			if !t.Full {
				continue
			}
			full++
			for q := first; q <= last; q++ {
				for k := t.Start; k < t.Start+s.Tile.Keys; k++ {
					if !keep(q, k) {
						return 0, 0, fmt.Errorf("full tile at key %d of rows %d..%d: the pair %d, %d is not kept", t.Start, first, last, q, k)
					}
				}
			}
		}
	}
	return full, hops, nil
}

// TestRunIsDeterministic compiles twice and compares the texts.
func TestRunIsDeterministic(t *testing.T) {
	for seed := range uint64(200) {
		var texts []string
		for range 2 {
			p := irtest.RowsBySeed(seed, irtest.RandomPattern(rand.New(rand.NewPCG(seed, 2))))
			var log strings.Builder
			_, err := Run(p, Options{Tile: Fixed(ir.Tile{Rows: 64, Keys: 64}), After: func(name, text string) { log.WriteString(name + "\n" + text) }})
			if err != nil {
				log.WriteString(err.Error())
			}
			texts = append(texts, log.String())
		}
		require.Equal(t, texts[0], texts[1])
	}
}
