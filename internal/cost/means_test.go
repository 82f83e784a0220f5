package cost

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/ir"
)

// Means are counted as the slots that a kernel walks, and add no pairs.
func TestMeansAreCounted(t *testing.T) {
	seen := 0
	for seed := range uint64(300) {
		rng := rand.New(rand.NewPCG(seed, 5))
		w := randomWork(rng, rng.IntN(3))
		w.Schedule.Tile = ir.Tile{Rows: ir.BlockSize, Keys: ir.BlockSize}
		w.RowTile, w.KeyTile, w.SeqK, w.QOffset = ir.BlockSize, ir.BlockSize, 1+rng.IntN(9000), rng.IntN(9000)
		without, err := Count(w)
		require.NoError(t, err)
		means := ir.Segment{From: ir.SourceOfMeans, Pool: ir.PoolKeys[rng.IntN(len(ir.PoolKeys))], Hop: -1, NeverFull: true}
		w.Schedule.Segments = append(w.Schedule.Segments, means)
		with, err := Count(w)
		require.NoError(t, err)
		l, err := w.Schedule.Bind(nil)
		require.NoError(t, err)
		want, shape := int64(0), ir.Shape{Sq: w.SeqQ, Sk: w.SeqK, QOffset: w.QOffset}
		for n := range (w.SeqQ + ir.BlockSize - 1) / ir.BlockSize {
			slots, err := l.Slots(nil, shape, n)
			require.NoError(t, err)
			for _, s := range slots {
				if s.Source == ir.SourceMeans {
					want++
				}
			}
		}
		require.Equal(t, want, with.Tiles()-without.Tiles(), "seed %d", seed)
		require.Equal(t, without.Pairs(), with.Pairs(), "seed %d", seed)
		seen += min(int(want), 1)
	}
	require.Greater(t, seen, 100)
}
