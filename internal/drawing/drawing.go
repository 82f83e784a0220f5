// Package drawing draws boxes and words for files, as SVG or PNG. The same calls give the same bytes.
package drawing

import (
	"bytes"
	"fmt"
	"image/color"
	"io"
	"path/filepath"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"
	"gonum.org/v1/plot/vg/vgsvg"
)

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

// Check says whether a drawing of something can be written to a file of that name.
func Check(path, what string) error {
	if formats[strings.ToLower(filepath.Ext(path))] == nil {
		return fmt.Errorf("%s: a %s is drawn as SVG or PNG, name a file that ends in .svg or .png", path, what)
	}
	return nil
}

// Canvas is a white drawing for a file.
type Canvas struct {
	draw.Canvas
	path string
	to   io.WriterTo
}

// New is an empty drawing for a file of a name that Check takes.
func New(path string, width, height vg.Length) *Canvas {
	sizer, to := formats[strings.ToLower(filepath.Ext(path))](width, height)
	c := &Canvas{draw.New(sizer), path, to}
	c.Box(c.Rectangle, color.White)
	return c
}

// Box fills a rectangle.
func (c *Canvas) Box(box vg.Rectangle, with color.Color) {
	c.SetColor(with)
	c.Fill(box.Path())
}

// Square fills the square whose upper left corner is at a point, less a gap on each side.
func (c *Canvas) Square(at vg.Point, side, gap vg.Length, with color.Color) {
	c.Box(vg.Rectangle{Min: vg.Point{X: at.X + gap, Y: at.Y - side + gap}, Max: vg.Point{X: at.X + side - gap, Y: at.Y - gap}}, with)
}

// Write writes words from a point on, which is at half of their height.
func (c *Canvas) Write(at vg.Point, words string, size font.Length) {
	style := text.Style{Color: color.Black, Font: font.From(plot.DefaultFont, size), Handler: plot.DefaultTextHandler, YAlign: text.YCenter}
	style.Font.Variant = "Sans"
	c.FillText(style, at, words)
}

// Encode is the drawing as the bytes of its file.
func (c *Canvas) Encode() ([]byte, error) {
	var b bytes.Buffer
	if _, err := c.to.WriteTo(&b); err != nil {
		return nil, fmt.Errorf("%s: %w", c.path, err)
	}
	return b.Bytes(), nil
}
