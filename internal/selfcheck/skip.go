package selfcheck

import "math"

// skipped widens what is open about a row by what a skip of that share may leave out (ir.Skip): any of the keys whose weight is below the
// share of the largest weight, as far as float32 can tell. keys are the row's contenders. A skip that leaves out the mass e of all, whose
// values have the mean s, moves an output o by e/(1-e) (o - s), and the log-sum-exp by ln(1-e).
func (d doubt) skipped(keys []contender, share float64) doubt {
	top, total := math.Inf(-1), 0.0
	for _, k := range keys {
		top = max(top, k.logit+k.step)
	}
	gone, n := 0.0, len(d.low)
	least, most := make([]float64, n), make([]float64, n)
	for _, k := range keys {
		w := math.Exp(k.logit - top)
		total += w
		if k.logit-k.step >= top+math.Log(share)+skipStep {
			continue
		}
		if gone += w; gone == w {
			fill(least, math.Inf(1))
			fill(most, math.Inf(-1))
		}
		for i, v := range k.v {
			least[i], most[i] = min(least[i], float64(v)), max(most[i], float64(v))
		}
	}
	if gone == 0 {
		return d
	}
	e := gone / total
	out := doubt{make([]float64, n), make([]float64, n), d.lowLSE + math.Log1p(-e), d.highLSE}
	for i := range n {
		out.low[i] = d.low[i] + min(0, e/(1-e)*(d.low[i]-most[i]))
		out.high[i] = d.high[i] + max(0, e/(1-e)*(d.high[i]-least[i]))
	}
	return out
}

// skipStep is how far kernels may be off where they compare a score with a maximum, in nats: both are rounded to 2^-11 in the log2 domain
// where they are largest.
const skipStep = 0x1p-9

func fill(to []float64, v float64) {
	for i := range to {
		to[i] = v
	}
}
