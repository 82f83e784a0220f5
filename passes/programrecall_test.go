package passes

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/ir"
)

// The program of a recall, as people read it. It verifies against its kernels, and its text gives it back.
func TestProgramOfRecall(t *testing.T) {
	p := Recall()
	require.NoError(t, p.Verify(RecallParams, kernelsOf(&ir.Schedule{})))
	golden := filepath.Join("testdata", "programs", "recall.txt")
	if *update {
		require.NoError(t, os.WriteFile(golden, []byte(p.String()), 0o644))
	}
	want, err := os.ReadFile(golden)
	require.NoError(t, err)
	require.Equal(t, string(want), p.String())
	again, err := ir.ParseProgram(p.String())
	require.NoError(t, err)
	require.Equal(t, p.String(), again.String())
}

// recallOf binds the program to 64 rows of 32 heads on 8 kv heads.
func recallOf(t *testing.T, numbers map[string]int64) (*ir.BoundProgram, error) {
	l := ir.ProgramLaunch{Numbers: ir.Env{}, Heads: make([]ir.Env, 32), Kernels: kernelsOf(&ir.Schedule{})}
	for name, v := range map[string]int64{"batch": 1, "q_heads": 32, "kv_heads": 8, "group": 4, "sharers": 4, "head_dim": 128, "sq": 1 << 17, "sk": 1 << 17,
		"p_first": 2047, "p_step": 2048, "p_rows": 64, "p_before": 0, "p_sampled": 64} {
		l.Numbers[name] = v
	}
	for _, name := range []string{"q_offset", "q_batch", "q_head", "q_row", "k_batch", "k_head", "k_row", "lse_batch", "lse_head"} {
		l.Numbers[name] = 0
	}
	for name, v := range numbers {
		l.Numbers[name] = v
	}
	for h := range l.Heads {
		l.Heads[h] = ir.Env{}
	}
	return Recall().Bind(l)
}

// A recall at 128K tokens is three launches, and its products are of every key with 64 rows once: docs/recall.md counts on it.
func TestWhatARecallDoes(t *testing.T) {
	b, err := recallOf(t, nil)
	require.NoError(t, err)
	actions, err := b.Part(ir.PartRecall, ir.Routed{})
	require.NoError(t, err)
	require.Len(t, actions, 3)
	stats := actions[0]
	require.Equal(t, abi.RecallStats+".4", stats.Kernel)
	params, chunk := abi.IndexParams[abi.RecallStats], int64(0)
	for i, p := range params {
		if p.Name == "chunk_tiles" {
			chunk = stats.Args[i].Number
		}
	}
	tiles := stats.Grid[0] * chunk
	require.GreaterOrEqual(t, tiles*64, int64(1<<17))
	require.Less(t, tiles*64, int64(1<<17+64*chunk), "no tile without keys")
	require.EqualValues(t, 8, stats.Grid[1], "a block has the four q heads of a kv head")
	require.Less(t, b.Kept+b.Passing, int64(8<<20))

	_, err = recallOf(t, map[string]int64{"batch": 4096})
	require.ErrorContains(t, err, "Batch times QHeads of a recall is 131072, want at most 65535; split larger calls")
	_, err = recallOf(t, map[string]int64{"p_step": 1 << 24, "p_rows": 2})
	require.ErrorContains(t, err, "the step from row to row of a recall is 16777216, want at most 8388608; look at more rows")
}
