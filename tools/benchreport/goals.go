package main

import (
	"fmt"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/minfc/minfc/bench"
)

// goal is a figure that kernels were built to reach.
type goal struct {
	work      string
	elsewhere string // of the best other kernels, measured on an H200 before ours were written
	want      float64
	unit      string
	reached   func(*page) (float64, bool)
}

// narrow is how much slower kernels of head dim 64 are expected to be than kernels of 128: FlashAttention-2's own ratio, over dense causal
// calls of 32K tokens (302 and 339 TFLOP/s).
const narrow = 302.0 / 339

// chosenGoals are the goals of sm_80 code over lists. They were set beside kernels that were measured alone.
var chosenGoals = []goal{
	{"Vertical-Slash 1000/6096, D = 128", "MInference 324", 330, " TFLOP/s of tiles", alone("vertical_slash", 128, map[string]int64{"vertical": 1000, "slash": 6096})},
	{"Vertical-Slash 3500/100, D = 128", "vLLM 247", 320, " TFLOP/s of tiles", alone("vertical_slash", 128, map[string]int64{"vertical": 3500, "slash": 100})},
	{"blocks of 64x64, 100 a row block, D = 128", "MInference 367", 330, " TFLOP/s of tiles", alone("block_sparse", 128, map[string]int64{"topk": 100})},
	{"Vertical-Slash 1000/6096, D = 64", "", 330 * narrow, " TFLOP/s of tiles", alone("vertical_slash", 64, map[string]int64{"vertical": 1000, "slash": 6096})},
	{"Vertical-Slash 3500/100, D = 64", "", 320 * narrow, " TFLOP/s of tiles", alone("vertical_slash", 64, map[string]int64{"vertical": 3500, "slash": 100})},
	{"blocks of 64x64, 100 a row block, D = 64", "", 330 * narrow, " TFLOP/s of tiles", alone("block_sparse", 64, map[string]int64{"topk": 100})},
}

// The lengths of the goals.
const (
	long32k  = 32 << 10
	long128k = 128 << 10
	long1m   = 1 << 20
)

var hopperGoals = []goal{
	{"dense causal, 32K, D = 128", "cuDNN 576 TFLOP/s, FlashAttention-3 592", 1.10, "x cuDNN", overCuDNN(128)},
	{"dense causal, 32K, D = 64", "cuDNN 449 TFLOP/s, FlashAttention-3 504", 1.15, "x cuDNN", overCuDNN(64)},
	{"dense causal, 32K, D = 256", "cuDNN 637 TFLOP/s", 1.08, "x cuDNN", overCuDNN(256)},
	{"Vertical-Slash 1000/6096, 128K, 8 heads", "MInference 301 to 324", 580, " TFLOP/s of tiles", planted("vertical_slash", "vertical=1000,slash=6096", long128k)},
	{"Vertical-Slash 3500/100", "vLLM 239 to 247", 610, " TFLOP/s of tiles", planted("vertical_slash", "vertical=3500,slash=100", long128k)},
	{"Vertical-Slash 500/700", "MInference 250 to 274", 540, " TFLOP/s of tiles", planted("vertical_slash", "vertical=500,slash=700", long128k)},
	{"Vertical-Slash 30/800", "MInference 274 to 291", 520, " TFLOP/s of tiles", planted("vertical_slash", "vertical=30,slash=800", long128k)},
	{"blocks of 64x64, 100 a row block, none shared", "MInference 319 to 367", 550, " TFLOP/s of tiles", planted("block_sparse", "topk=100", long128k)},
	{"the same, neighbouring row blocks sharing half", "MInference 326 to 335", 580, " TFLOP/s of tiles", planted("block_sparse", "topk=100,share=50", long128k)},
	{"blocks of 128x128, 50 a row", "FlexAttention 374", 610, " TFLOP/s of tiles", planted("block_sparse", "topk=100,wide=1", long128k)},
	{"A-shape 128/4096, 128K", "FlexAttention 402", 550, " TFLOP/s, useful", aShape(4096)},
	{"A-shape 128/1024, 128K", "FlexAttention 331", 470, " TFLOP/s, useful", aShape(1024)},
	{"Vertical-Slash 1000/6096: rate at 1M over rate at 128K", "", 0.92, "x", rateAtMillion},
	{"Vertical-Slash 1000/6096, 1M, 32 heads on 8: index and attention over FlashAttention-2, dense", "", 100, "x", overDense("torch fa2")},
	{"the same over cuDNN, dense", "", 60, "x", overDense("torch cudnn")},
}

// hopper writes what was asked of the Hopper kernels and what the measurements say, if there are any.
func (p *page) hopper() {
	if !p.goals(hopperTitle, hopperGoals) {
		return
	}
	for _, title := range []string{"Where the time goes", "What taught us something"} {
		p.WriteString(section(p.hopperDoc, title))
	}
}

// goals writes a table of goals, unless nothing of it was measured.
func (p *page) goals(title string, goals []goal) (some bool) {
	cells := [][]string{{"work", "elsewhere", "asked", "reached", "reached / asked"}}
	for _, g := range goals {
		line := []string{g.work, g.elsewhere, fmt.Sprintf("%.4g%s", g.want, g.unit), "not measured", ""}
		if v, ok := g.reached(p); ok {
			line[3], line[4], some = fmt.Sprintf("%.3g%s", v, g.unit), fmt.Sprintf("%.2f", v/g.want), true
		}
		cells = append(cells, line)
	}
	if some {
		p.WriteString(title)
		writeTable(&p.Buffer, cells)
	}
	return some
}

const chosenTitle = `
## sm_80 code: what was asked for of lists and what was reached

128K tokens, 8 heads, lists planted, measured by minfc bench without other kernels beside; the table of lists below has the same beside cuDNN, whose
kernels leave the card hotter. At head dim 64 as much is asked for as at 128, times 0.89: FlashAttention-2 is that much slower there.

`

// alone is the rate of tiles over planted lists of 128K tokens and 8 heads, sm_80 code, from minfc bench.
func alone(pattern string, headDim int, params map[string]int64) func(*page) (float64, bool) {
	return func(p *page) (float64, bool) {
		r, x := p.find(func(r *bench.Report, x bench.Row) bool {
			apart := r.Workload.PlantedBlocks == "" || r.Workload.PlantedBlocks == bench.BlocksApart
			return r.Workload.Planted && apart && x.Implementation == "minfc sm_80" && r.Call.HeadDim == headDim &&
				r.Call.QHeads == 8 && x.SeqLen == long128k && x.Pattern == pattern && maps.Equal(x.Params, params)
		})
		if r == nil {
			return 0, false
		}
		return value(x.TileTFLOPS)
	}
}

// hopperDoc is the page whose sections say why a goal was missed.
const hopperDoc = "docs/sm90.md"

// section is a section of a page in docs as one of BENCHMARKS.md, below the section that is being written; nothing if there is none.
func section(page, title string) string {
	_, text, found := strings.Cut(page, "\n## "+title+"\n")
	if !found {
		return ""
	}
	text, _, _ = strings.Cut(text, "\n## ")
	text = docLink.ReplaceAllString(text, "](docs/$1")
	return fmt.Sprintf("\n### %s\n%s\n", title, strings.TrimRight(strings.ReplaceAll(text, "](../", "]("), "\n"))
}

// docLink is the start of a link from one page in docs to another.
var docLink = regexp.MustCompile(`\]\(([a-z0-9-]+\.md)`)

const hopperTitle = `
## sm_90a code: what was asked for and what was reached

Lists are planted, as those of the figures elsewhere were; those figures were taken once, on an H200, before these kernels were written. Rates of tiles
are from a process with cuDNN beside, scaled to where cuDNN has 570 TFLOP/s over dense causal calls of 128K tokens; the tables below have them as
measured. The last two rows divide times of two files. Where the time goes and what was tried stands below the table, from [docs/sm90.md](docs/sm90.md);
[docs/cost.md](docs/cost.md) says why scattered distances take longer a tile than clustered ones.

`

// hopperRow finds a row of ours in a file of bench/interleave.py, and the one of cuDNN of the same case.
func (p *page) hopperRow(file, pattern, params string, length, headDim int) (ours, cudnn row, found bool) {
	for _, f := range slices.Sorted(maps.Keys(p.checked)) {
		if filepath.Base(f) != file {
			continue
		}
		for _, x := range p.checked[f].Rows {
			c := x.parts()
			if c[0] != pattern || c[1] != fmt.Sprint(length) || c[4] != fmt.Sprint(headDim) || c[5] != "bf16" || c[7] != params {
				continue
			}
			switch {
			case x.Kernel == "cudnn":
				cudnn = x
			case !found && strings.HasSuffix(x.Kernel, ".minf"):
				ours, found = x, true
			}
		}
	}
	return ours, cudnn, found
}

func overCuDNN(headDim int) func(*page) (float64, bool) {
	return func(p *page) (float64, bool) {
		x, _, _ := p.hopperRow("sm90_speed.json", "dense", "", long32k, headDim)
		return value(x.VsCuDNN)
	}
}

func aShape(window int) func(*page) (float64, bool) {
	return func(p *page) (float64, bool) {
		x, _, _ := p.hopperRow("sm90_speed.json", "a_shape", fmt.Sprintf("sink=128,window=%d", window), long128k, 128)
		return value(x.TFLOPS)
	}
}

func value(v *float64) (float64, bool) {
	if v == nil {
		return 0, false
	}
	return *v, true
}

// yardstick is the rate of cuDNN over dense causal calls of 128K on the card that the goals were set on.
const yardstick = 570

// planted is the rate of tiles over planted lists, as it would be with cuDNN at the yardstick: clocks drift, ratios do not.
func planted(pattern, params string, length int) func(*page) (float64, bool) {
	return func(p *page) (float64, bool) {
		x, cudnn, ok := p.hopperRow("sm90_lists.json", pattern, params, length, 128)
		if !ok || x.TFLOPS == nil || cudnn.TFLOPS == nil {
			return 0, false
		}
		return *x.TFLOPS * yardstick / *cudnn.TFLOPS, true
	}
}

// find is the first row, in the order of the files' names, that fits.
func (p *page) find(fits func(*bench.Report, bench.Row) bool) (*bench.Report, bench.Row) {
	for _, f := range p.files {
		for _, x := range p.reports[f].Rows {
			if x.Failure == "" && fits(p.reports[f], x) {
				return p.reports[f], x
			}
		}
	}
	return nil, bench.Row{}
}

func rateAtMillion(p *page) (float64, bool) {
	short, ok := planted("vertical_slash", "vertical=1000,slash=6096", long128k)(p)
	long, ok2 := planted("vertical_slash", "vertical=1000,slash=6096", long1m)(p)
	if !ok || !ok2 {
		return 0, false
	}
	return long / short, true
}

// overDense is how many times less a head takes of a whole call than of a peer's dense attention. The call is the index stage,
// over generated data, and attention over planted lists: how many tiles the generator's own structure takes at these budgets is
// another question than how fast they are.
func overDense(peer string) func(*page) (float64, bool) {
	return func(p *page) (float64, bool) {
		attention, index := p.million(true), p.million(false)
		theirs, y := p.find(func(_ *bench.Report, x bench.Row) bool {
			return x.Implementation == peer && x.Pattern == "dense" && x.SeqLen == long1m
		})
		if attention == nil || index == nil || theirs == nil {
			return 0, false
		}
		return y.TotalMS / float64(theirs.Call.QHeads) / ((attention.AttentionMS + index.IndexMS) / 32), true
	}
}

// million is the row of Vertical-Slash at 1M tokens and 32 heads.
func (p *page) million(planted bool) *bench.Row {
	budgets := map[string]int64{"vertical": 1000, "slash": 6096}
	r, x := p.find(func(r *bench.Report, x bench.Row) bool {
		return r.Workload.Planted == planted && x.Implementation == "minfc sm_90a" && x.Pattern == "vertical_slash" && x.SeqLen == long1m && r.Call.QHeads == 32 && maps.Equal(x.Params, budgets)
	})
	if r == nil {
		return nil
	}
	return &x
}
