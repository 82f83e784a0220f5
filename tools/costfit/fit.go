package main

import (
	"fmt"
	"math"

	"github.com/minfc/minfc/cost"
)

// coefficients are the rates that measurements decide, in the order in which they are printed.
var coefficients = []struct {
	name string
	of   func(*cost.Rates) *float64
}{
	{"TensorTFLOPS", func(r *cost.Rates) *float64 { return &r.TensorTFLOPS }},
	{"LoadNanos", func(r *cost.Rates) *float64 { return &r.LoadNanos }},
	{"SoftmaxPicos", func(r *cost.Rates) *float64 { return &r.SoftmaxPicos }},
	{"MaskPicos", func(r *cost.Rates) *float64 { return &r.MaskPicos }},
	{"TileNanos", func(r *cost.Rates) *float64 { return &r.TileNanos }},
	{"RowNanos", func(r *cost.Rates) *float64 { return &r.RowNanos }},
	{"Overlap", func(r *cost.Rates) *float64 { return &r.Overlap }},
}

// start is where every fit begins, from what is known of the hardware at 1.75 GHz: mma.sync at 62% of the wgmma peak on each of
// 132 multiprocessors; an ldmatrix.x4 of four cycles, half of it hidden; a sixteenth of a cycle for an exponential and four
// and a half instructions on 128 lanes for the rest of a pair's softmax. The others are of the size that prototypes showed.
var start = cost.Rates{TensorTFLOPS: 4.7, LoadNanos: 1.2, SoftmaxPicos: 56, MaskPicos: 15, TileNanos: 150, RowNanos: 700, Overlap: 3}

// How many steps a fit may take. One without a row begins where the fit to all rows ended.
const (
	maxSteps     = 30
	leftOutSteps = 6
)

// prior is how much a rate may stray from where the fit starts before it costs as much as an error of errorScale in one
// measurement, as a logarithm. It keeps rates that few rows decide at plausible values.
const (
	prior      = 1.0
	errorScale = 0.02
)

// fit moves the rates of m so that the squared logarithms of predicted over measured times become least: damped
// Gauss-Newton on the logarithms of the rates, so that all stay positive.
func fit(m cost.Machine, rows []measurement, steps int) (cost.Machine, error) {
	damping := 1e-2
	best, err := residuals(m, rows)
	if err != nil {
		return m, err
	}
	for range steps {
		jacobian, err := slopes(m, rows, best)
		if err != nil {
			return m, err
		}
		next := moved(m, solve(jacobian, best, damping))
		r, err := residuals(next, rows)
		if err != nil {
			return m, err
		}
		if squares(r) < squares(best) {
			m, best, damping = next, r, damping/4
		} else {
			damping *= 8
		}
	}
	return m, nil
}

// residuals are the logarithms of predicted over measured times, then those of the rates over their start, all scaled to
// what is expected of them.
func residuals(m cost.Machine, rows []measurement) ([]float64, error) {
	var out []float64
	for _, x := range rows {
		p, err := m.Price(x.counts)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", x.name, err)
		}
		out = append(out, math.Log(p.Milliseconds/x.ms)/errorScale)
	}
	for _, c := range coefficients {
		out = append(out, math.Log(*c.of(&m.Rates) / *c.of(&start))/prior)
	}
	return out, nil
}

// slopes are the derivatives of the residuals by the logarithm of each rate: one list a rate.
func slopes(m cost.Machine, rows []measurement, at []float64) ([][]float64, error) {
	const h = 0.02 // wide: when two blocks end in another order, the time jumps a little
	var out [][]float64
	for i := range coefficients {
		step := make([]float64, len(coefficients))
		step[i] = h
		r, err := residuals(moved(m, step), rows)
		if err != nil {
			return nil, err
		}
		for j := range r {
			r[j] = (r[j] - at[j]) / h
		}
		out = append(out, r)
	}
	return out, nil
}

// moved multiplies each rate by the exponential of its step.
func moved(m cost.Machine, step []float64) cost.Machine {
	for i, c := range coefficients {
		*c.of(&m.Rates) *= math.Exp(step[i])
	}
	m.Rates.Overlap = max(1, m.Rates.Overlap)
	return m
}

func squares(v []float64) float64 { return dot(v, v) }

func dot(a, b []float64) float64 {
	s := 0.0
	for i := range a {
		s += a[i] * b[i]
	}
	return s
}

// solve finds the step of damped Gauss-Newton: (J^T J + damping) step = -J^T r. J has a row a rate.
func solve(j [][]float64, r []float64, damping float64) []float64 {
	n := len(j)
	a := make([][]float64, n)
	for x := range a {
		a[x] = make([]float64, n+1)
		for y := range n {
			a[x][y] = dot(j[x], j[y])
		}
		a[x][x] += damping * (a[x][x] + 1)
		a[x][n] = -dot(j[x], r)
	}
	// Elimination without pivoting: the matrix is symmetric and positive definite.
	for p := range n {
		for x := range n {
			if f := a[x][p] / a[p][p]; x != p {
				for y := p; y <= n; y++ {
					a[x][y] -= f * a[p][y]
				}
			}
		}
	}
	step := make([]float64, n)
	for x := range step {
		step[x] = a[x][n] / a[x][x]
	}
	return step
}
