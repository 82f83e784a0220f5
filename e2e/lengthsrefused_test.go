package e2e

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc"
	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/runtime"
	"github.com/minfc/minfc/runtime/device"
	"github.com/minfc/minfc/runtime/emu"
)

// Bad calls with lengths in device memory are errors that say what is wrong, and nothing is enqueued.
func TestLengthsThatAreRefused(t *testing.T) {
	launches := 0
	dev, err := emu.Open(emu.Options{Observe: func(emu.Stats) { launches++ }})
	require.NoError(t, err)
	defer dev.Close()
	a, err := minfc.NewAttention(dev, minfc.Spec{Pattern: "a_shape"}, minfc.Heads{Q: 1, KV: 1, Dim: 64, DType: abi.BF16})
	require.NoError(t, err)
	defer a.Close()
	buffer := func() device.Ptr {
		p, err := dev.Alloc(1 << 16)
		require.NoError(t, err)
		return p
	}
	shape := minfc.Shape{Batch: 2, SeqQ: 20, SeqK: 20, Lengths: runtime.Ragged, TotalQ: 30, TotalK: 30}
	good := minfc.Pointers{Q: buffer(), K: buffer(), V: buffer(), O: buffer(), LengthsQ: buffer(), Workspace: buffer(), WorkspaceBytes: 1 << 16}
	for words, change := range map[string]func(*minfc.Shape, *minfc.Pointers){
		"want the 3 cumulative lengths":         func(_ *minfc.Shape, at *minfc.Pointers) { at.LengthsQ = 0 },
		"LengthsK starts at":                    func(_ *minfc.Shape, at *minfc.Pointers) { at.LengthsK = at.LengthsQ + 2 },
		"StartsQ or StartsK is set":             func(_ *minfc.Shape, at *minfc.Pointers) { at.StartsK = at.LengthsQ },
		"O overlaps Offsets":                    func(_ *minfc.Shape, at *minfc.Pointers) { at.Offsets = at.O + 8 },
		"Workspace is a null pointer":           func(_ *minfc.Shape, at *minfc.Pointers) { at.Workspace = 0 },
		"Lengths of the shape is InShape":       func(s *minfc.Shape, _ *minfc.Pointers) { s.Lengths, s.TotalQ, s.TotalK = runtime.InShape, 0, 0 },
		"want 0 unless Lengths is Ragged":       func(s *minfc.Shape, _ *minfc.Pointers) { s.Lengths = runtime.Padded },
		"want InShape, Padded or Ragged":        func(s *minfc.Shape, _ *minfc.Pointers) { s.Lengths = 7 },
		"TotalQ is -1 and TotalK 30, want 0 to": func(s *minfc.Shape, _ *minfc.Pointers) { s.TotalQ = -1 },
	} {
		s, at := shape, good
		change(&s, &at)
		call, err := a.Prepare(s)
		if err == nil {
			err = call.Run(nil, at)
		}
		require.ErrorIs(t, err, device.ErrBadCall, words)
		require.ErrorContains(t, err, words)
	}
	whole := shape
	whole.QHeads, whole.KVHeads = 1, 1
	_, err = a.Loaded().Prepare(whole, a.Parts()...)
	require.ErrorContains(t, err, "the artifact was compiled without them")
	call, err := a.Prepare(shape)
	require.NoError(t, err)
	_, err = call.Cover(0, nil, nil)
	require.ErrorContains(t, err, "the lengths of the call are in device memory")
	require.Zero(t, launches)
}

// A kernel that takes row tiles from a queue counts them in the workspace, beside the records of lengths: also the kernel that heads of
// patterns fall back to which the data decides.
func TestQueuesOfLengthsNeedRoom(t *testing.T) {
	const records = 256 // bytes, of two entries
	for _, pattern := range []string{"dense", "vertical_slash"} {
		dev := openEmulator(t, emu.Options{})
		a, err := minfc.NewAttention(dev, minfc.Spec{Pattern: pattern}, minfc.Heads{Q: 1, KV: 1, Dim: 128, DType: abi.BF16})
		require.NoError(t, err)
		defer a.Close()
		call, err := a.Prepare(minfc.Shape{Batch: 2, SeqQ: 20, SeqK: 20, Lengths: runtime.Ragged, TotalQ: 30, TotalK: 30})
		require.NoError(t, err)
		require.False(t, call.NeedsIndex(), "all heads run dense")
		const mb = 1 << 20
		at := minfc.Pointers{Q: mb, K: 2 * mb, V: 3 * mb, O: 4 * mb, LengthsQ: 5 * mb, Workspace: 6 * mb, WorkspaceBytes: records}
		err = call.Run(nil, at)
		require.ErrorIs(t, err, device.ErrBadCall, pattern)
		require.ErrorContains(t, err, "Workspace has 256 bytes, want", pattern)
	}
}
