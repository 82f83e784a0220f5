//go:build cgo && linux && (amd64 || arm64)

package main

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/internal/workload"
	"github.com/minfc/minfc/runtime/device"
	"github.com/minfc/minfc/runtime/emu"
)

// TestWorkloadIsThatOfGo: minfc_workload makes the bytes of the generator that all measurements use.
func TestWorkloadIsThatOfGo(t *testing.T) {
	dev, err := emu.Open(emu.Options{})
	require.NoError(t, err)
	d, err := newDevice(dev, "")
	require.NoError(t, err)
	s := workload.Spec{Kind: workload.Mixed, Batch: 2, QHeads: 10, KVHeads: 5, SeqLen: 40, HeadDim: 32, Seed: 3, DType: abi.F16}
	q, k, v, err := workload.Generate(s)
	require.NoError(t, err)
	var at pointers
	for _, x := range []struct {
		to   *device.Ptr
		want []byte
	}{{&at.Q, q}, {&at.K, k}, {&at.V, v}} {
		*x.to, err = alloc(d, int64(len(x.want)))
		require.NoError(t, err)
	}
	require.NoError(t, workloadSpec{"mixed", 3, 2, 40}.write(d, heads{10, 5, 32, 2}, at, 0))
	for from, want := range map[device.Ptr][]byte{at.Q: q, at.K: k, at.V: v} {
		got := make([]byte, len(want))
		require.NoError(t, dev.CopyToHost(got, from, nil))
		require.Equal(t, want, got)
	}
}
