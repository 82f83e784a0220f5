package selfcheck

import (
	"math"

	"github.com/minfc/minfc/ir"
)

// doubt is what float32 leaves open about a row: ranges of its output [D] and its log-sum-exp.
type doubt struct {
	low, high       []float64
	lowLSE, highLSE float64
}

// contender is a kept key of a row. A kernel that computes in float32 finds its logit in [logit-step, logit+step].
type contender struct {
	logit, step float64
	v           []float32
}

// A kernel sums D exact products q[i] k[i] in steps of at most 16: each aligns 16 products and the sum so far to the largest of
// them and cuts off what is below 2^-23 of it. With A, the sum of |q[i] k[i]|, none is larger than A, so that D+D/16 cuts are an
// error of (D+D/16) 2^-23 A. Eight more are for the rounded scale, the product with it, the way to base 2 and back, and differences.
const (
	cut      = 0x1p-23
	smallest = 0x1p-126 // products below may be lost
)

// stepOf is the error of a logit in float32, given the sum of |q[i] k[i]| over d elements.
func stepOf(d int, absolute, scale float64) float64 {
	return math.Abs(scale) * (float64(d+d/16+8)*cut*absolute + float64(d)*smallest)
}

// contenders are the kept keys of the row that have a weight, and whether float32 can hold all products.
func (x outcome) contenders() (out []contender, known bool) {
	ref, d := x.ref, x.ref.D
	q := ref.Q[x.row*d:][:d]
	for j := range ref.Sk {
		if !ref.Keep(ref.QOffset+x.row, j) {
			continue
		}
		s, absolute := product(q, ref.K[j*d:][:d])
		switch {
		case math.IsInf(s, -1): // no weight
		case absolute*max(1, math.Abs(ref.Scale)*math.Log2E) > math.MaxFloat32:
			return nil, false
		default:
			out = append(out, contender{ref.Scale * s, stepOf(d, absolute, ref.Scale), ref.V[j*d:][:d]})
		}
	}
	return x.meanContenders(out)
}

// meanContenders adds the means that the row sees. Their numbers have the type of k and v, but for the limits of float64.
func (x outcome) meanContenders(out []contender) ([]contender, bool) {
	ref, d := x.ref, x.ref.D
	if ref.Dropped == nil {
		return out, true
	}
	k, v := ir.PooledRows(ref.K, d, *ref.Dropped), ir.PooledRows(ref.V, d, *ref.Dropped)
	for _, m := range ref.Dropped.Means(k, v, d, x.row) {
		s, absolute := product(ref.Q[x.row*d:][:d], narrow(m.K))
		switch {
		case math.IsInf(s, -1):
		case absolute*max(1, math.Abs(ref.Scale)*math.Log2E) > math.MaxFloat32:
			return nil, false
		default:
			more := math.Log(float64(m.Keys))
			out = append(out, contender{ref.Scale*s + more, stepOf(d, absolute, ref.Scale) + cut*more, narrow(m.V)})
		}
	}
	return out, true
}

func narrow(x []float64) (out []float32) {
	for _, v := range x {
		out = append(out, float32(v))
	}
	return out
}

// product is q.k, and the sum of the absolute products.
func product(q, k []float32) (sum, absolute float64) {
	for i, x := range q {
		p := float64(x) * float64(k[i])
		sum, absolute = sum+p, absolute+math.Abs(p)
	}
	return sum, absolute
}

// doubt is what float32 leaves open about the row; known is false where float32 cannot hold the products of the row.
func (x outcome) doubt() (d doubt, known bool) {
	keys, known := x.contenders()
	if !known {
		return d, false
	}
	d = doubt{x.want, x.want, x.lse, x.lse}
	if len(keys) == 0 || math.IsNaN(x.lse) {
		return d, true
	}
	d.lowLSE, d.highLSE = logSum(keys, -1), logSum(keys, 1)
	w := weigh(keys)
	if w.doubt <= independent {
		d.low, d.high = w.spread(x.want)
	} else {
		d.low, d.high = w.extreme(x.want, -1), w.extreme(x.want, 1)
	}
	for n, lost := range w.lost(x.tiny, len(x.want)) {
		d.low[n], d.high[n] = d.low[n]-lost, d.high[n]+lost
	}
	if x.share > 0 {
		d = d.skipped(keys, x.share)
	}
	return d, true
}

// logSum is the log-sum-exp of logits that are all wrong by their whole step in one direction.
func logSum(keys []contender, sign float64) float64 {
	highest, sum := math.Inf(-1), 0.0
	for _, c := range keys {
		highest = max(highest, c.logit+sign*c.step)
	}
	for _, c := range keys {
		sum += math.Exp(c.logit + sign*c.step - highest)
	}
	return highest + math.Log(sum)
}

// independent is the largest doubt of logits up to which their errors change weights in proportion. So small errors come from
// many cuts, are far below their bound and have no reason to agree with the values: their squares add up. Beyond it, a kernel
// may have taken any weights of the ranges.
const independent = 0.1

// weights are ranges of the exponentials of a row's logits, in a unit that cancels.
type weights struct {
	keys      []contender
	low, high []float64
	doubt     float64 // largest step of a key that matters
}

// weigh leaves out keys that have no weight whatever happens. The unit is the exponential of the highest logit that is certain,
// and nothing has to be larger than e^most to leave no weight to a key whose logit is certain.
func weigh(keys []contender) (w weights) {
	const most, least, matters = 500, -750, -20
	certain := math.Inf(-1)
	for _, c := range keys {
		certain = max(certain, c.logit-c.step)
	}
	for _, c := range keys {
		low, high := c.logit-c.step-certain, c.logit+c.step-certain
		if high < least {
			continue
		}
		if high > matters {
			w.doubt = max(w.doubt, c.step)
		}
		w.keys = append(w.keys, c)
		w.low, w.high = append(w.low, math.Exp(low)), append(w.high, math.Exp(min(high, most)))
	}
	return w
}

// lost is what a type whose numbers below tiny get lost leaves open: of each weight, as P is relative to the largest of its row, and
// of the output.
func (w weights) lost(tiny float64, dim int) []float64 {
	top, total, out := 0.0, 0.0, make([]float64, dim)
	for i := range w.keys {
		top = max(top, w.middle(i))
	}
	for i, c := range w.keys {
		p := w.middle(i) / top
		total += p
		for n, v := range c.v {
			out[n] += min(p, tiny) * math.Abs(float64(v))
		}
	}
	for n := range out {
		out[n] = out[n]/total + tiny
	}
	return out
}

func (w weights) middle(i int) float64 { return math.Sqrt(w.low[i] * w.high[i]) }

// spread is the range for independent errors of the logits: their derivatives, each with its step, as a root of squares.
func (w weights) spread(want []float64) (low, high []float64) {
	total, squares := 0.0, make([]float64, len(want))
	for i, c := range w.keys {
		middle := w.middle(i)
		total += middle
		for n, v := range c.v {
			change := middle * c.step * (float64(v) - want[n])
			squares[n] += change * change
		}
	}
	low, high = make([]float64, len(want)), make([]float64, len(want))
	for n, x := range want {
		r := math.Sqrt(squares[n]) / total
		low[n], high[n] = x-r, x+r
	}
	return low, high
}

// extreme is the largest mean of each element that weights of the ranges give, or the smallest for sign -1. Values above the mean
// then have their highest weight and others their lowest: the mean that this gives says so better, until it does not move.
func (w weights) extreme(want []float64, sign float64) []float64 {
	at, sum, total := make([]float64, len(want)), make([]float64, len(want)), make([]float64, len(want))
	for n, x := range want {
		at[n] = sign * x
	}
	for moved, left := true, 50; moved && left > 0; left-- {
		clear(sum)
		clear(total)
		for i, c := range w.keys {
			for n, v := range c.v {
				by, weight := sign*float64(v)-at[n], w.low[i]
				if by > 0 {
					weight = w.high[i]
				}
				sum[n], total[n] = sum[n]+weight*by, total[n]+weight
			}
		}
		moved = false
		for n := range at {
			if by := sum[n] / total[n]; by > 1e-9*math.Abs(at[n]) {
				at[n], moved = at[n]+by, true
			}
		}
	}
	for n := range at {
		at[n] *= sign
	}
	return at
}
