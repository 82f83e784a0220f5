package sm90

import "github.com/minfc/minfc/internal/codegen/lower"

// The loop of a consumer whose softmax runs beside the second product of the stage before: one row tile a block.

func (k *kernel) consumeTile() {
	start := pipelineSlot{lower.I32(0), lower.I32(0)}
	h := k.stageAt(start)
	k.await(k.fullQ(), lower.I32(0))
	k.qRegs = k.loadQ()
	first := k.firstStage(k.initial(start), h)
	loop := k.NewBlock("loop")
	k.Br(loop)
	from := k.Block

	k.Enter(loop)
	st, phis := k.carry(first, from)
	h = k.stageAt(st.k)
	over := k.has(h, flagEnd)
	check := k.Block
	body := k.NewBlock("stage")
	k.Enter(body)
	k.close(phis, k.nextStage(st, h), loop)

	tail := k.NewBlock("last")
	check.NewCondBr(over, tail, body)
	k.Enter(tail)
	st.o = k.awaitProducts(0, k.addValues(st, st.v))
	k.release(emptyV, st.v)
	k.epilogue(st)
}

// firstStage computes a stage that has no product before it.
func (k *kernel) firstStage(st state, h header) state {
	out := st.clone()
	out.w = k.window(h)
	s := k.awaitProducts(0, k.scores(st.k.buffer, out.w))
	s = k.maskAndFree(st.k.buffer, s, h)
	k.newMaxima(&out, s)
	out.p = k.fragments(k.probabilities(&out, s))
	k.turn(&out)
	return out
}

// nextStage computes a stage and the second product of the stage before.
func (k *kernel) nextStage(st state, h header) state {
	out := st.clone()
	out.w = k.window(h)
	s := k.scores(st.k.buffer, out.w)
	out.o = k.addValues(st, st.v)
	s = k.awaitProducts(1, s)
	s = k.maskAndFree(st.k.buffer, s, h)
	alpha := k.newMaxima(&out, s)
	p := k.probabilities(&out, s)
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
