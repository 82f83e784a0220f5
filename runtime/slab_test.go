package runtime_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/compile"
	"github.com/minfc/minfc/internal/qkv"
	"github.com/minfc/minfc/patterns"
	"github.com/minfc/minfc/runtime"
	"github.com/minfc/minfc/runtime/artifact"
	"github.com/minfc/minfc/runtime/emu"
)

// Block scores are held for as many row blocks at a time as there is room: the choices are the same.
func TestBlockScoresInParts(t *testing.T) {
	dev, err := emu.Open(emu.Options{})
	require.NoError(t, err)
	defer dev.Close()
	file, src, _ := patterns.Source("block_sparse")
	a, err := compile.Source(file, src, "", compile.Options{Target: "sm_80", DType: "bf16", HeadDim: 64}, nil)
	require.NoError(t, err)
	k, err := runtime.Load(dev, a, artifact.Select{})
	require.NoError(t, err)
	defer k.Close()
	in, err := qkv.Generate(qkv.Shape{Batch: 1, QHeads: 2, KVHeads: 1, SeqQ: 700, SeqK: 700, HeadDim: 64}, abi.BF16, 3)
	require.NoError(t, err)
	h := in.Call()
	h.Parts, h.Chosen, h.NoFallback = []runtime.Part{{Params: map[string]int64{"topk": 3}}}, true, true
	whole, err := k.RunHost(t.Context(), h)
	require.NoError(t, err)
	row := int64(2 * 64 * 4) // two heads, key blocks padded to 64
	for _, rows := range []int64{0, 1, 4, 10} {
		k.Patterns()[0].HoldScratch(rows * row)
		parts, err := k.RunHost(t.Context(), h)
		require.NoError(t, err)
		require.Equal(t, whole.Chosen, parts.Chosen, "%d row blocks at a time", rows)
		require.Equal(t, whole.O, parts.O)
	}
}
