package index

import (
	"math"

	"github.com/llir/llvm/ir/enum"
	"github.com/llir/llvm/ir/types"

	"github.com/minfc/minfc/codegen/lower"
)

// statBytes is one entry of probe_stats: maximum and sum.
const statBytes = 8

// lowest is the maximum of a row that sees nothing: finite, so that no difference is (-inf)-(-inf).
const lowest = -1e30

// ProbeStatsParams are the parameters of probe_stats. Strides are in bytes; hq is the number of q heads,
// chunk_tiles EstimateLaunch's.
//
//	probe_stats  float32 [batch*hq, chunks, 64, 2]: maximum of logit*scale_log2 and sum of 2^(logit*scale_log2 - maximum)
//
// A row that sees no key of a chunk has (-1e30, 0).
var ProbeStatsParams = []lower.Param{
	{Name: "q", Type: "ptr"}, {Name: "k", Type: "ptr"}, {Name: "probe_stats", Type: "ptr"},
	{Name: "q_batch", Type: "i64"}, {Name: "q_head", Type: "i64"}, {Name: "q_row", Type: "i64"},
	{Name: "k_batch", Type: "i64"}, {Name: "k_head", Type: "i64"}, {Name: "k_row", Type: "i64"},
	{Name: "sq", Type: "i32"}, {Name: "sk", Type: "i32"}, {Name: "q_offset", Type: "i32"},
	{Name: "group", Type: "i32"}, {Name: "hq", Type: "i32"}, {Name: "chunk_tiles", Type: "i32"},
	{Name: "scale_log2", Type: "f32"}, lower.HeadsParam,
}

// ProbeStats is the first pass over K. Grid: EstimateLaunch.
func ProbeStats(c EstimateConfig) (*lower.Kernel, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	entry, params := c.variant("probe_stats", ProbeStatsParams)
	e := c.newEstimator(entry, params)
	var start []Value
	for range threadRows {
		start = append(start, lower.F32(lowest), lower.F32(0))
	}
	stats := e.tileLoop(start, func(_ Value, s scores, v []Value) []Value { return e.foldStats(s, v) })
	e.joinQuad(stats)
	e.storeStats(stats)
	return e.kernel(entry, params, e.stats), nil
}

// foldStats brings maximum and sum of each row (alternating in v) to date. They are this thread's columns alone until the
// end of the chunk.
func (e *estimator) foldStats(s scores, v []Value) []Value {
	var tile, all []Value
	for i, row := range s {
		m := e.rowMax(row, v[2*i])
		tile = append(tile, m, e.rowSum(row, m))
		all = append(all, tile[2*i+1])
	}
	total := e.sum(all)
	bad := e.AnyLane(e.FCmp(enum.FPredUNO, total, total))
	tile = e.If("nonfinite", bad, tile, func() []Value { return e.finiteStats(s, v) })
	out := make([]Value, len(v))
	for i := range s {
		m := tile[2*i]
		out[2*i] = m
		out[2*i+1] = e.FMA(v[2*i+1], e.Exp2(e.FSub(v[2*i], m)), tile[2*i+1])
	}
	return out
}

// finiteStats is the same without the logits that are NaN or +inf. Both make the sum NaN, which is how they are noticed
// at no cost to others.
func (e *estimator) finiteStats(s scores, v []Value) []Value {
	var out []Value
	for i, row := range s {
		var clean []Value
		for _, x := range row {
			clean = append(clean, e.Select(e.FCmp(enum.FPredOLT, x, lower.F32(math.Inf(1))), x, lower.NegInf()))
		}
		m := e.rowMax(clean, v[2*i])
		out = append(out, m, e.rowSum(clean, m))
	}
	return out
}

func (e *estimator) rowMax(row []Value, m Value) Value {
	max := row[0]
	for _, x := range row[1:] {
		max = e.FMax(max, x)
	}
	return e.FMax(e.FMul(max, e.Param("scale_log2")), m)
}

func (e *estimator) rowSum(row []Value, m Value) Value {
	var p []Value
	neg := e.FNeg(m)
	for _, x := range row {
		p = append(p, e.Exp2(e.FMA(x, e.Param("scale_log2"), neg)))
	}
	return e.sum(p)
}

// sum adds in pairs: a short chain, and less rounding.
func (e *estimator) sum(x []Value) Value {
	if len(x) == 1 {
		return x[0]
	}
	return e.FAdd(e.sum(x[:len(x)/2]), e.sum(x[len(x)/2:]))
}

// joinStats is the maximum and sum of two parts of a row.
func joinStats(b *lower.Builder, m, l, m2, l2 Value) (Value, Value) {
	top := b.FMax(m, m2)
	a := b.FMul(l, b.Exp2(b.FSub(m, top)))
	return top, b.FMA(l2, b.Exp2(b.FSub(m2, top)), a)
}

// joinQuad joins the four lanes that share rows.
func (e *estimator) joinQuad(v []Value) {
	for _, lanes := range []int64{1, 2} {
		for i := 0; i < len(v); i += 2 {
			m, l := e.ShuffleXor(v[i], lanes), e.ShuffleXor(v[i+1], lanes)
			v[i], v[i+1] = joinStats(e.Builder, v[i], v[i+1], m, l)
		}
	}
}

// storeStats joins the two halves through shared memory and stores the chunk.
func (e *estimator) storeStats(v []Value) {
	leader := e.ICmp(enum.IPredEQ, e.quad, lower.I32(0))
	second := e.ICmp(enum.IPredEQ, e.half, lower.I32(1))
	at := e.Add(e.shared, e.Shl(e.Add(e.Mul(e.slot, lower.I32(ProbeRows)), e.row), 3))
	e.If("give", e.And(leader, second), nil, func() []Value {
		for i := range threadRows {
			e.Store(v[2*i], e.SharedAt(at, e.exchange+8*i*statBytes), 4)
			e.Store(v[2*i+1], e.SharedAt(at, e.exchange+8*i*statBytes+4), 4)
		}
		return nil
	})
	e.Barrier()
	e.If("store_stats", e.And(e.And(leader, e.valid), e.Not(second)), nil, func() []Value {
		chunk := e.Add(e.Mul(e.ZExt64(e.hb), e.ZExt64(e.GridX())), e.ZExt64(e.BlockX()))
		row := e.Add(e.Mul(chunk, lower.I64(ProbeRows)), e.ZExt64(e.row))
		to := e.element("probe_stats", e.Shl(row, 1))
		for i := range threadRows {
			m := e.Load(types.Float, e.SharedAt(at, e.exchange+8*i*statBytes), 4)
			l := e.Load(types.Float, e.SharedAt(at, e.exchange+8*i*statBytes+4), 4)
			m, l = joinStats(e.Builder, v[2*i], v[2*i+1], m, l)
			e.Store(m, e.Offset(to, lower.I64(int64(8*i*statBytes))), 4)
			e.Store(l, e.Offset(to, lower.I64(int64(8*i*statBytes+4))), 4)
		}
		return nil
	})
}

// ProbeCombineParams are the parameters of probe_combine.
//
//	probe_lse  float32 [batch*hq, 64], log2 of the sum of 2^(logit*scale_log2) a row; +inf for a row that sees nothing
//	chunks     EstimateLaunch.Chunks
var ProbeCombineParams = []lower.Param{
	{Name: "probe_stats", Type: "ptr"}, {Name: "probe_lse", Type: "ptr"}, {Name: "chunks", Type: "i32"}, {Name: "hq", Type: "i32"},
	lower.HeadsParam,
}

const (
	combineParts  = 16 // threads that share a row
	combineUnroll = 4
)

// ProbeCombine joins the chunks of every probe row. Grid: (1, q heads, batch).
func ProbeCombine() (*lower.Kernel, error) {
	const entry, threads = "probe_combine", combineParts * ProbeRows
	b := lower.NewKernel(entry, ProbeCombineParams, threads, 1)
	shared, tid := b.SharedBase(), b.ThreadX()
	row, part := b.And(tid, lower.I32(ProbeRows-1)), b.LShr(tid, 6)
	hb := b.Add(b.Mul(b.BlockZ(), b.Param("hq")), b.BlockY())
	b.LeaveUnless(b.TakesPart(hb), nil)
	m, l := combineChunks(b, hb, row, part)
	at := b.Add(shared, b.Shl(tid, 3))
	b.Store(m, b.SharedAt(at, 0), 4)
	b.Store(l, b.SharedAt(at, 4), 4)
	b.Barrier()
	b.If("store_lse", b.ICmp(enum.IPredEQ, part, lower.I32(0)), nil, func() []Value {
		for p := 1; p < combineParts; p++ {
			m2 := b.Load(types.Float, b.SharedAt(at, p*ProbeRows*statBytes), 4)
			l2 := b.Load(types.Float, b.SharedAt(at, p*ProbeRows*statBytes+4), 4)
			m, l = joinStats(b, m, l, m2, l2)
		}
		some := b.FCmp(enum.FPredOGT, l, lower.F32(0))
		lse := b.Select(some, b.FAdd(m, b.Log2(l)), lower.F32(math.Inf(1)))
		i := b.Add(b.Shl(b.ZExt64(hb), 6), b.ZExt64(row))
		b.Store(lse, b.Offset(b.Param("probe_lse"), b.Shl(i, 2)), 4)
		return nil
	})
	b.Block.NewRet(nil)
	return &lower.Kernel{Module: b.Module, Entry: entry, Threads: threads, SharedBytes: threads * statBytes, Params: ProbeCombineParams}, nil
}

// combineChunks joins the chunks part, part+16, ... of a row, several loads at a time.
func combineChunks(b *lower.Builder, hb, row, part Value) (Value, Value) {
	chunks := b.Param("chunks")
	base := b.Mul(b.ZExt64(hb), b.ZExt64(chunks))
	load := func(chunk Value) (Value, Value) {
		in := b.ICmp(enum.IPredSLT, chunk, chunks)
		i := b.Add(base, b.ZExt64(b.Min(chunk, b.Sub(chunks, lower.I32(1)))))
		at := b.Offset(b.Param("probe_stats"), b.Shl(b.Add(b.Shl(i, 6), b.ZExt64(row)), 3))
		m, l := b.Load(types.Float, at, 4), b.Load(types.Float, b.Offset(at, lower.I64(4)), 4)
		return m, b.Select(in, l, lower.F32(0))
	}
	v := b.While("chunk", []Value{part, lower.F32(lowest), lower.F32(0)},
		func(v []Value) Value { return b.ICmp(enum.IPredSLT, v[0], chunks) },
		func(v []Value) []Value {
			var loaded [2 * combineUnroll]Value
			for i := range combineUnroll {
				loaded[2*i], loaded[2*i+1] = load(b.Add(v[0], lower.I32(int64(i*combineParts))))
			}
			m, l := v[1], v[2]
			for i := range combineUnroll {
				m, l = joinStats(b, m, l, loaded[2*i], loaded[2*i+1])
			}
			return []Value{b.Add(v[0], lower.I32(combineUnroll*combineParts)), m, l}
		})
	return v[1], v[2]
}
