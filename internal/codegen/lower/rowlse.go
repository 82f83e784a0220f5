package lower

import (
	"math"

	"github.com/llir/llvm/ir/enum"
)

// StoreLSE stores the LSE of the thread's rows, where the caller wants it; lse computes it of row i. The first lane of a row's
// four does it.
func (k *RowTile) StoreLSE(rows int, lse func(i int) Value) {
	wanted := k.ICmp(enum.IPredNE, k.Address(k.Param("lse")), I64(0))
	leader := k.ICmp(enum.IPredEQ, k.And(k.Lane, I32(3)), I32(0))
	k.If("store_lse", k.And(wanted, leader), func() {
		lines, row0 := k.TileRows("lse", k.TensorHead()).Words().Start(), k.Row0()
		for i := range rows {
			row := k.Add(row0, k.RowOf(i))
			k.If("store_lse_row", k.ICmp(enum.IPredSLT, row, k.Length("sq")), func() {
				k.Store(lse(i), lines.At(row), 4)
			})
		}
	})
}

// LSE is the natural logarithm of the sum of exp(scale*score) of a row, -inf if it kept nothing. m is the maximum of its scores,
// scaled, in the log2 domain, and l the sum of its probabilities.
func (k *RowTile) LSE(m, l Value) Value {
	lse := k.FMul(k.FAdd(m, k.Log2(l)), F32(math.Ln2))
	return k.Select(k.FCmp(enum.FPredOEQ, l, F32(0)), NegInf(), lse)
}
