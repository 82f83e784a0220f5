package qkv

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/safetensors"
)

// A file in the other layout holds the same input, and its results go back in that layout.
func TestLayouts(t *testing.T) {
	in, err := Generate(Shape{Batch: 2, QHeads: 6, KVHeads: 3, SeqQ: 5, SeqK: 7, HeadDim: 16}, abi.BF16, 1)
	require.NoError(t, err)
	var swapped []safetensors.Tensor
	for _, x := range in.Tensors() {
		s := x.Shape
		x.Shape, x.Data = []int{s[0], s[2], s[1], s[3]}, swap(x.Data, s[0], s[1], s[2], 2*s[3])
		swapped = append(swapped, x)
	}
	data, err := safetensors.Encode(swapped)
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "x")
	require.NoError(t, os.WriteFile(path, data, 0o600))

	got, err := LoadAs(path, BSHD)
	require.NoError(t, err)
	require.Equal(t, in.Shape, got.Shape)
	require.Equal(t, [][]byte{in.Q, in.K, in.V}, [][]byte{got.Q, got.K, got.V})
	out := got.Output(in.Q, make([]float32, 2*6*5))
	require.Equal(t, swapped[0].Shape, out[0].Shape)
	require.Equal(t, swapped[0].Data, out[0].Data)
	require.Equal(t, []int{2, 6, 5}, out[1].Shape, "lse stays [B, Hq, Sq]")
	require.Equal(t, swapped[1].Shape, got.Tensors()[1].Shape)

	plain, err := Load(path) // 5 heads of q, 7 of k
	require.ErrorContains(t, err, "q has 5 heads and k has 7, wanted a multiple of the kv heads")
	require.ErrorContains(t, err, "--layout bshd")
	require.Nil(t, plain)
}
