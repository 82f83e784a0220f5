package main

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/internal/bench"
	"github.com/minfc/minfc/internal/selfcheck"
)

// byTarget puts the rows of Hopper code first.
func byTarget(cells [][]string) [][]string {
	slices.SortStableFunc(cells[1:], func(a, b []string) int { return strings.Compare(b[0], a[0]) })
	return cells
}

// once keeps the first row of each call, which the cells from the second to the one before column end name: BENCHMARKS.md has the fastest code of a
// call, the pages behind it have all.
func once(cells [][]string, end int) [][]string {
	said := map[string]bool{}
	return slices.DeleteFunc(byTarget(cells), func(row []string) bool {
		call := strings.Join(row[1:end], "|")
		again := said[call]
		said[call] = true
		return again
	})
}

// index writes what choosing costs and what it keeps.
func (p *page) index() {
	cells := [][]string{{"beside code", "pattern", "input", "length", "heads", "index ms", "attention ms", "recall %", "measured"}}
	for _, c := range p.comparisons() {
		if x := c.row; x.IndexMS > 0 {
			recall := ""
			if x.Recall != nil {
				recall = fmt.Sprintf("%.1f", 100**x.Recall)
			}
			cells = append(cells, []string{c.target, c.pattern, c.input, bench.Length(c.length), c.heads, fmt.Sprintf("%.3f", x.IndexMS),
				fmt.Sprintf("%.4g", x.AttentionMS), recall, p.source(c.file, c.date)})
		}
	}
	if len(cells) > 1 {
		p.WriteString("\n## Patterns that data decides\n\nThe kernels that choose columns, distances and blocks are `sm_80` code on every GPU. Both times are measurements by themselves.\n\n")
		writeTable(&p.Buffer, once(cells, 5))
	}
}

// worst are the largest errors of kernels of one target and data type.
type worst struct {
	target, dtype string
	cases         int
	errors        check
}

// agreement writes the largest errors of all kernels that were checked.
func (p *page) agreement() {
	var list []*worst
	for _, f := range p.files {
		for _, x := range p.checked[f].Rows {
			if x.target() == "" || len(x.Checks) == 0 {
				continue
			}
			at := slices.IndexFunc(list, func(w *worst) bool { return w.target == x.target() && w.dtype == x.parts()[5] })
			if at < 0 {
				at, list = len(list), append(list, &worst{target: x.target(), dtype: x.parts()[5]})
			}
			list[at].add(x)
		}
	}
	if len(list) == 0 {
		return
	}
	p.WriteString("\n## Agreement with float64\n\nOutputs are compared over random and structured inputs; the limits are the ones that `--check` uses. [Case by case](docs/bench/agreement.md).\n\n")
	cells := [][]string{{"code", "type", "kernels and shapes", "worst relative error", "worst row", "worst LSE", "limits"}}
	for _, w := range list {
		l := selfcheck.LimitsOf(abi.DType(w.dtype))
		cells = append(cells, []string{w.target, w.dtype, fmt.Sprint(w.cases), fmt.Sprintf("%.1e", w.errors.Frobenius),
			fmt.Sprintf("%.1e", w.errors.WorstRow),
			fmt.Sprintf("%.1e", w.errors.LSE), fmt.Sprintf("%.0e, %.0e, %.0e", l.Frobenius, l.Row, l.LSE)})
	}
	writeTable(&p.Buffer, byTarget(cells))
}

func (w *worst) add(x row) {
	w.cases++
	for _, c := range x.Checks {
		w.errors.Frobenius, w.errors.WorstRow, w.errors.LSE = max(w.errors.Frobenius, c.Frobenius), max(w.errors.WorstRow, c.WorstRow),
			max(w.errors.LSE, c.LSE)
	}
}

// checks is a line about compute-sanitizer: how many runs, and how many of them reported something.
func (p *page) checks() {
	var parts []string
	for _, f := range p.files {
		if runs, bad := sanitized(p.printed[f]); runs > 0 && strings.HasPrefix(f, "sanitizer_") {
			parts = append(parts, fmt.Sprintf("%d of %d runs with a report ([%s](%s/%s))", bad, runs,
				strings.TrimSuffix(strings.TrimPrefix(f, "sanitizer_"), ".txt"), folder, f))
		}
	}
	if len(parts) > 0 {
		fmt.Fprintf(p, "\n**compute-sanitizer** (memcheck, racecheck, synccheck) over every shape of kernel: %s.\n", strings.Join(parts, ", "))
	}
}

// clean is a run in which neither the tool nor the check of the output complained.
var clean = regexp.MustCompile(`SUMMARY: (0 hazards displayed \(0 errors, 0 warnings\)|0 errors); check ok\s*$`)

// sanitized counts the runs that a file of bench/sanitize.sh has, and the runs that were not clean.
func sanitized(text string) (runs, bad int) {
	for line := range strings.Lines(text) {
		if tool, _, _ := strings.Cut(line, " "); !strings.HasSuffix(tool, "check") {
			continue
		}
		runs++
		if !clean.MatchString(line) {
			bad++
		}
	}
	return runs, bad
}

// layers writes what all heads of a layer take. The file has no densities, so the table has no ratios.
func (p *page) layers() {
	const file = "layer.txt"
	all := benchmarks(p.printed[file])
	if len(all) == 0 {
		return
	}
	lines := strings.Split(p.printed[file], "\n")
	fmt.Fprintf(p, "\n## A layer of heads with different patterns\n\nMilliseconds of a layer, index stages included and with the choice of dense attention where that is faster ([all figures](%s)).\nThe layer: %s.\n\n", file, lines[1])
	cells := [][]string{{"code", "length", "one launch", "a launch a pattern", "dense attention"}}
	for _, x := range all {
		name := strings.Split(x.name, "/")
		line := name[1:]
		for _, unit := range []string{"one-fallback-ms", "apart-fallback-ms", "dense-ms"} {
			line = append(line, fmt.Sprintf("%.4g", x.values[unit]))
		}
		cells = append(cells, line)
	}
	writeTable(&p.Buffer, byTarget(cells))
}

// rest links to what has no section.
func (p *page) rest() {
	p.WriteString("\n## More\n\n- [Whole calls](docs/bench/calls.md): every report of `minfc bench` and `bench/peers.py`, with recall, workspace and plots.\n" +
		"- [Kernels](docs/bench/kernels.md): every case, with registers and errors.\n" +
		"- [In a model](docs/bench/models.md): layers of heads with different patterns, prefill of an 8B shape beside stock attention, batches of different lengths, calls from Python.\n")
	if all := benchmarks(p.printed["compile.txt"]); len(all) > 0 {
		var millis []float64
		for _, x := range all {
			millis = append(millis, x.values["ns/op"]/1e6)
		}
		fmt.Fprintf(p, "- Compiling a pattern of the library takes %.0f to %.0f ms on two cores of a small server ([compile.txt](docs/bench/compile.txt)).\n",
			slices.Min(millis), slices.Max(millis))
	}
	if p.printed["emulator.txt"] != "" {
		p.WriteString("- The emulator runs and checks small calls in about a second on the same server ([emulator.txt](docs/bench/emulator.txt)).\n")
	}
	p.links()
}

// benchmark is a line that go test -bench prints.
type benchmark struct {
	name   string
	values map[string]float64 // by unit
}

func benchmarks(text string) (out []benchmark) {
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		if len(words) < 4 || !strings.HasPrefix(words[0], "Benchmark") {
			continue
		}
		x := benchmark{words[0], map[string]float64{}}
		if at := strings.LastIndex(x.name, "-"); at >= 0 { // the number of processors
			x.name = x.name[:at]
		}
		for i := 2; i+1 < len(words); i += 2 {
			if v, err := strconv.ParseFloat(words[i], 64); err == nil {
				x.values[words[i+1]] = v
			}
		}
		out = append(out, x)
	}
	return out
}

// repeats says how far ratios of three runs were apart.
func (p *page) repeats() string {
	const file = "repeat.txt"
	most := -1.0
	for line := range strings.Lines(p.printed[file]) {
		words := strings.Fields(line)
		if len(words) == 0 || !strings.HasSuffix(words[len(words)-1], "%") {
			continue
		}
		if v, err := strconv.ParseFloat(strings.TrimSuffix(words[len(words)-1], "%"), 64); err == nil {
			most = max(most, v)
		}
	}
	if most < 0 {
		return ""
	}
	return fmt.Sprintf(" ([at most %.1f%% apart](%s/%s) in three runs)", most, folder, file)
}
