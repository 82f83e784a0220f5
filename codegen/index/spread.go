package index

import (
	"github.com/llir/llvm/ir/enum"
	"github.com/llir/llvm/ir/types"

	"github.com/minfc/minfc/codegen/lower"
)

// Spread kernels of the estimator take 64 probe rows that lie a step apart. The keys of a tile then lie a step apart, too:
// keys c, c+step, c+2*step, ... are one class, and within it row r and key j of a tile are at the distance
//
//	q0 - (first key of the tile) + step*(r - j)
//
// so that diagonals of the tile are distances again, and the same sums serve. A probe of more rows is made of parts, one
// launch after the other, which add to what is there, in the same order for all.

// spreadParams are the parameters that spread kernels have besides those of the others.
//
//	row0         the first probe row of the part
//	probe_rows   how many there are, at most 64
//	step         from row to row
//	class_tiles  tiles of a class, one more than it has where the distances of the last one reach beyond it: where
//	             q0 - 64*step*(tiles - 1) is step or more, q0 the position of the first row
//	tiles        of all classes that some row sees
var spreadParams = []lower.Param{
	{Name: "row0", Type: "i32"}, {Name: "probe_rows", Type: "i32"}, {Name: "step", Type: "i32"},
	{Name: "class_tiles", Type: "i32"}, {Name: "tiles", Type: "i32"},
}

// variant is the name and the parameters of a kernel of this configuration.
func (c EstimateConfig) variant(entry string, params []lower.Param) (string, []lower.Param) {
	if !c.Spread {
		return entry, params
	}
	return entry + "_spread", SpreadParams(params)
}

// SpreadParams are the parameters of the spread variant of a kernel with these. Its sums are added to what is in col_sum
// and diag_sum.
func SpreadParams(params []lower.Param) []lower.Param {
	return append(append([]lower.Param(nil), params...), spreadParams...)
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
	e.If("add_column", there, nil, func() []Value {
		at := e.element("col_sum", e.Add(e.Mul(e.ZExt64(e.hb), e.keysPad()), e.ZExt64(key)))
		e.Store(e.FAdd(e.Load(types.Float, at, 4), sum), at, 4)
		return nil
	})
}

// add adds to the sum of a distance. No other thread of a launch has it.
func (d *diagonals) add(distance, there, sum Value) {
	e := d.e
	reach := e.Add(e.Param("q_offset"), e.Param("sq"))
	there = e.And(there, e.ICmp(enum.IPredULT, distance, reach))
	e.If("add_diagonal", there, nil, func() []Value {
		at := e.element("diag_sum", e.Add(d.out, e.ZExt64(distance)))
		e.Store(e.FAdd(e.Load(types.Float, at, 4), sum), at, 4)
		return nil
	})
}

// ClearEntry is the name of the clear kernel.
const ClearEntry = "clear"

// ClearParams are the parameters of clear. Launch: any grid along x.
//
//	to  float32 [4*n], on 16 bytes
var ClearParams = []lower.Param{{Name: "to", Type: "ptr"}, {Name: "n", Type: "i64"}}

// ClearThreads is the block size of clear; each thread clears every ClearThreads*grid-th 16 bytes.
const ClearThreads = 256

// Clear sets sums to 0.
func Clear() (*lower.Kernel, error) {
	b := lower.NewKernel(ClearEntry, ClearParams, ClearThreads, 1)
	start := b.Add(b.Mul(b.ZExt64(b.BlockX()), lower.I64(ClearThreads)), b.ZExt64(b.ThreadX()))
	step := b.Mul(b.ZExt64(b.GridX()), lower.I64(ClearThreads))
	zero := lower.I32(0)
	b.While("clear", []Value{start}, func(v []Value) Value {
		return b.ICmp(enum.IPredULT, v[0], b.Param("n"))
	}, func(v []Value) []Value {
		b.Store(b.Pack4(zero, zero, zero, zero), b.Offset(b.Param("to"), b.Shl(v[0], 4)), 16)
		return []Value{b.Add(v[0], step)}
	})
	b.Block.NewRet(nil)
	return &lower.Kernel{Module: b.Module, Entry: ClearEntry, Threads: ClearThreads, Params: ClearParams}, nil
}
