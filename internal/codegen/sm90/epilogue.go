package sm90

import (
	"github.com/llir/llvm/ir/enum"

	"github.com/minfc/minfc/internal/codegen/lower"
)

// epilogue normalises the output and stores it and the LSE, and notes the tile if it must be computed again.
func (k *kernel) epilogue(st rowState) {
	st = st.Clone()
	k.SumQuads(st.l)
	doubt := Value(lower.Bool(false))
	for r := range 2 {
		pairs, test := k.Outputs(lower.OfRow(st.o, r), st.l[r])
		k.storeOutputs(r, pairs)
		doubt = k.Or(doubt, k.Doubtful(r, st.m[r], st.l[r], test))
	}
	k.StoreLSE(2, func(r int) Value { return k.LSE(st.m[r], st.l[r]) })
	k.note(doubt)
	k.reportSkips()
}

// storeOutputs stores row r of the thread's two, from registers: the four lanes of a row exchange what they hold of 32 columns,
// so that each stores 16 bytes and together 64.
func (k *kernel) storeOutputs(r int, pairs []Value) {
	row := k.Add(k.Row0(), k.rowOf(r))
	k.storeRow(pairs, k.outputRow(row), k.ICmp(enum.IPredSLT, row, k.Length("sq")))
}

// outputRow is the address of a row of the output.
func (k *kernel) outputRow(row Value) Value {
	return k.TileRows("o", k.TensorHead()).Start().At(row)
}

// storeRow stores the thread's part of a row if it is inside. What is left of 32 columns goes a pair at a time.
func (k *kernel) storeRow(pairs []Value, to, inside Value) {
	quad := k.And(k.Lane, lower.I32(3))
	whole := len(pairs) / 4 * 4
	for i := 0; i < whole; i += 4 {
		copy(pairs[i:], k.transpose(pairs[i:i+4], quad))
	}
	wide, narrow := k.Offset(to, k.ZExt64(k.Shl(quad, 4))), k.Offset(to, k.ZExt64(k.Shl(quad, 2)))
	k.If("store", inside, func() {
		for i := 0; i < whole; i += 4 {
			k.Store(k.Pack4(pairs[i:i+4]...), k.Offset(wide, lower.I64(int64(16*i))), 16)
		}
		for i := whole; i < len(pairs); i++ {
			k.Store(pairs[i], k.Offset(narrow, lower.I64(int64(16*i))), 4)
		}
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
