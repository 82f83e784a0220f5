package search

import (
	"fmt"
	"math"

	"github.com/minfc/minfc/plan"
)

// Measure is what a goal limits.
type Measure string

// The measures.
const (
	Density Measure = "density" // mean over the heads of kept over causal pairs
	Time    Measure = "time"    // predicted milliseconds of all layers
	Error   Measure = "error"   // root of the weighted mean square of the heads' errors
)

// Goal is what a plan has to keep to: a density or a time that it may take, spent where it buys most, or an error, reached in the least time.
type Goal struct {
	By       Measure
	Limit    float64
	Relative bool // of a time: the limit is a part of the time of dense attention
}

func (g Goal) check() error {
	switch {
	case g.By != Density && g.By != Time && g.By != Error:
		return fmt.Errorf("there is no goal, want a density, a time or an error")
	case !(g.Limit > 0) && g.By != Error || !(g.Limit >= 0) || math.IsInf(g.Limit, 0):
		return fmt.Errorf("the %s to keep to is %v, want a number above 0", g.By, g.Limit)
	case g.By == Density && g.Limit > 1:
		return fmt.Errorf("the density to keep to is %v, want at most 1: dense attention keeps all causal pairs", g.Limit)
	}
	return nil
}

// cost is what a choice takes of what the goal limits: reaching an error is to take little time.
func (g Goal) cost(f plan.Found) float64 {
	if g.By == Density {
		return f.Density
	}
	return f.Millis
}

// Weights say how much the error of a head counts beside other heads whose outputs are as large, [layers][heads]; none is below 0.
type Weights [][]float64

// of is the weight of a head; without weights all are alike.
func (w Weights) of(layer, head int) float64 {
	if w == nil {
		return 1
	}
	return w[layer][head]
}

func (w Weights) check(layers, heads int) error {
	if w == nil {
		return nil
	}
	if len(w) != layers {
		return fmt.Errorf("there are weights of %d layers, the inputs have %d", len(w), layers)
	}
	some := false
	for i, layer := range w {
		if len(layer) != heads {
			return fmt.Errorf("layer %d has %d weights, the inputs have %d query heads", i, len(layer), heads)
		}
		for h, x := range layer {
			if !(x >= 0) || math.IsInf(x, 0) {
				return fmt.Errorf("layer %d, head %d: the weight is %v, want a number of at least 0", i, h, x)
			}
			some = some || x > 0
		}
	}
	if !some {
		return fmt.Errorf("all weights are 0: every plan would be as good")
	}
	return nil
}
