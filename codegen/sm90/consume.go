package sm90

import (
	"slices"

	llir "github.com/llir/llvm/ir"
	"github.com/llir/llvm/ir/types"

	"github.com/minfc/minfc/codegen/lower"
)

// The loop of a consumer warpgroup. Stage j's second product is issued in the round of stage j+1, so that it has work beside
// it. With overlap the softmax runs beside it:
//
//	wait K | issue S = Q K^T, O += P V | wait S, free K | mask, softmax | wait V | wait O, free V | P, rescale O
//
// without, another block or warpgroup does; V's buffer is then free earlier, which a ring with few buffers needs:
//
//	wait K | issue O += P V, S = Q K^T | wait O, free V | wait S, free K | mask, softmax | wait V | P, rescale O
//
// The wait for V stands between softmax and the wait for O because ptxas moves that one up over everything that is not behind
// a branch, and so would undo the overlap.

// state is what the loop carries. m and l have one value for each of the thread's two rows.
type state struct {
	k    place // where K of the next stage is
	v    Value // the buffer of V of the stage before
	w    Value // the first slot of it that this warpgroup takes
	m, l []Value
	o, p []Value // unnormalised output; probabilities of the stage before, as A fragments
}

// values lists the state in a fixed order, so that phis can be made and closed by position.
func (s *state) values() []*Value {
	out := []*Value{&s.k.buffer, &s.k.parity, &s.v, &s.w}
	for _, list := range [][]Value{s.m, s.l, s.o, s.p} {
		for i := range list {
			out = append(out, &list[i])
		}
	}
	return out
}

func (s state) clone() state {
	s.m, s.l, s.o, s.p = slices.Clone(s.m), slices.Clone(s.l), slices.Clone(s.o), slices.Clone(s.p)
	return s
}

func (k *kernel) initial(start place) state {
	s := state{k: start, v: start.buffer, w: lower.I32(0)}
	for range 2 {
		s.m, s.l = append(s.m, lower.F32(lower.Lowest)), append(s.l, lower.F32(0))
	}
	for range k.headDim / 2 {
		s.o = append(s.o, lower.F32(0))
	}
	for range k.keys / 4 {
		s.p = append(s.p, lower.I32(0))
	}
	return s
}

func (k *kernel) consume() {
	start := place{lower.I32(0), lower.I32(0)}
	if !k.queued {
		k.await(k.barrierAt(fullK, start.buffer), start.parity)
		k.consumeItem(start, lower.I32(0))
		return
	}
	k.While("item", []Value{start.buffer, start.parity, lower.I32(0)},
		func(v []Value) Value {
			return k.Xor(k.stageHas(place{v[0], v[1]}, flagEnd), lower.Bool(true))
		},
		func(v []Value) []Value {
			at := place{v[0], v[1]}
			item := k.Load(lower.Vec4, k.SharedAt(k.headerAt(at.buffer), k.layout.header.item), 16)
			k.At = k.fixed(k.Lane4(item, 0), k.Lane4(item, 1), k.Lane4(item, 2))
			next := k.consumeItem(at, v[2])
			return []Value{next.buffer, next.parity, k.Xor(v[2], lower.I32(1))}
		})
}

// consumeItem computes the row tile whose first stage is at start, which is there, and returns where the next one begins.
func (k *kernel) consumeItem(start place, qParity Value) place {
	k.await(k.fullQ(), qParity)
	k.loadQ()
	first := k.firstStage(k.initial(start))
	loop := k.NewBlock("loop")
	k.Br(loop)
	from := k.Block

	k.Enter(loop)
	st, phis := k.carry(first, from)
	over := k.stageHas(st.k, flagEnd|flagFirst)
	check := k.Block
	body := k.NewBlock("stage")
	k.Enter(body)
	next := k.nextStage(st)
	latch := k.Block
	latch.NewBr(loop)
	for i, v := range next.values() {
		lower.AddIncoming(phis[i], *v, latch)
	}

	tail := k.NewBlock("last")
	check.NewCondBr(over, tail, body)
	k.Enter(tail)
	st.o = k.awaitProducts(0, k.addValues(st))
	k.release(emptyV, st.v)
	k.epilogue(st)
	return st.k
}

// carry opens the loop's state with its value before the loop.
func (k *kernel) carry(start state, from *llir.Block) (state, []*llir.InstPhi) {
	st := start.clone()
	var phis []*llir.InstPhi
	for _, v := range st.values() {
		p := k.Phi(*v, from)
		phis = append(phis, p)
		*v = p
	}
	return st, phis
}

// stageHas waits for a stage and tests its flags.
func (k *kernel) stageHas(at place, flags int64) Value {
	k.await(k.barrierAt(fullK, at.buffer), at.parity)
	return k.has(k.headerFlags(at.buffer, 0), flags)
}

// firstStage computes a stage that has no product before it.
func (k *kernel) firstStage(st state) state {
	out := st.clone()
	out.w = k.window(st.k.buffer)
	s := k.awaitProducts(0, k.scores(st.k.buffer, out.w))
	p, _ := k.fold(&out, s)
	k.settle(&out, p, nil)
	return out
}

// nextStage computes a stage and the second product of the stage before.
func (k *kernel) nextStage(st state) state {
	out := st.clone()
	out.w = k.window(st.k.buffer)
	var s []Value
	if k.overlap {
		s = k.scores(st.k.buffer, out.w)
		out.o = k.addValues(st)
		s = k.awaitProducts(1, s)
	} else {
		out.o = k.addValues(st)
		s = k.scores(st.k.buffer, out.w)
		out.o = k.awaitProducts(1, out.o)
		k.release(emptyV, st.v)
		s = k.awaitProducts(0, s)
	}
	p, alpha := k.fold(&out, s)
	k.settle(&out, p, alpha)
	return out
}

// fold masks the scores of the stage at st.k, frees its K, and folds them into the online softmax. It returns the probabilities
// and the factors that bring the output to the new maxima.
func (k *kernel) fold(st *state, s []Value) (p, alpha []Value) {
	s = k.mask(s, st.k.buffer, st.w)
	k.release(emptyK, st.k.buffer)
	return k.softmax(st, s)
}

// settle waits for V of the stage at st.k and, where it is still running, for the product before; then the probabilities and
// the output are ready for the stage's own.
func (k *kernel) settle(st *state, p, alpha []Value) {
	v := k.placeOfV(st.k)
	k.await(k.barrierAt(fullV, v.buffer), v.parity)
	if k.overlap && alpha != nil {
		st.o = k.awaitProducts(0, st.o)
		k.release(emptyV, st.v)
	}
	for i := range st.p {
		st.p[i] = k.Pack(k.dtype, p[2*i], p[2*i+1])
	}
	for i := range st.o {
		if alpha != nil {
			st.o[i] = k.FMul(st.o[i], alpha[i/2%2])
		}
	}
	st.v, st.k = v.buffer, k.nextPlace(v)
}

// loadQ keeps the Q fragments of every step in registers, which halves what the first product reads of shared memory and frees
// the buffer for the Q of the next row tile.
func (k *kernel) loadQ() {
	if !k.qInRegs {
		return
	}
	k.qRegs = nil
	row := k.Add(k.Shl(k.And(k.warp, lower.I32(3)), 4), k.And(k.Lane, lower.I32(15)))
	row = k.Add(row, k.Shl(k.group, 6))
	line := k.Add(k.Shl(row, 7), k.shared)
	chunk, swizzle := k.LShr(k.Lane, 4), k.And(row, lower.I32(7))
	for step := range k.headDim / 16 {
		at := k.Xor(k.Add(chunk, lower.I32(int64(2*(step%4)))), swizzle)
		offset := k.layout.q + step/4*k.qPanel
		k.qRegs = append(k.qRegs, k.LdMatrix4(k.SharedAt(k.Add(line, k.Shl(at, 4)), offset), false))
	}
	k.letGo(k.emptyQ())
}

// window is the first slot of a stage that this warpgroup takes.
func (k *kernel) window(buffer Value) Value {
	if !k.stagger {
		return lower.I32(0)
	}
	return k.Select(k.has(k.headerFlags(buffer, 0), flagStagger), k.group, lower.I32(0))
}

// mask sets the scores that the stage does not keep to -inf. Stages that keep all pay one branch.
func (k *kernel) mask(s []Value, buffer, window Value) []Value {
	header := k.headerAt(buffer)
	at, words := k.Add(header, k.Shl(window, 3)), k.Add(header, k.MulBy(window, k.blocks()*wordsBytes))
	if k.stagger {
		words = k.Add(words, k.MulBy(k.group, wordsBytes))
	}
	flagsAt := func(i int) Value { return k.SharedAt(at, i*slotBytes+4) }
	if k.HasColumns() {
		found := k.Add(header, k.Shl(window, 2))
		flagsAt = func(i int) Value { return k.SharedAt(found, k.layout.header.found+4*i) }
	}
	var slots []lower.Slot
	any := Value(lower.I32(0))
	for i := range k.keys / k.SlotKeys {
		start := k.Load(types.I32, k.SharedAt(at, i*slotBytes), 4)
		flags := k.Load(types.I32, flagsAt(i), 4)
		any = k.Or(any, flags)
		slots = append(slots, lower.Slot{Start: start, Flags: flags, Segment: func() Value { return k.LShr(flags, lower.SegmentShift) }})
	}
	return k.If("edge", k.special(any), s, func() []Value {
		for i, sl := range slots {
			s = k.maskSlot(s, sl, i, words)
		}
		return s
	})
}

// special says whether a slot's flags ask for a mask.
func (k *kernel) special(flags Value) Value { return k.has(flags, lower.FlagEdge|lower.FlagColumns) }

func (k *kernel) maskSlot(s []Value, sl lower.Slot, i int, header Value) []Value {
	n := k.SlotKeys / 2 // accumulators of a slot
	words := func() Value { return k.Load(lower.Vec4, k.SharedAt(header, k.wordsAt(i)), 16) }
	masked := func() []Value { return k.MaskScores(s[i*n:(i+1)*n], sl, 0, words) }
	part := []Value(nil)
	if k.keys == k.SlotKeys {
		part = masked()
	} else {
		part = k.If("slot", k.special(sl.Flags), s[i*n:(i+1)*n], masked)
	}
	return slices.Concat(s[:i*n], part, s[(i+1)*n:])
}
