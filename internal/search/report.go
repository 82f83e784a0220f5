package search

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"text/tabwriter"
)

// Write prints what was found: what is expected of the plan, what the gate did, and how many heads run what.
func (r *Result) Write(to io.Writer) error {
	w := tabwriter.NewWriter(to, 0, 8, 2, ' ', 0)
	heads := 0
	for _, l := range r.layers {
		heads += len(l)
	}
	fmt.Fprintf(w, "heads\t%s of %s, %s, %s a head\n", counted(heads, "head"), counted(len(r.layers), "layer"), counted(r.Candidates, "candidate"), counted(r.Rows, "sampled row"))
	fmt.Fprintf(w, "density\t%.4g of the causal pairs\n", r.Density)
	fmt.Fprintf(w, "time\t%.4g ms predicted, dense attention %.4g\n", r.Millis, r.DenseMillis)
	fmt.Fprintf(w, "text\terror %.4g, %.4g%% of attention kept\n", r.Error, 100*r.Mass)
	fmt.Fprintf(w, "retrieval\t%s\n", r.retrieval())
	if r.Ran != nil {
		fmt.Fprintf(w, "measured\t%s\n", r.Ran)
	}
	for _, line := range r.patterns() {
		fmt.Fprintf(w, "pattern\t%s\n", line)
	}
	return w.Flush()
}

// retrieval says what becomes of the keys that retrieval rows look at.
func (r *Result) retrieval() string {
	if r.Needles == 0 {
		return "no head has a row that answers from a single key far away: the inputs say nothing about retrieval"
	}
	text := fmt.Sprintf("%.4g%% lost of what retrieval rows of %s look at", 100*r.Lost, counted(r.Needles, "head"))
	if r.Gated > 0 {
		text += fmt.Sprintf("; %d refusals in %s, without the gate: error %.4g, %.4g%% lost", r.Refused, counted(int(r.Gated), "head"), r.Ungated.Error, 100*r.Ungated.Lost)
	}
	return text
}

func (r *Ran) String() string {
	if r.DenseMillis == 0 { // on the emulator
		return fmt.Sprintf("error %.4g", r.Error)
	}
	return fmt.Sprintf("%.4g ms, dense attention %.4g, error %.4g", r.Millis, r.DenseMillis, r.Error)
}

// patterns counts the heads of each pattern, with their mean density.
func (r *Result) patterns() (out []string) {
	count, density := map[string]int{}, map[string]float64{}
	for _, l := range r.layers {
		for _, c := range l {
			count[c.of.Pattern.Name]++
			density[c.of.Pattern.Name] += c.found.Density
		}
	}
	for _, name := range slices.Sorted(maps.Keys(count)) {
		out = append(out, fmt.Sprintf("%s: %s, density %.4g", name, counted(count[name], "head"), density[name]/float64(count[name])))
	}
	return out
}

func counted(n int, word string) string {
	if n != 1 {
		word += "s"
	}
	return fmt.Sprintf("%d %s", n, word)
}
