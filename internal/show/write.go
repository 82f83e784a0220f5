package show

import (
	"fmt"
	"io"
	"math"
	"strings"

	"github.com/minfc/minfc/internal/bench"
)

// page is the text of a report: facts under a word each.
type page struct{ strings.Builder }

// fact writes lines beside a word.
func (p *page) fact(word string, lines ...string) {
	for i, line := range lines {
		if i > 0 {
			word = ""
		}
		p.WriteString(strings.TrimRight(fmt.Sprintf("%-9s%s", word, line), " ") + "\n")
	}
}

// Write prints the report for people.
func (r *Report) Write(w io.Writer) error {
	p := &page{}
	p.fact("pattern", r.label)
	p.fact("keeps", r.keepLines()...)
	p.fact("chooses", r.choiceLines()...)
	p.fact("picture", r.pictureLines()...)
	p.fact("density", r.densityLines()...)
	_, err := io.WriteString(w, p.String())
	return err
}

func (r *Report) keepLines() (lines []string) {
	for _, k := range r.Keeps {
		lines = append(lines, strings.Repeat("  ", k.Depth)+k.Text)
	}
	return lines
}

func (r *Report) choiceLines() (lines []string) {
	for _, c := range r.Choices {
		lines = append(lines, c.Name+": "+c.Text)
	}
	return lines
}

// pictureLines are the picture with what it shows beside it.
func (r *Report) pictureLines() []string {
	p := r.Picture
	cell := fmt.Sprintf("%.1f x %.1f pairs, some kept", p.Cell, p.Cell)
	switch {
	case p.Cell == 1:
		cell = "a pair that is kept"
	case p.Cell == math.Trunc(p.Cell):
		cell = fmt.Sprintf("%s x %s pairs, some kept", bench.Length(int(p.Cell)), bench.Length(int(p.Cell)))
	}
	notes := []string{fmt.Sprintf("%s queries down, %s keys across", bench.Length(p.SeqLen), bench.Length(p.SeqLen)), "a dot: " + cell}
	if p.Generated {
		notes = append(notes, "data decides: this is one generated head")
	}
	if p.Params != "" {
		notes = append(notes, "of "+p.Params)
	}
	if p.Full && p.SeqLen > cells {
		notes = append(notes, "each dot has a kept pair: a shorter --seqlen shows more")
	}
	lines := append([]string{}, p.Lines...)
	for i, note := range notes {
		if i >= len(lines) {
			lines = append(lines, strings.Repeat(" ", (len(r.grid.kept)+1)/2))
		}
		lines[i] += "   " + note
	}
	return lines
}

func (r *Report) densityLines() []string {
	of := "of all pairs"
	if r.Causal {
		of = "of the causal pairs"
	}
	if r.Dynamic {
		of += "; data decides"
	}
	var parts []string
	for _, d := range r.Density {
		part := "no budget"
		if d.Known {
			part = percent(d.Part)
		}
		if d.Known && d.AtMost {
			part = "at most " + part
		}
		parts = append(parts, fmt.Sprintf("%s: %s", bench.Length(d.SeqLen), part))
	}
	return []string{strings.Join(parts, ", ") + " " + of}
}

// percent writes a part of a whole with three digits.
func percent(part float64) string { return fmt.Sprintf("%.3g %%", 100*part) }
