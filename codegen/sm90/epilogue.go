package sm90

import (
	"github.com/llir/llvm/ir/enum"

	"github.com/minfc/minfc/codegen/lower"
)

// epilogue normalises the output and stores it and the LSE, from registers: the four lanes of a row exchange what they hold of
// 32 columns, so that each stores 16 bytes and together 64.
func (k *kernel) epilogue(st state) {
	k.SumQuads(st.l)
	base := k.Base("o", k.TensorHead())
	for r := range 2 {
		pairs := k.normalised(st, r)
		row := k.Add(k.Row0(), k.rowOf(r))
		to := k.Offset(base, k.Mul(k.ZExt64(row), k.Param("o_row")))
		inside := k.ICmp(enum.IPredSLT, row, k.Param("sq"))
		k.storeRow(pairs, to, inside)
	}
	k.StoreLSE(k.rowOf, st.m, st.l)
}

// normalised is O / l of row r in the input type, a pair for every eight columns. A row that kept nothing has l = 0 and becomes
// zeros.
func (k *kernel) normalised(st state, r int) []Value {
	inv := k.Inverse(st.l[r])
	var out []Value
	for j := range k.headDim / 8 {
		o := st.o[4*j+2*r:]
		out = append(out, k.Pack(k.dtype, k.FMul(o[0], inv), k.FMul(o[1], inv)))
	}
	return out
}

// storeRow stores the thread's part of a row if it is inside. What is left of 32 columns goes a pair at a time.
func (k *kernel) storeRow(pairs []Value, to, inside Value) {
	quad := k.And(k.Lane, lower.I32(3))
	whole := len(pairs) / 4 * 4
	for i := 0; i < whole; i += 4 {
		copy(pairs[i:], k.transpose(pairs[i:i+4], quad))
	}
	wide, narrow := k.Offset(to, k.ZExt64(k.Shl(quad, 4))), k.Offset(to, k.ZExt64(k.Shl(quad, 2)))
	k.If("store", inside, nil, func() []Value {
		for i := 0; i < whole; i += 4 {
			k.Store(k.Pack4(pairs[i:i+4]...), k.Offset(wide, lower.I64(int64(16*i))), 16)
		}
		for i := whole; i < len(pairs); i++ {
			k.Store(pairs[i], k.Offset(narrow, lower.I64(int64(16*i))), 4)
		}
		return nil
	})
}

// transpose exchanges a 4x4 block among the four lanes of a row: lane t gives element i to lane i and gets its own in place t.
func (k *kernel) transpose(x []Value, quad Value) []Value {
	x = append([]Value(nil), x...)
	for _, step := range []struct {
		bit   int64
		pairs [2][2]int
	}{{1, [2][2]int{{0, 1}, {2, 3}}}, {2, [2][2]int{{0, 2}, {1, 3}}}} {
		upper := k.ICmp(enum.IPredNE, k.And(quad, lower.I32(step.bit)), lower.I32(0))
		for _, p := range step.pairs {
			a, b := x[p[0]], x[p[1]]
			got := k.ShuffleBits(k.Select(upper, a, b), step.bit)
			x[p[0]], x[p[1]] = k.Select(upper, got, a), k.Select(upper, b, got)
		}
	}
	return x
}
