package runtime

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/runtime/artifact"
	"github.com/minfc/minfc/runtime/device"
	"github.com/minfc/minfc/runtime/device/devicetest"
)

// queued is a kernel of vertical_slash whose blocks share a queue, on a device of 10 multiprocessors.
func queued(t *testing.T) (*devicetest.Fake, *Loaded) {
	dev := devicetest.New()
	dev.Is.Multiprocessors = 10
	k, err := Load(dev, artifactOf(t, verticalSlash, "", 2), artifact.Select{})
	require.NoError(t, err)
	return dev, k
}

// The queue is emptied in front of every launch, on its stream, and blocks are as many as run at once, or as there are tiles.
func TestLaunchWithAQueue(t *testing.T) {
	for _, c := range []struct{ seq, blocks int }{{300, 20}, {60, 12}} { // 5 and 1 row tiles of 12 heads
		dev, k := queued(t)
		a := contiguous()
		a.SeqQ, a.Workspace = c.seq, 0x100000
		var err error
		a.WorkspaceBytes, err = k.Workspace(a)
		require.NoError(t, err)
		stream := devicetest.Stream(7)
		for n := range 2 {
			require.NoError(t, k.LaunchAttention(stream, a))
			require.Len(t, dev.Launches, n+1)
			l := dev.Launches[n]
			require.Equal(t, device.Launch{Grid: [3]uint32{uint32(c.blocks), 1, 1}, Block: [3]uint32{128, 1, 1}, SharedBytes: 48 << 10}, l.Launch)
			tiles := (c.seq + 63) / 64
			for name, want := range map[string]int{"row_tiles": tiles, "q_heads": 6, "items": 12 * tiles} {
				require.EqualValues(t, want, l.Arg(t, k.Attend().Params, name), name)
			}
			queue := device.Ptr(l.Arg(t, k.Attend().Params, "queue"))
			require.Len(t, dev.Fills, n+1)
			require.Equal(t, devicetest.Filled{Dst: queue, Bytes: abi.QueueBytes, Before: n, Stream: stream}, dev.Fills[n])
			require.GreaterOrEqual(t, queue, a.Workspace)
			require.LessOrEqual(t, queue+abi.QueueBytes, a.Workspace+device.Ptr(a.WorkspaceBytes))
		}
	}
}

func TestTooManyRowTiles(t *testing.T) {
	_, k := queued(t)
	_, err := k.Workspace(Call{Shape: Shape{Batch: 1, QHeads: 60000, KVHeads: 60000, SeqQ: 1 << 22, SeqK: 1}, Part: Part{Params: map[string]int64{"vertical": 1}}})
	require.ErrorIs(t, err, device.ErrBadCall)
	require.ErrorContains(t, err, "the call has 3932160000 row tiles in all heads, want at most 2147483647")
}
