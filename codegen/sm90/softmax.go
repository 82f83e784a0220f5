package sm90

// softmax folds a stage's scores into the running maxima and sums. It returns the probabilities, unrounded, and the factors
// for the output.
func (k *kernel) softmax(st *state, s []Value) (p, alpha []Value) {
	p, alpha = make([]Value, len(s)), make([]Value, 2)
	for r := range 2 {
		m := k.FMax(k.FMul(k.rowMax(s, r), k.Param("scale_log2")), st.m[r])
		alpha[r] = k.Exp2(k.FSub(st.m[r], m))
		st.m[r] = m
		st.l[r] = k.FMul(st.l[r], alpha[r])
		neg := k.FNeg(m) // a modifier of the FMA, no instruction
		for i := range s {
			if i/2%2 == r {
				p[i] = k.Exp2(k.FMA(s[i], k.Param("scale_log2"), neg))
			}
		}
	}
	for i := range p {
		st.l[i/2%2] = k.FAdd(st.l[i/2%2], p[i])
	}
	return p, alpha
}

// rowMax is the maximum over row r: this thread's columns in four chains, then the four lanes of the row.
func (k *kernel) rowMax(s []Value, r int) Value {
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
	max := k.FMax(k.FMax(chain[0], chain[1]), k.FMax(chain[2], chain[3]))
	for _, lanes := range []int64{1, 2} {
		max = k.FMax(max, k.ShuffleXor(max, lanes))
	}
	return max
}
