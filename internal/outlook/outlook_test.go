package outlook_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc"
	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/internal/outlook"
	"github.com/minfc/minfc/plan"
	"github.com/minfc/minfc/runtime/emu"
)

// TestLayerIsTheSumOfItsHeads: a layer of one pattern takes what the pattern takes, and one of two patterns lies between them.
func TestLayerIsTheSumOfItsHeads(t *testing.T) {
	dev, err := emu.Open(emu.Options{})
	require.NoError(t, err)
	defer dev.Close()
	library, err := plan.Library()
	require.NoError(t, err)
	m, err := outlook.FindMachine("", "H200")
	require.NoError(t, err)
	shape := minfc.Shape{Batch: 1, SeqQ: 128 << 10, SeqK: 128 << 10}
	expect := func(spec minfc.Spec) outlook.Outlook {
		a, err := minfc.NewAttention(dev, spec, minfc.Heads{Q: 8, KV: 2, Dim: 128, DType: abi.BF16})
		require.NoError(t, err)
		defer a.Close()
		call, err := a.Prepare(shape)
		require.NoError(t, err)
		o, err := outlook.ExpectParts(m, a.Loaded(), call.Shape(), a.Parts()...)
		require.NoError(t, err)
		require.True(t, 0 < o.Low && o.Low <= o.High)
		return o
	}
	layer := func(names ...string) outlook.Outlook {
		heads := plan.Layer{}
		for i := range 8 {
			heads[i] = plan.Head{Pattern: library[names[i%len(names)]]}
		}
		return expect(minfc.Spec{Plan: &plan.Plan{Layers: []plan.Layer{heads}}})
	}
	a, v := expect(minfc.Spec{Pattern: "a_shape"}), expect(minfc.Spec{Pattern: "vertical_slash"})
	require.InEpsilon(t, a.Low, layer("a_shape").Low, 0.01)
	require.InEpsilon(t, v.Low, layer("vertical_slash").Low, 0.01)
	require.InEpsilon(t, v.High, layer("vertical_slash").High, 0.01)
	both := layer("a_shape", "vertical_slash")
	require.InEpsilon(t, (a.Low+v.Low)/2, both.Low, 0.1, "launches of the index stage do not become fewer with the heads")
	require.InEpsilon(t, (a.High+v.High)/2, both.High, 0.05)
	require.InEpsilon(t, v.Dense, both.Dense, 0.05)
}
