package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/bench"
)

func ptr(v float64) *float64 { return &v }

// repository has a measurement, peers of it, a file of bench/interleave.py and a printed text.
func repository(t *testing.T) string {
	root := t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(root, folder), 0o755))
	r := &bench.Report{Schema: bench.Schema, Tool: bench.ToolBench, Version: "minfc 0.1.0", Date: "2026-01-02", Command: "minfc bench dense",
		Machine: bench.Machine{Name: "H200", Multiprocessors: 132}, Call: bench.Call{Batch: 1, QHeads: 8, KVHeads: 2, HeadDim: 128, DType: "bf16"},
		Workload: bench.Workload{Kind: "mixed", Seed: 1},
		Rows: []bench.Row{
			{Implementation: "minfc sm_80", Pattern: "dense", SeqLen: 4096, AttentionMS: 1, TotalMS: 1, Density: 1, PredictedMS: ptr(9)},
			{Implementation: "minfc sm_80", Pattern: "dense", SeqLen: 32768, AttentionMS: 20, TotalMS: 20, Density: 1, PredictedMS: ptr(21)},
			{Implementation: "minfc sm_80", Pattern: "dense", SeqLen: 65536, AttentionMS: 80, TotalMS: 80, Density: 1, PredictedMS: ptr(72)},
		}}
	peers := *r
	peers.Tool, peers.Version, peers.Command = bench.ToolPeers, "torch 2.11.0", "python3 bench/peers.py dense"
	peers.Rows = []bench.Row{{Implementation: "torch fa2", Pattern: "dense", SeqLen: 32768, AttentionMS: 25, TotalMS: 25, Density: 1}}
	for name, r := range map[string]*bench.Report{"measured.json": r, "peers.json": &peers} {
		text, err := r.JSON()
		require.NoError(t, err)
		write(t, root, name, string(text))
	}
	write(t, root, "older.json", `{"title": "checked", "device": "H200", "rows": [{"case": "dense:64:2:1:128:bf16:d.minf", "kernel": "d.minf", "ms": 1.5}]}`)
	write(t, root, "text.txt", "compile times\n12 ms\n")
	return root
}

func write(t *testing.T, root, name, text string) {
	require.NoError(t, os.WriteFile(filepath.Join(root, folder, name), []byte(text), 0o600))
}

func TestReport(t *testing.T) {
	root := repository(t)
	require.NoError(t, run(root, false))
	page, err := os.ReadFile(filepath.Join(root, "BENCHMARKS.md"))
	require.NoError(t, err)
	for _, says := range []string{
		"## minfc bench on H200: 8 heads on 2 kv heads, head dim 128, bf16, workload mixed",
		"minfc 0.1.0, 2026-01-02.", "    minfc bench dense", "    python3 bench/peers.py dense", "torch fa2", "1.25x*",
		"The cost model was off by 7.5% on average and 10.0% at worst, over the 2 rows of 16k and more.",
		"![time, speed-up and recall](docs/bench/measured.svg)",
		"## checked", "| dense | 64 | 2/1 | 128 bf16 | d.minf | 1.500 |", "## compile times\n\n```\n12 ms\n```",
	} {
		require.Contains(t, string(page), says)
	}
	require.NotContains(t, string(page), "## bench/peers.py", "peers stand beside the rows they belong to")
	_, err = os.Stat(filepath.Join(root, folder, "measured.svg"))
	require.NoError(t, err)
	require.NoError(t, run(root, true))
}

func TestCheckFindsWhatIsStale(t *testing.T) {
	root := repository(t)
	require.ErrorContains(t, run(root, true), "BENCHMARKS.md is not what docs/bench says: run go run ./tools/benchreport")
	require.NoError(t, run(root, false))
	for _, path := range []string{"BENCHMARKS.md", folder + "/measured.svg"} {
		full := filepath.Join(root, path)
		data, err := os.ReadFile(full)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(full, append([]byte(" "), data...), 0o600))
		require.ErrorContains(t, run(root, true), path+" is not what docs/bench says")
		require.NoError(t, os.WriteFile(full, data, 0o600))
	}
	write(t, root, "measured.json", `{"schema": 7}`)
	require.ErrorContains(t, run(root, true), "measured.json: report has schema 7, want 1")
}

// Peers that were measured with other inputs get a section of their own, never a ratio.
func TestPeersOfAnotherCall(t *testing.T) {
	root := repository(t)
	peers, err := bench.ReadReport(filepath.Join(root, folder, "peers.json"))
	require.NoError(t, err)
	peers.Call.HeadDim = 64
	text, err := peers.JSON()
	require.NoError(t, err)
	write(t, root, "peers.json", string(text))
	require.NoError(t, run(root, false))
	page, err := os.ReadFile(filepath.Join(root, "BENCHMARKS.md"))
	require.NoError(t, err)
	require.Contains(t, string(page), "## bench/peers.py on H200")
	require.NotContains(t, string(page), "1.25x")
}
