package sm90

import (
	"slices"

	llir "github.com/llir/llvm/ir"

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

// consumeFrom computes all stages from the first one on, whose header is h. The loop has the stages of one tile, as where a block has no other:
// the first stage of the next tile stands beside it, so that what only that stage does is not in the way of ptxas in the others.
func (k *kernel) consumeFrom(start pipelineSlot, h header) {
	first, q := k.firstStage(start, h)
	loop := k.NewBlock("loop")
	k.Br(loop)
	from := k.Block

	k.Enter(loop)
	carried := lower.Open(k.Builder, first, from)
	st := carried.State
	over := int64(flagEnd)
	if k.queued {
		q, h, over = st.tile.q, st.next, flagFirst|flagEnd
	} else {
		h = k.stageAt(st.k)
	}
	other := k.has(h, over)
	check := k.Block
	body := k.NewBlock("stage")
	k.Enter(body)
	k.goRound(carried, k.afterKept(st, func(pending bool) state { return k.nextStage(st, q, h, pending) }), loop)

	tail := k.NewBlock("last")
	check.NewCondBr(other, tail, body)
	k.Enter(tail)
	if k.queued {
		k.turnTile(carried, st, loop)
	}
	st.o = k.lastProduct(st)
	k.release(emptyV, st.v)
	k.inTile(st.tile.tileID, func() { k.epilogue(st.rowState) })
}

// turnTile goes round with the next tile, unless there is none: then it leaves the builder where the last product is to be computed.
func (k *kernel) turnTile(carried *lower.Loop[state], st state, loop *llir.Block) {
	over := k.has(st.next, flagEnd)
	check := k.Block
	turn := k.NewBlock("turn")
	k.Enter(turn)
	k.goRound(carried, k.nextTileStage(st, st.next), loop)
	end := k.NewBlock("end")
	check.NewCondBr(over, end, turn)
	k.Enter(end)
}

// firstStage computes a stage that has no product before it, and returns the fragments of Q beside what the stage leaves.
func (k *kernel) firstStage(at pipelineSlot, h header) (out state, q lower.Vectors) {
	out = state{k: at, w: k.window(h)}
	out.tile.tileID = k.postedItem(at.buffer)
	q = k.awaitQ(lower.I32(0))
	if k.queued {
		out.tile.parity, out.tile.q = lower.I32(0), q
	}
	k.inTile(out.tile.tileID, func() {
		out.rowState = k.initial(false)
		s := k.awaitProducts(0, k.scores(at.buffer, out.w, q))
		s = k.maskAndFree(at.buffer, s, h)
		var p []Value
		_, p, out.kept = k.softmax(&out.rowState, s)
		out.p = k.fragments(p)
	})
	k.turn(&out)
	return out, q
}

// nextStage computes a stage and, if it is pending, the second product of the stage before, which is of the same tile; q are the fragments of
// its Q.
func (k *kernel) nextStage(st state, q lower.Vectors, h header, pending bool) state {
	out := st.Clone()
	out.w = k.window(h)
	s, o := k.scoresBeside(st, out.w, q, pending)
	var alpha, p []Value
	k.inTile(st.tile.tileID, func() {
		s = k.maskAndFree(st.k.buffer, s, h)
		alpha, p, out.kept = k.softmax(&out.rowState, s)
	})
	k.turn(&out)
	out.o = k.awaitPending(o, pending)
	k.release(emptyV, st.v)
	out.p = k.fragments(p)
	k.rescale(out.o, alpha)
	return out
}

// nextTileStage computes the first stage of a tile and the last second product of the tile before, whose output it writes.
func (k *kernel) nextTileStage(st state, h header) state {
	out := st.Clone()
	out.tile, out.w = k.tileAt(st), k.window(h)
	s, o := k.scoresBeside(st, out.w, out.tile.q, true)
	var p []Value
	k.inTile(out.tile.tileID, func() {
		out.rowState = k.initial(false)
		s = k.maskAndFree(st.k.buffer, s, h)
		k.newMaxima(&out.rowState, s)
		p = k.probabilities(&out.rowState, s)
	})
	k.turn(&out)
	o = k.awaitProducts(0, o)
	k.release(emptyV, st.v)
	out.p = k.fragments(p)
	k.inTile(st.tile.tileID, func() { k.epilogue(rowState{o, st.m, st.l}) })
	return out
}

// scoresBeside computes the scores of the stage at st.k from slot window on, and starts the second product of the stage before, if it is
// pending.
func (k *kernel) scoresBeside(st state, window Value, q lower.Vectors, pending bool) (s, o []Value) {
	s, o = k.scores(st.k.buffer, window, q), slices.Clone(st.o)
	if !pending {
		return k.awaitProducts(0, s), o
	}
	o = k.addValues(st, st.v)
	return k.awaitProducts(1, s), o
}

// awaitPending waits for the second product that scoresBeside has started.
func (k *kernel) awaitPending(o []Value, pending bool) []Value {
	if !pending {
		return o
	}
	return k.awaitProducts(0, o)
}

// turn waits for V of the stage at st.k, which becomes the stage before. The wait stands between the softmax and the one for the
// product because it is a branch, and ptxas would move that one up to the products otherwise: the overlap would be gone. With a queue, the next
// header is read there, too: ptxas takes the flags of a stage to uniform registers then, and the longer way to a branch passes beside the product.
func (k *kernel) turn(st *state) {
	v := k.pipelineSlotOfV(st.k)
	st.v, st.k = v.buffer, k.nextPipelineSlot(v)
	k.await(k.barrierAt(fullV, v.buffer), v.parity)
	if k.queued {
		st.next = k.stageAt(st.k)
	}
}
