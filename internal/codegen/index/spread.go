package index

import (
	"github.com/llir/llvm/ir/enum"
	"github.com/llir/llvm/ir/types"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/internal/codegen/lower"
)

// Spread kernels of the estimator take 64 probe rows that lie a step apart. The keys of a tile then lie a step apart, too:
// keys c, c+step, c+2*step, ... are one class, and within it row r and key j of a tile are at the distance
//
//	q0 - (first key of the tile) + step*(r - j)
//
// so that diagonals of the tile are distances again, and the same sums serve. A probe of more rows is made of parts, one
// launch after the other, which add to what is there, in the same order for all.

// Spread kernels have some parameters more than the others, and add their sums to what is in col_sum and diag_sum.
//
//	row0         the first probe row of the part
//	probe_rows   how many there are, at most 64
//	step         from row to row
//	class_tiles  tiles of a class, one more than it has where the distances of the last one reach beyond it: where
//	             q0 - 64*step*(tiles - 1) is step or more, q0 the position of the first row
//	tiles        of all classes that some row sees

// variant is the name and the parameters of a kernel of this configuration.
func (c EstimateConfig) variant(kernel string) (string, []lower.Param) {
	if c.Spread {
		kernel = abi.Spread(kernel)
	}
	if c.Packed > 0 {
		kernel = abi.Packed(kernel, int64(c.Packed))
	}
	if c.Lengths {
		kernel = abi.ByLengths(kernel)
	}
	return kernel, abi.IndexParams[kernel]
}

func (e *estimator) locateSpread() {
	e.row0, e.rows, e.step = e.Param("row0"), e.Param("probe_rows"), e.Param("step")
	e.q0 = e.Add(e.Param("q_offset"), e.row0)
	e.tiles = e.Param("tiles")
}

// apart is how far n rows or keys reach.
func (e *estimator) apart(n Value) Value {
	if e.step == nil {
		return n
	}
	return e.Mul(n, e.step)
}

// rowsApart is how far n rows reach.
func (e *estimator) rowsApart(n Value) Value {
	if e.rowStep == nil {
		return e.apart(n)
	}
	return e.Mul(n, e.rowStep)
}

// firstKey is the first key of a tile.
func (e *estimator) firstKey(tile Value) Value {
	if !e.Spread {
		return e.Shl(tile, 6)
	}
	class := e.UDiv(tile, e.Param("class_tiles"))
	in := e.Sub(tile, e.Mul(class, e.Param("class_tiles")))
	return e.Add(class, e.Mul(e.Shl(in, 6), e.step))
}

// maskSpread sets the scores of keys after the query, at or after sk, and of missing rows to -inf. Keys of a tile beyond the
// last one reach 2^31 and more.
func (e *estimator) maskSpread(s scores, first Value) scores {
	var end [threadRows]Value
	for i := range end {
		end[i] = e.rowEnd(i)
	}
	return s.each(func(i, j int, x Value) Value {
		in := e.Add(e.Shl(e.quad, 1), lower.I32(int64(8*(j/2)+j%2)))
		keep := e.ICmp(enum.IPredULT, e.Add(first, e.apart(in)), end[i])
		return e.Select(keep, x, lower.NegInf())
	})
}

// addColumn adds to the sum of a column. No other thread of a launch has it.
func (e *estimator) addColumn(key, there, sum Value) {
	there = e.And(there, e.ICmp(enum.IPredULT, key, e.Param("sk")))
	e.If("add_column", there, func() {
		at := e.element("col_sum", e.Add(e.Mul(e.ZExt64(e.hb), e.keysPad()), e.ZExt64(key)))
		e.Store(e.FAdd(e.Load(types.Float, at, 4), sum), at, 4)
	})
}

// add adds to the sum of a distance. No other thread of a launch has it.
func (d *diagonals) add(distance, there, sum Value) {
	e := d.e
	reach := e.Add(e.Param("q_offset"), e.Param("sq"))
	there = e.And(there, e.ICmp(enum.IPredULT, distance, reach))
	e.If("add_diagonal", there, func() {
		at := e.element("diag_sum", e.Add(d.out, e.ZExt64(distance)))
		e.Store(e.FAdd(e.Load(types.Float, at, 4), sum), at, 4)
	})
}

// The parameters of clear. Launch: any grid along x.
//
//	to  float32 [4*n], on 16 bytes

// Clear sets sums to 0: each thread clears every abi.ClearThreads*grid-th 16 bytes.
func Clear() (*lower.Kernel, error) {
	b := lower.NewKernel(abi.Clear, abi.IndexParams[abi.Clear], abi.ClearThreads, 1)
	start := b.Add(b.Mul(b.ZExt64(b.BlockX()), lower.I64(abi.ClearThreads)), b.ZExt64(b.ThreadX()))
	step := b.Mul(b.ZExt64(b.GridX()), lower.I64(abi.ClearThreads))
	zero := lower.I32(0)
	b.While("clear", start, func(i Value) Value {
		return b.ICmp(enum.IPredULT, i, b.Param("n"))
	}, func(i Value) Value {
		b.Store(b.Pack4(zero, zero, zero, zero), b.Offset(b.Param("to"), b.Shl(i, 4)), 16)
		return b.Add(i, step)
	})
	b.Block.NewRet(nil)
	return &lower.Kernel{Module: b.Module, Entry: abi.Clear, Threads: abi.ClearThreads, Params: abi.IndexParams[abi.Clear]}, nil
}
