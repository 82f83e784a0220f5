package headplan

import (
	"fmt"
	"image/color"

	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/vg"

	"github.com/minfc/minfc/internal/drawing"
	"github.com/minfc/minfc/internal/palette"
)

// Sizes of a drawing: a title, the grid with the numbers of layers beside it, the legend below.
const (
	cellSize   = 0.45 * vg.Centimeter
	gap        = 0.04 * vg.Centimeter
	numbers    = 0.9 * vg.Centimeter
	line       = 0.55 * vg.Centimeter
	edge       = 0.4 * vg.Centimeter
	leastWidth = 16 * vg.Centimeter
)

// mostCells bounds a drawing, which is in memory as a whole.
const mostCells = 1024

// CheckDrawing says whether a drawing can be written to a file of that name.
func CheckDrawing(path string) error { return drawing.Check(path, "plan") }

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
	c := drawing.New(path, width, height)
	y := c.Max.Y - edge
	for i, text := range title {
		c.Write(vg.Point{X: edge, Y: y - line/2}, text, 11-2*font.Length(i))
		y -= line
	}
	y -= cellSize / 2
	g.draw(c, vg.Point{X: edge + numbers, Y: y})
	y -= cellSize * (vg.Length(len(g.rows)) + 0.5)
	for i, text := range below {
		c.Square(vg.Point{X: edge, Y: y}, cellSize, gap, palette.Of(i))
		c.Write(vg.Point{X: edge + numbers, Y: y - cellSize/2}, text, 9)
		y -= line
	}
	return c.Encode()
}

// draw draws the cells below and beside a point, and the numbers of every fourth layer.
func (g *grid) draw(c *drawing.Canvas, at vg.Point) {
	for i, row := range g.rows {
		y := at.Y - cellSize*vg.Length(i)
		if (g.first+i)%4 == 0 {
			c.Write(vg.Point{X: at.X - numbers, Y: y - cellSize/2}, fmt.Sprint(g.first+i), 8)
		}
		for h, x := range row {
			c.Square(vg.Point{X: at.X + cellSize*vg.Length(h), Y: y}, cellSize, gap, x.colour())
		}
	}
}

// colour is the pattern's, the lighter the fewer pairs it keeps; of a plan that does not say, all of it. No entry is nearly white.
func (c cell) colour() color.RGBA {
	if c.pattern < 0 {
		return color.RGBA{235, 235, 235, 255}
	}
	if c.density < 0 {
		return palette.Of(c.pattern)
	}
	return palette.Shade(c.pattern, c.density)
}
