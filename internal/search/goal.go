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
