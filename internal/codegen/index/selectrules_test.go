package index

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sort"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/internal/campaign"
	"github.com/minfc/minfc/ir"
	"github.com/minfc/minfc/runtime/device"
)

// ruled is a selection by a rule other than a number; budget, most and least are by q head.
type ruled struct {
	selection
	rule  ir.Rule
	most  []int32
	least []int32 // nil: none
}

// massUnit suits values that sum to less than 2^20.
const massUnit = 32

func (s ruled) args(b listBench, job string) (listArgs, func() []uint32) {
	a, read := s.selection.args(b, job)
	a[job+"_most"], a[job+"_least"], a[job+"_unit"] = words(b, s.most), device.Ptr(0), massUnit
	if s.least != nil {
		a[job+"_least"] = words(b, s.least)
	}
	return a, read
}

// value is what candidate i of a head is worth.
func (s ruled) value(head, i int) float64 {
	return float64(max(s.values[head][i], 0))
}

// order lists the candidates as they are chosen: forced ones, then the others by falling value.
func (s ruled) order(head int) (order []int, forced int) {
	free := []int{}
	for i := range s.n {
		if i < s.first || i >= s.n-s.last {
			order = append(order, i)
		} else {
			free = append(free, i)
		}
	}
	sort.SliceStable(free, func(a, b int) bool { return s.value(head, free[a]) > s.value(head, free[b]) })
	return append(order, free...), len(order)
}

// check holds the bitmap of one head against the definition. A mass may be missed by rounding.
func (s ruled) check(t *testing.T, head int, bits []uint32) {
	order, forced := s.order(head)
	var got []int
	for i := range 32 * len(bits) {
		if bits[i/32]>>(i%32)&1 == 1 {
			got = append(got, i)
		}
	}
	want := slices.Clone(order[:min(len(got), len(order))])
	slices.Sort(want)
	require.True(t, slices.Equal(want, got), "head %d: the %d chosen are not the best", head, len(got))
	limit := min(max(int(s.most[head%len(s.most)]), forced), s.n)
	b := bounds{forced: forced, least: forced, limit: limit}
	if s.least != nil {
		b.least = min(max(int(s.least[head%len(s.least)]), forced), limit)
	}
	switch s.rule {
	case ir.Above:
		s.checkFrom(t, head, order, b, len(got), float64(math.Float32frombits(uint32(s.budget[head%len(s.budget)]))))
		return
	case ir.NearMax:
		s.checkFrom(t, head, order, b, len(got), s.near(head))
		return
	}
	s.checkMass(t, head, order, b, len(got))
}

// bounds are how many candidates are forced, and how many are chosen at least and at most.
type bounds struct{ forced, least, limit int }

// near is the smallest value that is near the largest one, in float32.
func (s ruled) near(head int) float64 {
	most := float32(0)
	for i := range s.n {
		most = max(most, float32(s.value(head, i)))
	}
	near := most * math.Float32frombits(uint32(s.budget[head%len(s.budget)]))
	return float64(max(near, math.SmallestNonzeroFloat32))
}

// checkFrom wants the values from the smallest one on, within the bounds.
func (s ruled) checkFrom(t *testing.T, head int, order []int, b bounds, got int, smallest float64) {
	want := b.forced
	for want < s.n && s.value(head, order[want]) >= smallest {
		want++
	}
	require.Equal(t, min(max(want, b.least), b.limit), got, "head %d", head)
}

// checkMass wants the smallest number within the bounds whose mass reaches the share, up to a part in 10,000 of all mass.
func (s ruled) checkMass(t *testing.T, head int, order []int, b bounds, got int) {
	total := 0.0
	for i := range s.n {
		total += s.value(head, i)
	}
	mass := func(n int) (sum float64) {
		for _, i := range order[:n] {
			sum += s.value(head, i)
		}
		return sum
	}
	goal, slack := float64(s.budget[head%len(s.budget)])/1000*total, 1e-4*total
	require.LessOrEqual(t, got, b.limit, "head %d", head)
	require.GreaterOrEqual(t, got, b.least, "head %d", head)
	if got < b.limit {
		require.GreaterOrEqual(t, mass(got), goal-slack, "head %d: %d of %d", head, got, s.n)
	}
	if got > b.least {
		require.Less(t, mass(got-1), goal+slack, "head %d: %d of %d", head, got, s.n)
		require.Positive(t, s.value(head, order[got-1]), "head %d: what has no mass is chosen", head)
	}
}

// massKinds are the values of candidateKinds that a sum of probabilities can have.
var massKinds = []string{"uniform", "zero", "few", "close", "steep", "one"}

func init() {
	candidateKinds["steep"] = func(rng *rand.Rand) float32 { return float32(math.Exp(-12 * rng.Float64())) }
	candidateKinds["one"] = func(rng *rand.Rand) float32 { return max(0, float32(rng.IntN(300))-298) }
}

func randomRuled(rng *rand.Rand, rule ir.Rule, kind string, batch, hq, n int) ruled {
	s := ruled{selection: randomSelection(rng, candidateKinds[kind], batch, hq, n), rule: rule}
	if rng.IntN(2) == 0 {
		s.first, s.last = 0, 0
	}
	s.budget = nil
	bounded := rng.IntN(2) == 0
	for range hq {
		s.most = append(s.most, int32([]int{n, 1 << 30, 0, rng.IntN(n + 1)}[rng.IntN(4)]))
		if bounded {
			s.least = append(s.least, int32([]int{n, 1 << 30, 0, rng.IntN(n + 1), rng.IntN(min(n, 9) + 1)}[rng.IntN(5)]))
		}
		share := []int{1, 500, 900, 950, 999, 1000, 1 + rng.IntN(1000)}[rng.IntN(7)]
		switch rule {
		case ir.TopP:
			s.budget = append(s.budget, int32(share))
		case ir.NearMax:
			s.budget = append(s.budget, int32(math.Float32bits(float32(share)/1000)))
		default:
			s.budget = append(s.budget, max(1, int32(math.Float32bits([]float32{0, 0.5, 1, 2, 1.00001, rng.Float32()}[rng.IntN(6)]))))
		}
	}
	return s
}

// TestSelectByRule compares masses and thresholds with the definition, with and without limits, two jobs at a time.
func TestSelectByRule(t *testing.T) {
	mass, err := SelectMass(false)
	benches := map[ir.Rule]listBench{ir.TopP: newListBench(t, mass, err)}
	above, err := SelectAbove(false)
	benches[ir.Above] = newListBench(t, above, err)
	near, err := SelectNear(false)
	benches[ir.NearMax] = newListBench(t, near, err)
	rng := rand.New(rand.NewPCG(7, 2))
	for r, rule := range []ir.Rule{ir.TopP, ir.Above, ir.NearMax} {
		for i, kind := range massKinds {
			for j, n := range []int{1, 65, 1000, 31, 4099, 20001}[:campaign.Few(3, 6)] {
				if (r+i+j)%campaign.Few(2, 1) != 0 { // with -short kinds have every length by one of the rules
					continue
				}
				t.Run(fmt.Sprintf("%d/%s/%d", rule, kind, n), func(t *testing.T) {
					x, y := randomRuled(rng, rule, kind, 1+n%2, 2, n), randomRuled(rng, rule, kind, 1+n%2, 2, n/2+1)
					b := benches[rule]
					a, readX := x.args(b, "a")
					more, readY := y.args(b, "b")
					for name, v := range more {
						a[name] = v
					}
					b.launch(len(x.values), 2, a)
					for i, s := range []ruled{x, y} {
						got := [][]uint32{readX(), readY()}[i]
						for h := range s.values {
							s.check(t, h, got[h*s.stride/32:][:s.stride/32])
						}
					}
				})
			}
		}
	}
}
