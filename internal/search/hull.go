package search

import (
	"cmp"
	"slices"

	"github.com/minfc/minfc/plan"
)

// choice is a candidate for one head with what is expected of it, over all samples.
type choice struct {
	of    candidate
	found plan.Found
	mass  float64 // kept part of attention
	lost  float64 // part of what the head's retrieval rows look at that is lost, by mass; 0 where there are none
}

// option is a choice with its place in an allocation.
type option struct {
	choice
	cost float64 // in what the budget counts
	loss float64 // what is to be small: the weighted square of the error
}

// hull is the lower convex hull of the options of a head: from the cheapest on, each dearer than the one before and better, and each step buys
// less for its cost than the step before. Of equal options the first counts.
func hull(options []option) (out []option) {
	sorted := slices.Clone(options)
	slices.SortStableFunc(sorted, func(a, b option) int { return cmp.Or(cmp.Compare(a.cost, b.cost), cmp.Compare(a.loss, b.loss)) })
	for _, o := range sorted {
		if len(out) > 0 && o.loss >= out[len(out)-1].loss {
			continue
		}
		for len(out) > 1 && !steeper(out[len(out)-2], out[len(out)-1], o) {
			out = out[:len(out)-1]
		}
		out = append(out, o)
	}
	return out
}

// steeper says whether the step from a to b buys more for its cost than the step from b to c.
func steeper(a, b, c option) bool {
	return (a.loss-b.loss)*(c.cost-b.cost) > (b.loss-c.loss)*(b.cost-a.cost)
}
