package index

import (
	"github.com/llir/llvm/ir/enum"

	"github.com/minfc/minfc/internal/codegen/lower"
)

// probe_sums takes keys in pieces of 32. The first warp of a head walks the first half of the chunk's pieces, the second
// the other half, so that what a warp carries along diagonals stays in its registers. Sums along the diagonals that come
// from before the warp's first piece begin in the two pieces there: the warp computes again what it needs of them, about 5 of 16
// products of one piece and 7 of 8 of the other, and none of their columns.

// pieceRange is what the two warps of a head walk: pieces start, start+1, ..., count of them.
type pieceRange struct{ start, count [2]Value }

// locatePieces counts the pieces. Diagonals that end beyond the last one need two more, of keys that nobody sees.
func (e *estimator) locatePieces() {
	e.pieces, e.flush = e.Shl(e.tiles, 1), lower.I32(0)
	if e.Spread {
		return // the tiles of a class have them
	}
	beyond := e.ICmp(enum.IPredSGT, e.Add(e.q0, lower.I32(tileKeys)), e.Shl(e.tiles, 6))
	some := e.ICmp(enum.IPredSGT, e.tiles, lower.I32(0))
	e.flush = e.Select(e.And(beyond, some), lower.I32(2), lower.I32(0))
}

func (e *estimator) newRange() (r pieceRange) {
	n := e.Param("chunk_tiles")
	for half := range 2 {
		r.start[half] = e.Mul(e.Add(e.Shl(e.BlockX(), 1), lower.I32(int64(half))), n)
		end := e.Min(e.Add(r.start[half], n), e.pieces)
		last := e.And(e.ICmp(enum.IPredSLT, r.start[half], e.pieces), e.ICmp(enum.IPredEQ, end, e.pieces))
		end = e.Add(end, e.Select(last, e.flush, lower.I32(0)))
		r.count[half] = e.Max(e.Sub(end, r.start[half]), lower.I32(0))
	}
	return r
}

// mine is the half's entry for the warp.
func (e *estimator) mine(x [2]Value) Value {
	return e.Select(e.ICmp(enum.IPredEQ, e.half, lower.I32(0)), x[0], x[1])
}

// pieceKey is the first key of a piece.
func (e *estimator) pieceKey(piece Value) Value {
	if !e.Spread {
		return e.Shl(piece, 5)
	}
	return e.halfKey(e.LShr(piece, 1), e.And(piece, lower.I32(1)))
}

// beginsClass says whether a piece is the first of its keys.
func (e *estimator) beginsClass(piece Value) Value {
	in := piece
	if e.Spread {
		in = e.Block.NewURem(piece, e.Shl(e.Param("class_tiles"), 1))
	}
	return e.ICmp(enum.IPredEQ, in, lower.I32(0))
}

// loadPieces starts the copies of the pieces that both warps are at in a step: piece, and as many further as a warp walks.
func (e *estimator) loadPieces(piece, buffer Value) {
	pieces := [2]Value{piece, e.Add(piece, e.Param("chunk_tiles"))}
	e.loadK(func(half int) Value { return e.pieceKey(pieces[half]) }, buffer)
	e.CopyCommit()
}

// pieceLoop runs body for every piece of the warp, with the scores and the chains up to it. Both warps of a head take as many
// steps.
func (e *estimator) pieceLoop(r pieceRange, p probe, body func(piece, first Value, s scores, c chains) chains) {
	steps, start := e.Max(r.count[0], r.count[1]), e.mine(r.start)
	e.If("pieces", e.ICmp(enum.IPredSGT, steps, lower.I32(0)), func() {
		end := e.Add(start, steps)
		type walk = lower.Walk[chains, *chains]
		lower.While(e.Builder, "piece", lower.Walking(start, e.warmUp(r, p)),
			func(piece walk) Value { return e.ICmp(enum.IPredSLT, piece.At, end) },
			func(piece walk) walk {
				e.CopyWaitAll()
				e.Barrier()
				next := e.Add(piece.At, lower.I32(1))
				e.If("load_next", e.ICmp(enum.IPredSLT, next, end), func() {
					e.loadPieces(e.Sub(next, e.Mul(e.half, e.Param("chunk_tiles"))), e.bufferOf(next))
				})
				first := e.pieceKey(piece.At)
				s := e.maskEdge(e.scores(e.bufferOf(piece.At), nil), first)
				return lower.Walking(next, body(piece.At, first, s, e.fresh(piece.At, piece.Of)).filled())
			})
	})
}

// fresh are the chains with which a piece begins. Without spread keys only the very first piece has none, which warmUp knows.
func (e *estimator) fresh(piece Value, carried chains) chains {
	if !e.Spread {
		return carried
	}
	begins := e.beginsClass(piece)
	return lower.Map(carried, func(v Value) Value { return e.Select(begins, lower.F32(0), v) })
}

// warmUp computes the chains that come to the warp's first piece out of the two before it, and starts the copy of that piece.
func (e *estimator) warmUp(r pieceRange, p probe) chains {
	start := e.mine(r.start)
	begins := e.Or(e.beginsClass(start), e.ICmp(enum.IPredSGE, start, e.pieces))
	e.loadQ()
	for i := range 2 {
		e.loadPieces(e.Add(r.start[0], lower.I32(int64(i-2))), lower.I32(int64(i)))
	}
	c := chains{}.filled()
	for i, buffer := range []Value{lower.I32(0), lower.I32(1)} {
		before := int64(2 - i)
		e.CopyWait(1)
		e.Barrier()
		c = lower.Choose(e.Builder, "warm_up", e.Not(begins), c, func() chains {
			return e.before(p, buffer, e.Sub(start, lower.I32(before)), before, c)
		})
		if i == 0 {
			e.Barrier() // its buffer is free
			e.loadPieces(r.start[0], buffer)
		}
	}
	return c
}

// before takes a piece that lies so many before the warp's first one, as far as its diagonals reach it or its window.
func (e *estimator) before(p probe, buffer, piece Value, before int64, c chains) chains {
	reach := int(2-before)*columnGroups + 1 // i - n of the first diagonal that does not
	s := e.scores(buffer, func(i, n int) bool { return i%e.headRows()-n < reach })
	x := p.of(e.maskEdge(s, e.pieceKey(piece)))
	advance := func(x scores) chains {
		next, _ := e.advance(c, e.fold(x))
		return next.filled()
	}
	out := advance(x)
	bad := e.FCmp(enum.FPredUGE, e.sum(lower.ValuesOf(out)), infinity)
	return lower.Choose(e.Builder, "nonfinite", e.AnyLane(bad), out, func() chains { return advance(e.clean(x)) })
}
