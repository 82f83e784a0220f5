package cost

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestLoneBlocks: one block of four warps gets more out of a multiprocessor than the half that it has beside another, but less
// than both; one of eight warps fills it.
func TestLoneBlocks(t *testing.T) {
	m := machines[0]
	for _, b := range bodies {
		c := m.crew(b, b.maxHeadDim)
		require.Len(t, c.speeds, b.blocks)
		require.InDelta(t, 1, c.speeds[b.blocks-1]*float64(b.blocks), 1e-9)
		if b.blocks == 1 {
			require.Equal(t, []float64{1}, c.speeds)
			continue
		}
		require.Greater(t, c.speeds[0], 0.5, "head dim %d", b.maxHeadDim)
		require.Less(t, c.speeds[0], 0.95, "head dim %d", b.maxHeadDim)
	}
}
