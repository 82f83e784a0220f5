package search

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// randomHeads are heads with options of random costs and losses, some of them equal; one of each head has no loss, as dense attention has.
func randomHeads(rng *rand.Rand, heads, options int) [][]option {
	out := make([][]option, heads)
	for h := range out {
		for range options {
			out[h] = append(out[h], option{cost: float64(1 + rng.IntN(9)), loss: float64(rng.IntN(12))})
		}
		out[h] = append(out[h], option{cost: 10, loss: 0})
	}
	return out
}

// best is the least loss of all choices that cost no more than the limit, found by trying all.
func best(heads [][]option, limit float64) float64 {
	if len(heads) == 0 {
		if limit < 0 {
			return math.Inf(1)
		}
		return 0
	}
	least := math.Inf(1)
	for _, o := range heads[0] {
		least = min(least, o.loss+best(heads[1:], limit-o.cost))
	}
	return least
}

func sums(hulls [][]option, at []int) (cost, loss float64) {
	for h, i := range at {
		cost, loss = cost+hulls[h][i].cost, loss+hulls[h][i].loss
	}
	return cost, loss
}

// TestHullIsConvex: costs rise, losses fall, each step buys less for its cost, and no option lies below.
func TestHullIsConvex(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		options := randomHeads(rng, 1, rng.IntN(9))[0]
		h := hull(options)
		require.NotEmpty(t, h)
		for i := 1; i < len(h); i++ {
			require.Greater(t, h[i].cost, h[i-1].cost)
			require.Less(t, h[i].loss, h[i-1].loss)
			if i > 1 {
				require.True(t, steeper(h[i-2], h[i-1], h[i]))
			}
		}
		for _, o := range options {
			require.GreaterOrEqual(t, o.cost, h[0].cost)
			for i := 1; i < len(h); i++ {
				if a, b := h[i-1], h[i]; a.cost <= o.cost && o.cost <= b.cost {
					line := a.loss + (b.loss-a.loss)*(o.cost-a.cost)/(b.cost-a.cost)
					require.GreaterOrEqual(t, o.loss, line-1e-9)
				}
			}
		}
	}
}

// TestSpendingIsBest: what was spent buys as much as any choice of the same cost does, found by trying all; and what is left over of a budget is
// less than the step would have cost that had no room.
func TestSpendingIsBest(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for range 400 {
		heads := randomHeads(rng, 1+rng.IntN(4), 1+rng.IntN(4))
		hulls := make([][]option, len(heads))
		for h := range heads {
			hulls[h] = hull(heads[h])
		}
		order := steps(hulls)
		cost, loss := sums(hulls, make([]int, len(hulls)))
		require.InDelta(t, best(heads, cost), loss, 1e-9, "nothing is cheaper than the cheapest")
		for _, s := range order { // every prefix of the steps is best
			cost, loss = cost+s.cost, loss-s.saved
			require.InDelta(t, best(heads, cost), loss, 1e-9)
			gotCost, gotLoss := sums(hulls, spend(hulls, cost))
			require.InDelta(t, cost, gotCost, 1e-9)
			require.InDelta(t, loss, gotLoss, 1e-9)
			require.Equal(t, spend(hulls, cost), reach(hulls, loss), "the other goal takes the same steps")
		}
		limit := cheapest(hulls) + float64(rng.IntN(20))
		gotCost, gotLoss := sums(hulls, spend(hulls, limit))
		require.LessOrEqual(t, gotCost, limit+1e-9)
		most := 0.0
		for _, s := range order {
			most = max(most, s.saved)
		}
		require.LessOrEqual(t, gotLoss, best(heads, limit)+most+1e-9)
	}
}

// TestEqualStepsTakeTurnsByHead: what is taken does not depend on anything but the order of the heads.
func TestEqualStepsTakeTurnsByHead(t *testing.T) {
	one := []option{{cost: 1, loss: 4}, {cost: 2, loss: 2}, {cost: 4, loss: 0}}
	hulls := [][]option{hull(one), hull(one), hull(one)}
	require.Equal(t, []int{1, 1, 0}, spend(hulls, 5))
	require.Equal(t, []int{2, 1, 1}, spend(hulls, 8))
	require.Equal(t, []int{2, 2, 2}, spend(hulls, 100))
}
