package search

import (
	"cmp"
	"slices"
)

// step is a step of a head along its hull.
type step struct {
	head  int // over all layers
	to    int // of the hull
	cost  float64
	saved float64
}

// steps are the steps of all heads, the ones that buy most for their cost first. Steps of a head come in their order, because its hull is
// convex; equal steps of several heads come in the order of the heads.
func steps(hulls [][]option) (out []step) {
	for h, of := range hulls {
		for i := 1; i < len(of); i++ {
			out = append(out, step{h, i, of[i].cost - of[i-1].cost, of[i-1].loss - of[i].loss})
		}
	}
	slices.SortStableFunc(out, func(a, b step) int {
		return cmp.Or(cmp.Compare(b.saved*a.cost, a.saved*b.cost), cmp.Compare(a.head, b.head), cmp.Compare(a.to, b.to))
	})
	return out
}

// slack is what rounding may add to a sum that meets its limit.
const slack = 1e-9

// spend takes steps as long as their cost leaves the sum within the limit, from the cheapest option of every head on. A step that has no room
// ends its head; smaller ones of other heads may still have room. It returns the place of each head on its hull. No choice among hulls of
// this or a smaller cost has less loss, unless a step had no room: then it has at most as much less as that step would have saved.
func spend(hulls [][]option, limit float64) []int {
	at, sum := make([]int, len(hulls)), cheapest(hulls)
	for _, s := range steps(hulls) {
		if at[s.head] == s.to-1 && sum+s.cost <= limit*(1+slack) {
			at[s.head], sum = s.to, sum+s.cost
		}
	}
	return at
}

// reach takes steps until the losses add up to no more than the limit.
func reach(hulls [][]option, limit float64) []int {
	at, sum := make([]int, len(hulls)), 0.0
	for _, of := range hulls {
		sum += of[0].loss
	}
	for _, s := range steps(hulls) {
		if sum <= limit*(1+slack) {
			break
		}
		at[s.head], sum = s.to, sum-s.saved
	}
	return at
}

// cheapest is the least that all heads can cost.
func cheapest(hulls [][]option) (sum float64) {
	for _, of := range hulls {
		sum += of[0].cost
	}
	return sum
}
