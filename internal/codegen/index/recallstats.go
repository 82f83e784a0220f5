package index

import (
	"github.com/llir/llvm/ir/enum"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/internal/codegen/lower"
)

// The parameters of recall_stats: the ones of probe_stats, whose output it has, and
//
//	row0        the first row that is looked at
//	probe_rows  how many there are, at most 64
//	step        from row to row

// RecallStats is probe_stats for rows that lie a step apart: maximum and sum of each row's softmax, by chunk of keys. Grid: as of probe_stats.
//
// Rows that are spread over a whole prompt see different numbers of keys: of the four strips of 16 rows that a warp multiplies, the first
// ones do not see the keys of most chunks. So a chunk that lies between the positions of two strips' first rows is walked by a loop of its
// own: the strips before are not computed, one strip is masked, and the strips after it see all. Chunks that lie otherwise, the last keys, and
// fewer than 64 rows are walked by the loop of probe_stats.
func RecallStats(c EstimateConfig) (*lower.Kernel, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	c.anyRows = true
	params := abi.IndexParams[abi.RecallStats]
	e := c.newEstimator(abi.RecallStats, params)
	e.keepHead()
	stats, bad := e.endFast(e.walkStrips())
	stats = lower.Choose(e.Builder, "exact", e.anyWarp(bad), stats, func() rowStats { return tileLoop(e, exactStart(), e.foldExact) })
	e.storeStats(e.joinQuad(stats))
	return e.kernel(abi.RecallStats, params, e.stats), nil
}

// walkStrips walks the chunk by the first loop that it fits.
func (e *estimator) walkStrips() fastRows {
	rows, left := e.fastStart(), e.ICmp(enum.IPredSLT, e.first, e.end)
	for strip := range strips {
		fits := e.And(left, e.stripFits(strip))
		rows = lower.Choose(e.Builder, "strip", fits, rows, func() fastRows { return e.stripLoop(strip) })
		left = e.And(left, e.Not(fits))
	}
	return lower.Choose(e.Builder, "any", left, rows, func() fastRows { return tileLoop(e, e.fastStart(), e.foldFast) })
}

// locateRows takes rows a step apart.
func (e *estimator) locateRows() {
	e.row0, e.rows, e.rowStep = e.Param("row0"), e.Param("probe_rows"), e.Param("step")
	e.q0 = e.Add(e.Param("q_offset"), e.row0)
	last := e.Add(e.q0, e.Mul(e.Sub(e.rows, lower.I32(1)), e.rowStep))
	e.tiles = e.tilesOf(e.Min(e.Param("sk"), e.Add(last, lower.I32(1))))
}

// stripFits says whether no row before a strip sees a key of the chunk, and every row after it sees all of them.
func (e *estimator) stripFits(strip int) Value {
	fits := e.ICmp(enum.IPredEQ, e.rows, lower.I32(abi.ProbeRows))
	if strip > 0 { // distances from row 0, which are 2^30 at most
		before := e.Mul(e.rowStep, lower.I32(int64(16*strip-1)))
		fits = e.And(fits, e.ICmp(enum.IPredSGT, e.Sub(e.Shl(e.first, 6), e.q0), before))
	}
	if strip == strips-1 {
		return fits
	}
	end := e.Shl(e.end, 6)
	after := e.Mul(e.rowStep, lower.I32(int64(16*(strip+1))))
	fits = e.And(fits, e.ICmp(enum.IPredSLE, e.Sub(e.Sub(end, lower.I32(1)), e.q0), after))
	return e.And(fits, e.ICmp(enum.IPredSLE, end, e.Param("sk")))
}

// stripLoop walks the chunk for a strip, which is masked, and the strips after it.
func (e *estimator) stripLoop(strip int) fastRows {
	start, left := e.fastStart(), 2*strip // rows of a thread that are left out, and cost no register in the loop
	rows := start
	clear(rows[:left])
	rows = tileLoopOf(e, rows, func(tile Value) scores {
		s := e.scores(e.bufferOf(tile), func(i, _ int) bool { return i >= left })
		return e.maskStrip(s, strip, e.halfKey(tile, e.half))
	}, e.foldFast)
	copy(rows[:left], start[:left])
	return rows
}

// maskStrip sets the scores of the keys that rows of a strip do not see to -inf. The 32 keys begin at the first one.
func (e *estimator) maskStrip(s scores, strip int, first Value) scores {
	key := e.Add(first, e.Shl(e.quad, 1))
	var room [threadRows]Value
	for i := 2 * strip; i < 2*strip+2; i++ {
		room[i] = e.Sub(e.rowEnd(i), key)
	}
	return s.each(func(i, j int, x Value) Value {
		if room[i] == nil {
			return x
		}
		return e.Select(e.ICmp(enum.IPredSGT, room[i], lower.I32(int64(8*(j/2)+j%2))), x, lower.NegInf())
	})
}
