package index

import (
	"math"
	"slices"

	"github.com/llir/llvm/ir/enum"
	"github.com/llir/llvm/ir/types"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/internal/codegen/lower"
)

// The parameters of probe_sums; parameters that probe_stats has too mean the same there.
//
//	probe_lse    of probe_combine
//	col_sum      float32 [batch*hq, round_up(sk, 64)]: sum over the probe rows, per key
//	diag_sum     float32 [batch*hq, round_up(q_offset+sq, 64)+128]: sum over the probe rows, per distance
//	chunk_tiles  even
//
// Every entry of both is written.

// ProbeSums is the second pass over K. Grid: as probe_stats.
func ProbeSums(c EstimateConfig) (*lower.Kernel, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	entry, params := c.variant(abi.ProbeSums)
	e := c.newEstimator(entry, params)
	e.locatePieces()
	d, p, r := e.newDiagonals(), e.newProbe(), e.newRange()
	if !e.Spread {
		e.If("clear", e.valid, func() {
			e.clearColumns()
			d.clear()
		})
	}
	end := e.Select(e.valid, e.Add(e.mine(r.start), e.mine(r.count)), lower.I32(0))
	column := e.columnOfPiece()
	e.pieceLoop(r, p, func(piece, first Value, s scores, c chains) chains {
		there := e.ICmp(enum.IPredSLT, piece, end)
		x := p.of(s)
		sums := e.sumsOf(x)
		sums = e.skip(x, sums, e.FCmp(enum.FPredUGE, e.sum(sums.cols), infinity))
		e.storeColumn(e.Add(first, e.apart(column)), e.And(there, e.seenPiece(first)), sums.cols)
		next, ended := e.advance(c, sums.scores)
		d.store(first, there, d.window(c.late, ended))
		return next
	})
	return e.kernel(entry, params, e.sums), nil
}

var infinity = lower.F32(math.Inf(1))

// seenPiece says whether a piece has columns: pieces added for diagonals that end late may lie behind all keys.
func (e *estimator) seenPiece(first Value) Value {
	if e.Spread {
		return lower.Bool(true) // addColumn looks at each key
	}
	return e.ICmp(enum.IPredSLT, first, e.Shl(e.tiles, 6))
}

// probe is what probabilities are made of: 2^(x*scale - minus), where x is a score or, for a head with huge ones, what it is above
// its row's maximum. A scale times a maximum beyond hugeExponent would leave out too many bits of the sum's log2.
type probe struct {
	e    *estimator
	huge Value // i1, the same in all warps of a head
	at   Value // shared address of minus of the thread's first row; the others follow
}

const (
	hugeExponent = 512
	minusBytes   = 4 * abi.ProbeRows
)

// newProbe reads the numbers of the thread's rows; numbers of a head that stores nothing may not have been written. What is subtracted
// from exponents goes to shared memory: the loop is short of registers.
func (e *estimator) newProbe() probe {
	warp := e.Add(e.Shl(e.slot, 1), e.half)
	p := probe{e: e, at: e.Add(e.shared, e.Add(e.Mul(warp, lower.I32(minusBytes)), e.Shl(e.row, 5)))}
	none := probeNumbers{huge: lower.Bool(false)}
	for i := range none.minus {
		none.minus[i] = infinity
	}
	out := lower.Choose(e.Builder, "lse", e.valid, none, p.numbers)
	p.huge = out.huge
	e.If("minus", e.ICmp(enum.IPredEQ, e.quad, lower.I32(0)), func() {
		for i, x := range out.minus {
			e.Store(x, e.SharedAt(p.at, e.minus+4*i), 4)
		}
	})
	e.WarpSync()
	return p
}

// probeNumbers are minus of the thread's rows, and huge.
type probeNumbers struct {
	minus [threadRows]Value
	huge  Value
}

func (n *probeNumbers) Values() []*Value { return append(lower.Pointers(n.minus[:]), &n.huge) }

func (p probe) numbers() (out probeNumbers) {
	e, scale := p.e, p.e.Param("scale_log2")
	var tops, logs [threadRows]Value
	var huge Value = lower.Bool(false)
	for i := range threadRows {
		tops[i], logs[i] = p.number(i, 0), p.number(i, 1)
		scaled := e.FMul(tops[i], scale)
		apart := e.FMax(scaled, e.FNeg(scaled))
		huge = e.Or(huge, e.Not(e.FCmp(enum.FPredOLE, apart, lower.F32(hugeExponent))))
	}
	out.huge = e.AnyLane(huge)
	for i := range out.minus {
		out.minus[i] = e.Select(out.huge, logs[i], e.FMA(tops[i], scale, logs[i]))
	}
	if e.Packed > 0 {
		e.weigh(out.minus[:])
	}
	return out
}

// loadMinus reads what is subtracted from exponents.
func (p probe) loadMinus() (out []Value) {
	e := p.e
	for i := range threadRows / 4 {
		v := e.Load(lower.Vec4, e.SharedAt(p.at, e.minus+16*i), 16)
		for j := range 4 {
			out = append(out, e.FNeg(e.AsFloat(e.Lane4(v, j))))
		}
	}
	return out
}

// number reads the maximum of the thread's row i, or as number 1 the log2 of its sum.
func (p probe) number(i, which int) Value {
	e := p.e
	rows := e.element("probe_lse", e.Shl(e.Add(e.Shl(e.ZExt64(e.hb), 6), e.ZExt64(e.row)), 1))
	return e.Load(types.Float, e.Offset(rows, lower.I64(int64(8*8*i+4*which))), 4)
}

// of turns scores into probabilities.
func (p probe) of(s scores) scores {
	e := p.e
	s = lower.Choose(e.Builder, "huge", p.huge, s, func() scores {
		var tops [threadRows]Value
		for i := range tops {
			tops[i] = p.number(i, 0)
		}
		return s.each(func(i, _ int, x Value) Value { return e.FSub(x, tops[i]) })
	})
	minus := p.loadMinus()
	return s.each(func(i, _ int, x Value) Value {
		return e.Exp2(e.FMA(x, e.Param("scale_log2"), minus[i]))
	})
}

// skip leaves out the logits that are NaN or +inf, if bad holds in some lane: there are some.
func (e *estimator) skip(x scores, p pieceSums, bad Value) pieceSums {
	return lower.Choose(e.Builder, "nonfinite", e.AnyLane(bad), p, func() pieceSums { return e.sumsOf(e.clean(x)) })
}

// sumsOf are the sums of probabilities.
func (e *estimator) sumsOf(x scores) pieceSums {
	x = e.fold(x)
	return pieceSums{x, e.columnSums(x)}
}

// pieceSums are the probabilities of a piece, of all its heads together, and their sums over the thread's rows.
type pieceSums struct {
	scores
	cols []Value
}

func (p *pieceSums) Values() []*Value { return append(p.scores.Values(), lower.Pointers(p.cols)...) }

func (p pieceSums) Clone() pieceSums { return pieceSums{p.scores.Clone(), slices.Clone(p.cols)} }

func (e *estimator) clean(p scores) scores {
	return p.each(func(_, _ int, x Value) Value {
		return e.Select(e.FCmp(enum.FPredOLT, x, infinity), x, lower.F32(0))
	})
}

func (e *estimator) columnSums(p scores) []Value {
	out := make([]Value, threadCols)
	for j := range out {
		var column []Value
		for i := range e.headRows() {
			column = append(column, p[i][j])
		}
		out[j] = e.sum(column)
	}
	return out
}

// Each exchange with the lanes that hold other rows of the same columns halves the columns a lane is left with: eight
// columns and three exchanges leave it one. Lane bits 4, 3, 2 choose bits 2, 1, 0 of the thread's column.
var columnLanes = []int64{16, 8, 4}

// columnOfPiece is the column of a piece that this lane ends up with.
func (e *estimator) columnOfPiece() Value {
	n, c := e.LShr(e.lane, 3), e.And(e.LShr(e.lane, 2), lower.I32(1))
	return e.Add(e.Add(e.Shl(n, 3), e.Shl(e.quad, 1)), c)
}

func (e *estimator) keysPad() Value { return e.Shl(e.ZExt64(e.tilesOf(e.Param("sk"))), 6) }

// storeColumn adds up the columns over the lanes and stores the one that is the lane's.
func (e *estimator) storeColumn(key, there Value, cols []Value) {
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
		e.addColumn(key, there, cols[0])
		return
	}
	e.If("store_column", there, func() {
		e.Store(cols[0], e.element("col_sum", e.Add(e.Mul(e.ZExt64(e.hb), e.keysPad()), e.ZExt64(key))), 4)
	})
}

// clearColumns zeroes the columns of the chunk's tiles that no row sees.
func (e *estimator) clearColumns() {
	end := e.Min(e.Add(e.first, e.Param("chunk_tiles")), e.written())
	base := e.Add(e.Mul(e.ZExt64(e.hb), e.keysPad()), e.ZExt64(e.inSlot()))
	e.While("clear_columns", e.Max(e.first, e.tiles),
		func(tile Value) Value { return e.ICmp(enum.IPredSLT, tile, end) },
		func(tile Value) Value {
			e.Store(lower.F32(0), e.element("col_sum", e.Add(base, e.Shl(e.ZExt64(tile), 6))), 4)
			return e.Add(tile, lower.I32(1))
		})
}

// written is how many tiles have a sum in every column: those of the keys, and where lengths are in device memory the first one, because who
// chooses looks at the first column of a sequence without keys, too.
func (e *estimator) written() Value {
	tiles := e.tilesOf(e.Length("sk"))
	if !e.Lengths {
		return tiles
	}
	return e.Max(tiles, lower.I32(1))
}

// inSlot numbers the 64 threads of a head.
func (e *estimator) inSlot() Value { return e.And(e.ThreadX(), lower.I32(63)) }
