package bench

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
)

// fakeWatch counts a kernel's launches and lets time pass as the kernels say.
type fakeWatch struct {
	now   float64
	order []int
}

func (w *fakeWatch) time(f func() error) (float64, error) {
	start := w.now
	err := f()
	return w.now - start, err
}

func (w *fakeWatch) kernels(ms ...float64) (list []contender) {
	for i, d := range ms {
		list = append(list, contender{estimate: d, launch: func() error {
			w.now, w.order = w.now+d, append(w.order, i)
			return nil
		}})
	}
	return list
}

func TestInterleaveTakesMedians(t *testing.T) {
	w := &fakeWatch{}
	list := w.kernels(0.5, 12, 300)
	calls := 0
	slow := list[1].launch
	list[1].launch = func() error { // every fourth call is disturbed
		if calls++; calls%4 == 0 {
			w.now += 100
		}
		return slow()
	}
	timings, err := interleave(w, list, plan{rounds: 9, seed: 1})
	require.NoError(t, err)
	require.InDelta(t, 0.5, timings[0].Median, 1e-9)
	require.InDelta(t, 12, timings[1].Median, 1e-9)
	require.InDelta(t, 300, timings[2].Median, 1e-9)
	require.InDelta(t, 112, timings[1].High, 1e-9, "the upper quartile sees the disturbed half of the samples")
	require.Equal(t, 9, timings[0].Rounds)
}

// turns splits the launches of two kernels of 20 ms, two calls a turn, into rounds: who came first and second.
func turns(order []int) (out [][2]int) {
	for i := 0; i+3 < len(order); i += 4 {
		out = append(out, [2]int{order[i], order[i+2]})
	}
	return out
}

func TestOrderIsRandomButSeeded(t *testing.T) {
	run := func(seed uint64) []int {
		w := &fakeWatch{}
		_, err := interleave(w, w.kernels(20, 20), plan{rounds: 16, seed: seed})
		require.NoError(t, err)
		require.Len(t, w.order, 2*2*16)
		return w.order
	}
	first := run(1)
	require.Equal(t, first, run(1), "the same seed gives the same order")
	require.NotEqual(t, first, run(2))
	begins := [2]int{}
	for _, turn := range turns(first) {
		require.NotEqual(t, turn[0], turn[1], "every kernel has its turn in each round")
		begins[turn[0]]++
	}
	require.Greater(t, begins[0], 2, "both kernels begin rounds")
	require.Greater(t, begins[1], 2, "both kernels begin rounds")
}

func TestRoundsFollowTheBudget(t *testing.T) {
	for _, c := range []struct {
		plan plan
		ms   []float64
		want int
	}{
		{plan{rounds: 7, budget: 1}, []float64{1000}, 7},
		{plan{budget: 15e3}, []float64{1}, maxRounds},
		{plan{budget: 15e3}, []float64{24e3, 60}, minRounds}, // a million tokens, many heads
		{plan{budget: 15e3}, []float64{1000, 500}, 10},
	} {
		w := &fakeWatch{}
		require.Equal(t, c.want, c.plan.count(w.kernels(c.ms...)), "%v", c.ms)
	}
}

func TestInterleaveStopsAtAnError(t *testing.T) {
	broken := errors.New("launch failed")
	w := &fakeWatch{}
	list := append(w.kernels(1), contender{estimate: 1, launch: func() error { return broken }})
	_, err := interleave(w, list, plan{rounds: 5})
	require.ErrorIs(t, err, broken)
}
