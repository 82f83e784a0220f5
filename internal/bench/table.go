package bench

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// column is one figure of the table; text returns "" for a figure that is not known.
type column struct {
	head, unit string
	text       func(Row) string
}

var columns = []column{
	{"index", "ms", func(r Row) string { return milliseconds(r.IndexMS) }},
	{"attention", "ms", func(r Row) string { return milliseconds(r.AttentionMS) }},
	{"total", "ms", func(r Row) string { return milliseconds(r.TotalMS) }},
	{"tiles", "64x64", func(r Row) string {
		return optional(r.Tiles, func(n int64) string { return r.about() + amount(float64(n)) })
	}},
	{"density", "%", func(r Row) string { return r.about() + fmt.Sprintf("%.4g", 100*r.Density) }},
	{"tile", "TFLOP/s", func(r Row) string { return optional(r.TileTFLOPS, rate) }},
	{"useful", "TFLOP/s", func(r Row) string { return rate(r.UsefulTFLOPS) }},
	{"of matrix", "rate %", func(r Row) string { return optional(r.MatrixFraction, percent) }},
	{"vs our", "dense", func(r Row) string { return optional(r.VsDense, times) }},
	{"index", "bytes", func(r Row) string { return amount(float64(r.IndexBytes)) }},
	{"recall", "%", func(r Row) string {
		return optional(r.Recall, func(v float64) string { return fmt.Sprintf("%.2f", 100*v) })
	}},
	{"error vs", "dense", func(r Row) string { return optional(r.Error, func(v float64) string { return fmt.Sprintf("%.1e", v) }) }},
}

// modelColumn stands behind the others where the rows carry predictions.
var modelColumn = column{"model", "off by", func(r Row) string {
	return optional(r.PredictedMS, func(v float64) string { return fmt.Sprintf("%+.1f%%", 100*(v/r.TotalMS-1)) })
}}

// workspaceColumn stands behind the others where rows have a workspace.
var workspaceColumn = column{"work-", "space", func(r Row) string { return amount(float64(r.WorkspaceBytes)) }}

// denseColumn stands behind the others where heads of patterns that the data decides ran without sparsity.
var denseColumn = column{"dense", "heads", func(r Row) string {
	if r.WorkspaceBytes == 0 {
		return ""
	}
	return fmt.Sprint(r.DenseHeads)
}}

// about marks what was counted on a sample.
func (r Row) about() string {
	if r.SampledBlocks > 0 {
		return "~"
	}
	return ""
}

// Write prints the report for people: what was measured, then a line a row. Under each row stand the peers' rows of the same
// case, if there are any, with how many times faster ours is.
func (r *Report) Write(w io.Writer, peers *Report) error {
	var ratios [][]Ratio
	if peers != nil {
		var err error
		if ratios, err = Compare(r, peers); err != nil {
			return err
		}
	}
	for _, line := range r.heading(peers) {
		fmt.Fprintln(w, line)
	}
	fmt.Fprintln(w)
	apart := false
	for _, line := range align(r.table(ratios)) {
		fmt.Fprintln(w, line)
		apart = apart || strings.HasSuffix(line, "x*")
	}
	if apart {
		fmt.Fprintln(w, "\n* the two were timed in different processes, perhaps at different clocks")
	}
	for i, line := range r.warnings() {
		if i == 0 {
			fmt.Fprintln(w)
		}
		fmt.Fprintln(w, line)
	}
	if n := r.sampledBlocks(); n > 0 {
		fmt.Fprintf(w, "\n~ counted on at least %d row blocks of each head, evenly spread\n", n)
	}
	return nil
}

// thin is how many times the pairs that are kept a kernel may compute before the table says so.
const thin = 2

// warnings say which patterns compute tiles of which hardly anything is kept: sparsity that saves no time. A pattern has one, for the
// length at which it is worst.
func (r *Report) warnings() (out []string) {
	worst, order := map[string]Row{}, []string{}
	for _, row := range r.Rows {
		label := row.Label()
		old, has := worst[label]
		if row.Failure != "" || row.SeqLen < smallest || r.thinness(row) < thin || has && r.thinness(old) >= r.thinness(row) {
			continue
		}
		if worst[label] = row; !has {
			order = append(order, label)
		}
	}
	for _, label := range order {
		row := worst[label]
		text := fmt.Sprintf("warning: %s at %s computes %.3g pairs for each that it keeps:", label, Length(row.SeqLen), r.thinness(row))
		out = append(out, text, "         the kernel skips a tile of keys only if none of its pairs is kept")
		if row.VsDense != nil && *row.VsDense < 1 {
			out[len(out)-1] += "; dense is faster"
		}
	}
	return out
}

// thinness is how many pairs a kernel computes for each that it keeps, 0 if it is not known.
func (r *Report) thinness(row Row) float64 {
	if row.Tiles == nil || row.Pairs == 0 {
		return 0
	}
	return float64(*row.Tiles) * 64 * 64 / float64(row.Pairs) / float64(r.Call.Batch*r.Call.QHeads)
}

// smallest is the length below which most tiles are edges, whatever the pattern.
const smallest = 4096

// heading says what the figures belong to.
func (r *Report) heading(peers *Report) []string {
	c := r.Call
	lines := []string{
		"device    " + r.Machine.String(),
		fmt.Sprintf("call      batch %d, %d query heads, %d kv heads, head dim %d, %s", c.Batch, c.QHeads, c.KVHeads, c.HeadDim, c.DType),
	}
	if ours := r.kernels(); len(ours) > 0 {
		lines = slices.Insert(lines, 1, "kernels   "+strings.Join(ours, ", "))
	}
	if r.Workload.Kind != "" {
		lines = append(lines, fmt.Sprintf("workload  %s, seed %d", r.Workload.what(), r.Workload.Seed))
	}
	rates := r.Rates
	if peers != nil {
		rates = append(append([]Rate(nil), rates...), peers.Rates...)
	}
	for i, x := range rates {
		name := "          "
		if i == 0 {
			name = "matrix    "
		}
		lines = append(lines, fmt.Sprintf("%s%s TFLOP/s  %s", name, rate(x.TFLOPS), x.Name))
	}
	if r.Machine.Emulated {
		lines = append(lines, "emulated  the times are the emulator's and say nothing about a GPU")
	}
	if r.Tool == ToolPredict {
		lines = append(lines, "predicted the times are the cost model's, nothing was measured")
	}
	return lines
}

// kernels are our implementations of the rows: "minfc sm_90a".
func (r *Report) kernels() (out []string) {
	for _, row := range r.Rows {
		if row.Ours() && !slices.Contains(out, row.Implementation) {
			out = append(out, row.Implementation)
		}
	}
	return out
}

// String is the machine in a line: "NVIDIA H200, 132 multiprocessors, compute capability 9.0, CUDA driver 13.0".
func (m Machine) String() string {
	s := fmt.Sprintf("%s, %d multiprocessors", m.Name, m.Multiprocessors)
	if m.Capability != "" {
		s += ", compute capability " + m.Capability
	}
	if m.DriverVersion != "" {
		s += ", CUDA driver " + m.DriverVersion
	}
	return s
}

// table is the cells, two lines of heads first.
func (r *Report) table(ratios [][]Ratio) [][]string {
	cols, compared := slices.Clone(columns), ratios != nil
	if slices.ContainsFunc(r.Rows, func(row Row) bool { return row.WorkspaceBytes > 0 }) {
		cols = append(cols, workspaceColumn)
	}
	if slices.ContainsFunc(r.Rows, func(row Row) bool { return row.DenseHeads > 0 }) {
		cols = append(cols, denseColumn)
	}
	if r.predicts() {
		cols = append(cols, modelColumn)
	}
	heads, units := []string{"length", ""}, []string{"", "pattern"}
	for _, c := range cols {
		heads, units = append(heads, c.head), append(units, c.unit)
	}
	if compared {
		heads, units = append(heads, "minfc"), append(units, "faster")
	}
	out := [][]string{heads, units}
	previous := 0
	for i, row := range r.Rows {
		out = append(out, cells(row, cols, length(row.SeqLen, previous), row.Label(), ""))
		previous = row.SeqLen
		if !compared {
			continue
		}
		for _, p := range ratios[i] {
			out = append(out, cells(p.Row, cols, "", "  "+p.Row.Implementation, p.text()))
		}
	}
	return out
}

func (p Ratio) text() string {
	if p.SameProcess {
		return times(p.Faster)
	}
	return times(p.Faster) + "*"
}

func (r *Report) predicts() bool {
	for _, row := range r.Rows {
		if row.PredictedMS != nil && r.Tool != ToolPredict {
			return true
		}
	}
	return false
}

// sampledBlocks is the smallest sample that figures come from, 0 if all do without.
func (r *Report) sampledBlocks() (n int) {
	for _, row := range r.Rows {
		if row.SampledBlocks > 0 && (n == 0 || row.SampledBlocks < n) {
			n = row.SampledBlocks
		}
	}
	return n
}

func cells(row Row, cols []column, length, label, last string) []string {
	out := []string{length, label}
	if row.Failure != "" {
		return append(out, "failed: "+row.Failure)
	}
	for _, c := range cols {
		out = append(out, c.text(row))
	}
	if last != "" {
		out = append(out, last)
	}
	return out
}

func length(n, previous int) string {
	if n == previous {
		return ""
	}
	return Length(n)
}

// Length writes a length as the command line takes it: 32768 is 32k.
func Length(n int) string {
	switch {
	case n > 0 && n%(1<<20) == 0:
		return fmt.Sprintf("%dm", n>>20)
	case n > 0 && n%(1<<10) == 0:
		return fmt.Sprintf("%dk", n>>10)
	}
	return fmt.Sprint(n)
}

// align pads the cells: words to the left, figures to the right. A failure is wider than any column and is left as it is.
func align(rows [][]string) []string {
	width := make([]int, 32)
	for _, row := range rows {
		for i, cell := range row {
			if !strings.HasPrefix(cell, "failed: ") {
				width[i] = max(width[i], len(cell))
			}
		}
	}
	var out []string
	for _, row := range rows {
		var b strings.Builder
		for i, cell := range row {
			switch {
			case i == 1 || strings.HasPrefix(cell, "failed: "):
				fmt.Fprintf(&b, "%-*s  ", width[i], cell)
			default:
				fmt.Fprintf(&b, "%*s  ", width[i], cell)
			}
		}
		out = append(out, strings.TrimRight(b.String(), " "))
	}
	return out
}

func optional[T any](v *T, text func(T) string) string {
	if v == nil {
		return ""
	}
	return text(*v)
}

func milliseconds(v float64) string {
	switch {
	case v == 0:
		return "0"
	case v < 100:
		return fmt.Sprintf("%.3f", v)
	}
	return fmt.Sprintf("%.1f", v)
}

func rate(v float64) string {
	if v < 10 {
		return fmt.Sprintf("%.2g", v)
	}
	return fmt.Sprintf("%.0f", v)
}

func percent(v float64) string { return fmt.Sprintf("%.1f", 100*v) }
func times(v float64) string   { return fmt.Sprintf("%.2fx", v) }

// amount shortens a count: 12345678 is 12.3M.
func amount(v float64) string {
	for _, u := range []struct {
		from, size float64
		name       string
	}{{1e12, 1e12, "T"}, {1e9, 1e9, "G"}, {1e6, 1e6, "M"}, {1e4, 1e3, "k"}} {
		if v >= u.from {
			return fmt.Sprintf("%.3g%s", v/u.size, u.name)
		}
	}
	return fmt.Sprintf("%.0f", v)
}
