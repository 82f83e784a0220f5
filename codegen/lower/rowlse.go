package lower

import (
	"math"

	"github.com/llir/llvm/ir/enum"
)

// StoreLSE stores ln(sum of exp(scale*s)) of the thread's rows, where the caller wants it: -inf for a row that kept nothing.
// rowOf gives the row within the tile of entry i of m (the maximum of scores, scaled, in the log2 domain) and l (the sum).
// The first lane of a row's four does it.
func (k *RowTile) StoreLSE(rowOf func(i int) Value, m, l []Value) {
	wanted := k.ICmp(enum.IPredNE, k.Address(k.Param("lse")), I64(0))
	leader := k.ICmp(enum.IPredEQ, k.And(k.Lane, I32(3)), I32(0))
	k.If("store_lse", k.And(wanted, leader), nil, func() []Value {
		base, row0 := k.Base("lse", k.TensorHead()), k.Row0()
		for i := range l {
			k.storeRowLSE(base, k.Add(row0, rowOf(i)), m[i], l[i])
		}
		return nil
	})
}

func (k *RowTile) storeRowLSE(base, row, m, l Value) {
	k.If("store_lse_row", k.ICmp(enum.IPredSLT, row, k.Param("sq")), nil, func() []Value {
		lse := k.FMul(k.FAdd(m, k.Log2(l)), F32(math.Ln2))
		lse = k.Select(k.FCmp(enum.FPredOGT, l, F32(0)), lse, NegInf())
		k.Store(lse, k.Offset(base, k.Shl(k.ZExt64(row), 2)), 4)
		return nil
	})
}
