package headplan

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode"

	"github.com/minfc/minfc/plan"
)

// grid is a plan as a picture of cells, a row a layer and a column a head.
type grid struct {
	first    int // the layer of the first row
	rows     [][]cell
	patterns []string // in the order of their names
	count    []int    // heads of each
}

// cell is what one head runs.
type cell struct {
	pattern int     // -1 for a head without an entry
	density float64 // below 0 where the plan does not say
}

// grid draws the layers [first, end).
func (f *File) grid(first, end int) *grid {
	g, heads := &grid{first: first}, 0
	for _, l := range f.Layers[first:end] {
		for h, x := range l {
			heads = max(heads, h+1)
			if !slices.Contains(g.patterns, x.Pattern.Name) {
				g.patterns = append(g.patterns, x.Pattern.Name)
			}
		}
	}
	slices.Sort(g.patterns)
	g.count = make([]int, len(g.patterns))
	for _, l := range f.Layers[first:end] {
		row := make([]cell, heads)
		for h := range row {
			row[h] = g.cell(l, h)
		}
		g.rows = append(g.rows, row)
	}
	return g
}

func (g *grid) cell(l plan.Layer, head int) cell {
	x, there := l[head]
	if !there {
		return cell{-1, -1}
	}
	c := cell{slices.Index(g.patterns, x.Pattern.Name), -1}
	if x.Found != nil {
		c.density = x.Found.Density
	}
	g.count[c.pattern]++
	return c
}

// letters are a letter a pattern: the first one of its name that no pattern before it has.
func (g *grid) letters() []rune {
	var out []rune
	for _, name := range g.patterns {
		letter := rune('?')
		for _, r := range name + strings.ToUpper(name) {
			if unicode.IsLetter(r) && !slices.Contains(out, r) {
				letter = r
				break
			}
		}
		out = append(out, letter)
	}
	return out
}

// WriteMap prints some layers as a grid: of each head the letter of its pattern, and tenths of its density where the plan has it.
func (f *File) WriteMap(to io.Writer, first, end int) error {
	g := f.grid(first, end)
	letters := g.letters()
	for i, row := range g.rows {
		line := fmt.Sprintf("%5d ", g.first+i)
		for _, c := range row {
			line += " " + c.text(letters)
		}
		if _, err := fmt.Fprintln(to, strings.TrimRight(line, " ")); err != nil {
			return err
		}
	}
	for i, name := range g.patterns {
		if _, err := fmt.Fprintf(to, "    %c  %s: %d\n", letters[i], name, g.count[i]); err != nil {
			return err
		}
	}
	others := ""
	if slices.ContainsFunc(g.rows, func(row []cell) bool { return slices.ContainsFunc(row, func(c cell) bool { return c.pattern < 0 }) }) {
		others = fmt.Sprintf("    .  no entry: %s\n", f.Default)
	}
	_, err := fmt.Fprintf(to, "%sA row is a layer, a column a head; the digit is the density in tenths, * is all of it.\n", others)
	return err
}

// text is a cell of the map, two characters.
func (c cell) text(letters []rune) string {
	switch {
	case c.pattern < 0:
		return ". "
	case c.density < 0:
		return string(letters[c.pattern]) + " "
	case c.density > 0.99:
		return string(letters[c.pattern]) + "*"
	}
	return fmt.Sprintf("%c%d", letters[c.pattern], int(10*c.density))
}

// legend is a line a pattern.
func (g *grid) legend() (out []string) {
	for i, name := range g.patterns {
		out = append(out, fmt.Sprintf("%s: %d", name, g.count[i]))
	}
	return out
}

// title says what the drawing is of.
func (f *File) title() (out []string) {
	name := f.Model
	if name == "" {
		name = f.path
	}
	out = append(out, fmt.Sprintf("%s: layers down, heads across, denser heads in deeper colours", name))
	if t := f.Search; t != nil {
		out = append(out, fmt.Sprintf("density %.3g, %.4g ms predicted, dense attention %.4g, error %.3g", t.Density, t.Millis, t.DenseMillis, t.Error))
	}
	return out
}
