package bench

import (
	"fmt"
	"math"
	"slices"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
)

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
	return p
}

func newPanel(title, x, y string) *plot.Plot {
	p := plot.New()
	p.Title.Text, p.X.Label.Text, p.Y.Label.Text = title, x, y
	p.Title.Padding = 2 * vg.Millimeter
	for _, style := range []*text.Style{&p.Title.TextStyle, &p.X.Label.TextStyle, &p.Y.Label.TextStyle, &p.X.Tick.Label, &p.Y.Tick.Label} {
		style.Font.Variant = "Sans"
	}
	p.Add(plotter.NewGrid())
	return p
}

// addLines draws one line a curve.
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
		line.LineStyle, points.GlyphStyle = c.line(), c.glyph()
		p.Add(line, points)
	}
	// A single point has no range on logarithmic axes.
	p.X.Min, p.X.Max, p.Y.Min, p.Y.Max = p.X.Min/1.3, p.X.Max*1.3, p.Y.Min/1.5, p.Y.Max*1.5
	return nil
}

// recallPanel has a point a row; a curve's points are its lengths.
func recallPanel(curves []curve) (*plot.Plot, error) {
	p := newPanel("Kept attention mass over density", "density, %", "recall, %")
	p.X.Scale, p.X.Tick.Marker = plot.LogScale{}, plot.TickerFunc(decades)
	any := false
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
		any = true
		points, err := plotter.NewScatter(at)
		if err != nil {
			return nil, err
		}
		points.GlyphStyle = c.glyph()
		p.Add(points)
	}
	if !any {
		return nil, nil
	}
	p.X.Min, p.X.Max, p.Y.Min, p.Y.Max = p.X.Min/1.5, max(120, p.X.Max), -5, 105
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
