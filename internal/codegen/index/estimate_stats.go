package index

import (
	"math"

	"github.com/llir/llvm/ir/enum"
	"github.com/llir/llvm/ir/types"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/internal/codegen/lower"
)

// statBytes is one entry of probe_stats: maximum and sum. A flag says that a warp's fast sums are of no use.
const (
	statBytes = 8
	flagBytes = 4
)

// lowest is below every product that counts: the maximum of a row that sees nothing. It is finite, so that no difference is
// (-inf)-(-inf).
const lowest = -3.4e38

// The parameters of probe_stats. Strides are in bytes; hq is the number of q heads,
// chunk_tiles how many tiles of 64 keys a block takes; chunks is how many chunks that makes, at least one.
//
//	probe_stats  float32 [batch*hq, chunks, 64, 2]: maximum of q*k and sum of 2^((q*k - maximum)*scale_log2)
//
// A row that sees no key of a chunk has the sum 0.

// ProbeStats is the first pass over K. Grid: (chunks, kv heads times the blocks that their q heads take, batch).
//
// The exponent of a score x is x*scale - r, rounded once, where r is the row's maximum times the scale, rounded: the fast sums are
// relative to 2^r. That r is not the exponent of the maximum does no harm until the difference, up to half a unit in the last place
// of r, overflows or loses the sum. Then, and where a logit is NaN or +inf, the block begins again with (x - maximum)*scale, which
// takes an instruction more a score.
func ProbeStats(c EstimateConfig) (*lower.Kernel, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	entry, params := c.variant(abi.ProbeStats)
	e := c.newEstimator(entry, params)
	e.keepHead()
	stats, bad := e.endFast(tileLoop(e, e.fastStart(), e.foldFast))
	stats = lower.Choose(e.Builder, "exact", e.anyWarp(bad), stats, func() rowStats { return tileLoop(e, exactStart(), e.foldExact) })
	e.storeStats(e.joinQuad(stats))
	return e.kernel(entry, params, e.stats), nil
}

// fastRow is what the fast loop knows of a row: its maximum, r and the sum relative to 2^r.
type fastRow struct{ top, r, sum Value }

type fastRows [threadRows]fastRow

// Values lists the rows that are there.
func (f *fastRows) Values() (out []*Value) {
	for i := range f {
		out = append(out, &f[i].top, &f[i].r, &f[i].sum)
	}
	return lower.Some(out...)
}

// fastStart is what a row begins with: of its maximum and r the smaller one is lowest.
func (e *estimator) fastStart() (start fastRows) {
	scale := e.Param("scale_log2")
	top := e.FMul(lower.F32(lowest), e.Rcp(e.FMax(scale, lower.F32(1))))
	for i := range start {
		start[i] = fastRow{top, e.FMul(top, scale), lower.F32(0)}
	}
	return start
}

// foldFast brings the rows with scores to date. They have this thread's columns alone until the end of the chunk.
func (e *estimator) foldFast(s scores, was fastRows) (is fastRows) {
	scale := e.Param("scale_log2")
	for i, row := range s {
		if row[0] == nil {
			is[i] = was[i]
			continue
		}
		top := e.rowMax(row, was[i].top)
		r := e.FMul(top, scale)
		neg := e.FNeg(r)
		var p []Value
		for _, x := range row {
			p = append(p, e.Exp2(e.FMA(x, scale, neg)))
		}
		before := e.Exp2(e.FSub(was[i].r, r))
		is[i] = fastRow{top, r, e.FMA(was[i].sum, before, e.sum(p))}
	}
	return is
}

// Fast sums between these bounds are right: the term of the maximum is neither lost nor has it drowned others, and neither is the term
// of any other score. Logits of NaN or +inf make a NaN of the sum.
const (
	leastSum = 1. / (1 << 50) / (1 << 50)
	mostSum  = (1 << 50) * (1 << 50)

	nearLowest = 0.99 * lowest // above what a row begins with
)

// stat is a maximum, and a sum relative to it.
type stat struct{ m, l Value }

func (s *stat) Values() []*Value { return []*Value{&s.m, &s.l} }

type statWalk = lower.Walk[stat, *stat]

// noStat is the stat of a row that has seen nothing.
var noStat = stat{lower.F32(lowest), lower.F32(0)}

// rowStats are the stats of the thread's rows.
type rowStats [threadRows]stat

func (s *rowStats) Values() (out []*Value) {
	for i := range s {
		out = append(out, s[i].Values()...)
	}
	return out
}

// endFast turns the rows of the fast loop into stats, and says whether some are of no use.
func (e *estimator) endFast(rows fastRows) (stats rowStats, bad Value) {
	zero := lower.F32(0)
	bad = lower.Bool(false)
	for i, row := range rows {
		top, r, sum := row.top, row.r, row.sum
		right := e.And(e.FCmp(enum.FPredOGE, sum, lower.F32(leastSum)), e.FCmp(enum.FPredOLE, sum, lower.F32(mostSum)))
		fresh := e.Or(e.FCmp(enum.FPredOLT, top, lower.F32(nearLowest)), e.FCmp(enum.FPredOLT, r, lower.F32(nearLowest)))
		nothing := e.And(e.FCmp(enum.FPredOEQ, sum, zero), fresh)
		bad = e.Or(bad, e.Not(e.Or(right, nothing)))
		off := e.FNeg(e.FMA(top, e.Param("scale_log2"), e.FNeg(r))) // exact
		stats[i] = stat{top, e.Select(right, e.FMul(sum, e.Exp2(off)), zero)}
	}
	return stats, bad
}

// keepHead puts the number of the warp's head where storeStats finds it, -1 if nothing is to be stored: the loops are short of
// registers.
func (e *estimator) keepHead() {
	e.If("keep", e.ICmp(enum.IPredEQ, e.lane, lower.I32(0)), func() {
		e.Store(e.Select(e.valid, e.hb, lower.I32(-1)), e.warpWord(e.kept), flagBytes)
	})
}

// anyWarp says whether c holds in some thread of the block.
func (e *estimator) anyWarp(c Value) Value {
	vote := e.Block.NewZExt(e.AnyLane(c), types.I32)
	e.If("vote", e.ICmp(enum.IPredEQ, e.lane, lower.I32(0)), func() {
		e.Store(vote, e.warpWord(e.flags), flagBytes)
	})
	e.Barrier()
	var any Value = lower.I32(0)
	for w := range 2 * e.HeadsPerBlock {
		any = e.Or(any, e.Load(types.I32, e.SharedAt(e.shared, e.flags+flagBytes*w), flagBytes))
	}
	return e.ICmp(enum.IPredNE, any, lower.I32(0))
}

func exactStart() (start rowStats) {
	for i := range start {
		start[i] = noStat
	}
	return start
}

// foldExact brings the stats to date without the logits that are NaN or +inf.
func (e *estimator) foldExact(s scores, was rowStats) (is rowStats) {
	for i, row := range s {
		var clean, p []Value
		for _, x := range row {
			clean = append(clean, e.Select(e.FCmp(enum.FPredOLT, x, lower.F32(math.Inf(1))), x, lower.NegInf()))
		}
		top := e.rowMax(clean, was[i].m)
		for _, x := range clean {
			p = append(p, e.power(x, top))
		}
		is[i] = stat{top, e.FMA(was[i].l, e.power(was[i].m, top), e.sum(p))}
	}
	return is
}

// power is 2^((x-top)*scale_log2).
func (e *estimator) power(x, top Value) Value {
	return powerOf(e.Builder, x, top, e.Param("scale_log2"))
}

func powerOf(b *lower.Builder, x, top, scale Value) Value {
	return b.Exp2(b.FMul(b.FSub(x, top), scale))
}

func (e *estimator) rowMax(row []Value, m Value) Value {
	max := row[0]
	for _, x := range row[1:] {
		max = e.FMax(max, x)
	}
	return e.FMax(max, m)
}

// sum adds in pairs: a short chain, and less rounding.
func (e *estimator) sum(x []Value) Value {
	if len(x) == 1 {
		return x[0]
	}
	return e.FAdd(e.sum(x[:len(x)/2]), e.sum(x[len(x)/2:]))
}

// joinStats is the stat of two parts of a row.
func joinStats(b *lower.Builder, scale Value, x, y stat) stat {
	top := b.FMax(x.m, y.m)
	a := b.FMul(x.l, powerOf(b, x.m, top, scale))
	return stat{top, b.FMA(y.l, powerOf(b, y.m, top, scale), a)}
}

// joinQuad joins the four lanes that share rows.
func (e *estimator) joinQuad(stats rowStats) rowStats {
	for _, lanes := range []int64{1, 2} {
		for i, s := range stats {
			other := stat{e.ShuffleXor(s.m, lanes), e.ShuffleXor(s.l, lanes)}
			stats[i] = joinStats(e.Builder, e.Param("scale_log2"), s, other)
		}
	}
	return stats
}

// storeStats joins the two halves through shared memory and stores the chunk.
func (e *estimator) storeStats(stats rowStats) {
	leader := e.ICmp(enum.IPredEQ, e.quad, lower.I32(0))
	second := e.ICmp(enum.IPredEQ, e.half, lower.I32(1))
	at := e.Add(e.shared, e.Shl(e.Add(e.Mul(e.slot, lower.I32(abi.ProbeRows)), e.row), 3))
	e.If("give", e.And(leader, second), func() {
		for i, s := range stats {
			e.Store(s.m, e.SharedAt(at, e.exchange+8*i*statBytes), 4)
			e.Store(s.l, e.SharedAt(at, e.exchange+8*i*statBytes+4), 4)
		}
	})
	e.Barrier()
	hb := e.Load(types.I32, e.warpWord(e.kept), flagBytes)
	valid := e.ICmp(enum.IPredSGE, hb, lower.I32(0))
	e.If("store_stats", e.And(e.And(leader, valid), e.Not(second)), func() {
		chunk := e.Add(e.Mul(e.ZExt64(hb), e.ZExt64(e.GridX())), e.ZExt64(e.BlockX()))
		row := e.Add(e.Mul(chunk, lower.I64(abi.ProbeRows)), e.ZExt64(e.row))
		to := e.element("probe_stats", e.Shl(row, 1))
		for i, s := range stats {
			m := e.Load(types.Float, e.SharedAt(at, e.exchange+8*i*statBytes), 4)
			l := e.Load(types.Float, e.SharedAt(at, e.exchange+8*i*statBytes+4), 4)
			s = joinStats(e.Builder, e.Param("scale_log2"), s, stat{m, l})
			e.Store(s.m, e.Offset(to, lower.I64(int64(8*i*statBytes))), 4)
			e.Store(s.l, e.Offset(to, lower.I64(int64(8*i*statBytes+4))), 4)
		}
	})
}

// The parameters of probe_combine.
//
//	probe_lse  float32 [batch*hq, 64, 2]: maximum of q*k a row, and log2 of the sum of 2^((q*k - maximum)*scale_log2); 0 and +inf
//	           for a row that sees nothing
//	chunks     of probe_stats
//	packs      of probe_combine_packed, where heads are kv heads and have so many packs each

const (
	combineParts  = 16 // threads that share a row
	combineUnroll = 4
)

// ProbeCombine joins the chunks of every probe row. Grid: (1, q heads, batch).
func ProbeCombine(packed bool) (*lower.Kernel, error) {
	const threads = combineParts * abi.ProbeRows
	entry := abi.ProbeCombine
	if packed {
		entry = abi.CombinePacked
	}
	b := lower.NewKernel(entry, abi.IndexParams[entry], threads, 1)
	shared, tid := b.SharedBase(), b.ThreadX()
	row, part := b.And(tid, lower.I32(abi.ProbeRows-1)), b.LShr(tid, 6)
	hb := b.Add(b.Mul(b.BlockZ(), b.Param("hq")), b.BlockY())
	who := hb
	if packed {
		who = b.UDiv(hb, b.Param("packs"))
	}
	b.LeaveUnless(b.TakesPart(who), nil)
	s := combineChunks(b, hb, row, part)
	at := b.Add(shared, b.Shl(tid, 3))
	b.Store(s.m, b.SharedAt(at, 0), 4)
	b.Store(s.l, b.SharedAt(at, 4), 4)
	b.Barrier()
	b.If("store_lse", b.ICmp(enum.IPredEQ, part, lower.I32(0)), func() {
		for p := 1; p < combineParts; p++ {
			m := b.Load(types.Float, b.SharedAt(at, p*abi.ProbeRows*statBytes), 4)
			l := b.Load(types.Float, b.SharedAt(at, p*abi.ProbeRows*statBytes+4), 4)
			s = joinStats(b, b.Param("scale_log2"), s, stat{m, l})
		}
		some := b.FCmp(enum.FPredOGT, s.l, lower.F32(0))
		to := b.Offset(b.Param("probe_lse"), b.Shl(b.Add(b.Shl(b.ZExt64(hb), 6), b.ZExt64(row)), 3))
		b.Store(b.Select(some, s.m, lower.F32(0)), to, 4)
		b.Store(b.Select(some, b.Log2(s.l), lower.F32(math.Inf(1))), b.Offset(to, lower.I64(4)), 4)
	})
	b.Block.NewRet(nil)
	return &lower.Kernel{Module: b.Module, Entry: entry, Threads: threads, SharedBytes: threads * statBytes,
		Params: abi.IndexParams[entry]}, nil
}

// combineChunks joins the chunks part, part+16, ... of a row, several loads at a time.
func combineChunks(b *lower.Builder, hb, row, part Value) stat {
	chunks := b.Param("chunks")
	base := b.Mul(b.ZExt64(hb), b.ZExt64(chunks))
	load := func(chunk Value) stat {
		in := b.ICmp(enum.IPredSLT, chunk, chunks)
		i := b.Add(base, b.ZExt64(b.Min(chunk, b.Sub(chunks, lower.I32(1)))))
		at := b.Offset(b.Param("probe_stats"), b.Shl(b.Add(b.Shl(i, 6), b.ZExt64(row)), 3))
		m, l := b.Load(types.Float, at, 4), b.Load(types.Float, b.Offset(at, lower.I64(4)), 4)
		return stat{m, b.Select(in, l, lower.F32(0))}
	}
	return lower.While(b, "chunk", lower.Walking(part, noStat),
		func(chunk statWalk) Value { return b.ICmp(enum.IPredSLT, chunk.At, chunks) },
		func(chunk statWalk) statWalk {
			var loaded [combineUnroll]stat
			for i := range loaded {
				loaded[i] = load(b.Add(chunk.At, lower.I32(int64(i*combineParts))))
			}
			s := chunk.Of
			for _, x := range loaded {
				s = joinStats(b, b.Param("scale_log2"), s, x)
			}
			return lower.Walking(b.Add(chunk.At, lower.I32(combineUnroll*combineParts)), s)
		}).Of
}
