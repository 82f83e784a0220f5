package sm90

import "github.com/minfc/minfc/internal/codegen/lower"

// The loop of a consumer whose softmax runs beside the second product of the stage before: one row tile a block.

func (k *kernel) consumeTile() {
	start := pipelineSlot{lower.I32(0), lower.I32(0)}
	h := k.stageAt(start)
	k.await(k.fullQ(), lower.I32(0))
	q := k.loadQ()
	first := k.firstStage(start, q, h)
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
	k.epilogue(st.rowState)
}

// firstStage computes a stage that has no product before it.
func (k *kernel) firstStage(at pipelineSlot, q lower.Vectors, h header) state {
	out := state{k: at, w: k.window(h), rowState: k.initial(false)}
	s := k.awaitProducts(0, k.scores(at.buffer, out.w, q))
	s = k.maskAndFree(at.buffer, s, h)
	k.newMaxima(&out.rowState, s)
	out.p = k.fragments(k.probabilities(&out.rowState, s))
	k.turn(&out)
	return out
}

// nextStage computes a stage and the second product of the stage before.
func (k *kernel) nextStage(st state, q lower.Vectors, h header) state {
	out := st.Clone()
	out.w = k.window(h)
	s := k.scores(st.k.buffer, out.w, q)
	out.o = k.addValues(st, st.v)
	s = k.awaitProducts(1, s)
	s = k.maskAndFree(st.k.buffer, s, h)
	alpha := k.newMaxima(&out.rowState, s)
	p := k.probabilities(&out.rowState, s)
	k.turn(&out)
	out.o = k.awaitProducts(0, out.o)
	k.release(emptyV, st.v)
	out.p = k.fragments(p)
	k.rescale(out.o, alpha)
	return out
}

// turn waits for V of the stage at st.k, which becomes the stage before. The wait stands between the softmax and the one for the
// product because it is a branch, and ptxas would move that one up to the products otherwise: the overlap would be gone.
func (k *kernel) turn(st *state) {
	v := k.pipelineSlotOfV(st.k)
	st.v, st.k = v.buffer, k.nextPipelineSlot(v)
	k.await(k.barrierAt(fullV, v.buffer), v.parity)
}
