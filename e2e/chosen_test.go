package e2e

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/internal/qkv"
	"github.com/minfc/minfc/internal/selfcheck"
	"github.com/minfc/minfc/ir"
	"github.com/minfc/minfc/runtime"
	"github.com/minfc/minfc/runtime/artifact"
	"github.com/minfc/minfc/runtime/device"
	"github.com/minfc/minfc/runtime/emu"
)

// workspaceFor gives a call memory that holds nothing of use.
func workspaceFor(t *testing.T, dev device.Device, k *runtime.LoadedKernel, a *runtime.Attention) {
	var err error
	a.WorkspaceBytes, err = k.Workspace(*a)
	require.NoError(t, err)
	a.Workspace, err = dev.Alloc(a.WorkspaceBytes)
	require.NoError(t, err)
	require.NoError(t, dev.Fill(a.Workspace, 0x6b, a.WorkspaceBytes, nil))
}

func readBack(t *testing.T, dev device.Device, p device.Ptr, n int) []byte {
	out := make([]byte, n)
	require.NoError(t, dev.CopyToHost(out, p, nil))
	return out
}

func askedOf(chosen []runtime.Chosen) (out []*ir.Selection) {
	for _, c := range chosen {
		out = append(out, c.Asked)
	}
	return out
}

// The halves of a launch are the launch, and lists that the host wrote are as good as the device's.
func TestHalvesOfALaunchAndWrittenLists(t *testing.T) {
	dev := openEmulator(t, emu.Options{})
	for name, settings := range dynamicSettings {
		c := attentionCase{program: library(t, name), headDim: 64, dtype: abi.BF16, params: settings[1],
			shape: qkv.Shape{Batch: 2, QHeads: 2, KVHeads: 1, SeqQ: 200, SeqK: 333, QOffset: 133}}
		k, err := runtime.LoadKernel(dev, c.compile(t), artifact.Select{})
		require.NoError(t, err)
		in := c.input(t)
		a := deviceCall(t, dev, c, in)
		workspaceFor(t, dev, k, &a)
		require.NoError(t, k.Launch(nil, a))
		want := readBack(t, dev, a.O.Ptr, len(in.Q))
		chosen, err := k.ReadChosen(dev, nil, a)
		require.NoError(t, err)

		workspaceFor(t, dev, k, &a)
		require.NoError(t, dev.Fill(a.O.Ptr, 0xff, int64(len(in.Q)), nil))
		require.NoError(t, k.LaunchIndex(nil, a))
		require.NotContains(t, readBack(t, dev, a.O.Ptr, len(in.Q)), byte(0), "LaunchIndex writes no output")
		require.NoError(t, k.LaunchAttention(nil, a))
		require.Equal(t, want, readBack(t, dev, a.O.Ptr, len(in.Q)), name)

		workspaceFor(t, dev, k, &a)
		require.NoError(t, k.WriteChosen(dev, nil, a, askedOf(chosen)))
		require.NoError(t, k.LaunchAttention(nil, a))
		require.Equal(t, want, readBack(t, dev, a.O.Ptr, len(in.Q)), name)
		again, err := k.ReadChosen(dev, nil, a)
		require.NoError(t, err)
		require.Equal(t, chosen, again, name)
		bytes, err := k.ListBytes(a)
		require.NoError(t, err)
		require.Positive(t, bytes)
		require.Less(t, bytes, a.WorkspaceBytes)
		require.NoError(t, k.Close())
	}
}

// Kernels trust the lists, so what they cannot read is refused.
func TestWriteChosenRefuses(t *testing.T) {
	dev := openEmulator(t, emu.Options{})
	c := attentionCase{program: library(t, "vertical_slash"), headDim: 64, dtype: abi.BF16, params: map[string]int64{"vertical": 31, "slash": 104},
		shape: qkv.Shape{Batch: 1, QHeads: 1, KVHeads: 1, SeqQ: 300, SeqK: 300}}
	k, err := runtime.LoadKernel(dev, c.compile(t), artifact.Select{})
	require.NoError(t, err)
	defer k.Close()
	a := deviceCall(t, dev, c, c.input(t))
	selection := func(columns, distances []int) *ir.Selection {
		return &ir.Selection{Sets: []ir.Selected{
			{Name: "cols", Kind: ir.ChosenColumns, Members: columns}, {Name: "diags", Kind: ir.ChosenDistances, Members: distances}}}
	}
	good := []*ir.Selection{selection([]int{0, 299}, upToMember(104))}
	require.ErrorContains(t, k.WriteChosen(dev, nil, a, good), "Workspace is a null pointer")
	workspaceFor(t, dev, k, &a)
	require.NoError(t, k.WriteChosen(dev, nil, a, good))
	for says, bad := range map[string][]*ir.Selection{
		"there are 0 selections, want one for each of 1 heads":                               nil,
		`head 0: the selection has no "diags"`:                                               {{Sets: good[0].Sets[:1]}},
		"head 0 has blocks, want columns":                                                    {{Sets: []ir.Selected{{Name: "cols", Kind: ir.ChosenBlocks}, good[0].Sets[1]}}},
		`index "cols": bad call: head 0: member 1 is 300, want ascending ones from 0 to 299`: {selection([]int{0, 300}, nil)},
		"head 0: member 1 is 7, want ascending ones from 0 to 299":                           {selection([]int{7, 7}, nil)},
		`index "diags": bad call: head 0: found 105 members, the budget allows 104`:          {selection(nil, upToMember(105))},
		`index "diags": bad call: head 0: member 0 is -1, want ascending ones from 0 to 299`: {selection(nil, []int{-1})},
	} {
		err := k.WriteChosen(dev, nil, a, bad)
		require.ErrorIs(t, err, device.ErrBadCall)
		require.ErrorContains(t, err, says)
	}
}

func upToMember(n int) []int {
	out := make([]int, n)
	for i := range out {
		out[i] = i
	}
	return out
}

// Lists that no index stage would choose are followed as well: here every head gets the lists of another one.
func TestAttentionFollowsWrittenLists(t *testing.T) {
	dev := openEmulator(t, emu.Options{})
	for name, settings := range dynamicSettings {
		c := attentionCase{program: library(t, name), headDim: 64, dtype: abi.BF16, params: settings[2], random: true,
			shape: qkv.Shape{Batch: 1, QHeads: 3, KVHeads: 1, SeqQ: 300, SeqK: 300}}
		k, err := runtime.LoadKernel(dev, c.compile(t), artifact.Select{})
		require.NoError(t, err)
		in := c.input(t)
		a := deviceCall(t, dev, c, in)
		workspaceFor(t, dev, k, &a)
		require.NoError(t, k.LaunchIndex(nil, a))
		chosen, err := k.ReadChosen(dev, nil, a)
		require.NoError(t, err)
		require.NotEqual(t, chosen[0], chosen[1])
		moved := []*ir.Selection{chosen[1].Asked, chosen[2].Asked, chosen[0].Asked}
		require.NoError(t, k.WriteChosen(dev, nil, a, moved))
		require.NoError(t, k.LaunchAttention(nil, a))
		again, err := k.ReadChosen(dev, nil, a)
		require.NoError(t, err)
		require.Equal(t, moved, askedOf(again), name)

		values, err := ir.CheckLaunch(c.program.Pattern.Params, c.program.Pattern.Requires, c.params)
		require.NoError(t, err)
		output := selfcheck.Case{In: in, Scale: 1. / 8, O: readBack(t, dev, a.O.Ptr, len(in.Q))}
		for _, sel := range moved {
			keep, err := c.program.Pattern.CoverWith(values, sel)
			require.NoError(t, err)
			output.Keeps = append(output.Keeps, keep)
		}
		report, err := selfcheck.Compare(output)
		require.NoError(t, err)
		require.True(t, report.OK(), "%s: %s", name, report)
		require.NoError(t, k.Close())
	}
}

// Without an index stage the first half is nothing, and the second all.
func TestHalvesOfAStaticLaunch(t *testing.T) {
	dev := openEmulator(t, emu.Options{})
	c := attentionCase{program: library(t, "a_shape"), headDim: 64, dtype: abi.BF16, shape: qkv.Shape{Batch: 1, QHeads: 1, KVHeads: 1, SeqQ: 100, SeqK: 100}}
	k, err := runtime.LoadKernel(dev, c.compile(t), artifact.Select{})
	require.NoError(t, err)
	defer k.Close()
	in := c.input(t)
	a := deviceCall(t, dev, c, in)
	require.NoError(t, k.Launch(nil, a))
	want := readBack(t, dev, a.O.Ptr, len(in.Q))
	require.NoError(t, dev.Fill(a.O.Ptr, 0xff, int64(len(in.Q)), nil))
	require.NoError(t, k.LaunchIndex(nil, a))
	require.NoError(t, k.WriteChosen(dev, nil, a, nil))
	require.NotContains(t, readBack(t, dev, a.O.Ptr, len(in.Q)), byte(0))
	require.NoError(t, k.LaunchAttention(nil, a))
	require.Equal(t, want, readBack(t, dev, a.O.Ptr, len(in.Q)))
	bytes, err := k.ListBytes(a)
	require.NoError(t, err)
	require.Zero(t, bytes)
}
