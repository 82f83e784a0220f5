package qkv

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/safetensors"
)

// A file has the layers that its names count from 0, or one without a number.
func TestLayersOfAFile(t *testing.T) {
	one := func(prefix string, rows int) (ts []safetensors.Tensor) {
		for _, name := range []string{"q", "k", "v"} {
			x := tensor(name, bf, 1, 2, rows, 16)
			x.Name = prefix + name
			ts = append(ts, x)
		}
		return ts
	}
	for _, c := range []struct {
		tensors []safetensors.Tensor
		rows    []int // of each layer
	}{
		{one("", 3), []int{3}},
		{append(one("layers.0.", 4), one("layers.1.", 5)...), []int{4, 5}},
		{append(one("layers.0.", 4), one("layers.2.", 5)...), []int{4}},
	} {
		f, err := Open(write(t, c.tensors...), BHSD)
		require.NoError(t, err)
		require.Equal(t, len(c.rows), f.Layers())
		for i, rows := range c.rows {
			said, err := f.Describe(i)
			require.NoError(t, err)
			require.Nil(t, said.Q)
			in, err := f.Read(i)
			require.NoError(t, err)
			require.Equal(t, said.Shape, in.Shape)
			require.Equal(t, rows, in.SeqQ)
			require.Len(t, in.K, 2*2*rows*16)
			require.Equal(t, byte('k'), in.K[0])
		}
		require.NoError(t, f.Close())
	}
	path := write(t, append(one("layers.0.", 4)[:2], tensor("x", bf, 1))...)
	f, err := Open(path, BHSD)
	require.NoError(t, err)
	_, err = f.Describe(0)
	require.ErrorContains(t, err, path+`: no tensor "layers.0.v"`)
	f, err = Open(write(t, tensor("x", bf, 1)), BHSD)
	require.NoError(t, err)
	_, err = f.Read(0)
	require.ErrorContains(t, err, `no tensor "q", found ["x"]`)
}
