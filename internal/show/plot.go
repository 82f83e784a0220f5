package show

import (
	"fmt"
	"image/color"

	"gonum.org/v1/plot/vg"

	"github.com/minfc/minfc/internal/bench"
	"github.com/minfc/minfc/internal/drawing"
	"github.com/minfc/minfc/internal/palette"
)

// Sizes of a drawing: a title of two lines, and the cells below it.
const (
	cellSize = 0.2 * vg.Centimeter
	line     = 0.6 * vg.Centimeter
	edge     = 0.4 * vg.Centimeter
)

// CheckPlot says whether a drawing can be written to a file of that name.
func CheckPlot(path string) error { return drawing.Check(path, "pattern") }

// Plot draws the picture for a file of that name, as SVG or PNG: queries down, keys across, a cell the deeper the more of its pairs are kept. Cells
// without a kept pair are grey. The same request gives the same bytes.
func (r *Report) Plot(path string) ([]byte, error) {
	if err := CheckPlot(path); err != nil {
		return nil, err
	}
	side := cellSize * cells
	c := drawing.New(path, side+2*edge, side+2*line+2*edge)
	g := r.grid
	of := ""
	if r.Picture.Generated {
		of = ", one generated head " + r.Picture.Params
	}
	top := c.Max.Y - edge
	c.Write(vg.Point{X: edge, Y: top - line/2}, r.label, 10)
	c.Write(vg.Point{X: edge, Y: top - line*3/2}, fmt.Sprintf("%s queries down, %s keys across%s", bench.Length(g.n), bench.Length(g.n), of), 8)
	top -= 2 * line
	c.Box(vg.Rectangle{Min: vg.Point{X: edge, Y: top - side}, Max: vg.Point{X: edge + side, Y: top}}, color.Gray{Y: 240})
	cell := side / vg.Length(len(g.kept))
	for i, row := range g.kept {
		for j, kept := range row {
			at := vg.Point{X: edge + cell*vg.Length(j), Y: top - cell*vg.Length(i)}
			if kept > 0 {
				c.Square(at, cell, 0, palette.Shade(0, float64(kept)/float64(g.area(i, j))))
			}
		}
	}
	return c.Encode()
}

// area is how many pairs a cell has.
func (g *grid) area(i, j int) int64 {
	return int64(g.edges[i+1]-g.edges[i]) * int64(g.edges[j+1]-g.edges[j])
}
