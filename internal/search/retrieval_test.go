package search

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/half"
	"github.com/minfc/minfc/internal/qkv"
)

// TestNeedles: a row whose attention is mostly on one key far away is a retrieval row, whatever the other head does; a key nearby or among the
// first ones makes none, nor do two keys that share.
func TestNeedles(t *testing.T) {
	const rows, keys, dim = 4, 600, 16
	in := &qkv.Input{Format: abi.F16, Shape: qkv.Shape{Batch: 1, QHeads: 2, KVHeads: 1, SeqQ: rows, SeqK: keys, HeadDim: dim, QOffset: keys - rows}}
	q, k := make([]float32, 2*rows*dim), make([]float32, keys*dim)
	look := func(head, row, axis int) { q[(head*rows+row)*dim+axis] = 8 }
	hold := func(key, axis int, x float32) { k[key*dim+axis] = x }
	hold(200, 0, 6) // far: logit 8*6/4 = 12
	hold(3, 1, 6)   // a sink
	hold(580, 2, 6) // near
	hold(100, 3, 6) // one of two
	hold(300, 3, 6) // the other
	look(0, 0, 0)
	look(0, 1, 1)
	look(0, 2, 2)
	look(0, 3, 3)
	look(1, 3, 0)
	var err error
	in.Q, err = half.Encode(in.Format, q)
	require.NoError(t, err)
	in.K, err = half.Encode(in.Format, k)
	require.NoError(t, err)
	got, err := findNeedles(in)
	require.NoError(t, err)
	want := math.Exp(12) / (math.Exp(12) + float64(keys-rows)) // row 0 sees that many other keys, of logit 0
	require.Len(t, got[0], 1)
	require.Equal(t, 0, got[0][0].row)
	require.InDelta(t, want, got[0][0].mass, 1e-6)
	require.Len(t, got[1], 1)
	require.Equal(t, 3, got[1][0].row)

	hold(200, 0, 1.5) // a logit of 3: e^3 of 600 keys is no half
	in.K, err = half.Encode(in.Format, k)
	require.NoError(t, err)
	got, err = findNeedles(in)
	require.NoError(t, err)
	require.Empty(t, got[0])
}
