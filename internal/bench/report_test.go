package bench

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "rewrite golden files")

// fixed is a report as a GPU might give it.
func fixed() *Report {
	r := &Report{
		Schema: Schema, Tool: ToolBench, Version: "minfc 0.1.0", Date: "2026-01-02", Command: "minfc bench dense a_shape --seqlen 32k,1m",
		Machine:  Machine{Name: "NVIDIA H200", Driver: "cuda", DriverVersion: "13.0", Capability: "9.0", Multiprocessors: 132},
		Call:     Call{Batch: 1, QHeads: 32, KVHeads: 8, HeadDim: 128, DType: "bf16"},
		Workload: Workload{Kind: "mixed", Seed: 1},
		Rates:    []Rate{{"mma.sync m16n8k16 bf16 from registers", 612.3}},
	}
	for _, n := range []int{32 << 10, 1 << 20} {
		scale := float64(n) / (32 << 10)
		dense := Row{Implementation: "minfc sm_80", Pattern: "dense", SeqLen: n, Kernel: "0123456789ab", AttentionMS: 23.1 * scale * scale, Rounds: 9,
			Pairs: int64(n) * int64(n+1) / 2, Density: 1, Tiles: ptr(int64(4.21e6 * scale * scale)), VsDense: ptr(1.0), PredictedMS: ptr(23.5 * scale * scale)}
		a := Row{Implementation: "minfc sm_80", Pattern: "a_shape", Params: map[string]int64{"window": 1024, "sink": 128}, SeqLen: n, Kernel: "ba9876543210",
			AttentionMS: 1.86 * scale, Rounds: 25, Pairs: 37_000_000 * int64(scale), Density: 0.069 / scale, Tiles: ptr(int64(322e3 * scale)),
			VsDense: ptr(12.4 * scale), Recall: ptr(0.8123), Error: ptr(0.2134)}
		for _, row := range []Row{dense, a} {
			row.TotalMS, row.LowMS, row.HighMS = row.AttentionMS, row.AttentionMS*0.99, row.AttentionMS*1.01
			row.finish(r.Call, r.Rates)
			r.Rows = append(r.Rows, row)
		}
	}
	r.Rows = append(r.Rows, Row{Implementation: "minfc sm_80", Pattern: "sliding", Params: map[string]int64{"window": 4096}, SeqLen: 1 << 20, Failure: "out of device memory"})
	return r
}

// fixedPeers has the same cases but for one, and times of our dense kernel at 32k from its own process.
func fixedPeers() *Report {
	r := fixed()
	peers := &Report{Schema: Schema, Tool: ToolPeers, Version: "torch 2.11.0", Date: "2026-01-02", Command: "python3 bench/peers.py",
		Machine: r.Machine, Call: r.Call, Workload: r.Workload, Rates: []Rate{{"torch 8192x8192x8192 bf16", 743.9}}}
	add := func(of Row, name string, ms float64) {
		of.Implementation, of.TotalMS, of.AttentionMS, of.Tiles, of.VsDense, of.PredictedMS = name, ms, ms, nil, nil, nil
		of.TileTFLOPS, of.MatrixFraction = nil, nil
		if name != "minfc sm_80" {
			of.Kernel = ""
		}
		of.finish(peers.Call, peers.Rates)
		peers.Rows = append(peers.Rows, of)
	}
	add(r.Rows[0], "minfc sm_80", 20)
	add(r.Rows[0], "torch fa2", 25)
	add(r.Rows[0], "torch cudnn", 15)
	add(r.Rows[1], "torch flex", 2.79)
	add(r.Rows[2], "torch fa2", 30000)
	return peers
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		require.NoError(t, os.WriteFile(path, got, 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(want), string(got))
}

func TestTable(t *testing.T) {
	var b bytes.Buffer
	require.NoError(t, fixed().Write(&b, fixedPeers()))
	golden(t, "table.txt", b.Bytes())
	for _, line := range strings.Split(b.String(), "\n") {
		require.LessOrEqual(t, len(line), 160, line)
	}
}

func TestJSON(t *testing.T) {
	text, err := fixed().JSON()
	require.NoError(t, err)
	golden(t, "report.json", text)
	again, err := ParseReport(text)
	require.NoError(t, err)
	require.Equal(t, fixed(), again)
}

func TestReadReportRefuses(t *testing.T) {
	for says, text := range map[string]string{
		"not a benchmark report":          "{",
		"report has schema 0, want 1":     "{}",
		"report has schema 9, want 1":     `{"schema": 9}`,
		"row 0 of the report has a total": `{"schema": 1, "rows": [{"pattern": "dense"}]}`,
	} {
		_, err := ParseReport([]byte(text))
		require.ErrorContains(t, err, says)
	}
	_, err := ReadReport("testdata/nowhere.json")
	require.ErrorIs(t, err, os.ErrNotExist)
}

// A peer's time is set against ours of the same process where that is the same kernel, else against this run's.
func TestCompare(t *testing.T) {
	ratios, err := Compare(fixed(), fixedPeers())
	require.NoError(t, err)
	require.Len(t, ratios, 5)
	require.Len(t, ratios[0], 2)
	require.Equal(t, "torch fa2", ratios[0][0].Row.Implementation)
	require.InDelta(t, 25.0/20, ratios[0][0].Faster, 1e-12)
	require.True(t, ratios[0][0].SameProcess)
	require.InDelta(t, 15.0/20, ratios[0][1].Faster, 1e-12)
	require.InDelta(t, 1.5, ratios[1][0].Faster, 1e-12)
	require.False(t, ratios[1][0].SameProcess)
	require.Len(t, ratios[2], 1)
	require.Empty(t, ratios[3], "no peer has this case")

	other := fixed()
	other.Rows[0].Kernel = "another kernel"
	ratios, err = Compare(other, fixedPeers())
	require.NoError(t, err)
	require.InDelta(t, 25/23.1, ratios[0][0].Faster, 1e-12)
	require.False(t, ratios[0][0].SameProcess, "the peers' process ran an older kernel")
}

func TestCompareRefusesOtherInputs(t *testing.T) {
	for says, change := range map[string]func(*Report){
		"machine":  func(r *Report) { r.Machine.Name = "A100" },
		"call":     func(r *Report) { r.Call.HeadDim = 64 },
		"workload": func(r *Report) { r.Workload.Kind = "random" },
	} {
		p := fixedPeers()
		change(p)
		_, err := Compare(fixed(), p)
		require.ErrorContains(t, err, "the peers were measured with the "+says)
	}
}

func TestPlot(t *testing.T) {
	svg, err := fixed().Plot(fixedPeers())
	require.NoError(t, err)
	golden(t, "plot.svg", svg)
	for _, says := range []string{"Time of one call", "Speed-up over our dense kernel", "Kept attention mass over density", "torch fa2, dense", "32k", "1m", "a_shape sink=128 window=1024"} {
		require.Contains(t, string(svg), says)
	}
	empty := fixed()
	empty.Rows = nil
	_, err = empty.Plot(nil)
	require.ErrorContains(t, err, "no row has figures")
}

func TestAmounts(t *testing.T) {
	for want, v := range map[string]float64{"0": 0, "9999": 9999, "12.3k": 12345, "1.23M": 1.23e6, "4.3G": 4.3e9, "1.1T": 1.1e12} {
		require.Equal(t, want, amount(v))
	}
	for want, n := range map[string]int{"0": 0, "1000": 1000, "1k": 1024, "1m": 1 << 20, "1536k": 1536 << 10, "1023": 1023} {
		require.Equal(t, want, Length(n))
	}
}
