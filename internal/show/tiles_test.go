package show

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/ir"
)

// The classes are counted of the tiles that a kernel walks, one by one, and none that is skipped keeps a pair.
func TestTilesAreThoseOfTheKernel(t *testing.T) {
	for _, source := range statics {
		for _, n := range []int{1, 200, 513, 1000} {
			s := loaded(t, source, n, nil)
			list, err := s.tiles()
			require.NoError(t, err)
			require.Len(t, list, 2, "a target each")
			keeps := asked(t, s, n)
			for _, got := range list {
				shape := ir.Shape{Sq: n, Sk: n}
				full, edge, pairs := int64(0), int64(0), int64(0)
				for i := range got.RowTiles {
					walked, err := got.schedule.Tiles(s.values, shape, i)
					require.NoError(t, err)
					for _, x := range walked {
						if x.Full {
							full++
						} else {
							edge++
						}
					}
					first, last := shape.RowTile(i, got.Rows)
					pairs += countPairs(keeps, first, last+1, 0, n)
				}
				require.Equal(t, full, got.Full, "%s %s, length %d", source, got.Target, n)
				require.Equal(t, edge, got.Edge, "%s %s, length %d", source, got.Target, n)
				require.LessOrEqual(t, pairs, (full+edge)*int64(got.Rows*got.Keys))
				require.Equal(t, max(0, got.Dense-full-edge), got.Skipped)
			}
		}
	}
}

func TestTilesOfLibraryPatterns(t *testing.T) {
	newest := func(name string) Tiles {
		list, err := loaded(t, name, 4096, nil).tiles()
		require.NoError(t, err)
		return list[len(list)-1]
	}
	dense := newest("dense")
	require.Zero(t, dense.Skipped)
	require.EqualValues(t, 32*33/2, dense.Full+dense.Edge)
	require.EqualValues(t, 32, dense.Edge, "the diagonal")
	require.Equal(t, []string{"k < q + 1"}, dense.Bands)
	require.Positive(t, newest("a_shape").Skipped)
	require.Zero(t, newest("strided").Skipped, "its step is below a tile")
	require.Equal(t, []string{"q - stride + 1 <= k < q + 1", "k < q - stride + 1, where q - k = 0 mod stride; all tiles masked, empty ones skipped"},
		newest("strided").Bands)
	require.Contains(t, newest("tri_shape").Bands, "sink <= k < q - window + 1, where -last from end <= q")
	require.Equal(t, []string{"runs diags: k < q + 1", "columns cols: k < q + 1, without runs diags"}, newest("vertical_slash").Bands)
}

// What a kernel computes for the generated head covers what was asked for.
func TestWorkOfGeneratedHeads(t *testing.T) {
	for _, name := range []string{"vertical_slash", "block_sparse", "columns_window"} {
		s := loaded(t, name, 700, nil)
		g, err := s.draw()
		require.NoError(t, err)
		list, err := s.tiles()
		require.NoError(t, err)
		w, err := s.headWork(g.head, list[1].schedule)
		require.NoError(t, err)
		require.GreaterOrEqual(t, w.Pairs, g.picture(s).Kept, name)
		require.GreaterOrEqual(t, w.Tiles64*4096, w.Pairs, name)
		require.EqualValues(t, 11*12/2, w.Dense64)
	}
}

func TestTimes(t *testing.T) {
	times, index, err := loaded(t, "dense", 32<<10, nil).times()
	require.NoError(t, err)
	require.Nil(t, index)
	require.Equal(t, "H200", times[0].Machine)
	require.Equal(t, "A100", times[1].Machine)
	for _, x := range times {
		require.Equal(t, x.DenseMS, x.LowMS, "dense is as fast as dense")
		require.Equal(t, x.LowMS, x.HighMS)
	}
	times, _, err = loaded(t, "full", 32<<10, nil).times()
	require.NoError(t, err)
	require.Equal(t, times[0].DenseMS, times[0].LowMS, "of a pattern that keeps keys after the query, all pairs are the base")
	sliding, _, err := loaded(t, "sliding", 32<<10, nil).times()
	require.NoError(t, err)
	require.Less(t, sliding[0].LowMS, sliding[0].DenseMS/2)

	chosen, index, err := loaded(t, "block_sparse", 128<<10, map[string]int64{"topk": 20}).times()
	require.NoError(t, err)
	require.Greater(t, chosen[0].IndexMS, 0.0)
	require.Less(t, chosen[0].HighMS, chosen[0].DenseMS)
	require.Greater(t, index.Launches, 3)
	less, smaller, err := loaded(t, "block_sparse", 64<<10, map[string]int64{"topk": 20}).times()
	require.NoError(t, err)
	require.Less(t, smaller.Bytes, index.Bytes)
	require.Less(t, less[0].HighMS, chosen[0].HighMS)
}
