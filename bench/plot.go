package bench

import (
	"bytes"
	"fmt"
	"image/color"
	"math"
	"slices"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// The size of the drawing: panels side by side.
const (
	panelWidth  = 13 * vg.Centimeter
	panelHeight = 10 * vg.Centimeter
)

// palette has colours that people with colour blindness tell apart (Okabe and Ito).
var palette = []color.RGBA{
	{0, 114, 178, 255}, {213, 94, 0, 255}, {0, 158, 115, 255}, {204, 121, 167, 255},
	{230, 159, 0, 255}, {86, 180, 233, 255}, {90, 90, 90, 255}, {160, 120, 60, 255},
}

// curve is one kernel over length.
type curve struct {
	label  string
	peer   bool
	rows   []Row
	colour color.Color
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
	return svg(panels)
}

func svg(panels []*plot.Plot) ([]byte, error) {
	c := vgsvg.New(panelWidth*vg.Length(len(panels)), panelHeight)
	tiles := draw.Tiles{Rows: 1, Cols: len(panels), PadX: vg.Centimeter, PadLeft: vg.Millimeter * 3, PadRight: vg.Millimeter * 3, PadTop: vg.Millimeter * 2, PadBottom: vg.Millimeter * 2}
	canvases := plot.Align([][]*plot.Plot{panels}, tiles, draw.New(c))
	for i, p := range panels {
		p.Draw(canvases[0][i])
	}
	var b bytes.Buffer
	if _, err := c.WriteTo(&b); err != nil {
		return nil, fmt.Errorf("plot: %w", err)
	}
	return b.Bytes(), nil
}

// curves collects the rows by kernel, in the order of the report.
func (r *Report) curves(peers *Report) ([]curve, error) {
	var out []curve
	add := func(label string, peer bool, row Row) {
		i := slices.IndexFunc(out, func(c curve) bool { return c.label == label })
		if i < 0 {
			i = len(out)
			out = append(out, curve{label: label, peer: peer, colour: palette[i%len(palette)]})
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

func timePanel(curves []curve) (*plot.Plot, error) {
	p := overLength("Time of one call", "milliseconds")
	return p, addLines(p, curves, func(r Row) (float64, bool) { return r.TotalMS, true })
}

func speedPanel(curves []curve) (*plot.Plot, error) {
	any := slices.ContainsFunc(curves, func(c curve) bool {
		return slices.ContainsFunc(c.rows, func(r Row) bool { return r.VsDense != nil })
	})
	if !any {
		return nil, nil
	}
	p := overLength("Speed-up over our dense kernel", "times")
	return p, addLines(p, curves, func(r Row) (float64, bool) {
		if r.VsDense == nil {
			return 0, false
		}
		return *r.VsDense, true
	})
}

// overLength starts a panel with logarithmic axes.
func overLength(title, unit string) *plot.Plot {
	p := newPanel(title, "length, tokens", unit)
	p.X.Scale, p.X.Tick.Marker = plot.LogScale{}, plot.TickerFunc(lengths)
	p.Y.Scale, p.Y.Tick.Marker = plot.LogScale{}, plot.TickerFunc(decades)
	p.Legend.Top = true
	return p
}

func newPanel(title, x, y string) *plot.Plot {
	p := plot.New()
	p.Title.Text, p.X.Label.Text, p.Y.Label.Text = title, x, y
	p.Title.Padding = 2 * vg.Millimeter
	p.Legend.Left, p.Legend.XOffs, p.Legend.Padding = true, vg.Millimeter, vg.Millimeter
	for _, style := range []*text.Style{&p.Title.TextStyle, &p.X.Label.TextStyle, &p.Y.Label.TextStyle, &p.X.Tick.Label, &p.Y.Tick.Label, &p.Legend.TextStyle} {
		style.Font.Variant = "Sans"
	}
	p.Legend.TextStyle.Font.Size = vg.Points(9)
	p.Add(plotter.NewGrid())
	return p
}

// addLines draws one line a curve, dashed for peers, and leaves room above for the legend.
func addLines(p *plot.Plot, curves []curve, y func(Row) (float64, bool)) error {
	for _, c := range curves {
		var at plotter.XYs
		for _, r := range c.rows {
			if v, ok := y(r); ok {
				at = append(at, plotter.XY{X: float64(r.SeqLen), Y: v})
			}
		}
		if len(at) == 0 {
			continue
		}
		line, points, err := plotter.NewLinePoints(at)
		if err != nil {
			return err
		}
		line.Color, points.Color, points.Shape = c.colour, c.colour, draw.CircleGlyph{}
		line.Width = vg.Points(1.5)
		if c.peer {
			line.Dashes = []vg.Length{vg.Points(4), vg.Points(3)}
			points.Shape = draw.BoxGlyph{}
		}
		p.Add(line, points)
		p.Legend.Add(c.label, line, points)
	}
	widen(p, len(curves))
	return nil
}

// widen makes room on logarithmic axes: a single point has no range, and the legend needs space.
func widen(p *plot.Plot, entries int) {
	p.X.Min, p.X.Max = p.X.Min/1.3, p.X.Max*1.3
	p.Y.Min, p.Y.Max = p.Y.Min/1.5, p.Y.Max*1.5
	free := min(0.6, 0.06*float64(entries)+0.03)
	p.Y.Max *= math.Pow(p.Y.Max/p.Y.Min, free/(1-free))
}

// recallPanel has a point a row; a curve's points are its lengths.
func recallPanel(curves []curve) (*plot.Plot, error) {
	p := newPanel("Kept attention mass over density", "density, %", "recall, %")
	p.X.Scale, p.X.Tick.Marker = plot.LogScale{}, plot.TickerFunc(decades)
	entries := 0
	for _, c := range curves {
		var at plotter.XYs
		for _, r := range c.rows {
			if r.Recall != nil && r.Density > 0 && !c.peer {
				at = append(at, plotter.XY{X: 100 * r.Density, Y: 100 * *r.Recall})
			}
		}
		if len(at) == 0 {
			continue
		}
		entries++
		points, err := plotter.NewScatter(at)
		if err != nil {
			return nil, err
		}
		points.Color, points.Shape, points.Radius = c.colour, draw.CircleGlyph{}, vg.Points(3.5)
		p.Add(points)
		p.Legend.Add(c.label, points)
	}
	if entries == 0 {
		return nil, nil
	}
	p.X.Min, p.X.Max, p.Y.Min, p.Y.Max = p.X.Min/1.5, math.Max(100, p.X.Max), -8*float64(entries), 105
	p.Y.Tick.Marker = plot.ConstantTicks{{Value: 0, Label: "0"}, {Value: 25, Label: "25"}, {Value: 50, Label: "50"}, {Value: 75, Label: "75"}, {Value: 100, Label: "100"}}
	return p, nil
}

// lengths marks powers of two as the command line writes them.
func lengths(low, high float64) (ticks []plot.Tick) {
	for n := 1; float64(n) <= high; n *= 2 {
		if float64(n) >= low {
			ticks = append(ticks, plot.Tick{Value: float64(n), Label: Length(n)})
		}
	}
	return ticks
}

// decades marks powers of ten; where there are few of them, also their doubles and fives.
func decades(low, high float64) (ticks []plot.Tick) {
	steps := []float64{1, 2, 5}
	if high > 1000*low {
		steps = []float64{1}
	}
	for e := math.Floor(math.Log10(low)); e <= math.Ceil(math.Log10(high)); e++ {
		for _, m := range steps {
			if v := m * math.Pow(10, e); v >= low && v <= high {
				ticks = append(ticks, plot.Tick{Value: v, Label: fmt.Sprintf("%.7g", v)})
			}
		}
	}
	return ticks
}
