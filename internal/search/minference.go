package search

import (
	"math"

	"github.com/minfc/minfc/plan"
)

// MInference's search (MInference 1.0, arXiv 2407.02490, section 3.2): candidates of all patterns, brought to equal FLOPs in the kernel, and for
// each head the one whose output is nearest to dense attention, on one sample.

// published are the candidates of the paper's search, with the budgets that make their FLOPs equal at 30 thousand tokens: as many as A-shape with
// 1024 first keys and a window of 4096.
var published = []struct {
	pattern string
	params  map[string]int64
}{
	{"a_shape", map[string]int64{"sink": 1024, "window": 4096}},
	{"vertical_slash", map[string]int64{"vertical": 30, "slash": 2048}},
	{"vertical_slash", map[string]int64{"vertical": 100, "slash": 1800}},
	{"vertical_slash", map[string]int64{"vertical": 500, "slash": 1500}},
	{"vertical_slash", map[string]int64{"vertical": 3000, "slash": 200}},
	{"block_sparse", map[string]int64{"topk": 100}},
}

// Scales of the published budgets that are tried to bring a candidate to a density, as powers of the square root of 2. What vertical_slash keeps
// depends on the data, so that nothing but a run tells; the other two are scaled to the density itself.
const (
	leastScale = -10
	mostScale  = 6
)

// family are the scales of one published candidate; of each head the one counts that comes nearest to the density.
type family []plan.Head

// families are the candidates of MInference's rule for prompts of n tokens at a density; 0 stands for the published budgets as they are.
func families(known plan.Known, n int, density float64) (out []family) {
	for _, p := range published {
		head := func(scale float64) plan.Head {
			params := map[string]int64{}
			for name, v := range p.params {
				params[name] = max(1, int64(math.Round(scale*float64(v))))
			}
			return plan.Head{Pattern: known[p.pattern], Params: params}
		}
		switch {
		case density == 0:
			out = append(out, family{head(1)})
		case p.pattern == "a_shape":
			out = append(out, family{head(scaleOf(float64(n), p.params, density))})
		case p.pattern == "block_sparse":
			out = append(out, family{{Pattern: known[p.pattern], Params: blocks(n, density)}})
		default:
			var own []plan.Head
			for i := leastScale; i <= mostScale; i++ {
				own = append(own, head(math.Pow(2, float64(i)/2)))
			}
			out = append(out, distinct(own))
		}
	}
	return out
}

// scaleOf is the factor of a sink and a window that brings A-shape to a density, by halving.
func scaleOf(n float64, params map[string]int64, density float64) float64 {
	keeps := func(scale float64) float64 {
		window := min(n, scale*float64(params["window"]))
		rows := n - window // that see the sink beside their window
		sink := min(rows, scale*float64(params["sink"]))
		return 1 - rows*rows/(n*n) + (2*sink*rows-sink*sink)/(n*n)
	}
	low, high := 0.0, n
	for range 60 {
		if middle := (low + high) / 2; keeps(middle) > density {
			high = middle
		} else {
			low = middle
		}
	}
	return low
}

// byMInference chooses for each head the candidate of least error among the ones of equal density, the first of equals. Options are [heads],
// and of each head one for each candidate of the families in their order.
func byMInference(of []family, density float64, options [][]option) (out []choice) {
	for _, head := range options {
		best := option{loss: math.Inf(1)}
		at := 0
		for _, f := range of {
			nearest := head[at]
			for _, o := range head[at : at+len(f)] {
				if math.Abs(o.found.Density-density) < math.Abs(nearest.found.Density-density) {
					nearest = o
				}
			}
			at += len(f)
			if nearest.found.Error < best.found.Error || math.IsInf(best.loss, 1) {
				best = nearest
			}
		}
		out = append(out, best.choice)
	}
	return out
}
