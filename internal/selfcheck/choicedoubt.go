package selfcheck

import (
	"math"
	"slices"

	"github.com/minfc/minfc/ir"
)

// ranges are what float32 leaves open about the values of a choice: each is in [low, high].
type ranges struct{ low, high []float64 }

// doubtless is the largest step of a logit up to which the tolerances of ties cover what float32 leaves open: errors of sums of
// probabilities are far below the largest possible error of one logit.
const doubtless = 1e-3

func noRanges() ranges { return ranges{} }

// mayExceed says whether float32 may find value i no smaller than value j.
func (r ranges) mayExceed(i, j int) bool {
	return valueOf(r.high, i)*(1+valueTie)+tinyTie >= valueOf(r.low, j)
}

// valueRanges are the ranges of the sums of probabilities that the Select called name chooses from, or of their means over several heads. There
// are none for other values, nor where the tolerances of ties cover the ranges.
func valueRanges(index []ir.IndexDef, name string, values map[string]int64, heads []ir.HeadInputs[float32]) (r ranges) {
	in, part := heads[0], 1/float64(len(heads))
	sum, rows, err := probed(index, name, values, in.Sq)
	if err != nil || rows == nil {
		return r
	}
	n, run := in.QOffset+in.Sq, ir.RunSize(index, name, values)
	if sum.Over == ir.OverQueries {
		n = min(in.Sk, n)
	}
	n = (n + run - 1) / run
	r = ranges{make([]float64, n), make([]float64, n)}
	worst := 0.0
	for _, head := range heads {
		for _, i := range rows {
			p := probabilities(head, i)
			worst = max(worst, p.step)
			for k := range p.low {
				at := k
				if sum.Over != ir.OverQueries {
					at = (in.QOffset + i - k) / run
				}
				r.low[at], r.high[at] = r.low[at]+part*p.low[k], r.high[at]+part*p.high[k]
			}
		}
	}
	if worst <= doubtless {
		return ranges{}
	}
	return r
}

// alike says of two columns, distances or runs of distances whether the same numbers are added up for both, whatever the arithmetic: every
// row of each head gives all keys the same logit, because the query is 0 or all keys are equal, and the same rows of the probe see both.
// Other values that are equal in float64 may be sums of different numbers, whose order in float32 is rounding.
func alike(index []ir.IndexDef, name string, values map[string]int64, heads []ir.HeadInputs[float32]) func(a, b int) bool {
	in := heads[0]
	sum, rows, err := probed(index, name, values, in.Sq)
	other := func(head ir.HeadInputs[float32]) bool { return !uniform(head) }
	if err != nil || rows == nil || slices.ContainsFunc(heads, other) {
		return notAlike
	}
	sees := func(row, member int) bool {
		key := member
		if sum.Over != ir.OverQueries {
			key = in.QOffset + row - member
		}
		return 0 <= key && key < min(in.Sk, in.QOffset+row+1)
	}
	run := ir.RunSize(index, name, values)
	return func(a, b int) bool {
		return !slices.ContainsFunc(rows, func(row int) bool {
			for i := range run {
				if sees(row, a*run+i) != sees(row, b*run+i) {
					return true
				}
			}
			return false
		})
	}
}

func notAlike(_, _ int) bool { return false }

// uniform says whether all logits of a row are products of the same numbers.
func uniform(in ir.HeadInputs[float32]) bool {
	zero := !slices.ContainsFunc(in.Q, func(x float32) bool { return x != 0 })
	return zero && !slices.ContainsFunc(in.K, func(x float32) bool { return !finite(float64(x)) }) ||
		len(in.K) > 0 && slices.Equal(in.K[in.D:], in.K[:len(in.K)-in.D])
}

// probed finds the sum that a Select chooses from and the query rows of its probe; rows is nil for choices from anything else.
func probed(index []ir.IndexDef, name string, values map[string]int64, sq int) (sum ir.Sum, rows []int, err error) {
	def := map[string]ir.Index{}
	for _, d := range index {
		def[d.Name] = d.Value
	}
	of, _ := def[name].(ir.Select)
	sum, _ = def[of.Of].(ir.Sum)
	softmax, _ := def[sum.Of].(ir.Softmax)
	probe, ok := def[softmax.Of].(ir.Probe)
	if !ok {
		return sum, nil, nil
	}
	first, by := 0, 1
	if probe.Last != nil {
		n, err := probe.Last.Eval(values)
		if err != nil {
			return sum, nil, err
		}
		first = max(0, sq-int(n))
	} else {
		n, err := probe.Stride.Eval(values)
		if err != nil {
			return sum, nil, err
		}
		by = max(1, int(n))
	}
	for i := first; i < sq; i += by {
		rows = append(rows, i)
	}
	return sum, rows, nil
}

// rowRanges are ranges of the probabilities of one query row; step is the largest error of a logit that matters.
type rowRanges struct {
	ranges
	step float64
}

// probabilities is the softmax of query row i over the keys that it may see. Products that float32 cannot hold leave everything open.
func probabilities(in ir.HeadInputs[float32], i int) rowRanges {
	n, d := min(in.Sk, in.QOffset+i+1), in.D
	logits, steps := make([]float64, n), make([]float64, n)
	certain := math.Inf(-1)
	for k := range n {
		s, absolute := product(in.Q[i*d:][:d], in.K[k*d:][:d])
		if !finite(s) { // as good as masked
			logits[k] = math.Inf(-1)
			continue
		}
		logits[k], steps[k] = in.Scale*s, stepOf(d, absolute, in.Scale)
		if absolute*max(1, in.Scale*math.Log2E) > math.MaxFloat32 {
			steps[k] = math.Inf(1)
		}
		certain = max(certain, logits[k]-steps[k])
	}
	p := rowRanges{ranges: ranges{make([]float64, n), make([]float64, n)}}
	shifted := func(sign float64) []float64 {
		out := make([]float64, n)
		for k := range out {
			if out[k] = logits[k] + sign*steps[k]; math.IsNaN(out[k]) {
				out[k] = math.Inf(-1)
			}
		}
		return out
	}
	low, high := shifted(-1), shifted(1)
	for k := range n {
		if high[k] >= certain-20 {
			p.step = max(p.step, steps[k])
		}
	}
	mostOthers, leastOthers := logSumOthers(high), logSumOthers(low)
	for k := range n {
		p.low[k], p.high[k] = share(low[k], mostOthers[k]), share(high[k], leastOthers[k])
	}
	return p
}

// share is the softmax of a logit beside others, given the log-sum-exp of the others.
func share(logit, others float64) float64 {
	switch {
	case math.IsInf(logit, -1):
		return 0
	case logit == others: // infinite ones as well
		return 0.5
	}
	return 1 / (1 + math.Exp(others-logit))
}

// logSumOthers is, for each logit, the log-sum-exp of all others.
func logSumOthers(logits []float64) []float64 {
	top := 0
	for k, x := range logits {
		if x > logits[top] {
			top = k
		}
	}
	out, rest := make([]float64, len(logits)), logSumWithout(logits, top)
	for k, x := range logits {
		switch highest := logits[top]; {
		case k == top:
			out[k] = rest
		case math.IsInf(highest, 0):
			out[k] = highest
		default: // the others have the largest one: nothing cancels
			out[k] = highest + math.Log(max(1, 1+math.Exp(rest-highest)-math.Exp(x-highest)))
		}
	}
	return out
}

// logSumWithout is the log-sum-exp of all logits but one.
func logSumWithout(logits []float64, one int) float64 {
	highest, sum := math.Inf(-1), 0.0
	for k, x := range logits {
		if k != one {
			highest = max(highest, x)
		}
	}
	if math.IsInf(highest, 0) {
		return highest
	}
	for k, x := range logits {
		if k != one {
			sum += math.Exp(x - highest)
		}
	}
	return highest + math.Log(sum)
}
