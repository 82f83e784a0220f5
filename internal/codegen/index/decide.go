package index

import (
	"github.com/llir/llvm/ir/enum"
	"github.com/llir/llvm/ir/types"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/internal/codegen/lower"
	"github.com/minfc/minfc/ir"
)

// The parameters of decide. Launch: grid (H). A launch looks at one list of each kind, where the list's length
// is not null; a pattern with several takes several launches, of which all but the first carry on. Positions are absolute.
//
//	route        i32 [H]: ir.RouteDense where the head's nanoseconds are not below dense, else ir.RouteSparse
//	nanos        f32 [H]: the predicted nanoseconds of a multiprocessor; read by launches that carry on
//	runs ...     as the kernel runs wrote them. A tile at L is walked by a row block whose first query is s if
//	             s > L + run_low - 64, as long as L < run_reach
//	cols ...     as the kernel columns wrote them. A column c is walked by a row block whose last query is e if
//	             c < col_high and c < e + col_near
//	block_count  i32 [H, row_blocks]
//	carry        0: start counts, the work that the lists have no part in; else what nanos holds
//	heads        may be route: no entry of heads that take no part is written
//	slot         nanoseconds of 64 keys of runs or blocks; column: of 64 columns, begun ones too
//	group        of decide_by_group, whose lists are of kv heads: q heads of one of them

const decideThreads = 1024

// decideKernel is the state of one lowering.
type decideKernel struct {
	*blockKernel
	rowBlocks, offset Value
	byGroup           bool
}

// Decide adds up what the lists of each head cost. All row blocks walk one list of tiles, and which of them reach a tile
// follows from its place: so the sum over row blocks is a sum over the list. Slots are summed as float32, exactly up to 2^24.
func Decide(byGroup bool) (*lower.Kernel, error) {
	entry := abi.Decide
	if byGroup {
		entry = abi.DecideByGroup
	}
	d := &decideKernel{blockKernel: newBlockKernel(entry, decideThreads), byGroup: byGroup}
	d.LeaveUnless(d.TakesPart(d.BlockX()), nil)
	d.rowBlocks, d.offset = d.Param("row_blocks"), d.Param("q_offset")
	mine := d.FAdd(d.scaled("slot", d.FAdd(d.runs(), d.blocks())), d.scaled("column", d.columns()))
	d.write(d.total(mine))
	d.Block.NewRet(nil)
	return d.finish(4 * decideThreads / 32), nil
}

func (d *decideKernel) scaled(price string, count Value) Value { return d.FMul(d.Param(price), count) }

// list is which one the block's head has.
func (d *decideKernel) list() Value {
	if !d.byGroup {
		return d.BlockX()
	}
	return d.UDiv(d.BlockX(), d.Param("group"))
}

// entries sums f over the entries 0, step, 2 step, ... of a list of this head, spread over the threads.
func (d *decideKernel) entries(name, entries, count, limit string, step int64, f func(entry Value) Value) Value {
	return d.unlessNull(name, count, func() Value {
		n := d.Load(types.I32, d.at(d.Param(count), d.list()), 4)
		row := d.rowOf(entries, d.list(), d.Param(limit))
		return d.sum(name, d.Mul(d.tid, lower.I32(step)), n, step*decideThreads, func(i Value) Value {
			return f(d.Load(types.I32, d.at(row, i), 4))
		})
	})
}

// unlessNull is f, or 0 if the pointer is null.
func (d *decideKernel) unlessNull(name, pointer string, f func() Value) Value {
	return d.Choose(name, d.given(pointer), lower.F32(0), func() Value { return f() })
}

// sum adds up whole numbers from entry from on.
func (d *decideKernel) sum(name string, from, end Value, step int64, f func(i Value) Value) Value {
	return lower.While(d.Builder, name+".sum", lower.Fold{At: from, Made: lower.F32(0)}, func(i lower.Fold) Value {
		return d.ICmp(enum.IPredSLT, i.At, end)
	}, func(i lower.Fold) lower.Fold {
		return lower.Fold{At: d.Add(i.At, lower.I32(step)), Made: d.FAdd(i.Made, d.Block.NewSIToFP(f(i.At), types.Float))}
	}).Made
}

// from is how many row blocks there are from number first on; 0 where use does not hold.
func (d *decideKernel) from(first, use Value) Value {
	n := d.Max(d.Sub(d.rowBlocks, d.Max(first, lower.I32(0))), lower.I32(0))
	return d.Select(use, n, lower.I32(0))
}

func (d *decideKernel) runs() Value {
	return d.entries("runs", "runs", "run_count", "run_cap", 1, func(entry Value) Value {
		l := d.Sub(lower.I32(0), entry)
		above := d.Sub(d.Add(l, d.Param("run_low")), d.Add(d.offset, lower.I32(ir.BlockSize))) // the first row is above this
		return d.from(d.Add(d.AShr(above, 6), lower.I32(1)), d.ICmp(enum.IPredSLT, l, d.Param("run_reach")))
	})
}

// columns looks at the first column of every slot: a row block walks the slots that begin below its bound.
func (d *decideKernel) columns() Value {
	return d.entries("columns", "cols", "col_count", "col_cap", ir.BlockSize, func(id Value) Value {
		row := d.Sub(d.Add(id, lower.I32(1)), d.Add(d.offset, d.Param("col_near"))) // the first row that sees it
		seen := d.And(d.ICmp(enum.IPredSLT, id, d.Param("col_high")), d.ICmp(enum.IPredSLT, row, d.Param("sq")))
		return d.from(d.AShr(row, 6), seen)
	})
}

func (d *decideKernel) blocks() Value {
	return d.unlessNull("blocks", "block_count", func() Value {
		row := d.rowOf("block_count", d.list(), d.rowBlocks)
		return d.sum("blocks", d.tid, d.rowBlocks, decideThreads, func(i Value) Value {
			return d.Load(types.I32, d.at(row, i), 4)
		})
	})
}

// total adds up the threads' sums in an order of its own, so that the same lists give the same bits.
func (d *decideKernel) total(x Value) Value {
	d.leaderStores(d.warpSum(x), 0)
	d.Barrier()
	return d.warpSum(d.Load(types.Float, d.SharedAt(d.word(d.lane), 0), 4))
}

// warpSum adds up a warp's floats.
func (d *decideKernel) warpSum(x Value) Value {
	for lanes := int64(1); lanes < 32; lanes *= 2 {
		x = d.FAdd(x, d.ShuffleXor(x, lanes))
	}
	return x
}

func (d *decideKernel) write(lists Value) {
	d.If("write", d.ICmp(enum.IPredEQ, d.tid, lower.I32(0)), func() {
		at := d.at(d.Param("nanos"), d.BlockX())
		carry := d.ICmp(enum.IPredNE, d.Param("carry"), lower.I32(0))
		before := d.Choose("carry", carry, d.Param("start"), func() Value {
			return d.Load(types.Float, at, 4)
		})
		nanos := d.FAdd(before, lists)
		d.Store(nanos, at, 4)
		sparse := d.FCmp(enum.FPredOLT, nanos, d.Param("dense"))
		route := d.Select(sparse, lower.I32(ir.RouteSparse), lower.I32(ir.RouteDense))
		d.Store(route, d.at(d.Param("route"), d.BlockX()), 4)
	})
}
