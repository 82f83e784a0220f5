package workload

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/runtime/device"
	"github.com/minfc/minfc/runtime/emu"
)

// The kernel makes the bytes that the host makes, for every kind, type and an odd row count of every piece count.
func TestDeviceMakesTheSameBytes(t *testing.T) {
	dev, err := emu.Open(emu.Options{})
	require.NoError(t, err)
	for _, s := range deviceSpecs() {
		t.Run(string(s.Kind)+"/"+string(s.DType), func(t *testing.T) {
			q, k, v, err := Generate(s)
			require.NoError(t, err)
			on, err := OnDevice(dev, s, nil)
			require.NoError(t, err)
			ptrs := []device.Ptr{on.Q, on.K, on.V}
			for i, want := range [][]byte{q, k, v} {
				got := make([]byte, len(want))
				require.NoError(t, dev.CopyToHost(got, ptrs[i], nil))
				require.Equal(t, want, got, "tensor %d of %+v", i, s)
			}
			require.NoError(t, on.Close())
		})
	}
	require.NoError(t, dev.Close())
}

func deviceSpecs() []Spec {
	var out []Spec
	for i, kind := range Kinds() {
		for j, f := range []abi.DType{abi.BF16, abi.F16} {
			d := []int{64, 128, 48, 16, 256, 80}[(2*i+j)%6]
			out = append(out, Spec{Kind: kind, Batch: 1 + i%2, QHeads: 4, KVHeads: 2, SeqLen: 200 + i, HeadDim: d, Seed: uint64(i), DType: f})
		}
	}
	out[len(out)-1].KVHeads, out[len(out)-1].QHeads = 5, 5 // every kind of the mixture
	return out
}

// Fill makes the tensors that have a place, in the caller's memory, and gives all other memory back.
func TestFillWritesWhereItIsTold(t *testing.T) {
	dev, err := emu.Open(emu.Options{})
	require.NoError(t, err)
	s := Spec{Kind: Mixed, Batch: 1, QHeads: 4, KVHeads: 2, SeqLen: 70, HeadDim: 64, Seed: 5, DType: abi.BF16}
	wantQ, _, wantV, err := Generate(s)
	require.NoError(t, err)
	q, err := dev.Alloc(int64(len(wantQ)))
	require.NoError(t, err)
	v, err := dev.Alloc(int64(len(wantV)))
	require.NoError(t, err)
	require.NoError(t, Fill(dev, s, q, 0, v, nil))
	for at, want := range map[device.Ptr][]byte{q: wantQ, v: wantV} {
		got := make([]byte, len(want))
		require.NoError(t, dev.CopyToHost(got, at, nil))
		require.Equal(t, want, got)
		require.NoError(t, dev.Free(at))
	}
	s.SeqLen = 0
	require.ErrorContains(t, Fill(dev, s, q, 0, v, nil), "sequence length 0")
	require.NoError(t, dev.Close())
}
