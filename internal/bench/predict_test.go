package bench

import (
	"bytes"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/abi"
)

// predicted is a call of a model's layer.
func predicted(lengths []int, patterns ...string) Config {
	return Config{Patterns: patterns, SeqLens: lengths, QHeads: 8, KVHeads: 2, HeadDim: 128, DType: abi.BF16, VsDense: true}
}

func TestBestTargetIsPredicted(t *testing.T) {
	for _, c := range []struct{ machine, target, want string }{
		{"", "", "minfc sm_90a"}, {"H200", "", "minfc sm_90a"}, {"H200", "sm_80", "minfc sm_80"}, {"A100", "", "minfc sm_80"}, {"", "sm_80", "minfc sm_80"},
	} {
		cfg := predicted([]int{32 << 10}, "dense")
		cfg.Target = c.target
		r, err := Predict(cfg, c.machine)
		require.NoError(t, err)
		require.Equal(t, c.want, r.Rows[0].Implementation, c)
		require.Contains(t, r.title()[0], c.want+": predicted")
	}
	cfg := predicted([]int{32 << 10}, "dense")
	cfg.Target = "sm_90a"
	_, err := Predict(cfg, "A100")
	require.ErrorContains(t, err, `the cost model does not know "A100", it has H200`)
}

// TestBlocksArePredicted: how many blocks there are is known, so the price is near what was measured, docs/cost.md's first row of
// lists: 5.740 ms on an H200.
func TestBlocksArePredicted(t *testing.T) {
	r, err := Predict(predicted([]int{1 << 10, 128 << 10}, "block_sparse"), "")
	require.NoError(t, err)
	short, long := r.Rows[1], r.Rows[3]
	require.Equal(t, "block_sparse", long.Pattern)
	require.InEpsilon(t, 5.740, long.AttentionMS, 0.1)
	require.InDelta(t, long.TotalMS, long.IndexMS+long.AttentionMS, 1e-9)
	require.Greater(t, long.IndexMS, 0.1)
	require.InDelta(t, 0.0948, long.Density, 0.002, "100 blocks of a row block, of which one is the diagonal's")
	require.Greater(t, *long.VsDense, 5.0)
	require.Equal(t, 8, short.DenseHeads, "100 blocks are all that there are")
	require.Equal(t, r.Rows[0].TotalMS, short.TotalMS)
	require.Equal(t, 1.0, short.Density)

	sparse := predicted([]int{1 << 10}, "block_sparse")
	sparse.NoFallback, sparse.Set = true, map[string]int64{"topk": 2}
	r, err = Predict(sparse, "")
	require.NoError(t, err)
	require.Zero(t, r.Rows[1].DenseHeads)
	require.Greater(t, r.Rows[1].IndexMS, 0.0)
}

// TestListsOfTheDataAreNotPredicted: distances may lie together or apart, so the work is known within bounds alone, and these are
// said.
func TestListsOfTheDataAreNotPredicted(t *testing.T) {
	for _, pattern := range []string{"vertical_slash", "columns_window"} {
		_, err := Predict(predicted([]int{128 << 10}, pattern), "")
		require.ErrorContains(t, err, "what "+pattern+" keeps is decided by the data: ")
		require.ErrorContains(t, err, " ms at length 128k on H200, dense attention 52.")
	}
}

func TestThinPatternsAreWarnedOf(t *testing.T) {
	r, err := Predict(predicted([]int{8 << 10, 32 << 10}, "strided", "dilated", "a_shape"), "")
	require.NoError(t, err)
	var b bytes.Buffer
	require.NoError(t, r.Write(&b, nil))
	text := b.String()
	require.Equal(t, 1, strings.Count(text, "warning: strided stride=128 at 32k computes"))
	require.Equal(t, 2, strings.Count(text, "warning:"), "a_shape skips what it does not keep")
	require.Contains(t, text, "dense is faster")
	require.Contains(t, text, "\nkernels   minfc sm_90a\n")

	cfg := predicted([]int{32 << 10}, "strided")
	cfg.Set = map[string]int64{"stride": 2048}
	r, err = Predict(cfg, "")
	require.NoError(t, err)
	require.Less(t, r.thinness(r.Rows[1]), 8.0, "most tiles are skipped")
}

// TestPlotSaysWhatItShows: a picture goes around without the table.
func TestPlotSaysWhatItShows(t *testing.T) {
	r := fixed()
	require.Equal(t, []string{"NVIDIA H200, minfc sm_80: measured", "batch 1, 32 query heads, 8 kv heads, head dim 128, bf16, workload mixed"}, r.title())
	r.Machine.Emulated = true
	require.Contains(t, r.title()[0], "emulated")
	r.Tool = ToolPredict
	require.Contains(t, r.title()[0], "predicted")
}

// TestCurvesDiffer: curves that lie on one another are told apart by more than colour, and the later one leaves the one before visible.
func TestCurvesDiffer(t *testing.T) {
	for i := range 4 {
		a, b := curve{number: i}, curve{number: i + 1}
		require.NotEqual(t, a.line().Dashes, b.line().Dashes)
		require.NotEqual(t, a.glyph().Shape, b.glyph().Shape)
		require.Greater(t, a.line().Width, b.line().Width)
		require.Greater(t, a.glyph().Radius, b.glyph().Radius)
	}
}
