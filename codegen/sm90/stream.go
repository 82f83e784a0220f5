package sm90

import (
	"slices"

	"github.com/minfc/minfc/codegen/lower"
)

// The loop of a consumer that runs products beside the exponentials of their own stage: the second product is issued in two parts,
// and the second half of the exponentials runs under the first. One row tile follows the other without a gap: the first product of
// a tile is issued before the output of the tile before it is written. The loop has one way through it, and no product is in flight
// where it closes, because ptxas makes products serial otherwise.

// tileIDs is how many of state.tile say which row tile it is: tile, head and batch.
const tileIDs = 3

func (k *kernel) consumeStream() {
	start := place{lower.I32(0), lower.I32(0)}
	h := k.stageAt(start)
	k.If("any", k.lacks(h.flags, flagEnd), nil, func() []Value {
		st := k.initial(start)
		if k.queued {
			st.tile = append(k.itemAt(start.buffer), lower.I32(0))
		}
		st.tile = append(st.tile, k.awaitQ(lower.I32(0))...)
		st = k.hold(st)
		st.w = h.window
		k.stream(k.begin(st, k.awaitProducts(0, k.scores(start.buffer, st.w)), h))
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
	v := k.placeOfV(st.k)
	st = k.addParts(st, v)
	st.k = k.nextPlace(v)
	h := k.stageAt(st.k)
	next := k.nextTile(st, h)
	next.w = h.window
	s := k.scores(next.k.buffer, next.w)
	st.o = k.awaitProducts(1, st.o)
	k.release(emptyV, v.buffer)
	next = k.finishTile(next, st, h)
	s = k.awaitProducts(0, s)
	over := k.has(h.flags, flagEnd)
	check := k.Block
	body := k.NewBlock("stage")
	k.Enter(body)
	k.close(phis, k.begin(next, s, h), loop)
	end := k.NewBlock("end")
	check.NewCondBr(over, end, body)
	k.Enter(end)
}

// begin takes the scores of a stage up to where the first part of the second product can be issued.
func (k *kernel) begin(st state, s []Value, h header) state {
	out := st.clone()
	s = k.maskAndFree(st.k.buffer, s, h)
	k.rescale(out.o, k.newMaxima(&out, s))
	x := k.exponents(&out, s)
	half := len(x) / 2
	out.p, out.x = k.fragments(k.exponentials(&out, x[:half])), x[half:]
	return out
}

// addParts issues O += P V of the stage at st.k, the first part before the exponentials of the second.
func (k *kernel) addParts(st state, v place) state {
	k.await(k.barrierAt(fullV, v.buffer), v.parity)
	out := st.clone()
	out.o = k.addValues(st, v.buffer, 0)
	out.p = k.fragments(k.exponentials(&out, st.x))
	out.o = k.addValues(out, v.buffer, len(st.p)/4)
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
	out.tile = k.If("first", k.has(h.flags, flagFirst), st.tile, func() []Value {
		tile := append(k.itemAt(st.k.buffer), k.Xor(parity, lower.I32(1)))
		return append(tile, k.awaitQ(tile[tileIDs])...)
	})
	return k.hold(out)
}

// finishTile writes the output of the tile before, was, if the stage is no longer its own; st, the stage's state, then starts anew.
func (k *kernel) finishTile(st, was state, h header) state {
	values := slices.Concat(was.o, was.m, was.l)
	v := k.If("finish", k.has(h.flags, flagFirst|flagEnd), values, func() []Value {
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
	return k.told4(k.SharedAt(k.headerAt(buffer), k.layout.header.item))[:tileIDs]
}

// awaitQ waits for Q and gives its fragments, if they are kept in registers.
func (k *kernel) awaitQ(parity Value) []Value {
	k.await(k.fullQ(), parity)
	return slices.Concat(k.loadQ()...)
}
