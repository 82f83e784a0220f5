package sm90

import (
	"slices"

	"github.com/minfc/minfc/internal/codegen/lower"
)

// The loop of a consumer whose softmax runs beside the products of another block or warpgroup. It waits for the next stage's K before
// it issues the products of this one's V, so that nothing stands between the two products. One row tile follows the other without a
// gap: the first product of a tile is issued before the output of the tile before it is written. The loop has one way through it, and
// no product is in flight where it closes, because ptxas makes products serial otherwise.

// tileIDs is how many of state.tile say which row tile it is: tile, head and batch.
const tileIDs = 3

func (k *kernel) consumeStream() {
	start := pipelineSlot{lower.I32(0), lower.I32(0)}
	h := k.stageAt(start)
	k.If("any", k.lacks(h, flagEnd), nil, func() []Value {
		st := k.initial(start)
		if k.queued {
			st.tile = append(k.itemAt(start.buffer), lower.I32(0))
		}
		st.tile = append(st.tile, k.awaitQ(lower.I32(0))...)
		st = k.hold(st)
		st.w = k.window(h)
		k.stream(k.softmaxOf(st, k.awaitProducts(0, k.scores(start.buffer, st.w)), h))
		return nil
	})
}

// hold makes the Q fragments and the row tile of a state those that are used.
func (k *kernel) hold(st state) state {
	q := st.tile
	if k.queued {
		k.At = k.fixed(q[0], q[1], q[2])
		q = q[tileIDs+1:]
	}
	k.qRegs = slices.Collect(slices.Chunk(q, 4))
	return st
}

func (k *kernel) stream(first state) {
	loop := k.NewBlock("loop")
	k.Br(loop)
	from := k.Block
	k.Enter(loop)
	st, phis := k.carry(first, from)
	h, v := st.next[0], k.pipelineSlotOfV(st.k)
	st.o = k.addValues(st, v.buffer)
	st.k = k.nextPipelineSlot(v)
	next := k.nextTile(st, h)
	next.w = k.window(h)
	s := k.scores(next.k.buffer, next.w)
	st.o = k.awaitProducts(1, st.o)
	k.release(emptyV, v.buffer)
	next = k.finishTile(next, st, h)
	s = k.awaitProducts(0, s)
	over := k.has(h, flagEnd)
	check := k.Block
	body := k.NewBlock("stage")
	k.Enter(body)
	k.close(phis, k.softmaxOf(next, s, h), loop)
	end := k.NewBlock("end")
	check.NewCondBr(over, end, body)
	k.Enter(end)
}

// softmaxOf takes the scores of the stage at st.k up to where its second product and the next stage's first can be issued. What
// there is to wait for stands before the last instructions, which hide how long the header takes.
func (k *kernel) softmaxOf(st state, s []Value, h header) state {
	out := st.clone()
	s = k.maskAndFree(st.k.buffer, s, h)
	k.raise(&out, s)
	p := k.probabilities(&out, s)
	v := k.pipelineSlotOfV(st.k)
	k.await(k.barrierAt(fullV, v.buffer), v.parity)
	out.next = []Value{k.stageAt(k.nextPipelineSlot(v))}
	out.p = k.fragments(p)
	return out
}

// nextTile turns to the tile of a stage that is the first of one: the Q of its products is that tile's, while the output is still
// the other's.
func (k *kernel) nextTile(st state, h header) state {
	out := st.clone()
	if !k.queued {
		return k.hold(out)
	}
	parity := st.tile[tileIDs]
	out.tile = k.If("first", k.has(h, flagFirst), st.tile, func() []Value {
		tile := append(k.itemAt(st.k.buffer), k.Xor(parity, lower.I32(1)))
		return append(tile, k.awaitQ(tile[tileIDs])...)
	})
	return k.hold(out)
}

// finishTile writes the output of the tile before, was, if the stage is no longer its own; st, the stage's state, then starts anew.
func (k *kernel) finishTile(st, was state, h header) state {
	values := slices.Concat(was.o, was.m, was.l)
	v := k.If("finish", k.has(h, flagFirst|flagEnd), values, func() []Value {
		k.hold(was)
		k.epilogue(was)
		fresh := k.initial(st.k)
		return slices.Concat(fresh.o, fresh.m, fresh.l)
	})
	out := k.hold(st.clone())
	n := len(was.o)
	out.o, out.m, out.l = v[:n], v[n:n+2], v[n+2:]
	return out
}

// itemAt reads which row tile the stage is of.
func (k *kernel) itemAt(buffer Value) []Value {
	return k.load4(k.SharedAt(k.headerAt(buffer), k.layout.header.item))[:tileIDs]
}

// awaitQ waits for Q and gives its fragments, if they are kept in registers.
func (k *kernel) awaitQ(parity Value) []Value {
	k.await(k.fullQ(), parity)
	return slices.Concat(k.loadQ()...)
}
