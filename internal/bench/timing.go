package bench

import (
	"errors"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/minfc/minfc/runtime/device"
)

// contender is one kernel of a comparison.
type contender struct {
	launch   func() error // enqueues one call; inputs rotate from call to call
	estimate float64      // milliseconds of one call
}

// Timing is what the rounds gave for one kernel, in milliseconds a call: median and quartiles.
type Timing struct {
	Median, Low, High float64
	Rounds            int
}

// stopwatch times the device work that f enqueues, in milliseconds, and waits for it.
type stopwatch interface {
	time(f func() error) (float64, error)
}

// plan is how the rounds are run.
type plan struct {
	rounds   int     // exactly so many; 0: as many as the budget allows, from minRounds to maxRounds
	budget   float64 // milliseconds for all rounds
	seed     uint64  // of the order
	progress func(round, rounds int)
}

const (
	minRounds = 3
	maxRounds = 25
	// A sample is at least so long, in milliseconds: shorter ones of a 2 ms kernel strayed by 4% from run to run.
	sampleMS = 10
	// Calls longer than this settle the clocks by themselves; shorter ones get a call before the sample.
	settledMS = 200
	maxCalls  = 100
)

// interleave times the contenders in random order each round. Cards run at their power limit, so a kernel's clocks depend
// on its neighbours: with a fixed order the same kernel comes out up to 10% apart.
func interleave(w stopwatch, list []contender, p plan) ([]Timing, error) {
	order := rand.New(rand.NewPCG(p.seed, 0))
	rounds := p.count(list)
	samples := make([][]float64, len(list))
	for round := range rounds {
		if p.progress != nil {
			p.progress(round, rounds)
		}
		for _, i := range order.Perm(len(list)) {
			ms, err := list[i].sample(w)
			if err != nil {
				return nil, err
			}
			samples[i] = append(samples[i], ms)
		}
	}
	out := make([]Timing, len(list))
	for i, s := range samples {
		slices.Sort(s)
		out[i] = Timing{quantile(s, 0.5), quantile(s, 0.25), quantile(s, 0.75), rounds}
	}
	return out, nil
}

// count is the number of rounds that the budget allows.
func (p plan) count(list []contender) int {
	if p.rounds > 0 {
		return p.rounds
	}
	round := 0.0
	for _, c := range list {
		round += c.estimate * float64(c.calls()+c.settling())
	}
	return int(max(minRounds, min(maxRounds, p.budget/round)))
}

// sample is the time of one call, from several in a row.
func (c contender) sample(w stopwatch) (float64, error) {
	for range c.settling() {
		if err := c.launch(); err != nil {
			return 0, err
		}
	}
	n := c.calls()
	ms, err := w.time(func() error {
		for range n {
			if err := c.launch(); err != nil {
				return err
			}
		}
		return nil
	})
	return ms / float64(n), err
}

func (c contender) calls() int {
	return int(max(1, min(maxCalls, math.Ceil(sampleMS/max(c.estimate, 1e-6)))))
}

func (c contender) settling() int {
	if c.estimate > settledMS {
		return 0
	}
	return 1
}

// quantile interpolates between the sorted samples.
func quantile(sorted []float64, part float64) float64 {
	at := part * float64(len(sorted)-1)
	low := int(at)
	high := min(low+1, len(sorted)-1)
	return sorted[low] + (at-float64(low))*(sorted[high]-sorted[low])
}

// deviceWatch times with events of the stream.
type deviceWatch struct {
	stream      device.Stream
	start, stop device.Event
}

func newWatch(dev device.Device, s device.Stream) (*deviceWatch, error) {
	start, err := dev.NewEvent()
	if err != nil {
		return nil, err
	}
	stop, err := dev.NewEvent()
	if err != nil {
		return nil, errors.Join(err, start.Close())
	}
	return &deviceWatch{s, start, stop}, nil
}

func (w *deviceWatch) time(f func() error) (float64, error) {
	if err := w.start.Record(w.stream); err != nil {
		return 0, err
	}
	if err := f(); err != nil {
		return 0, err
	}
	if err := w.stop.Record(w.stream); err != nil {
		return 0, err
	}
	return w.stop.Since(w.start)
}

func (w *deviceWatch) close() error { return errors.Join(w.start.Close(), w.stop.Close()) }
