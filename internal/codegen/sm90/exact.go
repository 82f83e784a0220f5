package sm90

import (
	"github.com/llir/llvm/ir/enum"

	"github.com/minfc/minfc/internal/codegen/lower"
)

// What a consumer does with tiles that are computed again: the same as consume.go, with the care of lower/exact.go, and one thing after
// the other. m are raw maxima here. Q is not kept in registers: in a loop like this, where nothing else is in flight, ptxas (12.4 to 13.0)
// gives the fragments of P the registers of Q's, which the next round still wants.

// consumeExactly computes tile after tile until a header says that there are no more.
func (k *kernel) consumeExactly() {
	zero := lower.I32(0)
	var h header
	lower.While(k.Builder, "exact", feed{pipelineSlot{zero, zero}, zero},
		func(f feed) Value {
			h = k.stageAt(f.pipelineSlot)
			return k.lacks(h, flagEnd)
		},
		func(f feed) feed {
			next := feed{}
			k.inTile(k.postedItem(f.buffer), func() {
				k.await(k.fullQ(), f.q)
				next.pipelineSlot = k.exactTile(f.pipelineSlot, h)
			})
			if k.qInRegs {
				k.arrive(k.emptyQ())
			}
			next.q = k.Xor(f.q, lower.I32(1))
			return next
		})
}

// exactTile computes one tile, whose first stage, with header h, is at p, and stores its outputs if they are wanted. The tile's last
// stage says that it is: Q is not free before, and without it there is no next tile to look at.
func (k *kernel) exactTile(p pipelineSlot, h header) pipelineSlot {
	start := state{k: p, rowState: k.initial(true)}
	end := lower.Repeat(k.Builder, "exact_stage", start, func(st state) (state, Value) {
		h := k.stageAt(st.k)
		last := k.ICmp(enum.IPredEQ, k.And(h, lower.I32(flagFirst|flagSecond)), lower.I32(flagSecond))
		rows := k.exactStage(st, h)
		return state{k: k.nextPipelineSlot(k.pipelineSlotOfV(st.k)), rowState: rows}, k.Xor(last, lower.Bool(true))
	})
	wanted := Value(lower.Bool(true))
	if k.queued && k.groups > 1 {
		wanted = k.ICmp(enum.IPredEQ, k.group, k.Select(k.has(h, flagSecond), lower.I32(1), lower.I32(0)))
	}
	k.If("wanted", wanted, func() {
		k.exactEpilogue(end.rowState)
	})
	return end.k
}

// exactStage computes one stage. Q is read where it lies.
func (k *kernel) exactStage(st state, h header) rowState {
	st = st.Clone()
	st.w = k.window(h)
	s := k.awaitProducts(0, k.scores(st.k.buffer, st.w, nil))
	s = k.maskAndFree(st.k.buffer, s, h)
	v := k.pipelineSlotOfV(st.k)
	k.await(k.barrierAt(fullV, v.buffer), v.parity)
	o := make([][]Value, 2)
	for r := range o {
		m, alpha := k.ExactMaximum(st.m[r], k.threadMax(s, r))
		st.m[r], st.l[r] = m, k.FMul(st.l[r], alpha)
		for _, x := range lower.OfRow(st.o, r) {
			o[r] = append(o[r], k.FMul(x, alpha))
		}
	}
	scores := [][]Value{lower.OfRow(s, 0), lower.OfRow(s, 1)}
	o = k.CleanValues(k.valueTile(v.buffer, h), k.MulBy(st.w, k.SlotKeys), scores, o)
	p := make([]Value, len(s)) // they take the scores' registers
	for i, x := range s {
		p[i] = k.ExactProbability(x, st.m[i/2%2])
		st.l[i/2%2] = k.FAdd(st.l[i/2%2], p[i])
	}
	st.o, st.p = lower.JoinRows(o[0], o[1]), k.fragments(p)
	st.o = k.awaitProducts(0, k.addValues(st, v.buffer))
	k.release(emptyV, v.buffer)
	return st.rowState
}

// valueTile is V of the stage with header h, at a buffer.
func (k *kernel) valueTile(buffer Value, h header) lower.ValueTile {
	keys := Value(lower.I32(int64(k.keys)))
	if k.stagger {
		keys = k.Select(k.has(h, flagStagger), lower.I32(int64(k.stageKeys())), keys)
	}
	at := k.Add(k.shared, k.Add(k.MulBy(buffer, k.stageBytes), lower.I32(int64(k.layout.v))))
	warp := k.Add(k.Shl(k.group, 2), k.And(k.warp, lower.I32(3)))
	return lower.ValueTile{At: at, Keys: keys, Own: k.keys, Panels: k.panels, Panel: k.kvPanel,
		Warp: warp, Warps: 4 * k.groups, Meet: func() {
			k.AsmEffect("fence.proxy.async.shared::cta;", "~{memory}")
			k.BarrierOf(k.ofHalf(lower.I32(1)), 128*k.groups) // all at one instruction, as synccheck wants it of named barriers
		}}
}

// exactEpilogue stores the outputs and the LSE of a tile.
func (k *kernel) exactEpilogue(st rowState) {
	st = st.Clone()
	k.SumQuads(st.l)
	for r := range 2 {
		k.storeOutputs(r, k.ExactOutputs(lower.OfRow(st.o, r), st.l[r]))
	}
	k.StoreLSE(2, func(r int) Value { return k.ExactLSE(st.m[r], st.l[r]) })
}
