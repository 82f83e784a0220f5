package summary

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/internal/pairs"
)

// run is a run as a GPU might give it.
func run() *Run {
	return &Run{
		Label: "p n=4", Pattern: "p", Params: map[string]int64{"n": 4}, Device: "cuda:0 NVIDIA H200", Target: "sm_90a", HeadDim: 64, DType: "bf16",
		Tile: []int{192, 128}, Shape: "q [1, 2, 8, 64]", Scale: 0.125, Density: Density{Of: "causal", Value: 0.5, Rows: 8}, Millis: 0.0123,
		Check: &Verdict{true, "all 8 rows, " + strings.Repeat("error 1e-3, ", 9) + "lse 1e-6"},
	}
}

func TestLines(t *testing.T) {
	lines := run().Lines()
	require.Equal(t, []string{
		"pattern  p n=4", "device   cuda:0 NVIDIA H200", "kernel   sm_90a, head dim 64, bf16, tile 192x128", "shape    q [1, 2, 8, 64], q_offset 0, scale 0.125",
		"density  50 % of the causal pairs", "time     0.012 ms",
	}, lines[:6])
	require.True(t, strings.HasSuffix(lines[6], "lse 1e-6"), "without a picture lines say all")
}

func TestPictureKeepsLinesShort(t *testing.T) {
	r := run()
	r.Picture, r.Try, r.Runs, r.NoGPU = &pairs.Picture{Lines: []string{"⣷⣄", "⣿⣿", "⣿⣿", "⣿⣿", "⣿⣿"}, DotRows: 2, DotKeys: 2}, []string{"one", "two"}, "H100", true
	r.Model = &Model{"H200", "sm_90a", 128 << 10, 32, 2, 2, 20}
	lines := r.Lines()
	require.Equal(t, []string{
		"device   cuda:0 NVIDIA H200, no GPU here; 0.0123 ms",
		"model    128K tokens, 32 heads on an H200: 2 ms, 10x faster than dense (20 ms)",
		"picture  ⣷⣄   queries down, keys across",
		"         ⣿⣿   a dot: 2 queries x 2 keys, some kept",
		"         ⣿⣿   compiled for H100 (sm_90a)",
		"         ⣿⣿",
		"         ⣿⣿   try one",
	}, append([]string{lines[1]}, lines[6:]...))
	require.LessOrEqual(t, len(lines[5]), width)
	require.True(t, strings.HasPrefix(lines[5], "check    ok: all 8 rows, error"), lines[5])
	require.False(t, strings.HasSuffix(lines[5], ","))
}

func TestTimesAreShort(t *testing.T) {
	require.Equal(t, "2760 ms", shortMillis(2760.4))
	require.Equal(t, "0.0123 ms", shortMillis(0.0123))
	require.Equal(t, "99.9 ms", shortMillis(99.94))
}

func TestModel(t *testing.T) {
	for want, m := range map[string]Model{
		"2 ms, 10x faster than dense (20 ms)":       {LowMS: 2, HighMS: 2, DenseMS: 20},
		"20 ms, as long as dense":                   {LowMS: 20, HighMS: 20, DenseMS: 20},
		"30 ms, 1.5x slower than dense (20 ms)":     {LowMS: 30, HighMS: 30, DenseMS: 20},
		"2 to 20 ms as the data decides, dense 20 ": {LowMS: 2, HighMS: 20, DenseMS: 20},
	} {
		require.Contains(t, m.String(), want)
	}
}

func TestJSON(t *testing.T) {
	r := run()
	r.Check.OK = false
	require.True(t, strings.HasPrefix(r.Check.String(), "wrong: "))
	text, err := r.JSON()
	require.NoError(t, err)
	var back map[string]any
	require.NoError(t, json.Unmarshal(text, &back))
	require.Equal(t, "p", back["pattern"])
	require.Equal(t, 0.5, back["density"].(map[string]any)["value"])
	require.Equal(t, false, back["check"].(map[string]any)["ok"])
	require.NotContains(t, back, "Picture")
}
