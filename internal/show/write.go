package show

import (
	"fmt"
	"io"
	"math"
	"strings"

	"github.com/minfc/minfc/internal/bench"
	"github.com/minfc/minfc/ir"
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
	if r.Skips != "" {
		p.fact("skips", r.Skips)
	}
	p.fact("picture", r.pictureLines()...)
	p.fact("density", r.densityLines()...)
	p.fact("tiles", r.tileLines()...)
	p.fact("bands", r.newest().Bands...)
	p.fact("index", r.indexLines()...)
	p.fact("time", r.timeLines()...)
	p.fact("advice", r.adviceLines()...)
	p.fact("tile", r.explainLines()...)
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

// tileLines say how the key tiles of one head are walked, on every target.
func (r *Report) tileLines() (lines []string) {
	if h := r.Head; h != nil {
		t := r.newest()
		return []string{fmt.Sprintf("data decides; the head of the picture computes %d tiles of 64 x 64 of dense attention's %d, and keeps %s of their pairs (%s, row tiles of %d)",
			h.Tiles64, h.Dense64, percent(float64(h.Pairs)/float64(max(1, h.Tiles64*ir.BlockSize*ir.BlockSize))), t.Target, t.Rows)}
	}
	for _, t := range r.Tiles {
		lines = append(lines, fmt.Sprintf("%s, %s of %d queries by key tiles of %d: %d full, %d edge (masked), %d skipped of dense attention's %d", t.Target,
			countOf(int64(t.RowTiles), "row tile"), t.Rows, t.Keys, t.Full, t.Edge, t.Skipped, t.Dense))
	}
	return lines
}

func (r *Report) indexLines() []string {
	if r.Index == nil {
		return nil
	}
	return []string{fmt.Sprintf("%.1f MB of memory for %d heads, %s a run", float64(r.Index.Bytes)/1e6, QHeads, countOf(int64(r.Index.Launches), "launch"))}
}

func (r *Report) timeLines() (lines []string) {
	for _, t := range r.Times {
		ms := milliseconds(t.LowMS)
		faster := fmt.Sprintf("%.3gx", t.DenseMS/t.LowMS)
		if t.HighMS > 1.001*t.LowMS {
			ms = milliseconds(t.LowMS) + " to " + milliseconds(t.HighMS)
			faster = fmt.Sprintf("%.3gx to %.3gx", t.DenseMS/t.HighMS, t.DenseMS/t.LowMS)
		}
		line := fmt.Sprintf("%s (%s): %s, %s as fast as dense (%s)", t.Machine, t.Target, ms, faster, milliseconds(t.DenseMS))
		if t.Dense {
			line += "; it runs dense, which is surely faster here"
		}
		lines = append(lines, line)
	}
	return append(lines, fmt.Sprintf("predicted, nothing was measured: %s tokens, %d query and %d kv heads, head dim %d, %s", bench.Length(r.SeqLen), QHeads, KVHeads,
		HeadDim, DType))
}

// adviceLines say what to change, and where.
func (r *Report) adviceLines() (lines []string) {
	for _, a := range r.Advice {
		text := a.Text
		if a.Line > 0 {
			text = fmt.Sprintf("%s:%d:%d: %s", r.file, a.Line, a.Col, text)
		}
		lines = append(lines, text)
	}
	return lines
}

// explainLines say why the tile that was asked for is what it is.
func (r *Report) explainLines() []string {
	t := r.Tile
	if t == nil {
		return nil
	}
	lines := []string{fmt.Sprintf("%d,%d is %s: queries %d to %d, keys %d to %d, %d of %d pairs kept", t.Row, t.Key, t.Class, t.Queries[0], t.Queries[1]-1,
		t.Keys[0], t.Keys[1]-1, t.Kept, t.Pairs)}
	for _, b := range t.Because {
		lines = append(lines, fmt.Sprintf("%s:%d:%d: %s: %s", r.file, b.Line, b.Col, b.Class, b.Text))
	}
	return lines
}

// milliseconds writes a time with three digits, of a second or more in seconds.
func milliseconds(ms float64) string {
	if ms >= 1000 {
		return fmt.Sprintf("%.3g s", ms/1000)
	}
	return fmt.Sprintf("%.3g ms", ms)
}
