package headplan

import (
	"bytes"
	"fmt"
	"image/color"
	"io"
	"math"
	"path/filepath"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"
	"gonum.org/v1/plot/vg/vgsvg"

	"github.com/minfc/minfc/internal/palette"
)

// Sizes of a drawing: a title, the grid with the numbers of layers beside it, the legend below.
const (
	cellSize   = 0.45 * vg.Centimeter
	numbers    = 0.9 * vg.Centimeter
	line       = 0.55 * vg.Centimeter
	edge       = 0.4 * vg.Centimeter
	leastWidth = 16 * vg.Centimeter
)

// mostCells bounds a drawing, which is in memory as a whole.
const mostCells = 1024

// formats are what a drawing may be written as, by the extension of the file.
var formats = map[string]func(w, h vg.Length) (vg.CanvasSizer, io.WriterTo){
	".svg": func(w, h vg.Length) (vg.CanvasSizer, io.WriterTo) {
		c := vgsvg.New(w, h)
		return c, c
	},
	".png": func(w, h vg.Length) (vg.CanvasSizer, io.WriterTo) {
		c := vgimg.PngCanvas{Canvas: vgimg.New(w, h)}
		return c, c
	},
}

// CheckDrawing says whether a drawing can be written to a file of that name.
func CheckDrawing(path string) error {
	if formats[strings.ToLower(filepath.Ext(path))] == nil {
		return fmt.Errorf("%s: a plan is drawn as SVG or PNG, name a file that ends in .svg or .png", path)
	}
	return nil
}

// Draw draws the layers [first, end) for a file of that name: cells coloured by pattern, the deeper the denser. The same plan gives the same
// bytes.
func (f *File) Draw(path string, first, end int) ([]byte, error) {
	if err := CheckDrawing(path); err != nil {
		return nil, err
	}
	g, title := f.grid(first, end), f.title()
	below := g.legend()
	columns := len(g.rows[0]) // a plan has a layer at least
	if max(len(g.rows), columns) > mostCells {
		return nil, fmt.Errorf("%s: %d layers of %d heads, a drawing has room for %d of each: draw some with --layer", f.path, len(g.rows), columns, mostCells)
	}
	width := max(leastWidth, numbers+cellSize*vg.Length(columns)+2*edge)
	height := 2*edge + line*vg.Length(len(title)+len(below)) + cellSize*vg.Length(len(g.rows)+1)
	sizer, to := formats[strings.ToLower(filepath.Ext(path))](width, height)
	c := draw.New(sizer)
	c.SetColor(color.White)
	c.Fill(c.Rectangle.Path())
	y := c.Max.Y - edge
	for i, text := range title {
		write(c, vg.Point{X: edge, Y: y - line/2}, text, 11-2*font.Length(i))
		y -= line
	}
	y -= cellSize / 2
	g.draw(c, vg.Point{X: edge + numbers, Y: y})
	y -= cellSize * (vg.Length(len(g.rows)) + 0.5)
	for i, text := range below {
		fill(c, vg.Point{X: edge, Y: y}, palette.Of(i))
		write(c, vg.Point{X: edge + numbers, Y: y - cellSize/2}, text, 9)
		y -= line
	}
	var b bytes.Buffer
	if _, err := to.WriteTo(&b); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return b.Bytes(), nil
}

// draw draws the cells below and beside a point, and the numbers of every fourth layer.
func (g *grid) draw(c draw.Canvas, at vg.Point) {
	for i, row := range g.rows {
		y := at.Y - cellSize*vg.Length(i)
		if (g.first+i)%4 == 0 {
			write(c, vg.Point{X: at.X - numbers, Y: y - cellSize/2}, fmt.Sprint(g.first+i), 8)
		}
		for h, x := range row {
			fill(c, vg.Point{X: at.X + cellSize*vg.Length(h), Y: y}, x.colour())
		}
	}
}

// colour is the pattern's, the lighter the fewer pairs it keeps; of a plan that does not say, all of it. No entry is nearly white.
func (c cell) colour() color.RGBA {
	if c.pattern < 0 {
		return color.RGBA{235, 235, 235, 255}
	}
	full := palette.Of(c.pattern)
	if c.density < 0 {
		return full
	}
	const lightest = 0.15                                        // so that colours of next to nothing are told apart
	part := lightest + (1-lightest)*math.Sqrt(min(1, c.density)) // plans differ most where little is kept
	mix := func(x uint8) uint8 { return uint8(255 - part*(255-float64(x))) }
	return color.RGBA{mix(full.R), mix(full.G), mix(full.B), 255}
}

// fill draws a cell whose upper left corner is at a point.
func fill(c draw.Canvas, at vg.Point, with color.Color) {
	const gap = 0.04 * vg.Centimeter
	box := vg.Rectangle{Min: vg.Point{X: at.X + gap, Y: at.Y - cellSize + gap}, Max: vg.Point{X: at.X + cellSize - gap, Y: at.Y - gap}}
	c.SetColor(with)
	c.Fill(box.Path())
}

func write(c draw.Canvas, at vg.Point, words string, size font.Length) {
	style := text.Style{Color: color.Black, Font: font.From(plot.DefaultFont, size), Handler: plot.DefaultTextHandler, YAlign: text.YCenter}
	style.Font.Variant = "Sans"
	c.FillText(style, at, words)
}
