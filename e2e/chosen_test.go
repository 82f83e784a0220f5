package e2e

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/internal/qkv"
	"github.com/minfc/minfc/internal/selfcheck"
	"github.com/minfc/minfc/ir"
	"github.com/minfc/minfc/runtime"
	"github.com/minfc/minfc/runtime/device"
	"github.com/minfc/minfc/runtime/emu"
)

// workspaceFor gives a call memory that holds nothing of use.
func workspaceFor(t *testing.T, dev device.Device, p *runtime.Prepared, at *runtime.Pointers) {
	var err error
	at.WorkspaceBytes = p.Workspace()
	at.Workspace, err = dev.Alloc(at.WorkspaceBytes)
	require.NoError(t, err)
	require.NoError(t, dev.Fill(at.Workspace, 0x6b, at.WorkspaceBytes, nil))
}

// prepared loads a case's kernel and prepares a call on memory of its own.
func (c attentionCase) prepared(t *testing.T, dev device.Device, in *qkv.Input) (*runtime.Prepared, runtime.Pointers) {
	call := deviceCall(t, dev, c, in)
	p, err := call.Prepare(c.loadOn(t, dev))
	require.NoError(t, err)
	return p, call.Pointers
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
		in := c.input(t)
		p, at := c.prepared(t, dev, in)
		workspaceFor(t, dev, p, &at)
		require.NoError(t, p.Run(nil, at))
		want := readBack(t, dev, at.O, len(in.Q))
		chosen, err := p.ReadChosen(nil, at)
		require.NoError(t, err)

		workspaceFor(t, dev, p, &at)
		require.NoError(t, dev.Fill(at.O, 0xff, int64(len(in.Q)), nil))
		require.NoError(t, p.RunIndex(nil, at))
		require.NotContains(t, readBack(t, dev, at.O, len(in.Q)), byte(0), "RunIndex writes no output")
		require.NoError(t, p.RunAttention(nil, at))
		require.Equal(t, want, readBack(t, dev, at.O, len(in.Q)), name)

		workspaceFor(t, dev, p, &at)
		require.NoError(t, p.WriteChosen(nil, at, askedOf(chosen)))
		require.NoError(t, p.RunAttention(nil, at))
		require.Equal(t, want, readBack(t, dev, at.O, len(in.Q)), name)
		again, err := p.ReadChosen(nil, at)
		require.NoError(t, err)
		require.Equal(t, chosen, again, name)
		require.Positive(t, p.ListBytes())
		require.Less(t, p.ListBytes(), at.WorkspaceBytes)
	}
}

// Kernels trust the lists, so what they cannot read is refused.
func TestWriteChosenRefuses(t *testing.T) {
	dev := openEmulator(t, emu.Options{})
	c := attentionCase{program: library(t, "vertical_slash"), headDim: 64, dtype: abi.BF16, params: map[string]int64{"vertical": 31, "slash": 104},
		shape: qkv.Shape{Batch: 1, QHeads: 1, KVHeads: 1, SeqQ: 300, SeqK: 300}}
	p, at := c.prepared(t, dev, c.input(t))
	selection := func(columns, distances []int) *ir.Selection {
		return &ir.Selection{Sets: []ir.Selected{
			{Name: "cols", Kind: ir.ChosenColumns, Members: columns}, {Name: "diags", Kind: ir.ChosenDistances, Members: distances}}}
	}
	good := []*ir.Selection{selection([]int{0, 299}, upToMember(104))}
	require.ErrorContains(t, p.WriteChosen(nil, at, good), "Workspace is a null pointer")
	workspaceFor(t, dev, p, &at)
	require.NoError(t, p.WriteChosen(nil, at, good))
	for says, bad := range map[string][]*ir.Selection{
		"there are 0 selections, want one for each of 1 heads":                               nil,
		`head 0: the selection has no "diags"`:                                               {{Sets: good[0].Sets[:1]}},
		"head 0 has blocks, want columns":                                                    {{Sets: []ir.Selected{{Name: "cols", Kind: ir.ChosenBlocks}, good[0].Sets[1]}}},
		`index "cols": bad call: head 0: member 1 is 300, want ascending ones from 0 to 299`: {selection([]int{0, 300}, nil)},
		"head 0: member 1 is 7, want ascending ones from 0 to 299":                           {selection([]int{7, 7}, nil)},
		`index "diags": bad call: head 0: found 105 members, the budget allows 104`:          {selection(nil, upToMember(105))},
		`index "diags": bad call: head 0: member 0 is -1, want ascending ones from 0 to 299`: {selection(nil, []int{-1})},
	} {
		err := p.WriteChosen(nil, at, bad)
		require.ErrorIs(t, err, device.ErrBadCall)
		require.ErrorContains(t, err, says)
	}
}

// Heads that choose together have one list: what differs is refused.
func TestWriteChosenWantsOneChoiceAGroup(t *testing.T) {
	dev := openEmulator(t, emu.Options{})
	c := attentionCase{program: library(t, "slash_tiles_shared"), headDim: 64, dtype: abi.BF16, params: map[string]int64{"vertical": 31, "runs": 3},
		shape: qkv.Shape{Batch: 1, QHeads: 4, KVHeads: 2, SeqQ: 300, SeqK: 300}}
	p, at := c.prepared(t, dev, c.input(t))
	workspaceFor(t, dev, p, &at)
	require.NoError(t, p.RunIndex(nil, at))
	chosen, err := p.ReadChosen(nil, at)
	require.NoError(t, err)
	asked := askedOf(chosen)
	require.Equal(t, asked[2], asked[3])
	require.NotEqual(t, asked[1], asked[2])
	asked[3] = asked[0]
	err = p.WriteChosen(nil, at, asked)
	require.ErrorIs(t, err, device.ErrBadCall)
	require.ErrorContains(t, err, "head 3 has other columns than heads of its kv head before it, which choose cols together, by group; give them one choice")
}

// Lists of a choice among runs have room for whole runs: distances that are none are refused, however few they are. The last run ends with
// the distances.
func TestWriteChosenWantsWholeRuns(t *testing.T) {
	dev := openEmulator(t, emu.Options{})
	c := attentionCase{program: library(t, "slash_tiles"), headDim: 64, dtype: abi.BF16, params: map[string]int64{"vertical": 31, "runs": 3},
		shape: qkv.Shape{Batch: 1, QHeads: 1, KVHeads: 1, SeqQ: 700, SeqK: 700}}
	p, at := c.prepared(t, dev, c.input(t))
	workspaceFor(t, dev, p, &at)
	distances := func(spans ...[2]int) []*ir.Selection {
		var all []int
		for _, s := range spans {
			for d := s[0]; d < s[1]; d++ {
				all = append(all, d)
			}
		}
		return []*ir.Selection{{Sets: []ir.Selected{{Name: "cols", Members: []int{0, 299}}, {Name: "diags", Kind: ir.ChosenDistances, Members: all}}}}
	}
	good := distances([2]int{64, 128}, [2]int{448, 512}, [2]int{640, 700})
	require.NoError(t, p.WriteChosen(nil, at, good))
	require.NoError(t, p.RunAttention(nil, at))
	chosen, err := p.ReadChosen(nil, at)
	require.NoError(t, err)
	require.Equal(t, good[0].Sets[1].Members, chosen[0].Asked.Sets[1].Members)
	require.NoError(t, p.WriteChosen(nil, at, distances()))
	for says, bad := range map[string][]*ir.Selection{
		"the 3 distances are not whole runs of 64; give all distances of a run, or none": distances([2]int{1, 2}, [2]int{200, 201}, [2]int{500, 501}),
		"the 127 distances are not whole runs of 64":                                     distances([2]int{0, 63}, [2]int{128, 192}),
		"found 4 runs of 64 distances, the budget allows 3":                              distances([2]int{64, 320}),
		"member 64 is 700, want ascending ones from 0 to 699":                            distances([2]int{0, 64}, [2]int{700, 701}),
	} {
		err := p.WriteChosen(nil, at, bad)
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
		if name == "slash_tiles_shared" { // whose heads of a kv head have one list
			c.shape.KVHeads = 3
		}
		in := c.input(t)
		p, at := c.prepared(t, dev, in)
		workspaceFor(t, dev, p, &at)
		require.NoError(t, p.RunIndex(nil, at))
		chosen, err := p.ReadChosen(nil, at)
		require.NoError(t, err)
		require.NotEqual(t, chosen[0], chosen[1])
		moved := []*ir.Selection{chosen[1].Asked, chosen[2].Asked, chosen[0].Asked}
		require.NoError(t, p.WriteChosen(nil, at, moved))
		require.NoError(t, p.RunAttention(nil, at))
		again, err := p.ReadChosen(nil, at)
		require.NoError(t, err)
		require.Equal(t, moved, askedOf(again), name)

		values, err := ir.CheckLaunch(c.program.Pattern.Params, c.program.Pattern.Requires, c.params)
		require.NoError(t, err)
		output := selfcheck.Case{In: in, Pool: c.program.Pattern.Pool, Scale: 1. / 8, O: readBack(t, dev, at.O, len(in.Q))}
		for _, sel := range moved {
			keep, err := c.program.Pattern.EndingAt(in.End()).CoverWith(values, sel)
			require.NoError(t, err)
			output.Keeps = append(output.Keeps, keep)
		}
		report, err := selfcheck.Compare(output)
		require.NoError(t, err)
		require.True(t, report.OK(), "%s: %s", name, report)
	}
}

// Without an index stage the first half is nothing, and the second all.
func TestHalvesOfAStaticLaunch(t *testing.T) {
	dev := openEmulator(t, emu.Options{})
	c := attentionCase{program: library(t, "a_shape"), headDim: 64, dtype: abi.BF16, shape: qkv.Shape{Batch: 1, QHeads: 1, KVHeads: 1, SeqQ: 100, SeqK: 100}}
	in := c.input(t)
	p, at := c.prepared(t, dev, in)
	require.NoError(t, p.Run(nil, at))
	want := readBack(t, dev, at.O, len(in.Q))
	require.NoError(t, dev.Fill(at.O, 0xff, int64(len(in.Q)), nil))
	require.NoError(t, p.RunIndex(nil, at))
	require.NoError(t, p.WriteChosen(nil, at, nil))
	require.NotContains(t, readBack(t, dev, at.O, len(in.Q)), byte(0))
	require.NoError(t, p.RunAttention(nil, at))
	require.Equal(t, want, readBack(t, dev, at.O, len(in.Q)))
	require.Zero(t, p.ListBytes())
}
