package runtime

import (
	"slices"
	"testing"

	"github.com/minfc/minfc/runtime/artifact"
	"github.com/minfc/minfc/runtime/device"
	"github.com/minfc/minfc/runtime/device/devicetest"
	"github.com/stretchr/testify/require"
)

// queued is a kernel of vertical_slash whose blocks share a queue, on a device of 10 multiprocessors.
func queued(t *testing.T) (*devicetest.Fake, *LoadedKernel) {
	k, dev := dynamicKernel(t, verticalSlash), devicetest.New()
	dev.Is.Multiprocessors = 10
	for _, p := range slices.Concat(paramsOf(k.schedule), listParams(k.schedule), queueParams) {
		k.info.Params = append(k.info.Params, p.KernelParam)
	}
	var err error
	k.params, err = bindParams(k.info.Params, k.schedule)
	require.NoError(t, err)
	k.dev, k.function, k.info.BlocksPerSM, k.info.Threads = dev, &fakeFunction{dev}, 2, 160
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
		require.NoError(t, k.LaunchAttention(stream, a))
		require.Len(t, dev.Launches, 1)
		l := dev.Launches[0]
		require.Equal(t, device.Launch{Grid: [3]uint32{uint32(c.blocks), 1, 1}, Block: [3]uint32{160, 1, 1}}, l.Launch)
		tiles := (c.seq + 63) / 64
		for name, want := range map[string]int{"row_tiles": tiles, "q_heads": 6, "items": 12 * tiles} {
			require.EqualValues(t, want, l.arg(t, k.info, name), name)
		}
		queue := device.Ptr(l.arg(t, k.info, "queue"))
		require.Equal(t, []devicetest.Filled{{queue, 0, 4, 0, stream}}, dev.Fills)
		require.GreaterOrEqual(t, queue, a.Workspace)
		require.LessOrEqual(t, queue+queueBytes, a.Workspace+device.Ptr(a.WorkspaceBytes))
	}
}

func TestTooManyRowTiles(t *testing.T) {
	_, k := queued(t)
	_, err := k.Workspace(Attention{Batch: 1, QHeads: 60000, KVHeads: 60000, SeqQ: 1 << 22, SeqK: 1, Params: map[string]int64{"vertical": 1}})
	require.ErrorIs(t, err, device.ErrBadCall)
	require.ErrorContains(t, err, "the call has 3932160000 row tiles in all heads, want at most 2147483647")
}

// A kernel with a queue says so in its launch and in its parameters, and belongs to a pattern with a workspace.
func TestQueuesAreVerified(t *testing.T) {
	plan := &indexPlan{choices: make([]indexChoice, 1)}
	queue := []artifact.Param{queueParams[0].KernelParam}
	require.NoError(t, (&artifact.Kernel{BlocksPerSM: 2, Params: queue}).verifyQueue(plan))
	require.NoError(t, (&artifact.Kernel{}).verifyQueue(&indexPlan{}))
	require.ErrorContains(t, (&artifact.Kernel{BlocksPerSM: 2}).verifyQueue(plan), "blocks_per_sm is 2, want it above 0 for kernels with the parameter queue and 0 for others")
	require.ErrorContains(t, (&artifact.Kernel{Params: queue}).verifyQueue(plan), "blocks_per_sm is 0, want it above 0")
	require.ErrorContains(t, (&artifact.Kernel{BlocksPerSM: 1, Params: queue}).verifyQueue(&indexPlan{}), "no workspace for a queue")
}
