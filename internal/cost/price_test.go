package cost

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/abi"
)

// TestLoneBlocks: one block of four warps gets more out of a multiprocessor than the half that it has beside another, but less
// than both; one of eight warps fills it.
func TestLoneBlocks(t *testing.T) {
	m := machines[0]
	for _, of := range slices.Concat(abi.AttentionBodies["sm_80"].Ranges, abi.AttentionBodies["sm_90a"].Ranges) {
		b := body{of}
		c := m.crew(b, b.MaxHeadDim)
		require.Len(t, c.speeds, b.BlocksPerSM)
		require.InDelta(t, 1, c.speeds[b.BlocksPerSM-1]*float64(b.BlocksPerSM), 1e-9)
		if b.BlocksPerSM == 1 {
			require.Equal(t, []float64{1}, c.speeds)
			continue
		}
		require.Greater(t, c.speeds[0], 0.5, "head dim %d", b.MaxHeadDim)
		require.Less(t, c.speeds[0], 0.95, "head dim %d", b.MaxHeadDim)
	}
}
