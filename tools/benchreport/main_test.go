package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/internal/bench"
)

func ptr(v float64) *float64 { return &v }

// repository has a measurement, peers of it and a file of bench/interleave.py.
func repository(t *testing.T) string {
	root := t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(root, folder), 0o755))
	r := &bench.Report{Schema: bench.Schema, Tool: bench.ToolBench, Version: "minfc 0.1.0", Date: "2026-01-02", Command: "minfc bench dense",
		Machine:  bench.Machine{Name: "H200", Multiprocessors: 132},
		Call:     bench.Call{Batch: 1, QHeads: 8, KVHeads: 2, HeadDim: 128, DType: "bf16"},
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
	return root
}

func write(t *testing.T, root, name, text string) {
	require.NoError(t, os.WriteFile(filepath.Join(root, folder, name), []byte(text), 0o600))
}

func TestReport(t *testing.T) {
	root := repository(t)
	page := pageOf(t, root, folder+"/calls.md")
	for _, says := range []string{
		"## minfc bench on H200: 8 heads on 2 kv heads, head dim 128, bf16, workload mixed",
		"minfc 0.1.0, 2026-01-02.", "    minfc bench dense", "    python3 bench/peers.py dense", "torch fa2", "1.25x*",
		"The cost model was off by 7.5% on average and 10.0% at worst, over the 2 rows of 16k and more.",
		"![time, speed-up and recall](measured.svg)",
	} {
		require.Contains(t, page, says)
	}
	require.NotContains(t, page, "## bench/peers.py", "peers stand beside the rows they belong to")
	require.Contains(t, pageOf(t, root, folder+"/kernels.md"), "| dense | 64 | 2/1 | 128 bf16 | d.minf | 1.500 |")
	_, err := os.Stat(filepath.Join(root, folder, "measured.svg"))
	require.NoError(t, err)
	require.NoError(t, run(root, true))
}

func TestCheckFindsWhatIsStale(t *testing.T) {
	root := repository(t)
	require.ErrorContains(t, run(root, true), "BENCHMARKS.md is not what docs/bench says: run go run ./tools/benchreport")
	require.NoError(t, run(root, false))
	for _, path := range []string{"BENCHMARKS.md", folder + "/calls.md", folder + "/measured.svg"} {
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

// hopperFiles are measurements of sm_90a code: dense at two head dims, planted lists at two lengths, whole calls and peers of them.
func hopperFiles(t *testing.T, root string) {
	write(t, root, "sm90_speed.json", `{"title": "sm_90a code: speed", "device": "H200", "date": "2026-01-03", "rows": [
		{"case": "dense:32768:16:16:128:bf16:k/sm_90a/d.minf", "kernel": "k/sm_90a/d.minf", "ms": 6, "tflops": 700, "vs_fa2": 2.25, "vs_cudnn": 1.125},
		{"case": "dense:32768:16:16:128:bf16:k/sm_90a/d.minf", "kernel": "cudnn", "ms": 7, "tflops": 600, "vs_fa2": 2, "vs_cudnn": 1.0},
		{"case": "dense:32768:16:16:64:bf16:d.minf", "kernel": "", "error": "no memory"},
		{"case": "dense:32768:16:16:96:bf16:k/sm_90a/d.minf", "kernel": "k/sm_90a/d.minf", "ms": 5, "vs_cudnn": 7.5},
		{"case": "a_shape:131072:8:8:128:bf16:k/sm_90a/a.minf:sink=128,window=4096", "kernel": "k/sm_90a/a.minf", "ms": 4, "tflops": 561}]}`)
	write(t, root, "sm90_lists.json", `{"title": "sm_90a code: lists", "device": "H200", "date": "2026-01-04", "rows": [
		{"case": "vertical_slash:131072:8:8:128:bf16:k/sm_90a/v.minf:vertical=1000,slash=6096", "kernel": "k/sm_90a/v.minf", "ms": 6, "tflops": 616},
		{"case": "vertical_slash:131072:8:8:128:bf16:k/sm_90a/v.minf:vertical=1000,slash=6096", "kernel": "cudnn", "ms": 31.98, "tflops": 550},
		{"case": "vertical_slash:131072:8:8:128:bf16:k/sm_90a/v.minf:vertical=30,slash=800", "kernel": "k/sm_90a/v.minf", "ms": 1, "tflops": 500},
		{"case": "vertical_slash:131072:8:8:128:bf16:k/sm_90a/v.minf:vertical=30,slash=800", "kernel": "cudnn", "ms": 31.98, "tflops": 550},
		{"case": "vertical_slash:1048576:32:32:128:bf16:k/sm_90a/v.minf:vertical=1000,slash=6096", "kernel": "k/sm_90a/v.minf", "ms": 6, "tflops": 528},
		{"case": "vertical_slash:1048576:32:32:128:bf16:k/sm_90a/v.minf:vertical=1000,slash=6096", "kernel": "cudnn", "ms": 31.98, "tflops": 550}]}`)
	r := bench.Report{Schema: bench.Schema, Tool: bench.ToolBench, Version: "minfc 0.1.0", Date: "2026-01-02",
		Command:  "minfc bench --planted",
		Machine:  bench.Machine{Name: "H200", Multiprocessors: 132},
		Call:     bench.Call{Batch: 1, QHeads: 8, KVHeads: 8, HeadDim: 128, DType: "bf16"},
		Workload: bench.Workload{Kind: "mixed", Seed: 1, Planted: true}}
	row := bench.Row{Implementation: "minfc sm_90a", Pattern: "vertical_slash",
		Params: map[string]int64{"vertical": 1000, "slash": 6096}, SeqLen: 128 << 10,
		AttentionMS: 6, TotalMS: 6, Density: 0.1, TileTFLOPS: ptr(551), WorkspaceBytes: 300e6}
	r.Rows = []bench.Row{row}
	save(t, root, "sm90_dynamic_128k.json", r)
	row.SeqLen, row.TileTFLOPS, row.AttentionMS, row.TotalMS, row.Density = 1<<20, ptr(529), 231, 231, 0.0129
	r.Rows, r.Call.QHeads = []bench.Row{row}, 32
	save(t, root, "sm90_dynamic_1m.json", r)
	row.TotalMS, row.IndexMS, row.AttentionMS, row.SampledBlocks, row.Density = 3600, 5.2, 3590, 512, 0.159
	r.Rows, r.Workload.Planted, r.Workload.Kind = []bench.Row{row}, false, "slash"
	save(t, root, "sm90_dynamic_whole.json", r)
	r.Tool, r.Command, r.Version, r.Call.QHeads = bench.ToolPeers, "python3 bench/peers.py dense", "torch 2.11.0", 4
	r.Rows = []bench.Row{{Implementation: "torch fa2", Pattern: "dense", SeqLen: 1 << 20, AttentionMS: 3600, TotalMS: 3600, Density: 1}}
	save(t, root, "sm90_peers.json", r)
	r.Rows[0].TotalMS, r.Call.QHeads = 1000, 1
	save(t, root, "sm90_peers_slow.json", r)
}

func save(t *testing.T, root, name string, r bench.Report) {
	text, err := r.JSON()
	require.NoError(t, err)
	write(t, root, name, string(text))
}

// pageOf writes all pages and reads one of them.
func pageOf(t *testing.T, root, name string) string {
	require.NoError(t, run(root, false))
	text, err := os.ReadFile(filepath.Join(root, name))
	require.NoError(t, err)
	return string(text)
}

// A ratio is of one process, or says that it is not; and it is of calls that were made.
func TestWholeCalls(t *testing.T) {
	root := repository(t)
	hopperFiles(t, root)
	page := pageOf(t, root, "BENCHMARKS.md")
	for _, says := range []string{
		"| code | call | input | length | heads | D | density % | ms | FlashAttention-2 | cuDNN | measured |",
		"| sm_90a | dense | random | 32k | 16 | 128 | 100 | 6 | 2.25x | 1.12x | [2026-01-03][",
		"| sm_90a | vertical_slash slash=6096 vertical=1000 | slash | 1m | 32/8 | 128 | 15.9 | 3600 | 8.00x* |  | [2026-01-02][1] |", // 900 ms a head, not 1000, over 112.5
		"[1]: docs/bench/sm90_dynamic_whole.json\n",
		"- `sm_90a`, lists that the data chooses: FlashAttention-2 takes 8.00x* (density 15.9%).\n",
		"- `sm_90a`, dense attention: FlashAttention-2 takes 2.25x; cuDNN takes 1.12x.\n",
		"Peers are from torch 2.11.0.\n", "The newest measurements are of 2026-01-04, the oldest of 2026-01-02.",
		"| sm_90a | vertical_slash slash=6096 vertical=1000 | slash | 1m | 32/8 | 5.200 | 3590 |  | [2026-01-02][1] |",
	} {
		require.Contains(t, page, says)
	}
	require.NotContains(t, page, "122", "attention over planted lists with the index of another run")
	require.NotContains(t, page, "7.50x", "head dim 96 is on the page of kernels")
	require.NotContains(t, page, "asked")
	require.Less(t, strings.Index(page, "| sm_90a | vertical_slash"), strings.Index(page, "| sm_90a | dense"), "lists come first")
	require.Contains(t, pageOf(t, root, folder+"/kernels.md"), "| dense | 32768 | 16 | 64 bf16 | failed: no memory |")
	require.NoError(t, run(root, true))
}

// Whoever ran beside ours in bench/peers.py has a column, and a pattern's peers ran with its parameters.
func TestPeersOfOneProcess(t *testing.T) {
	root := repository(t)
	peers, err := bench.ReadReport(filepath.Join(root, folder, "peers.json"))
	require.NoError(t, err)
	window := map[string]int64{"window": 1024}
	peers.Rows = []bench.Row{
		{Implementation: "minfc sm_80", Pattern: "sliding", Params: window, SeqLen: 32768, TotalMS: 2, Density: 0.07},
		{Implementation: "torch flex", Pattern: "sliding", Params: window, SeqLen: 32768, TotalMS: 5, Density: 0.07},
		{Implementation: "another kernel", Pattern: "sliding", Params: window, SeqLen: 32768, TotalMS: 3, Density: 0.07},
		{Implementation: "torch flex", Pattern: "sliding", Params: map[string]int64{"window": 2048}, SeqLen: 32768, TotalMS: 7, Density: 0.1},
	}
	save(t, root, "peers.json", *peers)
	page := pageOf(t, root, "BENCHMARKS.md")
	require.Contains(t, page, "| ms | another kernel | FlexAttention | measured |")
	require.Contains(t, page, "| sm_80 | sliding window=1024 | mixed | 32k | 8/2 | 128 | 7 | 2 | 1.50x | 2.50x | [2026-01-02][1] |")
	require.Contains(t, page, "- `sm_80`, sparse patterns without lists: another kernel takes 1.50x (density 7%); FlexAttention takes 2.50x (density 7%).\n")
}

// Our own dense kernel stands beside calls whose lists the data chose, unless all of their heads ran dense.
func TestCallsBesideDense(t *testing.T) {
	root := repository(t)
	r := bench.Report{Schema: bench.Schema, Tool: bench.ToolBench, Version: "minfc 0.1.0", Date: "2026-01-02", Command: "minfc bench",
		Machine: bench.Machine{Name: "H200"}, Call: bench.Call{Batch: 1, QHeads: 8, KVHeads: 8, HeadDim: 64, DType: "f16"},
		Workload: bench.Workload{Kind: "mixed"}}
	row := bench.Row{Implementation: "minfc sm_80", Pattern: "block_sparse", SeqLen: 16 << 10, IndexMS: 1, AttentionMS: 5, TotalMS: 6,
		Density: 0.25, WorkspaceBytes: 1, VsDense: ptr(1.5)}
	all := row
	all.DenseHeads, all.VsDense = 8, ptr(1.01)
	r.Rows = []bench.Row{row, all}
	save(t, root, "short.json", r)
	page := pageOf(t, root, "BENCHMARKS.md")
	require.Contains(t, page, "| sm_80 | block_sparse | mixed | 16k | 8 | 64 f16 | 25 | 6 | 1.50x | [2026-01-02][1] |")
	require.NotContains(t, page, "1.01x")
}

// Planted lists have their density beside the ratio, or no ratio.
func TestPlanted(t *testing.T) {
	root := repository(t)
	hopperFiles(t, root)
	page := pageOf(t, root, "BENCHMARKS.md")
	// A dense head of cuDNN takes 4 x 128 x 8590000128 / 550e12 s = 7.997 ms, a planted one 0.75.
	require.Contains(t, page, "| sm_90a | vertical_slash vertical=1000 slash=6096 | 128k | 8 | 128 | 10 | 6 | 616 | 550 | 1.12x | 10.7x | [2026-01-04][")
	require.Contains(t, page, "| sm_90a | vertical_slash vertical=1000 slash=6096 | 1m | 32 | 128 | 1.29 | 6 | 528 | 550 | 0.96x |  | [2026-01-04][", "cuDNN's call is shorter")
	require.NotContains(t, page, "vertical=30", "nobody counted its pairs")
}

// How blocks share is part of a list's density.
func TestPlantedBlocks(t *testing.T) {
	root := repository(t)
	r := bench.Report{Schema: bench.Schema, Tool: bench.ToolBench, Version: "minfc 0.1.0", Date: "2026-01-02",
		Command:  "minfc bench --planted",
		Call:     bench.Call{Batch: 1, QHeads: 8, KVHeads: 8, HeadDim: 64, DType: "bf16"},
		Workload: bench.Workload{Kind: "mixed", Planted: true, PlantedBlocks: bench.BlocksWide}}
	r.Rows = []bench.Row{{Implementation: "minfc sm_80", Pattern: "block_sparse", Params: map[string]int64{"topk": 100},
		SeqLen: 128 << 10, AttentionMS: 5, TotalMS: 5, Density: 0.2}}
	save(t, root, "wide.json", r)
	write(t, root, "lists.json", `{"date": "2026-01-04", "rows": [
		{"case": "block_sparse:131072:8:8:64:bf16:k/sm_80/b.minf:topk=100", "kernel": "k/sm_80/b.minf", "ms": 5, "tflops": 275},
		{"case": "block_sparse:131072:8:8:64:bf16:k/sm_80/b.minf:topk=100", "kernel": "cudnn", "ms": 32, "tflops": 550},
		{"case": "block_sparse:131072:8:8:64:bf16:k/sm_80/b.minf:topk=100,wide=1", "kernel": "k/sm_80/b.minf", "ms": 5, "tflops": 275},
		{"case": "block_sparse:131072:8:8:64:bf16:k/sm_80/b.minf:topk=100,wide=1", "kernel": "cudnn", "ms": 32, "tflops": 550}]}`)
	page := pageOf(t, root, "BENCHMARKS.md")
	require.Contains(t, page, "| sm_80 | block_sparse topk=100 wide=1 | 128k | 8 | 64 | 20 | 5 | 275 | 550 | 0.50x |  | [2026-01-04][")
	require.NotContains(t, page, "| block_sparse topk=100 |")
}

// Errors of all kernels come down to the worst of each kind.
func TestAgreement(t *testing.T) {
	root := repository(t)
	write(t, root, "agree.json", `{"title": "agreement", "rows": [
		{"case": "dense:64:2:1:128:f16:k/sm_80/d.minf", "kernel": "k/sm_80/d.minf", "errors": {"random": {"frobenius": 1e-4, "worst_row": 6e-4, "lse": 1e-6}}},
		{"case": "dense:65:2:1:128:f16:k/sm_80/d.minf", "kernel": "k/sm_80/d.minf", "errors": {"random": {"frobenius": 2e-4, "worst_row": 3e-4, "lse": 1e-6}, "structured": {"frobenius": 1e-4, "worst_row": 3e-4, "lse": 5e-5}}}]}`)
	page := pageOf(t, root, "BENCHMARKS.md")
	require.Contains(t, page, "| sm_80 | f16 | 2 | 2.0e-04 | 6.0e-04 | 5.0e-05 | 4e-04, 1e-03, 2e-04 |")
	require.Contains(t, pageOf(t, root, folder+"/agreement.md"), "| dense | 65 | 2/1 | 128 f16 | d.minf |")
	require.NotContains(t, pageOf(t, root, folder+"/kernels.md"), "## agreement")
}

// What commands printed comes down to a line or a table.
func TestPrinted(t *testing.T) {
	root := repository(t)
	write(t, root, "sanitizer_sm80.txt", `compute-sanitizer
$ bench/sanitize.sh sm_80
memcheck  dense 128  ERROR SUMMARY: 0 errors; check ok
memcheck  dense 64  ERROR SUMMARY: 3 errors; check ok
racecheck dense 128  RACECHECK SUMMARY: 0 hazards displayed (0 errors, 0 warnings); check ok
racecheck dense 64  RACECHECK SUMMARY: 1 hazards displayed (0 errors, 1 warnings); check ok
synccheck dense 128  ERROR SUMMARY: 0 errors; check failed
synccheck dense 64  ERROR SUMMARY: 10 errors; check ok
`)
	write(t, root, "layer.txt", "A layer\n32 heads\n$ bin/plan.test\nBenchmarkLayer/sm_80/2k-16   20   77 ns/op   0.3464 apart-fallback-ms   0.1391 dense-ms   0.1382 one-fallback-ms\n")
	write(t, root, "compile.txt", "Compile time\nBenchmarkCompile-2  20  7000000 ns/op\nBenchmarkCompile/full/D64-2  20  39000000 ns/op\n")
	write(t, root, "repeat.txt", "Repeats\n dense fa2 1.1 1.2 0.9%\n dense cudnn 1.1 1.2 3.8%\n")
	page := pageOf(t, root, "BENCHMARKS.md")
	for _, says := range []string{
		"over every shape of kernel: 4 of 6 runs with a report ([sm80](docs/bench/sanitizer_sm80.txt)).",
		"takes 7 to 39 ms", "([at most 3.8% apart](docs/bench/repeat.txt) in three runs)",
	} {
		require.Contains(t, page, says)
	}
	models := pageOf(t, root, folder+"/models.md")
	require.Contains(t, models, "The layer: 32 heads.")
	require.Contains(t, models, "| sm_80 | 2k | 0.1382 | 0.3464 | 0.1391 |")
}

// A call that was measured with the code of two generations has one row on the page, with Hopper's.
func TestOnce(t *testing.T) {
	got := once([][]string{{"code", "call", "ms"}, {"sm_80", "a", "2"}, {"sm_80", "b", "3"}, {"sm_90a", "a", "1"}}, 2)
	require.Equal(t, [][]string{{"code", "call", "ms"}, {"sm_90a", "a", "1"}, {"sm_80", "b", "3"}}, got)
}

// BENCHMARKS.md stays a page that is read, whatever is measured.
func TestFrontPageIsShort(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "..", "BENCHMARKS.md"))
	require.NoError(t, err)
	require.LessOrEqual(t, len(page), 15<<10)
	root := repository(t)
	rows := strings.Repeat(`{"case": "dense:64:2:2:128:bf16:k/sm_80/d.minf", "kernel": "k/sm_80/d.minf", "ms": 5, "vs_cudnn": 1.5},`, 300)
	write(t, root, "many.json", `{"rows": [`+strings.TrimSuffix(rows, ",")+`]}`)
	require.ErrorContains(t, run(root, false), "more than the 15360 of a page that is read")
}

// Every link of the page leads to a file.
func TestLinks(t *testing.T) {
	for _, name := range []string{"BENCHMARKS.md", "docs/bench/calls.md", "docs/bench/kernels.md", "docs/bench/agreement.md"} {
		text, err := os.ReadFile(filepath.Join("..", "..", name))
		require.NoError(t, err)
		found := regexp.MustCompile(`\]\(([^)#]+)\)|(?m)^\[\d+\]: (.+)$`).FindAllStringSubmatch(string(text), -1)
		require.NotEmpty(t, found)
		for _, link := range found {
			_, err := os.Stat(filepath.Join("..", "..", filepath.Dir(name), link[1]+link[2]))
			require.NoError(t, err, name)
		}
	}
}

// Reports of a series are one table.
func TestSeries(t *testing.T) {
	root := repository(t)
	hopperFiles(t, root)
	page := pageOf(t, root, folder+"/calls.md")
	require.Equal(t, 1, strings.Count(page, "## sm_90a code: patterns that data decides"))
	require.Contains(t, page, "| vertical_slash slash=6096 vertical=1000 | planted | 128k | 8 | 128 bf16 |  | 6.000 | 6.000 | 10 | 551 |")
	require.Contains(t, page, "| vertical_slash slash=6096 vertical=1000 | chosen from slash | 1m | 32/8 | 128 bf16 | 5.200 | 3590.000 | 3600.000 | ~15.9 | 529 |")
	require.Equal(t, 3, strings.Count(page, "    minfc bench --planted\n"))
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
	page := pageOf(t, root, folder+"/calls.md")
	require.Contains(t, page, "## bench/peers.py on H200")
	require.NotContains(t, page, "1.25x")
}
