package main

import (
	"fmt"
	"maps"
	"path"
	"strconv"
	"strings"

	"github.com/minfc/minfc/internal/bench"
)

const plantedText = `
## Attention alone over planted lists

Published figures of sparse kernels are mostly of this kind: the host makes lists of a given size, nothing is estimated, and only the attention kernel
is timed. Beside each runs cuDNN on dense causal attention of 128k tokens at head dim 128, in the same process. "Rate" is the TFLOP/s of listed 64x64
tiles over cuDNN's: how well the kernel uses the GPU. "Time" is cuDNN's for a dense head over a head's here, where length and head dim are the same; most
of it is one over the density. Lists that the data chooses may be denser at the same budgets, and choosing takes time: see [whole calls](#whole-calls-on-generated-inputs).

`

// planted writes the kernels over planted lists whose density some report of minfc bench has: no ratio stands without one.
func (p *page) planted() {
	cells := [][]string{{"code", "lists", "length", "heads", "D", "density %", "ms", "TFLOP/s of tiles", "cuDNN TFLOP/s",
		"rate, of cuDNN", "time, cuDNN dense", "measured"}}
	for _, f := range p.files {
		for i, x := range p.checked[f].Rows {
			if line, ok := p.plantedRow(f, p.checked[f].Rows[i:], x); ok {
				cells = append(cells, line)
			}
		}
	}
	if len(cells) > 1 {
		p.WriteString(plantedText)
		writeTable(&p.Buffer, once(cells, 5))
	}
}

func (p *page) plantedRow(file string, after []row, x row) ([]string, bool) {
	density, found := p.plantedDensity(x)
	yard, hasYard := yardstick(after, x.Case)
	if !found || !hasYard || x.target() == "" || x.MS == nil || x.TFLOPS == nil {
		return nil, false
	}
	c := x.parts()
	length, _ := strconv.Atoi(c[1])
	count, _ := strconv.Atoi(c[2])
	time := ""
	if length == yardTokens && c[4] == strconv.Itoa(yardDim) {
		time = fmt.Sprintf("%.1fx", yardHead(yard)/(*x.MS/float64(count)))
	}
	about := x.about()
	return []string{x.target(), label(about[0]), bench.Length(length), about[2], short(about[3]), fmt.Sprintf("%.3g", 100*density),
		fmt.Sprintf("%.4g", *x.MS),
		number(x.TFLOPS, "%.0f"), fmt.Sprintf("%.0f", yard), fmt.Sprintf("%.2fx", *x.TFLOPS/yard), time,
		p.source(file, p.checked[file].Date)}, true
}

// The call of cuDNN that bench/interleave.py times beside planted lists.
const (
	yardTokens = 128 << 10
	yardDim    = 128
)

// yardHead is the milliseconds of one head of it at a rate in TFLOP/s.
func yardHead(tflops float64) float64 {
	pairs := float64(yardTokens) * (yardTokens + 1) / 2
	return 4 * yardDim * pairs / tflops / 1e9
}

// yardstick is cuDNN's rate in a case.
func yardstick(rows []row, name string) (float64, bool) {
	for _, x := range rows {
		if x.Case == name && x.Kernel == "cudnn" && x.TFLOPS != nil {
			return *x.TFLOPS, true
		}
	}
	return 0, false
}

// plantedDensity is what minfc bench --planted counted at the same budgets.
func (m *measurements) plantedDensity(x row) (float64, bool) {
	c := x.parts()
	params, sharing := map[string]int64{}, bench.BlocksApart
	for _, text := range strings.FieldsFunc(c[7], func(r rune) bool { return r == ',' }) {
		name, value, _ := strings.Cut(text, "=")
		switch name {
		case "share":
			sharing = bench.BlocksHalf
		case "wide":
			sharing = bench.BlocksWide
		default:
			params[name], _ = strconv.ParseInt(value, 10, 64)
		}
	}
	for _, f := range m.files {
		r := m.reports[f]
		if r == nil || !r.Workload.Planted ||
			(r.Workload.PlantedBlocks != sharing && (sharing != bench.BlocksApart || r.Workload.PlantedBlocks != "")) {
			continue
		}
		for _, y := range r.Rows {
			if y.Pattern == c[0] && strconv.Itoa(y.SeqLen) == c[1] && strconv.Itoa(r.Call.HeadDim) == c[4] && maps.Equal(y.Params, params) &&
				y.Failure == "" {
				return y.Density, true
			}
		}
	}
	return 0, false
}

// target is the code that a row's kernel is of, by its folder; "" for a peer.
func (x row) target() string {
	if !strings.HasSuffix(x.Kernel, ".minf") {
		return ""
	}
	return path.Base(path.Dir(x.Kernel))
}
