package sm90

import "github.com/minfc/minfc/internal/codegen/lower"

// The online softmax (FlashAttention-2, arXiv 2307.08691, section 3.1): probabilities are relative to a maximum of each row, which
// grows with the stages; what was summed up before then shrinks.

// newMaxima takes the scores into the running maxima and brings the sums to the new ones. It returns the factors that do the same
// for the output.
func (k *kernel) newMaxima(st *rowState, s []Value) []Value {
	alpha := make([]Value, 2)
	for r := range 2 {
		st.m[r], alpha[r] = k.NewMaximum(st.m[r], k.threadMax(s, r))
		st.l[r] = k.FMul(st.l[r], alpha[r])
	}
	return alpha
}

// raise brings maxima, sums and output to new maxima where the old ones do not do any more. The output must not be in flight.
func (k *kernel) raise(st rowState, s []Value) rowState {
	return k.raiseTo(st, s, k.scaledMaxima(s))
}

// scaledMaxima are the largest of the thread's scores of each of its rows, scaled.
func (k *kernel) scaledMaxima(s []Value) []Value {
	x := make([]Value, 2)
	for r := range x {
		x[r] = k.Scaled(k.threadMax(s, r))
	}
	return x
}

// raiseTo is raise for scores whose scaledMaxima are x.
func (k *kernel) raiseTo(st rowState, s, x []Value) rowState {
	return lower.Choose(k.Builder, "raise", k.Exceed(x, st.m), st, func() rowState {
		out := st.Clone()
		k.rescale(out.o, k.newMaxima(&out, s))
		return out
	})
}

// probabilities are what a stage's scores give; they are added to the sums.
func (k *kernel) probabilities(st *rowState, s []Value) []Value {
	p := make([]Value, len(s))
	for r := range 2 {
		neg := k.FNeg(st.m[r])
		for i := range s {
			if i/2%2 == r {
				p[i] = k.Probability(s[i], neg)
			}
		}
	}
	for i := range p {
		st.l[i/2%2] = k.FAdd(st.l[i/2%2], p[i])
	}
	return p
}

// fragments are probabilities in the input type, as the A fragments of the second product: accumulators and A fragments of 16 keys
// have their elements in the same lanes.
func (k *kernel) fragments(p []Value) []Value {
	out := make([]Value, len(p)/2)
	for i := range out {
		out[i] = k.Pack(k.DType, p[2*i], p[2*i+1])
	}
	return out
}

// rescale brings the output to new maxima.
func (k *kernel) rescale(o, alpha []Value) {
	for i := range o {
		o[i] = k.FMul(o[i], alpha[i/2%2])
	}
}

// threadMax is the maximum of this thread's columns of row r, in four chains.
func (k *kernel) threadMax(s []Value, r int) Value {
	var chain [4]Value
	n := 0
	for i, x := range s {
		if i/2%2 != r {
			continue
		}
		if chain[n%4] == nil {
			chain[n%4] = x
		} else {
			chain[n%4] = k.FMax(chain[n%4], x)
		}
		n++
	}
	return k.FMax(k.FMax(chain[0], chain[1]), k.FMax(chain[2], chain[3]))
}
