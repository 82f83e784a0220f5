package sm90

import (
	"slices"

	"github.com/minfc/minfc/internal/codegen/lower"
)

// The loop of a consumer whose softmax runs beside the second product of the stage before. Where blocks take tiles from a queue, the stage
// before may be another tile's: the first product of a tile is issued together with the last one of the tile before it, whose output is
// written when the softmax of the new one is done.

func (k *kernel) consumeTiles() {
	start := pipelineSlot{lower.I32(0), lower.I32(0)}
	h := k.stageAt(start)
	if !k.queued {
		k.consumeFrom(start, h)
		return
	}
	k.If("any", k.lacks(h, flagEnd), func() { k.consumeFrom(start, h) })
}

// consumeFrom computes all stages from the first one on, whose header is h.
func (k *kernel) consumeFrom(start pipelineSlot, h header) {
	tile := heldTile{tileID: k.postedItem(start.buffer)}
	if k.queued {
		tile.parity = lower.I32(0)
	}
	q := k.awaitQ(lower.I32(0))
	if k.queued {
		tile.q = q
	}
	first := k.firstStage(start, tile, q, h)
	loop := k.NewBlock("loop")
	k.Br(loop)
	from := k.Block

	k.Enter(loop)
	carried := lower.Open(k.Builder, first, from)
	st := carried.State
	h = k.stageAt(st.k)
	over := k.has(h, flagEnd)
	check := k.Block
	body := k.NewBlock("stage")
	k.Enter(body)
	k.goRound(carried, k.nextStage(st, q, h), loop)

	tail := k.NewBlock("last")
	check.NewCondBr(over, tail, body)
	k.Enter(tail)
	st.o = k.awaitProducts(0, k.addValues(st, st.v))
	k.release(emptyV, st.v)
	k.inTile(st.tile.tileID, func() { k.epilogue(st.rowState) })
}

// firstStage computes a stage that has no product before it; tile is whose it is, where blocks take tiles from a queue.
func (k *kernel) firstStage(at pipelineSlot, tile heldTile, q lower.Vectors, h header) state {
	out := state{k: at, w: k.window(h), tile: tile}
	k.inTile(tile.tileID, func() {
		out.rowState = k.initial(false)
		s := k.awaitProducts(0, k.scores(at.buffer, out.w, q))
		s = k.maskAndFree(at.buffer, s, h)
		k.newMaxima(&out.rowState, s)
		out.p = k.fragments(k.probabilities(&out.rowState, s))
	})
	k.turn(&out)
	return out
}

// nextStage computes a stage and the second product of the stage before. q are the fragments of Q, where all stages have the same.
func (k *kernel) nextStage(st state, q lower.Vectors, h header) state {
	out := st.Clone()
	if k.queued {
		out.tile = k.nextTile(st, h)
		q = out.tile.q
	}
	out.w = k.window(h)
	s := k.scores(st.k.buffer, out.w, q)
	out.o = k.addValues(st, st.v)
	s = k.awaitProducts(1, s)
	var alpha, p []Value
	k.inTile(out.tile.tileID, func() {
		s = k.maskAndFree(st.k.buffer, s, h)
		k.beginRows(&out.rowState, h)
		alpha = k.newMaxima(&out.rowState, s)
		p = k.probabilities(&out.rowState, s)
	})
	k.turn(&out)
	out.o = k.awaitProducts(0, out.o)
	k.release(emptyV, st.v)
	out.p = k.fragments(p)
	out.o = k.finishRows(rowState{out.o, st.m, st.l}, st.tile.tileID, h)
	k.rescale(out.o, alpha)
	return out
}

// beginRows starts the maxima and sums of the tile at k.At, if the stage with header h is its first one.
func (k *kernel) beginRows(rows *rowState, h header) {
	if !k.queued {
		return
	}
	begun := k.ChooseAll("begin", k.has(h, flagFirst), slices.Concat(rows.m, rows.l), func() []Value {
		own := k.initial(false)
		return slices.Concat(own.m, own.l)
	})
	rows.m, rows.l = begun[:len(rows.m)], begun[len(rows.m):]
}

// finishRows writes what the rows of a tile have come to, if the stage with header h is the first one of another tile, whose outputs begin with
// zeros. Else the outputs go on.
func (k *kernel) finishRows(rows rowState, tile tileID, h header) []Value {
	if !k.queued {
		return rows.o
	}
	return k.ChooseAll("finish", k.has(h, flagFirst), rows.o, func() []Value {
		k.inTile(tile, func() { k.epilogue(rows) })
		return slices.Repeat([]Value{lower.F32(0)}, len(rows.o))
	})
}

// turn waits for V of the stage at st.k, which becomes the stage before. The wait stands between the softmax and the one for the
// product because it is a branch, and ptxas would move that one up to the products otherwise: the overlap would be gone.
func (k *kernel) turn(st *state) {
	v := k.pipelineSlotOfV(st.k)
	st.v, st.k = v.buffer, k.nextPipelineSlot(v)
	k.await(k.barrierAt(fullV, v.buffer), v.parity)
}
