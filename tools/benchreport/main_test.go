package main

import (
	"os"
	"path/filepath"
	"strings"
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

// hopperFiles are measurements of sm_90a code: dense at two head dims, planted lists at two lengths, a whole call and peers of it.
func hopperFiles(t *testing.T, root string) {
	write(t, root, "sm90_speed.json", `{"title": "sm_90a code: speed", "device": "H200", "rows": [
		{"case": "dense:32768:16:16:128:bf16:d.minf", "kernel": "d.minf", "ms": 6, "tflops": 700, "vs_fa2": 2.25, "vs_cudnn": 1.125},
		{"case": "dense:32768:16:16:128:bf16:d.minf", "kernel": "cudnn", "ms": 7, "tflops": 600, "vs_fa2": 2, "vs_cudnn": 1.0},
		{"case": "dense:32768:16:16:64:bf16:d.minf", "kernel": "", "error": "no memory"},
		{"case": "a_shape:131072:8:8:128:bf16:a.minf:sink=128,window=4096", "kernel": "a.minf", "ms": 4, "tflops": 561}]}`)
	write(t, root, "sm90_lists.json", `{"title": "sm_90a code: lists", "device": "H200", "rows": [
		{"case": "vertical_slash:131072:8:8:128:bf16:v.minf:vertical=1000,slash=6096", "kernel": "v.minf", "ms": 6, "tflops": 531.6},
		{"case": "vertical_slash:131072:8:8:128:bf16:v.minf:vertical=1000,slash=6096", "kernel": "cudnn", "ms": 31, "tflops": 550},
		{"case": "vertical_slash:1048576:1:1:128:bf16:v.minf:vertical=1000,slash=6096", "kernel": "v.minf", "ms": 6, "tflops": 529},
		{"case": "vertical_slash:1048576:1:1:128:bf16:v.minf:vertical=1000,slash=6096", "kernel": "cudnn", "ms": 31, "tflops": 570}]}`)
	budgets := map[string]int64{"vertical": 1000, "slash": 6096}
	save := func(name string, r bench.Report) {
		text, err := r.JSON()
		require.NoError(t, err)
		write(t, root, name, string(text))
	}
	r := bench.Report{Schema: bench.Schema, Tool: bench.ToolBench, Version: "minfc 0.1.0", Date: "2026-01-02", Command: "minfc bench --planted",
		Machine: bench.Machine{Name: "H200", Multiprocessors: 132}, Call: bench.Call{Batch: 1, QHeads: 8, KVHeads: 8, HeadDim: 128, DType: "bf16"},
		Workload: bench.Workload{Kind: "mixed", Seed: 1, Planted: true}}
	row := bench.Row{Implementation: "minfc sm_90a", Pattern: "vertical_slash", Params: budgets, SeqLen: long128k, AttentionMS: 6, TotalMS: 6, Density: 0.1, TileTFLOPS: ptr(551)}
	r.Rows = []bench.Row{row}
	save("sm90_dynamic_128k.json", r)
	row.SeqLen, row.TileTFLOPS, row.AttentionMS = long1m, ptr(529), 316
	r.Rows, r.Call.QHeads = []bench.Row{row}, 32
	save("sm90_dynamic_1m.json", r)
	row.TotalMS, row.IndexMS, row.SampledBlocks = 5000, 4, 512
	r.Rows, r.Workload.Planted, r.Workload.Kind = []bench.Row{row}, false, "slash"
	save("sm90_dynamic_whole.json", r)
	r.Tool, r.Command, r.Call.QHeads = bench.ToolPeers, "python3 bench/peers.py dense", 4
	r.Rows = []bench.Row{{Implementation: "torch fa2", Pattern: "dense", SeqLen: long1m, AttentionMS: 3600, TotalMS: 3600, Density: 1}}
	save("sm90_peers.json", r)
}

// Measurements of the Hopper kernels are compared with what was asked of them: what reaches it, what misses, what is not there.
func TestHopperGoals(t *testing.T) {
	root := repository(t)
	require.NoError(t, run(root, false))
	page, err := os.ReadFile(filepath.Join(root, "BENCHMARKS.md"))
	require.NoError(t, err)
	require.NotContains(t, string(page), "asked for", "nothing was measured")
	hopperFiles(t, root)
	doc := "# How\n\n## Where the time goes\n\nInto [waits](measuring.md) ([figures](../BENCHMARKS.md)).\n\n## Next\n\nNothing.\n"
	require.NoError(t, os.MkdirAll(filepath.Join(root, "docs"), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(root, hopperDoc), []byte(doc), 0o600))
	require.NoError(t, run(root, false))
	page, err = os.ReadFile(filepath.Join(root, "BENCHMARKS.md"))
	require.NoError(t, err)
	for _, says := range []string{
		"| dense causal, 32K, D = 128 | cuDNN 576 TFLOP/s, FlashAttention-3 592 | 1.1x cuDNN | 1.12x cuDNN | 1.02 |",
		"| dense causal, 32K, D = 64 | cuDNN 449 TFLOP/s, FlashAttention-3 504 | 1.15x cuDNN | not measured |  |",
		"| A-shape 128/4096, 128K | FlexAttention 402 | 550 TFLOP/s, useful | 561 TFLOP/s, useful | 1.02 |",
		"| Vertical-Slash 1000/6096, 128K, 8 heads | MInference 301 to 324 | 580 TFLOP/s of tiles | 551 TFLOP/s of tiles | 0.95 |",
		"over rate at 128K |  | 0.92x | 0.96x | 1.04 |",
		"dense |  | 100x | 90x | 0.90 |", // 900 ms a head over 10
		"| case | length | heads | D | kernel | ms | TFLOP/s | vs FA2 | vs cuDNN |\n",
		"| dense | 32768 | 16 | 128 bf16 | cudnn | 7.000 | 600 | 2.000 | 1.000 |",
		"| dense | 32768 | 16 | 64 bf16 | failed: no memory |  |",
		"\n### Where the time goes\n\nInto [waits](docs/measuring.md) ([figures](BENCHMARKS.md)).\n",
	} {
		require.Contains(t, string(page), says)
	}
	require.NotContains(t, string(page), "Nothing.")
	require.NoError(t, run(root, true))
}

// What was asked of sm_80 code over lists is held against minfc bench, head dim by head dim; blocks that share are another work.
func TestChosenGoals(t *testing.T) {
	root := repository(t)
	r := bench.Report{Schema: bench.Schema, Tool: bench.ToolBench, Version: "minfc 0.1.0", Date: "2026-01-02", Command: "minfc bench --planted",
		Machine: bench.Machine{Name: "H200", Multiprocessors: 132}, Call: bench.Call{Batch: 1, QHeads: 8, KVHeads: 8, HeadDim: 64, DType: "bf16"},
		Workload: bench.Workload{Kind: "mixed", Seed: 1, Planted: true}}
	row := bench.Row{Implementation: "minfc sm_80", Pattern: "block_sparse", Params: map[string]int64{"topk": 100}, SeqLen: long128k, AttentionMS: 5, TotalMS: 5, Density: 0.1}
	for _, x := range []struct {
		name    string
		sharing bench.BlockSharing
		rate    float64
	}{{"sm80_dynamic_half.json", bench.BlocksHalf, 500}, {"sm80_dynamic_whole.json", bench.BlocksApart, 147}} {
		row.TileTFLOPS, r.Workload.PlantedBlocks = &x.rate, x.sharing
		r.Rows = []bench.Row{row}
		text, err := r.JSON()
		require.NoError(t, err)
		write(t, root, x.name, string(text))
	}
	require.NoError(t, run(root, false))
	page, err := os.ReadFile(filepath.Join(root, "BENCHMARKS.md"))
	require.NoError(t, err)
	require.Contains(t, string(page), "| blocks of 64x64, 100 a row block, D = 64 |  | 294 TFLOP/s of tiles | 147 TFLOP/s of tiles | 0.50 |")
	require.Contains(t, string(page), "| blocks of 64x64, 100 a row block, D = 128 | MInference 367 | 330 TFLOP/s of tiles | not measured |  |")
}

// Reports of a series are one table.
func TestSeries(t *testing.T) {
	root := repository(t)
	hopperFiles(t, root)
	require.NoError(t, run(root, false))
	page, err := os.ReadFile(filepath.Join(root, "BENCHMARKS.md"))
	require.NoError(t, err)
	require.Equal(t, 1, strings.Count(string(page), "## sm_90a code: patterns that data decides"))
	require.Contains(t, string(page), "| vertical_slash slash=6096 vertical=1000 | planted | 128k | 8 | 128 bf16 |  | 6.000 | 6.000 | 10 | 551 |")
	require.Contains(t, string(page), "| vertical_slash slash=6096 vertical=1000 | chosen from slash | 1m | 32/8 | 128 bf16 | 4.000 | 316.000 | 5000.000 | ~10 | 529 |")
	require.Equal(t, 3, strings.Count(string(page), "    minfc bench --planted\n"))
}

func TestBadFiles(t *testing.T) {
	for text, want := range map[string]string{
		`{"rows": [{"case": "dense:64:2:1:128:f16:d.minf", "errors": {"random": {"frobenius": 5e-4, "worst_row": 6e-4, "lse": 1e-6}}}]}`: "bad.json: case \"dense:64:2:1:128:f16:d.minf\": " +
			"errors of random inputs are 5.0e-04, 6.0e-04, 1.0e-06, beyond what f16 may have: 4e-04, 1e-03, 2e-04",
		`{"rows": [{"case": "dense:64"}]}`: `bad.json: case "dense:64" has 2 parts, want 7 or 8`,
		`{"rows": `:                        "bad.json: unexpected end of JSON input",
	} {
		root := repository(t)
		write(t, root, "bad.json", text)
		require.ErrorContains(t, run(root, false), want)
	}
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
