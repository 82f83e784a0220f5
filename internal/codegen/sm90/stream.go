package sm90

import "github.com/minfc/minfc/internal/codegen/lower"

// The loop of a consumer whose softmax runs beside the products of another block or warpgroup. It waits for the next stage's K before
// it issues the products of this one's V, so that nothing stands between the two products. One row tile follows the other without a
// gap: the first product of a tile is issued before the output of the tile before it is written. The loop has one way through it, and
// no product is in flight where it closes, because ptxas makes products serial otherwise.

// heldTile is a row tile as its consumers hold it.
type heldTile struct {
	tileID
	parity Value         // of Q; where blocks take tiles from a queue
	q      lower.Vectors // fragments of Q, where they stay in registers
}

func (t *heldTile) Values() []*Value {
	return append(append(t.tileID.Values(), lower.Some(&t.parity)...), t.q.Values()...)
}

func (t heldTile) Clone() heldTile { return heldTile{t.tileID, t.parity, t.q.Clone()} }

func (k *kernel) consumeStream() {
	start := pipelineSlot{lower.I32(0), lower.I32(0)}
	h := k.stageAt(start)
	k.If("any", k.lacks(h, flagEnd), func() {
		st := state{k: start, v: start.buffer}
		st.tile.tileID = k.postedItem(start.buffer)
		k.inTile(st.tile.tileID, func() { st.rowState = k.initial(false) })
		if k.queued {
			st.tile.parity = lower.I32(0)
		}
		st.tile.q = k.awaitQ(lower.I32(0))
		st.w = k.window(h)
		k.stream(k.softmaxOf(st, k.awaitProducts(0, k.scores(start.buffer, st.w, st.tile.q)), h))
	})
}

func (k *kernel) stream(first state) {
	loop := k.NewBlock("loop")
	k.Br(loop)
	from := k.Block
	k.Enter(loop)
	carried := lower.Open(k.Builder, first, from)
	st := carried.State
	h := st.next
	products := k.products
	if k.Skips() {
		products = k.keptProducts
	}
	next, s := products(st, h)
	over := k.has(h, flagEnd)
	check := k.Block
	body := k.NewBlock("stage")
	k.Enter(body)
	k.goRound(carried, k.softmaxOf(next, s, h), loop)
	end := k.NewBlock("end")
	check.NewCondBr(over, end, body)
	k.Enter(end)
}

// products computes the second product of the stage of st and the first of the next one, whose header is h: its scores, and the state in
// which it finds its rows.
func (k *kernel) products(st state, h header) (next state, s []Value) {
	v := k.pipelineSlotOfV(st.k)
	st.o = k.addValues(st, v.buffer)
	st.k = k.nextPipelineSlot(v)
	next = st.Clone()
	if k.queued {
		next.tile = k.nextTile(st, h)
	}
	next.w = k.window(h)
	s = k.scores(next.k.buffer, next.w, next.tile.q)
	st.o = k.awaitProducts(1, st.o)
	k.release(emptyV, v.buffer)
	next.rowState = k.finishTile(st, next.tile.tileID, h)
	return next, k.awaitProducts(0, s)
}

// softmaxOf takes the scores of the stage at st.k up to where its second product and the next stage's first can be issued. What
// there is to wait for stands before the last instructions, which hide how long the header takes.
func (k *kernel) softmaxOf(st state, s []Value, h header) state {
	out := st.Clone()
	k.inTile(st.tile.tileID, func() { s = k.maskAndFree(st.k.buffer, s, h) })
	turn := func() {
		v := k.pipelineSlotOfV(st.k)
		k.await(k.barrierAt(fullV, v.buffer), v.parity)
		out.next = k.stageAt(k.nextPipelineSlot(v))
	}
	if k.Skips() {
		out = k.softmaxUnlessNegligible(out, s)
		turn()
		return out
	}
	out.rowState = k.raise(out.rowState, s)
	p := k.probabilities(&out.rowState, s)
	turn()
	out.p = k.fragments(p)
	return out
}

// nextTile turns to the tile of a stage that is the first of one: the Q of its products is that tile's, while the output is still
// the other's.
func (k *kernel) nextTile(st state, h header) heldTile {
	return lower.Choose(k.Builder, "first", k.has(h, flagFirst), st.tile, func() heldTile { return k.tileAt(st) })
}

// tileAt is the tile whose first stage is at st.k, where blocks take tiles from a queue; st still has the tile before.
func (k *kernel) tileAt(st state) heldTile {
	tile := heldTile{tileID: k.itemAt(st.k.buffer), parity: k.Xor(st.tile.parity, lower.I32(1))}
	tile.q = k.awaitQ(tile.parity)
	return tile
}

// finishTile writes the output of the tile before, if the stage with header h is no longer that tile's; the rows of the next tile start
// then. st is the state of the stage before.
func (k *kernel) finishTile(st state, next tileID, h header) rowState {
	return lower.Choose(k.Builder, "finish", k.has(h, flagFirst|flagEnd), st.rowState, func() (rows rowState) {
		k.inTile(st.tile.tileID, func() { k.epilogue(st.rowState) })
		k.inTile(next, func() { rows = k.initial(false) })
		return rows
	})
}

// itemAt reads which row tile the stage is of.
func (k *kernel) itemAt(buffer Value) tileID {
	item := k.load4(k.SharedAt(k.headerAt(buffer), k.layout.header.item))
	return tileID{item[0], item[1], item[2]}
}

// postedItem is itemAt where blocks take tiles from a queue.
func (k *kernel) postedItem(buffer Value) (t tileID) {
	if k.queued {
		t = k.itemAt(buffer)
	}
	return t
}

// awaitQ waits for Q and gives its fragments, if they are kept in registers.
func (k *kernel) awaitQ(parity Value) lower.Vectors {
	k.await(k.fullQ(), parity)
	return k.loadQ()
}
