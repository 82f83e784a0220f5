package runtime_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/internal/campaign"
	"github.com/minfc/minfc/internal/cost"
	"github.com/minfc/minfc/internal/qkv"
	"github.com/minfc/minfc/runtime"
)

// TestExpectationHoldsWhatRuns: what the lists of a launch cost lies within what was expected before there were lists, and equals the
// expectation where the data only moves blocks.
func TestExpectationHoldsWhatRuns(t *testing.T) {
	shape := qkv.Shape{Batch: 2, QHeads: 4, KVHeads: 2, SeqQ: 300, SeqK: 900, QOffset: 600, HeadDim: 64}
	for _, name := range []string{"block_sparse", "vertical_slash", "columns_window"}[:campaign.Few(2, 3)] {
		t.Run(name, func(t *testing.T) {
			w := newWeighed(t, name, "sm_80", shape)
			info := w.dev.Info()
			m, ok := cost.MachineLike(cost.Device{Name: info.Name, Multiprocessors: info.Multiprocessors}, "sm_80")
			require.True(t, ok)
			m.Rates.MaskPicos = 0 // what nanos adds up has no masks
			prices, err := m.ListPrices(shape.HeadDim, name == "block_sparse")
			require.NoError(t, err)
			ran := 0.0
			for _, c := range w.run(t, func(h *runtime.HostCall) { h.NoFallback = true }).Chosen {
				ran += 1e-6 * w.nanos(t, c, prices.Slot, prices.Column, prices.Row)
			}

			a := w.call()
			a.NoFallback = true
			p, err := w.kernel.Make(a)
			require.NoError(t, err)
			e, err := p.Expect(m)
			require.NoError(t, err)
			require.False(t, e.RunsDense)
			require.Positive(t, e.Index)
			require.LessOrEqual(t, e.Low, ran*1.000001)
			require.GreaterOrEqual(t, e.High, ran*0.999999)
			if name == "block_sparse" {
				require.InEpsilon(t, e.Low, e.High, 1e-12)
			} else {
				require.Greater(t, e.High, e.Low)
			}
			m.Multiprocessors *= 4
			more, err := p.Expect(m)
			require.NoError(t, err)
			require.InEpsilon(t, e.Dense/4, more.Dense, 1e-9)
		})
	}
}

// TestExpectationSaysWhatALaunchDecides: where a launch looks at no data because dense attention is faster, it was expected.
func TestExpectationSaysWhatALaunchDecides(t *testing.T) {
	w := newWeighed(t, "vertical_slash", "sm_80", qkv.Shape{Batch: 1, QHeads: 4, KVHeads: 2, SeqQ: 500, SeqK: 500, HeadDim: 64})
	info := w.dev.Info()
	m, _ := cost.MachineLike(cost.Device{Name: info.Name, Multiprocessors: info.Multiprocessors}, "sm_80")
	a := w.call()
	p, err := w.kernel.Make(a)
	require.NoError(t, err)
	e, err := p.Expect(m)
	require.NoError(t, err)
	require.Equal(t, !p.NeedsIndex(), e.RunsDense)
	require.True(t, e.RunsDense)
}
