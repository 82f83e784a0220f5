package search

import (
	"fmt"
	"math"
)

// tooLittle is the error of a goal that nothing meets; it names the nearest one.
func (s *searcher) tooLittle(hulls [][]option) error {
	o, err := s.outcome(taken(hulls, make([]int, len(hulls))))
	if err != nil {
		return err
	}
	nearest := fmt.Sprintf("the least density is %s", upwards(o.Density))
	asked := fmt.Sprintf("the density %v", s.Goal.Limit)
	if s.Goal.By == Time {
		nearest = fmt.Sprintf("the least time is %s ms, or %sx", upwards(o.Millis), upwards(o.Millis/o.DenseMillis))
		asked = fmt.Sprintf("the time of %v ms", s.Goal.Limit)
		if s.Goal.Relative {
			asked = fmt.Sprintf("%vx the time of dense attention", s.Goal.Limit)
		}
	}
	advice := "ask for that, or give smaller candidates with --candidates"
	gated := 0
	for h := range s.options {
		if s.refusals(h) > 0 {
			gated++
		}
	}
	if gated > 0 {
		advice += fmt.Sprintf("; the gate refuses candidates of %d of %d heads, --gate allows more", gated, len(s.options))
	}
	if s.Floor.Layers > 0 {
		advice += fmt.Sprintf("; the floor holds %d layers at a density of %v", s.Floor.Layers, s.Floor.Density)
	}
	return fmt.Errorf("no plan keeps to %s: %s; %s", asked, nearest, advice)
}

// upwards writes a number with four digits, rounded up so that asking for it is enough.
func upwards(x float64) string {
	if x <= 0 || !finite(x) {
		return fmt.Sprint(x)
	}
	digits := math.Pow(10, 3-math.Floor(math.Log10(x)))
	return fmt.Sprintf("%.4g", math.Ceil(x*digits-slack)/digits)
}
