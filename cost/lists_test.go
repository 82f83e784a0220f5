package cost_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/codegen"
	"github.com/minfc/minfc/cost"
	"github.com/minfc/minfc/ir"
)

// dynamicRow is a row of the reports of patterns that the data decides.
type dynamicRow struct {
	Pattern     string
	Params      map[string]int
	SeqLen      int
	IndexMS     float64 `json:"index_ms"`
	AttentionMS float64 `json:"attention_ms"`
	Tiles       float64
	heads       int
	keyRows     float64 // of q and k, all heads
}

func dynamicRows(t *testing.T, pattern string) map[string]dynamicRow {
	files, err := filepath.Glob("../docs/bench/" + pattern)
	require.NoError(t, err)
	out := map[string]dynamicRow{}
	for _, file := range files {
		data, err := os.ReadFile(file)
		require.NoError(t, err)
		var report struct {
			Call struct {
				Q int `json:"q_heads"`
				K int `json:"kv_heads"`
			}
			Rows []dynamicRow
		}
		require.NoError(t, json.Unmarshal(data, &report))
		require.Len(t, report.Rows, 1, file)
		row := report.Rows[0]
		row.heads, row.keyRows = report.Call.Q, float64(report.Call.Q+report.Call.K)*float64(row.SeqLen)
		out[strings.TrimSuffix(filepath.Base(file), ".json")] = row
	}
	return out
}

// columnSlots is about how many slots hold columns: 30 at the start, the others anywhere.
func (r dynamicRow) columnSlots() (slots float64) {
	n := r.Params["vertical"]
	if n == 0 {
		return 0
	}
	for t := range r.SeqLen / 64 {
		here := 30 + (n-30)*(t+1)*64/r.SeqLen
		slots += float64((here + 63) / 64 * r.heads)
	}
	return min(slots, r.Tiles)
}

// TestListPrices holds the prices of kernels with lists against what was measured over planted lists, and over those of the
// data: within 5%.
func TestListPrices(t *testing.T) {
	m := named(t, "H200")
	p, err := m.ListPrices(128)
	require.NoError(t, err)
	rows := dynamicRows(t, "h200_dynamic_*.json")
	require.Len(t, rows, 7)
	for name, r := range rows {
		columns, blocks := r.columnSlots(), float64(r.heads*r.SeqLen/64)
		nanos := (r.Tiles-columns)*p.Slot + columns*p.Column + blocks*p.Row
		require.InEpsilon(t, r.AttentionMS, nanos/float64(m.Multiprocessors)/1e6, 0.05, name)
	}
}

// TestIndexPrices does the same for the index stage: within 5%.
func TestIndexPrices(t *testing.T) {
	m := named(t, "H200")
	for name, r := range dynamicRows(t, "h200_dynamic_[sb]*.json") {
		w := cost.IndexWork{Launches: 8, ProbedKeys: float64(r.heads * r.SeqLen)}
		if r.Pattern == "block_sparse" {
			tiles := float64(r.SeqLen / 64)
			w = cost.IndexWork{Launches: 5, PooledBytes: r.keyRows * 128 * 2, Scores: float64(r.heads) * tiles * tiles / 2}
		}
		require.InEpsilon(t, r.IndexMS, m.IndexMillis(w, 128), 0.05, name)
	}
}

// TestListGeometry: the geometry that prices rest on is what codegen emits.
func TestListGeometry(t *testing.T) {
	s, err := ir.ParseSchedule("schedule x\n  index q = pool mean q\n  index k = pool mean k\n  index s = blocks q k\n  index best = top 3 from s last 1\n" +
		"  tile 64x64 longest-first\n  segment 0\n    from blocks best\n    hi   q + 1\n")
	require.NoError(t, err)
	for dim := 16; dim <= 256; dim += 16 {
		k, err := codegen.Attention(s, codegen.Config{HeadDim: dim, DType: codegen.BF16, Target: "sm_80"})
		require.NoError(t, err)
		_, threads, blocks, err := cost.ListGeometry("sm_80", dim)
		require.NoError(t, err)
		require.Equal(t, k.Threads, threads, "head dim %d", dim)
		require.Contains(t, strings.Join(strings.Fields(k.Module.String()), " "), minBlocks(blocks), "head dim %d", dim)
		p, err := named(t, "H200").ListPrices(dim)
		require.NoError(t, err)
		require.Greater(t, p.Column, p.Slot)
	}
	_, err = named(t, "H200").ListPrices(300)
	require.ErrorContains(t, err, "no kernel for target sm_80 and head dim 300 is priced")
}

// TestMachineLike: an unknown device is priced like a known one, with its own number of multiprocessors.
func TestMachineLike(t *testing.T) {
	m, ok := cost.MachineLike(cost.Device{Name: "emulator", Multiprocessors: 3}, "sm_80")
	require.True(t, ok)
	require.Equal(t, "H200", m.Name)
	require.Equal(t, 3, m.Multiprocessors)
	_, ok = cost.MachineLike(cost.Device{Name: "emulator"}, "sm_70")
	require.False(t, ok)
	for _, target := range codegen.Targets() {
		_, ok := cost.MachineLike(cost.Device{}, target)
		require.True(t, ok, "%s: without prices no head can fall back to dense", target)
	}
}
