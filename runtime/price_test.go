package runtime_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/internal/cost"
	"github.com/minfc/minfc/internal/qkv"
	"github.com/minfc/minfc/runtime"
	"github.com/minfc/minfc/runtime/device"
)

// TestHeadsArePricedByTheirLists: the price on the host is the price of the slots that the kernel walks for the head's own lists.
func TestHeadsArePricedByTheirLists(t *testing.T) {
	for _, name := range []string{"vertical_slash", "block_sparse"} {
		w := newWeighed(t, name, "sm_80", qkv.Shape{Batch: 2, QHeads: 4, KVHeads: 2, SeqQ: 700, SeqK: 700, HeadDim: 64})
		res := w.run(t, func(h *runtime.HostCall) { h.NoFallback = true })
		m, known := cost.MachineLike(cost.Device{Name: "H200"}, "sm_80")
		require.True(t, known)
		prices, err := m.ListPrices(64, name == "block_sparse")
		require.NoError(t, err)
		call, err := w.kernel.Prepare(w.in.CallShape(), w.part())
		require.NoError(t, err)
		got, err := call.HeadMillis(m, res.Chosen)
		require.NoError(t, err)
		require.Len(t, got, 8)
		for h, c := range res.Chosen {
			want := w.nanos(t, c, prices.Slot, prices.Column, prices.Row) * 1e-6 / float64(m.Multiprocessors)
			require.InEpsilon(t, want, got[h], 1e-9, "%s, head %d", name, h)
		}
		_, err = call.HeadMillis(m, nil)
		require.ErrorIs(t, err, device.ErrBadCall)

		longer := w.in.CallShape()
		longer.SeqQ, longer.SeqK = 1400, 1400
		long, err := w.kernel.Prepare(longer, w.part())
		require.NoError(t, err)
		more, err := long.HeadMillis(m, res.Chosen)
		require.NoError(t, err)
		for h := range more {
			require.Greater(t, more[h], 1.5*got[h], "%s, head %d: twice the rows", name, h)
		}

		index, err := call.IndexMillis(m)
		require.NoError(t, err)
		require.Greater(t, index, 0.0)
		later, err := long.IndexMillis(m)
		require.NoError(t, err)
		require.Greater(t, later, index)
	}
}

// TestStaticHeadsArePricedByTheirTiles: a wider window is dearer, and there is no index stage.
func TestStaticHeadsArePricedByTheirTiles(t *testing.T) {
	w := newWeighed(t, "a_shape", "sm_80", qkv.Shape{Batch: 1, QHeads: 2, KVHeads: 1, SeqQ: 700, SeqK: 700, HeadDim: 64})
	m, _ := cost.MachineLike(cost.Device{Name: "H200"}, "sm_80")
	price := func(window int64) []float64 {
		call, err := w.kernel.Prepare(w.in.CallShape(), runtime.Part{Params: map[string]int64{"window": window}})
		require.NoError(t, err)
		ms, err := call.HeadMillis(m, nil)
		require.NoError(t, err)
		index, err := call.IndexMillis(m)
		require.NoError(t, err)
		require.Zero(t, index)
		return ms
	}
	narrow, wide := price(64), price(500)
	require.Len(t, narrow, 2)
	require.Equal(t, narrow[0], narrow[1])
	require.Greater(t, wide[0], narrow[0])
}
