package main

import (
	"fmt"
	"strings"

	"github.com/minfc/minfc/internal/bench"
)

// Reports of patterns that data decides have a row each. Those whose files share the name up to "_dynamic_" become one table.
const seriesMark = "_dynamic_"

// seriesOf is the part of a file's name that its series shares, "" if it is in none.
func seriesOf(path string) string {
	series, _, ok := strings.Cut(path, seriesMark)
	if !ok {
		return ""
	}
	return series
}

// chosenColumns are the figures of a row of a series.
var chosenColumns = []struct {
	head string
	text func(*bench.Report, bench.Row) string
}{
	{"pattern", func(_ *bench.Report, x bench.Row) string { return x.Label() }},
	{"lists", func(r *bench.Report, _ bench.Row) string {
		if r.Workload.Planted {
			return strings.TrimSpace("planted " + string(r.Workload.PlantedBlocks))
		}
		return "chosen from " + r.Workload.Kind
	}},
	{"length", func(_ *bench.Report, x bench.Row) string { return bench.Length(x.SeqLen) }},
	{"heads", func(r *bench.Report, _ bench.Row) string { return heads(r.Call) }},
	{"D", func(r *bench.Report, _ bench.Row) string { return fmt.Sprintf("%d %s", r.Call.HeadDim, r.Call.DType) }},
	{"index ms", func(r *bench.Report, x bench.Row) string {
		if r.Workload.Planted {
			return ""
		}
		return fmt.Sprintf("%.3f", x.IndexMS)
	}},
	{"attention ms", func(_ *bench.Report, x bench.Row) string { return fmt.Sprintf("%.3f", x.AttentionMS) }},
	{"total ms", func(_ *bench.Report, x bench.Row) string { return fmt.Sprintf("%.3f", x.TotalMS) }},
	{"density %", func(_ *bench.Report, x bench.Row) string {
		if x.SampledBlocks > 0 {
			return fmt.Sprintf("~%.4g", 100*x.Density)
		}
		return fmt.Sprintf("%.4g", 100*x.Density)
	}},
	{"tile TFLOP/s", func(_ *bench.Report, x bench.Row) string { return number(x.TileTFLOPS, "%.0f") }},
	{"useful TFLOP/s", func(_ *bench.Report, x bench.Row) string { return fmt.Sprintf("%.0f", x.UsefulTFLOPS) }},
	{"workspace MB", func(_ *bench.Report, x bench.Row) string { return fmt.Sprintf("%.0f", float64(x.WorkspaceBytes)/1e6) }},
	{"recall %", func(_ *bench.Report, x bench.Row) string {
		if x.Recall == nil {
			return ""
		}
		return fmt.Sprintf("%.1f", 100**x.Recall)
	}},
	{"dense heads", func(_ *bench.Report, x bench.Row) string { return fmt.Sprint(x.DenseHeads) }},
}

func heads(c bench.Call) string {
	if c.KVHeads == c.QHeads {
		return fmt.Sprint(c.QHeads)
	}
	return fmt.Sprintf("%d/%d", c.QHeads, c.KVHeads)
}

// series writes the section of all reports of a series, where the first of them stands.
func (p *page) series(path string) error {
	name := seriesOf(path)
	var reports []*bench.Report
	for _, f := range p.files {
		if seriesOf(f) == name {
			reports = append(reports, p.reports[f])
		}
	}
	if reports[0] != p.reports[path] {
		return nil
	}
	first := reports[0]
	if len(first.Rows) == 0 {
		return fmt.Errorf("the report has no rows")
	}
	target := strings.TrimPrefix(first.Rows[0].Implementation, "minfc ")
	fmt.Fprintf(p, "\n## %s code: patterns that data decides\n\n%s, %s, %s.\n\n", target, first.Machine, first.Version, first.Date)
	cells := [][]string{nil}
	for _, c := range chosenColumns {
		cells[0] = append(cells[0], c.head)
	}
	for _, r := range reports {
		for _, x := range r.Rows {
			cells = append(cells, chosenCells(r, x))
		}
	}
	writeTable(&p.Buffer, cells)
	p.WriteString("\n")
	for _, r := range reports {
		fmt.Fprintf(p, "    %s\n", r.Command)
	}
	return nil
}

func chosenCells(r *bench.Report, x bench.Row) []string {
	if x.Failure != "" {
		return []string{x.Label(), "failed: " + x.Failure}
	}
	var line []string
	for _, c := range chosenColumns {
		line = append(line, c.text(r, x))
	}
	return line
}
