package sm80

import "github.com/minfc/minfc/internal/codegen/lower"

// raise brings maxima, sums and output to new maxima where the old ones do not do any more for the scores of a step.
func (k *kernel) raise(st rowState, s [][]Value) rowState {
	if k.exact {
		return k.exactMaxima(st, s)
	}
	return k.raiseTo(st, s, k.scaledMaxima(s))
}

// scaledMaxima are the largest of the thread's scores of each of its rows, scaled.
func (k *kernel) scaledMaxima(s [][]Value) []Value {
	x := make([]Value, k.rowsPerThread())
	for i := range x {
		x[i] = k.Scaled(k.threadMax(s[i/2], i%2))
	}
	return x
}

// raiseTo is raise for scores whose scaledMaxima are x.
func (k *kernel) raiseTo(st rowState, s [][]Value, x []Value) rowState {
	return lower.Choose(k.Builder, "raise", k.Exceed(x, st.m), st, func() rowState {
		up := st.Clone()
		for i := range up.m {
			k.rescale(&up, s, i)
		}
		return up
	})
}

// accumulate adds P V to the output. Exponentials and conversions of 16 keys stand right before the mma that use them: P then
// lives shortly, which is what makes 255 registers enough. halfway runs in the middle, where half the scores are gone.
func (k *tileWork) accumulate(out *rowState, s [][]Value, halfway func()) {
	for n := range k.keys / 16 {
		if n == k.keys/32 {
			halfway()
		}
		p := make([][]Value, k.strips)
		for m := range p {
			p[m] = k.probabilities(out, s[m], m, n)
		}
		for d := range k.headDim / 16 {
			b := k.LdMatrix4(k.lanes.vAt(k.kernel, n, d), true)
			for m := range p {
				k.mmaPair(out.o[m][8*d:8*d+8], p[m], b)
			}
		}
	}
}

// rescale updates the maximum of row i (two a strip) and brings l and o to it.
func (k *kernel) rescale(st *rowState, s [][]Value, i int) {
	strip, r := i/2, i%2
	m, alpha := k.NewMaximum(st.m[i], k.threadMax(s[strip], r))
	st.m[i], st.l[i] = m, k.FMul(st.l[i], alpha)
	for j := range st.o[strip] {
		if j/2%2 == r {
			st.o[strip][j] = k.FMul(st.o[strip][j], alpha)
		}
	}
}

// threadMax is the maximum of this thread's columns of row r of a strip, in two chains.
func (k *kernel) threadMax(s []Value, r int) Value {
	var chain [2]Value
	for i, n := 2*r, 0; i < len(s); i += 4 {
		for c := range 2 {
			if chain[c] == nil {
				chain[c] = s[i+c]
			} else {
				chain[c] = k.FMax(chain[c], s[i+c])
			}
			n++
		}
	}
	return k.FMax(chain[0], chain[1])
}

func (k *kernel) probability(score, m Value) Value {
	if k.exact {
		return k.ExactProbability(score, m)
	}
	return k.Probability(score, k.FNeg(m))
}

// probabilities are the A fragment of keys 16n..16n+15 of a strip; their sum goes to l.
func (k *kernel) probabilities(st *rowState, s []Value, strip, n int) []Value {
	var p [8]Value
	for i := range p {
		row := 2*strip + i/2%2
		p[i] = k.probability(s[8*n+i], st.m[row])
		st.l[row] = k.FAdd(st.l[row], p[i])
	}
	var out []Value
	for i := 0; i < len(p); i += 2 {
		out = append(out, k.Pack(k.DType, p[i], p[i+1]))
	}
	return out
}
