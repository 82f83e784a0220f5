package passes

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/internal/campaign"
	"github.com/minfc/minfc/ir"
	"github.com/minfc/minfc/ir/irtest"
)

// What a schedule's walk leaves to means is what the pattern drops, for random patterns, launches and choices.
func TestSchedulesDropWhatPatternsDrop(t *testing.T) {
	patterns, refused, pools, parts := campaign.Cases(60, 300, 1000), 0, 0, 0
	for seed := range uint64(patterns) {
		rng := rand.New(rand.NewPCG(seed, 29))
		p := irtest.RowsBySeed(seed, irtest.RandomMeans(rng, seed%3 > 0))
		s, err := Run(p, Options{Tile: Fixed(ir.Tile{Rows: 64, Keys: 64}), Verify: true})
		if err != nil {
			require.NotContains(t, err.Error(), "internal", "seed %d\n%s", seed, p)
			refused++
			continue
		}
		means, has := s.Means()
		require.True(t, has && means.Pool == p.Pool && s.Segments[len(s.Segments)-1].From == means.From, "means come last\n%s", s)
		for range 2 {
			values, shape := irtest.RandomValues(rng, p), irtest.RandomShape(rng, 200, 3000)
			sel := irtest.RandomSelection(rng, p.Index, shape)
			l, err := s.Bind(values)
			require.NoError(t, err)
			keep, err := p.EndingAt(shape.End()).KeepsWith(values, sel)
			require.NoError(t, err)
			for n := range (shape.Sq + ir.BlockSize - 1) / ir.BlockSize {
				want := ir.DroppedKeys(p.Pool, keep, shape, n)
				got, err := l.DroppedKeys(sel, shape, n)
				require.NoError(t, err)
				require.Equal(t, want, got, "seed %d, %+v, %v, row block %d\n%s\n%s", seed, shape, values, n, p, s)
				for _, keys := range want {
					if pools++; keys > 0 && keys < p.Pool {
						parts++
					}
				}
			}
		}
	}
	t.Logf("%d pools, %d of them dropped in part, %d patterns refused", pools, parts, refused)
	require.Less(t, refused, patterns/5)
	require.Greater(t, pools, patterns)
	require.Greater(t, parts, patterns/4)
}
