package runtime

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/codegen/index"
	"github.com/minfc/minfc/codegen/lower"
	"github.com/minfc/minfc/ir"
	"github.com/minfc/minfc/runtime/artifact"
	"github.com/minfc/minfc/runtime/device"
)

// The geometry of launches is the kernels' own: the runtime knows it without importing what compiles.
func TestGeometryIsThatOfTheKernels(t *testing.T) {
	for _, heads := range probeHeads {
		for _, sizes := range [][3]int{{1, 1, 1}, {1, 8, 8}, {2, 8, 2}, {1, 32, 8}, {3, 5, 1}, {1, 1, 1}} {
			for _, sk := range []int{0, 1, 64, 65, 1000, 5000, 70000, 1 << 20} {
				c := &call{Attention: Attention{Batch: sizes[0], QHeads: sizes[1], KVHeads: sizes[2], SeqK: sk}}
				x, want := &indexCall{call: c}, index.EstimateLaunchFor(heads, sizes[0], sizes[2], sizes[1]/sizes[2], sk)
				got := x.geometry(&probeCall{heads: heads}, probeSlice{call: c}, blocksOf(sk))
				for i, n := range got.grid {
					require.EqualValues(t, want.Grid[i], n)
				}
				require.Equal(t, want.ChunkTiles, got.chunkTiles)
				require.LessOrEqual(t, want.Chunks, got.room)
			}
		}
	}
	for _, n := range []int{0, 1, 64, 1000, 1024, 1025, 5000, index.MaxKeyBlocks} {
		require.Equal(t, index.BlockSelectThreads(n), blockSelectThreads(n))
		for _, rows := range []int{1, 64, 65, 1000} {
			want := index.BlockScoresGrid(n, rows, 7)
			require.Equal(t, [2]int{int(want[0]), int(want[1])}, [2]int{ceilDiv(n, scoreKeys), ceilDiv(rows, scoreRows)})
		}
	}
	for _, n := range []int{1, 127, 128, 129, 5000} {
		require.Equal(t, index.SquareScoresGrid(n, 3, 8, 1)[0], uint32(ceilDiv(ceilDiv(n, 8), squareTile)))
	}
	require.Equal(t, index.MaxKeyBlocks, maxKeyBlocks)
	require.Equal(t, index.CompactRows, ir.BlockSize)
	require.Equal(t, index.ProbeRows, probeRows)
	require.Equal(t, index.ClearThreads, clearThreads)
	require.Equal(t, index.StoreWordsCount, storeWordsCount)
	for _, at := range [][2]int{{0, 0}, {0, 1}, {100, 29}, {64, 64}} {
		x := indexCall{call: &call{Attention: Attention{QOffset: at[0], SeqQ: at[1]}}, reach: at[0] + at[1]}
		require.Equal(t, index.DistPad(at[0], at[1]), x.distPad())
	}
}

// The words of route are numbers that kernels compare with and that other kernels, and the host, write: both sides have these.
func TestWordsOfRouteAreThoseOfTheKernels(t *testing.T) {
	require.Equal(t, [3]int{0, 1, 2}, [3]int{takeSparse, takeDense, takeNobody})
	require.Equal(t, [3]int{0, 1, 2}, [3]int{ir.RouteSparse, ir.RouteDense, ir.RouteElsewhere})
}

// Every kind's parameters are those of its kernel.
func TestStageParamsAreThoseOfTheKernels(t *testing.T) {
	kernels := map[string][]lower.Param{
		StageStoreWords: abi.IndexParams[abi.StoreWords], StageProbeStats: abi.IndexParams[abi.ProbeStats], StageProbeCombine: abi.IndexParams[abi.ProbeCombine],
		StageProbeSums: abi.IndexParams[abi.ProbeSums], StageSelectTop: index.SelectParams(ir.Top),
		StageSelectMass: index.SelectParams(ir.TopP), StageSelectAbove: index.SelectParams(ir.Above), StageRuns: abi.IndexParams[abi.Runs],
		StageColumns: abi.IndexParams[abi.Columns], StageCompact: abi.IndexParams[abi.Compact], StagePoolMean: index.PoolParams,
		StagePoolMax: index.PoolParams, StageBlockScores: abi.IndexParams[abi.BlockScores], StageBlockSelect: index.BlockSelectParams(ir.Top),
		StageBlockSelectMass: index.BlockSelectParams(ir.TopP), StageBlockSelectAbove: index.BlockSelectParams(ir.Above),
		StageBlockShares: abi.IndexParams[abi.BlockShares], StageClear: abi.IndexParams[abi.Clear], StageSquareScores: abi.IndexParams[abi.SquareScores],
		StageProbeStatsSpread: index.SpreadParams(abi.IndexParams[abi.ProbeStats]), StageProbeSumsSpread: index.SpreadParams(abi.IndexParams[abi.ProbeSums]),
		StageDecide: abi.IndexParams[abi.Decide],
	}
	for kind, params := range kernels {
		k, err := kindOf(kind)
		require.NoError(t, err)
		var listed []artifact.Param
		for _, p := range params {
			listed = append(listed, artifact.Param(p))
		}
		_, err = matchParams(listed, k.params())
		require.NoError(t, err, kind)
	}
	require.Len(t, kernels, len(stageKinds), "a new kind needs a row above")
}

// dynamicKernel is a kernel of a pattern that the data decides, on a device that only records launches.
func dynamicKernel(t *testing.T, text string) *LoadedKernel {
	s, err := ir.ParseSchedule(text)
	require.NoError(t, err)
	require.NoError(t, s.Verify())
	plan, err := planIndex(s)
	require.NoError(t, err)
	k := &LoadedKernel{info: artifact.Kernel{HeadDim: 128, DType: "bf16", RowTile: 64, KeyTile: 64}, schedule: s, plan: plan, scratchBytes: maxScratchBytes}
	for _, kind := range plan.kinds() {
		for _, heads := range probeHeads {
			k.stages = append(k.stages, &loadedStage{Stage: Stage{Kind: kind, Heads: heads}})
		}
	}
	return k
}

const verticalSlash = `schedule vertical_slash
  param vertical = 1000 min 0
  param slash = 6096 min 0
  index logits = probe last 64
  index probe = softmax logits
  index heat = sum probe over queries
  index cols = top vertical from heat first 30
  index trace = sum probe over diagonals
  index diags = top slash from trace first 100
  tile 64x64 longest-first
  segment 0
    from runs diags
    hi   q + 1
  segment 1
    from columns cols
    except runs diags
    hi   q + 1
`

const blockSparse = `schedule block_sparse
  param topk = 100 min 0
  index mq = pool mean q
  index mk = pool mean k
  index scores = blocks mq mk
  index best = top topk from scores last 1
  tile 64x64 longest-first
  segment 0
    from blocks best
    hi   q + 1
`

// TestWorkspaceStaysSmall: a million tokens of 32 heads on 8 kv heads need less than 1 GB beside the tensors.
func TestWorkspaceStaysSmall(t *testing.T) {
	a := Attention{Batch: 1, QHeads: 32, KVHeads: 8, SeqQ: 1 << 20, SeqK: 1 << 20}
	for name, text := range map[string]string{"vertical_slash": verticalSlash, "block_sparse": blockSparse} {
		bytes, err := dynamicKernel(t, text).Workspace(a)
		require.NoError(t, err)
		t.Logf("%s: %.0f MB", name, float64(bytes)/1e6)
		require.Less(t, bytes, int64(1e9), name)
		require.Greater(t, bytes, int64(1e6), name)
	}
}

// Buffers lie one behind the other, aligned, and hold what their kernels write.
func TestBuffersDoNotOverlap(t *testing.T) {
	k := dynamicKernel(t, verticalSlash)
	c, err := k.checkShape(Attention{Batch: 2, QHeads: 6, KVHeads: 2, SeqQ: 300, SeqK: 400, QOffset: 100})
	require.NoError(t, err)
	x, err := k.planCall(c)
	require.NoError(t, err)
	end := map[int64]bool{}
	for _, b := range x.buffers {
		if b != x.buffers["route"] {
			require.Zero(t, b.offset%workspaceAlign)
		}
		require.False(t, end[b.offset], "two buffers begin at %d", b.offset)
		end[b.offset] = true
		for _, other := range x.buffers {
			require.True(t, other.offset >= b.offset+b.bytes || other.offset+other.bytes <= b.offset || other == b)
		}
	}
	h := int64(12)
	require.Equal(t, h*448*4, x.size("col_sum"))
	require.Equal(t, h*(448+128)*4, x.size("diag_sum"))
	require.Equal(t, h*(448+64)*4, x.size("i_cols_cols"), "the budget is beyond the 400 keys")
	require.Equal(t, h*(448+64)*128*2, x.size("i_cols_kc"))
	require.Equal(t, h*(400/64+2)*4, x.size("i_diags_runs"))
}

func TestLargeCallsAreRefused(t *testing.T) {
	for want, c := range map[string]struct {
		text string
		a    Attention
	}{
		"Batch times QHeads is 65536, want at most 65535": {verticalSlash, Attention{Batch: 64, QHeads: 1024, KVHeads: 1024, SeqQ: 1, SeqK: 1}},
		"SeqK is 2097153, want at most 2097152":           {blockSparse, Attention{Batch: 1, QHeads: 1, KVHeads: 1, SeqQ: 1, SeqK: 1<<21 + 1}},
		"heads of 1000000 chosen columns are too many": {verticalSlash, Attention{Batch: 64, QHeads: 64, KVHeads: 1, SeqQ: 1 << 20, SeqK: 1 << 20,
			Params: map[string]int64{"vertical": 1e6}}},
	} {
		_, err := dynamicKernel(t, c.text).Workspace(c.a)
		require.ErrorIs(t, err, device.ErrBadCall)
		require.ErrorContains(t, err, want)
	}
}

// Both kernels of a probe cut the heads alike, so a size counts only where the device has room for both.
func TestSizesOfAProbeGoTogether(t *testing.T) {
	size := func(kind string, heads, bytes int) Stage { return Stage{Kind: kind, Heads: heads, SharedBytes: bytes} }
	k := &artifact.Kernel{Stages: []Stage{
		size(StageProbeStats, 1, 40), size(StageProbeStats, 2, 60), size(StageProbeStats, 4, 100),
		size(StageProbeSums, 1, 50), size(StageProbeSums, 2, 70), size(StageProbeSums, 4, 120),
		size(StageProbeSumsSpread, 4, 20), {Kind: StageRuns, SharedBytes: 110},
	}}
	for room, want := range map[int][]int{120: {0, 1, 2, 3, 4, 5, 7}, 110: {0, 1, 3, 4, 7}, 100: {0, 1, 3, 4}, 65: {0, 3}, 45: nil} {
		var fit []int
		for i, s := range k.Stages {
			if k.fits(s, device.Info{MaxSharedBytes: room}) {
				fit = append(fit, i)
			}
		}
		require.Equal(t, want, fit, room)
	}
}

// The estimator's blocks take the heads that share keys, as far as the device has room for.
func TestStageOfAGroup(t *testing.T) {
	k := &LoadedKernel{}
	for _, heads := range []int{1, 2, 4} {
		k.stages = append(k.stages, &loadedStage{Stage: Stage{Kind: StageProbeStats, Heads: heads}})
	}
	for group, want := range map[int]int{1: 1, 2: 2, 3: 4, 4: 4, 8: 4} {
		require.Equal(t, want, k.stage(StageProbeStats, group).Heads, group)
	}
	k.stages = k.stages[:2]
	require.Equal(t, 2, k.stage(StageProbeStats, 8).Heads)
	require.Nil(t, k.stage(StageRuns, 1))
}
