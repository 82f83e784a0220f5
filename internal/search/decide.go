package search

import (
	"math"
	"slices"
	"strconv"

	"github.com/minfc/minfc/plan"
)

// Result is the plan that was found, with what is expected of it.
type Result struct {
	Plan       *plan.Plan
	Outcome            // what is expected of the plan
	Ungated    Outcome // and of the plan that would be chosen without the gate
	Candidates int
	Rows       int // sampled, of each head
	Needles    int // heads with retrieval rows
	Refused    int // candidates that the gate refused, over all heads
	Ran        *Ran
}

// Outcome is what is expected of all heads together.
type Outcome struct {
	plan.Total
	Mass   float64 // mean over the heads of the kept part of attention
	Lost   float64 // part of what retrieval rows look at that is lost, by mass
	layers [][]choice
}

// weigh fills in what the square of each head's error counts, [layers * heads], 1 on average: the head's weight times its part of the output
// of its layer, because a layer's heads are added up.
func (s *searcher) weigh() {
	s.counts = nil
	sum := 0.0
	for layer, power := range s.power {
		all := 0.0
		for _, x := range power {
			all += x
		}
		for h, x := range power {
			part := 1.0
			if all > 0 {
				part = x * float64(len(power)) / all
			}
			s.counts = append(s.counts, part*s.Weights.of(layer, h))
			sum += s.counts[len(s.counts)-1]
		}
	}
	for i := range s.counts {
		if sum > 0 {
			s.counts[i] *= float64(len(s.counts)) / sum
		}
	}
}

// decide chooses a candidate for every head.
func (s *searcher) decide() (*Result, error) {
	s.weigh()
	r := &Result{Candidates: len(s.list), Rows: s.rows.rows()}
	var err error
	switch s.Rule {
	case MInference:
		r.Outcome, err = s.outcome(byMInference(s.of, s.Goal.Limit, s.afterDense()))
		r.Ungated = r.Outcome
	case Given:
		r.Outcome, err = s.outcome(s.given())
		r.Ungated = r.Outcome
	default:
		if r.Outcome, err = s.allocate(true); err == nil {
			r.Ungated, err = s.allocate(false)
		}
	}
	if err != nil {
		return nil, err
	}
	for h, n := range s.needles {
		if n > 0 {
			r.Needles++
		}
		if refused := s.refusals(h); refused > 0 && s.Rule == Allocate {
			r.Refused += refused
			r.Gated++
		}
	}
	r.Plan = s.plan(r.Outcome)
	return r, nil
}

// afterDense are the options of MInference's candidates alone.
func (s *searcher) afterDense() [][]option {
	var out [][]option
	for _, o := range s.options {
		out = append(out, o[1:])
	}
	return out
}

// passes says whether the gate leaves an option to its head.
func (s *searcher) passes(o option) bool { return o.lost <= s.Gate+slack }

// refusals is how many candidates of a head the gate refuses.
func (s *searcher) refusals(head int) (n int) {
	for _, o := range s.options[head] {
		if !s.passes(o) {
			n++
		}
	}
	return n
}

// hulls are the options of all heads that count, with the gate or without.
func (s *searcher) hulls(gated bool) [][]option {
	var out [][]option
	for i, options := range s.options {
		var own []option
		for _, o := range options {
			low := i < s.Floor.Layers*s.Source.Shape.QHeads && o.found.Density < s.Floor.Density*(1-slack)
			if low || gated && !s.passes(o) {
				continue
			}
			o.cost, o.loss = s.Goal.cost(o.found), s.counts[i]*o.found.Error*o.found.Error
			own = append(own, o)
		}
		out = append(out, hull(own))
	}
	return out
}

// allocate spends what the goal allows.
func (s *searcher) allocate(gated bool) (Outcome, error) {
	hulls := s.hulls(gated)
	if s.Goal.By == Error {
		return s.outcome(taken(hulls, reach(hulls, s.Goal.Limit*s.Goal.Limit*float64(len(hulls)))))
	}
	limit := s.Goal.Limit * float64(len(hulls))
	if s.Goal.By == Time {
		if limit = s.Goal.Limit; s.Goal.Relative {
			limit *= s.denseMillis()
		}
	}
	// What index stages cost a layer is known when it is known which heads share one: where a time turns out too long, there is less to spend.
	for spendable := limit; ; {
		if cheapest(hulls) > spendable*(1+slack) {
			return Outcome{}, s.tooLittle(hulls)
		}
		o, err := s.outcome(taken(hulls, spend(hulls, spendable)))
		if err != nil || s.Goal.By != Time || o.Millis <= limit*(1+slack) {
			return o, err
		}
		spendable -= o.Millis - limit
	}
}

func taken(hulls [][]option, at []int) (out []choice) {
	for h, i := range at {
		out = append(out, hulls[h][i].choice)
	}
	return out
}

// denseMillis is the predicted time of dense attention in all heads.
func (s *searcher) denseMillis() (sum float64) {
	for _, options := range s.options {
		sum += options[0].found.Millis // of all candidates dense attention is the first
	}
	return sum + float64(s.Source.Layers)*s.Machine.LaunchMicros/1e3
}

// outcome adds up what is expected of a choice for every head.
func (s *searcher) outcome(all []choice) (o Outcome, err error) {
	n, loss, lost, looked := float64(len(all)), 0.0, 0.0, 0.0
	for i, c := range all {
		loss += s.counts[i] * c.found.Error * c.found.Error
		lost, looked = lost+c.lost*s.needles[i], looked+s.needles[i]
		o.Density, o.Mass = o.Density+c.found.Density/n, o.Mass+c.mass/n
	}
	if looked > 0 {
		o.Lost = lost / looked
	}
	o.Error, o.DenseMillis = math.Sqrt(loss/n), s.denseMillis()
	o.layers = slices.Collect(slices.Chunk(all, s.Source.Shape.QHeads))
	for _, layer := range o.layers {
		ms, err := s.kernels.layerMillis(layer)
		if err != nil {
			return o, err
		}
		o.Millis += ms
	}
	return o, nil
}

// plan writes what the heads run.
func (s *searcher) plan(o Outcome) *plan.Plan {
	p := &plan.Plan{Model: s.Model, Default: s.Patterns.Known.DefaultHead(), Search: &plan.Total{Density: short(o.Density), Millis: short(o.Millis),
		DenseMillis: short(o.DenseMillis), Error: short(o.Error), Gated: o.Gated}}
	for _, layer := range o.layers {
		own := plan.Layer{}
		for h, c := range layer {
			head := c.of.Head
			head.Score, head.Found = short(c.mass), &plan.Found{Density: short(c.found.Density), Millis: short(c.found.Millis), Error: short(c.found.Error)}
			own[h] = head
		}
		p.Layers = append(p.Layers, own)
	}
	return p
}

// short rounds to six digits, for people.
func short(x float64) float64 {
	out, err := strconv.ParseFloat(strconv.FormatFloat(x, 'g', 6, 64), 64)
	if err != nil {
		return x
	}
	return out
}
