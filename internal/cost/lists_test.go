package cost_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/internal/campaign"
	"github.com/minfc/minfc/internal/codegen"
	"github.com/minfc/minfc/internal/cost"
	"github.com/minfc/minfc/ir"
)

// TestListGeometry: the geometry that prices rest on is what codegen emits.
func TestListGeometry(t *testing.T) {
	s, err := ir.ParseSchedule("schedule x\n  index q = pool mean q\n  index k = pool mean k\n  index s = blocks q k\n  index best = top 3 from s last 1\n" +
		"  tile 64x64 longest-first\n  segment 0\n    from blocks best\n    hi   q + 1\n")
	require.NoError(t, err)
	for _, target := range codegen.Targets() {
		m, ok := cost.MachineFor(cost.Device{Name: "NVIDIA H200"}, target)
		require.True(t, ok)
		for dim := 16; dim <= 256; dim += campaign.Few(48, 16) {
			k, err := codegen.Attention(s, codegen.Config{HeadDim: dim, DType: abi.BF16, Target: target})
			require.NoError(t, err)
			b, err := abi.ListBody(target, dim, true)
			require.NoError(t, err)
			require.Equal(t, k.Threads, 32*b.Warps, "%s, head dim %d", target, dim)
			require.Contains(t, strings.Join(strings.Fields(k.Module.String()), " "), minBlocks(b.BlocksPerSM), "%s, head dim %d", target, dim)
			for _, blocks := range []bool{true, false} {
				p, err := m.ListPrices(dim, blocks)
				require.NoError(t, err)
				require.Positive(t, p.Slot)
				require.Greater(t, p.Column, 0.8*p.Slot)
			}
		}
	}
	_, err = named(t, "H200").ListPrices(300, true)
	require.ErrorContains(t, err, "there is no kernel for target sm_80 and head dim 300")
}

// TestMachineLike: an unknown device is priced like a known one, with its own number of multiprocessors.
func TestMachineLike(t *testing.T) {
	m, ok := cost.MachineLike(cost.Device{Name: "emulator", Multiprocessors: 3}, "sm_80")
	require.True(t, ok)
	require.Equal(t, "H200", m.Name)
	require.Equal(t, 3, m.Multiprocessors)
	_, ok = cost.MachineLike(cost.Device{Name: "emulator"}, "sm_70")
	require.False(t, ok)
	for _, target := range codegen.Targets() {
		_, ok := cost.MachineLike(cost.Device{}, target)
		require.True(t, ok, "%s: without prices no head can fall back to dense", target)
	}
}
