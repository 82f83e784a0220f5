package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/internal/selfcheck"
)

// report is one file of measurements, as bench/interleave.py writes it.
type report struct {
	Title   string `json:"title"`
	Device  string `json:"device"`
	CUDA    string `json:"cuda"`
	Torch   string `json:"torch"`
	Date    string `json:"date"`
	Command string `json:"command"`
	Rows    []row  `json:"rows"`
}

type row struct {
	Case      string           `json:"case"` // pattern:seqlen:heads:kvheads:headdim:dtype:files[:params]
	Kernel    string           `json:"kernel"`
	Error     string           `json:"error"`
	MS        *float64         `json:"ms"`
	TFLOPS    *float64         `json:"tflops"` // counting kept pairs only
	VsFA2     *float64         `json:"vs_fa2"`
	VsCuDNN   *float64         `json:"vs_cudnn"`
	Checks    map[string]check `json:"errors"`
	Registers *int             `json:"registers"`
	Local     *int             `json:"local_bytes"`
}

// check is a comparison with float64.
type check struct {
	Frobenius float64 `json:"frobenius"`
	WorstRow  float64 `json:"worst_row"`
	LSE       float64 `json:"lse"`
}

// rowColumns are the figures of a row; a figure that no row of a report has is left out of its table.
var rowColumns = []struct {
	head string
	text func(row) string
}{
	{"ms", func(x row) string { return number(x.MS, "%.3f") }},
	{"TFLOP/s", func(x row) string { return number(x.TFLOPS, "%.0f") }},
	{"vs FA2", func(x row) string { return number(x.VsFA2, "%.3f") }},
	{"vs cuDNN", func(x row) string { return number(x.VsCuDNN, "%.3f") }},
	{"registers (local bytes)", row.resources},
	{"random: rel, row, LSE", func(x row) string { return x.checked("random") }},
	{"structured: rel, row, LSE", func(x row) string { return x.checked("structured") }},
}

func (r report) write(b *bytes.Buffer) {
	fmt.Fprintf(b, "\n## %s\n\n%s, CUDA driver %s, torch %s, %s.\n\n    %s\n\n", r.Title, r.Device, r.CUDA, r.Torch, r.Date, r.Command)
	cells := [][]string{{"case", "length", "heads", "D", "kernel"}}
	for _, x := range r.Rows {
		cells = append(cells, x.about())
	}
	for _, c := range rowColumns {
		if !slices.ContainsFunc(r.Rows, func(x row) bool { return c.text(x) != "" }) {
			continue
		}
		cells[0] = append(cells[0], c.head)
		for i, x := range r.Rows {
			cells[i+1] = append(cells[i+1], c.text(x))
		}
	}
	writeTable(b, cells)
}

// writeTable writes a table whose first line is the head.
func writeTable(b *bytes.Buffer, cells [][]string) {
	for i, line := range cells {
		fmt.Fprintf(b, "| %s |\n", strings.Join(line, " | "))
		if i == 0 {
			fmt.Fprintf(b, "|%s\n", strings.Repeat("---|", len(line)))
		}
	}
}

// timed says whether the report is about speed.
func (r report) timed() bool {
	return slices.ContainsFunc(r.Rows, func(x row) bool { return x.MS != nil })
}

func (r report) checkedOnly() bool { return !r.timed() }

// tuned are the head dims of BENCHMARKS.md. The others have their places on the page of kernels.
var tuned = []string{"64", "128", "256"}

// comparisons are the kernels of ours that ran beside peers over the same input. Patterns that have peers here, dense and full, keep all
// pairs of dense attention.
func (r report) comparisons(file string) (out []comparison) {
	for _, x := range r.Rows {
		c := x.parts()
		times := map[string]ratio{}
		for name, v := range map[string]*float64{flash2: x.VsFA2, cudnn: x.VsCuDNN} {
			if v != nil {
				times[name] = ratio{value: *v}
			}
		}
		if x.target() == "" || x.MS == nil || len(times) == 0 || !slices.Contains(tuned, c[4]) || c[0] != "dense" && c[0] != "full" {
			continue
		}
		about := x.about()
		length, _ := strconv.Atoi(c[1])
		out = append(out, comparison{target: x.target(), pattern: about[0], input: "random", length: length, heads: about[2],
			dim: about[3], density: 1, ms: *x.MS,
			times: times, file: file, date: r.Date})
	}
	return out
}

// denseHead is the time of one head of dense causal attention in a row of the comparison's length and head dim, and whose it is.
func (x row) denseHead(c comparison) (name string, ms float64, ok bool) {
	parts := x.parts()
	count, _ := strconv.Atoi(parts[2])
	name, known := map[string]string{"fa2": flash2, "cudnn": cudnn}[x.Kernel]
	if x.target() == c.target {
		name, known = ownDense, true
	}
	if !known || x.MS == nil || count == 0 || parts[0] != "dense" || parts[1] != strconv.Itoa(c.length) || parts[4]+" "+parts[5] != c.dim {
		return "", 0, false
	}
	return name, *x.MS / float64(count), true
}

// parts are the eight parts of the case, the last one empty where it has no parameters.
func (x row) parts() []string { return append(strings.Split(x.Case, ":"), "")[:8] }

// readChecked reads a file that bench/interleave.py wrote.
func readChecked(data []byte) (r report, err error) {
	if err := json.Unmarshal(data, &r); err != nil {
		return r, err
	}
	for _, x := range r.Rows {
		if n := strings.Count(x.Case, ":") + 1; n != 7 && n != 8 {
			return r, fmt.Errorf("case %q has %d parts, want 7 or 8", x.Case, n)
		}
		if err := x.withinLimits(); err != nil {
			return r, err
		}
	}
	return r, nil
}

// withinLimits refuses errors that the self check would refuse: no page shows the speed of a kernel that is wrong.
func (x row) withinLimits() error {
	dtype := x.parts()[5]
	limits := selfcheck.LimitsOf(abi.DType(dtype))
	for _, kind := range []string{"random", "structured"} {
		c, ok := x.Checks[kind]
		if ok && !(c.Frobenius <= limits.Frobenius && c.WorstRow <= limits.Row && c.LSE <= limits.LSE) {
			return fmt.Errorf("case %q: errors of %s inputs are %.1e, %.1e, %.1e, beyond what %s may have: %.0e, %.0e, %.0e", x.Case, kind,
				c.Frobenius, c.WorstRow, c.LSE, dtype, limits.Frobenius, limits.Row, limits.LSE)
		}
	}
	return nil
}

// about says which case and kernel a row is; of one that failed, why.
func (x row) about() []string {
	c := x.parts()
	name, heads, kernel := strings.TrimSpace(c[0]+" "+c[7]), c[2], filepath.Base(x.Kernel)
	if c[3] != c[2] {
		heads += "/" + c[3]
	}
	if x.Error != "" {
		kernel = "failed: " + x.Error
	}
	return []string{name, c[1], heads, c[4] + " " + c[5], kernel}
}

func number(v *float64, format string) string {
	if v == nil {
		return ""
	}
	return fmt.Sprintf(format, *v)
}

func (x row) resources() string {
	if x.Registers == nil || x.Local == nil {
		return ""
	}
	return fmt.Sprintf("%d (%d)", *x.Registers, *x.Local)
}

func (x row) checked(input string) string {
	c, ok := x.Checks[input]
	if !ok {
		return ""
	}
	return fmt.Sprintf("%.1e, %.1e, %.1e", c.Frobenius, c.WorstRow, c.LSE)
}
