package sm80

import (
	"github.com/llir/llvm/ir/enum"

	"github.com/minfc/minfc/codegen/lower"
)

// softmaxPV folds one tile of scores into the online softmax and adds P V to the output. Exponentials and conversions of
// 16 keys stand right before the mma that use them: P then lives shortly, which is what makes 255 registers enough.
func (k *kernel) softmaxPV(st state, s [][]Value) state {
	out := st.clone()
	neg := make([]Value, k.rowsPerThread()) // -m*scale, the addend of the exponent
	for i := range neg {
		neg[i] = k.rescale(&out, s, i)
	}
	for n := range k.keys / 16 {
		p := make([][]Value, k.strips)
		for m := range p {
			p[m] = k.probabilities(&out, s[m], neg, m, n)
		}
		for d := range k.headDim / 16 {
			b := k.LdMatrix4(k.lanes.vAt(k, n, d), true)
			for m := range p {
				k.mmaPair(out.o[m][8*d:8*d+8], p[m], b)
			}
		}
	}
	return out
}

// rescale updates the maximum of row i (two a strip) and brings l and o to it; it returns -m*scale. A row that has kept
// nothing so far has m = -inf: 0 stands in for it, so that the exponents are -inf and not NaN.
func (k *kernel) rescale(st *state, s [][]Value, i int) Value {
	strip, r := i/2, i%2
	max := k.FMax(k.rowMax(s[strip], r), st.m[i])
	dead := k.FCmp(enum.FPredOEQ, max, lower.NegInf())
	scale := k.Param("scale_log2")
	neg := k.FNeg(k.FMul(k.Select(dead, lower.F32(0), max), scale))
	alpha := k.Exp2(k.FMA(st.m[i], scale, neg))
	st.m[i] = max
	st.l[i] = k.FMul(st.l[i], alpha)
	for j := range st.o[strip] {
		if j/2%2 == r {
			st.o[strip][j] = k.FMul(st.o[strip][j], alpha)
		}
	}
	return neg
}

// rowMax is the maximum over row r of a strip: this thread's columns in two chains, then the four lanes of the row.
func (k *kernel) rowMax(s []Value, r int) Value {
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
	max := k.FMax(chain[0], chain[1])
	for _, lanes := range []int64{1, 2} {
		max = k.FMax(max, k.ShuffleXor(max, lanes))
	}
	return max
}

// probabilities are the A fragment of keys 16n..16n+15 of a strip; their sum goes to l.
func (k *kernel) probabilities(st *state, s, neg []Value, strip, n int) []Value {
	var p [8]Value
	for i := range p {
		row := 2*strip + i/2%2
		p[i] = k.Exp2(k.FMA(s[8*n+i], k.Param("scale_log2"), neg[row]))
		st.l[row] = k.FAdd(st.l[row], p[i])
	}
	var out []Value
	for i := 0; i < len(p); i += 2 {
		out = append(out, k.Pack(k.dtype, p[i], p[i+1]))
	}
	return out
}
