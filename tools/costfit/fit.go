package main

import (
	"math"

	"github.com/minfc/minfc/internal/cost"
)

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

// ratios are predicted over measured times on a machine, a number a measurement.
type ratios func(cost.Machine) ([]float64, error)

// problem is a fit of some rates of a machine.
type problem[T any] struct {
	rates  []coefficient[T]
	part   func(*cost.Machine) *T // that has them
	ratios ratios
}

// fitRates fits from the start on and rounds the rates as they are written.
func fitRates[T any](m cost.Machine, rates []coefficient[T], part func(*cost.Machine) *T, r ratios) (cost.Machine, error) {
	p := problem[T]{rates, part, r}
	for _, c := range rates {
		*c.of(part(&m)) = c.start
	}
	m, err := p.fit(m, maxSteps)
	for _, c := range rates {
		*c.of(part(&m)) = rounded(*c.of(part(&m)))
	}
	return m, err
}

// fit moves the rates of m so that the squared logarithms of predicted over measured times become least: damped
// Gauss-Newton on the logarithms of the rates, so that all stay positive.
func (p problem[T]) fit(m cost.Machine, steps int) (cost.Machine, error) {
	damping := 1e-2
	best, err := p.residuals(m)
	if err != nil {
		return m, err
	}
	for range steps {
		jacobian, err := p.slopes(m, best)
		if err != nil {
			return m, err
		}
		next := p.moved(m, solve(jacobian, best, damping))
		r, err := p.residuals(next)
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

// residuals are the logarithms of predicted over measured times, then logarithms of the rates over their start, all scaled to
// what is expected of them.
func (p problem[T]) residuals(m cost.Machine) ([]float64, error) {
	out, err := p.ratios(m)
	if err != nil {
		return nil, err
	}
	for i := range out {
		out[i] = math.Log(out[i]) / errorScale
	}
	for _, c := range p.rates {
		out = append(out, math.Log(*c.of(p.part(&m))/c.start)/prior)
	}
	return out, nil
}

// slopes are the derivatives of the residuals by the logarithm of each rate: one list a rate.
func (p problem[T]) slopes(m cost.Machine, at []float64) ([][]float64, error) {
	const h = 0.02 // wide: when two blocks end in another order, the time jumps a little
	var out [][]float64
	for i := range p.rates {
		step := make([]float64, len(p.rates))
		step[i] = h
		r, err := p.residuals(p.moved(m, step))
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
func (p problem[T]) moved(m cost.Machine, step []float64) cost.Machine {
	for i, c := range p.rates {
		v := c.of(p.part(&m))
		*v = max(c.floor, *v*math.Exp(step[i]))
		if c.ceiling > 0 {
			*v = min(c.ceiling, *v)
		}
	}
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

// rounded keeps four significant digits.
func rounded(v float64) float64 {
	unit := math.Pow(10, math.Floor(math.Log10(v))-3)
	if unit < 1 {
		return math.Round(v*math.Round(1/unit)) / math.Round(1/unit)
	}
	return math.Round(v/unit) * unit
}
