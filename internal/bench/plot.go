package bench

import (
	"bytes"
	"fmt"
	"image/color"
	"slices"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"

	"github.com/minfc/minfc/internal/palette"
)

// The size of the drawing: a title, panels side by side, the legend of all of them below.
const (
	panelWidth  = 13 * vg.Centimeter
	panelHeight = 9 * vg.Centimeter
	titleHeight = 1.3 * vg.Centimeter
	entryHeight = 0.5 * vg.Centimeter
	margin      = 0.3 * vg.Centimeter
)

// dashes and glyphs tell curves apart beside their colours, where they lie on one another or the print is grey.
var (
	dashes = [][]vg.Length{nil, {7, 3}, {2, 2}, {9, 3, 2, 3}, {4, 2, 1, 2, 1, 2}}
	glyphs = []draw.GlyphDrawer{draw.CircleGlyph{}, draw.SquareGlyph{}, draw.TriangleGlyph{}, draw.PyramidGlyph{}, draw.BoxGlyph{}, draw.RingGlyph{}}
)

// curve is one kernel over length.
type curve struct {
	label  string
	number int // in the order of drawing
	peer   bool
	rows   []Row
}

func (c curve) colour() color.Color { return palette.Of(c.number) }

// line is thinner than the line of the curve before, so that both are seen where they lie on one another.
func (c curve) line() draw.LineStyle {
	return draw.LineStyle{Color: c.colour(), Width: vg.Points(max(1.2, 2.6-0.3*float64(c.number))), Dashes: dashes[c.number%len(dashes)]}
}

// glyph is smaller than the glyph of the curve before, for the same reason. Peers have hollow ones.
func (c curve) glyph() draw.GlyphStyle {
	g := draw.GlyphStyle{Color: c.colour(), Radius: vg.Points(max(2, 4.6-0.5*float64(c.number))), Shape: glyphs[c.number%len(glyphs)]}
	if c.peer {
		g.Shape = draw.CrossGlyph{}
	}
	return g
}

// Plot draws the report, and the peers' rows of the same cases if there are any, as SVG: time over length, speed-up over
// our dense kernel, and recall over density. The same report gives the same bytes.
func (r *Report) Plot(peers *Report) ([]byte, error) {
	curves, err := r.curves(peers)
	if err != nil {
		return nil, err
	}
	if len(curves) == 0 {
		return nil, fmt.Errorf("plot: no row has figures")
	}
	var panels []*plot.Plot
	for _, build := range []func([]curve) (*plot.Plot, error){timePanel, speedPanel, recallPanel} {
		p, err := build(curves)
		if err != nil {
			return nil, fmt.Errorf("plot: %w", err)
		}
		if p != nil {
			panels = append(panels, p)
		}
	}
	return r.svg(panels, curves)
}

func (r *Report) svg(panels []*plot.Plot, curves []curve) ([]byte, error) {
	columns := len(panels)
	legend := entryHeight*vg.Length((len(curves)+columns-1)/columns) + margin
	c := vgsvg.New(panelWidth*vg.Length(columns), titleHeight+panelHeight+legend)
	all := draw.New(c)
	all.SetColor(color.White)
	all.Fill(all.Rectangle.Path())
	r.drawTitle(draw.Crop(all, margin, 0, panelHeight+legend, 0))
	tiles := draw.Tiles{Rows: 1, Cols: columns, PadX: vg.Centimeter, PadLeft: margin, PadRight: margin, PadTop: margin, PadBottom: margin}
	middle := draw.Crop(all, 0, 0, legend, -titleHeight)
	for i, p := range panels {
		p.Draw(tiles.At(middle, i, 0))
	}
	drawLegend(all, curves, columns, legend)
	var b bytes.Buffer
	if _, err := c.WriteTo(&b); err != nil {
		return nil, fmt.Errorf("plot: %w", err)
	}
	return b.Bytes(), nil
}

// title says in two lines what the figures belong to.
func (r *Report) title() []string {
	how := "measured"
	switch {
	case r.Tool == ToolPredict:
		how = "predicted by the cost model, not measured"
	case r.Machine.Emulated:
		how = "emulated: the times say nothing about a GPU"
	}
	c := r.Call
	call := fmt.Sprintf("batch %d, %d query heads, %d kv heads, head dim %d, %s", c.Batch, c.QHeads, c.KVHeads, c.HeadDim, c.DType)
	if r.Workload.Kind != "" {
		call += ", workload " + r.Workload.what()
	}
	return []string{fmt.Sprintf("%s, %s: %s", r.Machine.Name, strings.Join(r.kernels(), ", "), how), call}
}

func (r *Report) drawTitle(c draw.Canvas) {
	style := text.Style{Color: color.Black, Font: font.From(plot.DefaultFont, 14), Handler: plot.DefaultTextHandler, YAlign: text.YTop}
	style.Font.Variant = "Sans"
	y := c.Max.Y - margin
	for _, line := range r.title() {
		c.FillText(style, vg.Point{X: c.Min.X, Y: y}, line)
		style.Font.Size, y = vg.Points(10), y-vg.Points(18)
	}
}

// drawLegend draws the entries below the panels, in columns.
func drawLegend(c draw.Canvas, curves []curve, columns int, height vg.Length) {
	style := text.Style{Color: color.Black, Font: font.From(plot.DefaultFont, 9), Handler: plot.DefaultTextHandler, YAlign: text.YCenter}
	style.Font.Variant = "Sans"
	const thumb = vg.Centimeter
	rows := (len(curves) + columns - 1) / columns
	for i, x := range curves {
		at := vg.Point{X: c.Min.X + vg.Centimeter + panelWidth*vg.Length(i/rows), Y: c.Min.Y + height - entryHeight*(vg.Length(i%rows)+0.5)}
		c.StrokeLine2(x.line(), at.X, at.Y, at.X+thumb, at.Y)
		c.DrawGlyph(x.glyph(), vg.Point{X: at.X + thumb/2, Y: at.Y})
		c.FillText(style, vg.Point{X: at.X + thumb + margin, Y: at.Y}, x.label)
	}
}

// curves collects the rows by kernel, in the order of the report.
func (r *Report) curves(peers *Report) ([]curve, error) {
	var out []curve
	add := func(label string, peer bool, row Row) {
		i := slices.IndexFunc(out, func(c curve) bool { return c.label == label })
		if i < 0 {
			i = len(out)
			out = append(out, curve{label: label, number: i, peer: peer})
		}
		out[i].rows = append(out[i].rows, row)
	}
	for _, row := range r.Rows {
		if row.Failure == "" {
			add(row.Label(), false, row)
		}
	}
	if peers != nil {
		ratios, err := Compare(r, peers)
		if err != nil {
			return nil, err
		}
		for i, list := range ratios {
			for _, p := range list {
				add(p.Row.Implementation+", "+r.Rows[i].Label(), true, p.Row)
			}
		}
	}
	for _, c := range out {
		slices.SortStableFunc(c.rows, func(a, b Row) int { return a.SeqLen - b.SeqLen })
	}
	return out, nil
}
