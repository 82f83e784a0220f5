package index

import (
	"math"
	"slices"

	"github.com/llir/llvm/ir/enum"
	"github.com/llir/llvm/ir/types"

	"github.com/minfc/minfc/codegen/lower"
)

// ProbeSumsParams are the parameters of probe_sums; the shared ones are those of probe_stats.
//
//	probe_lse  of probe_combine
//	col_sum    float32 [batch*hq, round_up(sk, 64)]: sum over the probe rows, per key
//	diag_sum   float32 [2, batch*hq, DistPad]: sum over the probe rows, per distance; the reader adds the two slots
//
// Every entry of both is written.
var ProbeSumsParams = append([]lower.Param{
	{Name: "q", Type: "ptr"}, {Name: "k", Type: "ptr"}, {Name: "probe_lse", Type: "ptr"},
	{Name: "col_sum", Type: "ptr"}, {Name: "diag_sum", Type: "ptr"},
}, ProbeStatsParams[3:]...)

// DistPad is the number of distances of a slot of diag_sum.
func DistPad(qOffset, sq int) int { return (qOffset+sq+63)/64*64 + 128 }

// ProbeSums is the second pass over K. Grid: EstimateLaunch.
func ProbeSums(c EstimateConfig) (*lower.Kernel, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	entry, params := c.variant("probe_sums", ProbeSumsParams)
	e := c.newEstimator(entry, params)
	d := e.newDiagonals()
	lse := e.loadLSE()
	columns := e.columns()
	e.tileLoop(nil, func(tile Value, s scores, _ []Value) []Value {
		p, cols := e.probabilities(s, lse)
		e.storeColumns(columns, tile, cols)
		d.addUp(tile, p)
		return nil
	})
	if !e.Spread {
		e.If("clear", e.valid, nil, func() []Value {
			e.clearColumns()
			d.clear()
			return nil
		})
	}
	return e.kernel(entry, params, e.sums), nil
}

// loadLSE reads the log-sum-exp of the thread's rows; that of a head that stores nothing may not have been written.
func (e *estimator) loadLSE() []Value {
	none := slices.Repeat([]Value{lower.F32(math.Inf(1))}, threadRows)
	return e.If("lse", e.valid, none, func() (out []Value) {
		at := e.element("probe_lse", e.Add(e.Shl(e.ZExt64(e.hb), 6), e.ZExt64(e.row)))
		for i := range threadRows {
			out = append(out, e.Load(types.Float, e.Offset(at, lower.I64(int64(4*8*i))), 4))
		}
		return out
	})
}

// probabilities are P and its sums over the thread's rows, per column.
func (e *estimator) probabilities(s scores, lse []Value) (scores, []Value) {
	var p scores
	for i, row := range s {
		neg := e.FNeg(lse[i])
		for _, x := range row {
			p[i] = append(p[i], e.Exp2(e.FMA(x, e.Param("scale_log2"), neg)))
		}
	}
	cols := e.columnSums(p)
	inf := lower.F32(math.Inf(1))
	bad := e.AnyLane(e.FCmp(enum.FPredUGE, e.sum(cols), inf))
	both := e.If("nonfinite", bad, append(p.flat(), cols...), func() []Value {
		clean := p.flat()
		for i, x := range clean {
			clean[i] = e.Select(e.FCmp(enum.FPredOLT, x, inf), x, lower.F32(0))
		}
		return append(clean, e.columnSums(unflat(clean))...)
	})
	return unflat(both), both[threadRows*threadCols:]
}

func (e *estimator) columnSums(p scores) []Value {
	out := make([]Value, threadCols)
	for j := range out {
		var column []Value
		for i := range p {
			column = append(column, p[i][j])
		}
		out[j] = e.sum(column)
	}
	return out
}

// Each exchange with the lanes that hold other rows of the same columns halves the columns a lane is left with: eight
// columns and three exchanges leave it one. Lane bits 4, 3, 2 choose bits 2, 1, 0 of the thread's column.
var columnLanes = []int64{16, 8, 4}

// columns is the address of the column that this lane ends up with, in tile 0; of spread keys it is its number in the tile.
func (e *estimator) columns() Value {
	key := e.columnOfTile()
	if e.Spread {
		return key
	}
	return e.element("col_sum", e.Add(e.Mul(e.ZExt64(e.hb), e.keysPad()), e.ZExt64(key)))
}

// columnOfTile is the column of a tile that this lane ends up with.
func (e *estimator) columnOfTile() Value {
	n, c := e.LShr(e.lane, 3), e.And(e.LShr(e.lane, 2), lower.I32(1))
	return e.Add(e.Add(e.Shl(n, 3), e.Shl(e.quad, 1)), e.Add(c, e.Mul(e.half, lower.I32(halfKeys))))
}

func (e *estimator) keysPad() Value { return e.Shl(e.ZExt64(e.tilesOf(e.Param("sk"))), 6) }

func (e *estimator) storeColumns(at, tile Value, cols []Value) {
	for _, lanes := range columnLanes {
		upper := e.ICmp(enum.IPredNE, e.And(e.lane, lower.I32(lanes)), lower.I32(0))
		half := len(cols) / 2
		kept := make([]Value, half)
		for j := range kept {
			keep, give := e.Select(upper, cols[half+j], cols[j]), e.Select(upper, cols[j], cols[half+j])
			kept[j] = e.FAdd(keep, e.ShuffleXor(give, lanes))
		}
		cols = kept
	}
	if e.Spread {
		e.addColumn(at, tile, cols[0])
		return
	}
	e.If("store_column", e.valid, nil, func() []Value {
		e.Store(cols[0], e.Offset(at, e.Shl(e.ZExt64(tile), 8)), 4)
		return nil
	})
}

// clearColumns zeroes the columns of the chunk's tiles that no row sees.
func (e *estimator) clearColumns() {
	end := e.Min(e.Add(e.first, e.Param("chunk_tiles")), e.tilesOf(e.Param("sk")))
	base := e.Add(e.Mul(e.ZExt64(e.hb), e.keysPad()), e.ZExt64(e.inSlot()))
	e.While("clear_columns", []Value{e.Max(e.first, e.tiles)},
		func(v []Value) Value { return e.ICmp(enum.IPredSLT, v[0], end) },
		func(v []Value) []Value {
			e.Store(lower.F32(0), e.element("col_sum", e.Add(base, e.Shl(e.ZExt64(v[0]), 6))), 4)
			return []Value{e.Add(v[0], lower.I32(1))}
		})
}

// inSlot numbers the 64 threads of a head.
func (e *estimator) inSlot() Value { return e.And(e.ThreadX(), lower.I32(63)) }
