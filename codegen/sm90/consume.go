package sm90

import (
	"slices"

	llir "github.com/llir/llvm/ir"
	"github.com/llir/llvm/ir/types"

	"github.com/minfc/minfc/codegen/lower"
)

// What a consumer warpgroup does with a stage: scores S = Q K^T, mask, softmax, output O += P V. There are two ways to keep the
// matrix units busy meanwhile. A warpgroup that has K and V of two stages at hand runs the softmax of one beside the second product
// of the one before (overlap.go):
//
//	wait K | issue S, O += P V | wait S | mask, free K | softmax | wait V | wait O, free V | P, rescale O
//
// One that has not runs each product beside what it can of its own stage, and leaves the rest to another block or warpgroup
// (stream.go):
//
//	wait V | issue O += P1 V1 | exponentials of S2 | issue O += P2 V2 | wait K | issue S | wait O, free V | wait S | mask, free K |
//	maxima | rescale O, exponentials of S1
//
// Waits for barriers stand where they do for ptxas as well, which moves a wait for products up over everything that is not behind a
// branch.

// state is what the loop carries. m and l have one value for each of the thread's two rows.
type state struct {
	k    place // of K: of the next stage (overlap.go), or of the one that is computed (stream.go)
	v    Value // the buffer of V of the stage before (overlap.go)
	w    Value // the first slot of the stage before that this warpgroup takes
	m, l []Value
	o, p []Value // unnormalised output; probabilities of the stage before, as A fragments
	x    []Value // exponents whose probabilities are still to come (stream.go)
	tile []Value // row tile, head and batch, the parity of Q, and the fragments of Q (stream.go)
}

// values lists the state in a fixed order, so that phis can be made and closed by position.
func (s *state) values() []*Value {
	out := []*Value{&s.k.buffer, &s.k.parity, &s.v, &s.w}
	for _, list := range [][]Value{s.m, s.l, s.o, s.p, s.x, s.tile} {
		for i := range list {
			out = append(out, &list[i])
		}
	}
	return out
}

func (s state) clone() state {
	for _, list := range []*[]Value{&s.m, &s.l, &s.o, &s.p, &s.x, &s.tile} {
		*list = slices.Clone(*list)
	}
	return s
}

// initial is the state before a row tile's first stage.
func (k *kernel) initial(start place) state {
	s := state{k: start, v: start.buffer, w: lower.I32(0)}
	for range 2 {
		s.m, s.l = append(s.m, lower.F32(lower.Lowest)), append(s.l, lower.F32(0))
	}
	for range k.headDim / 2 {
		s.o = append(s.o, lower.F32(0))
	}
	return s
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

// close ends the loop's body with the state of its next round.
func (k *kernel) close(phis []*llir.InstPhi, next state, loop *llir.Block) {
	latch := k.Block
	latch.NewBr(loop)
	for i, v := range next.values() {
		lower.AddIncoming(phis[i], *v, latch)
	}
}

// header is what a consumer knows of a stage before it computes: the flags of the first slot, which slot it begins with, and whether
// any of its slots needs a mask.
type header struct{ flags, window, edge Value }

// flagMask, in what a consumer's first lane tells the others of a header, says that a slot needs a mask.
const flagMask = 1 << 30

// stageAt waits for a stage.
func (k *kernel) stageAt(at place) header {
	k.await(k.barrierAt(fullK, at.buffer), at.parity)
	word := k.told(1, func() []Value {
		flags := k.headerFlags(at.buffer, 0)
		mask := k.special(k.slotFlags(at.buffer, k.window(flags)))
		return []Value{k.Or(flags, k.Select(mask, lower.I32(flagMask), lower.I32(0)))}
	})[0]
	return header{flags: word, window: k.window(word), edge: k.has(word, flagMask)}
}

// told gives n words that the first lane reads of a header. So one lane's arrival lets go of it, and the warp takes them to be the same
// in all lanes.
func (k *kernel) told(n int, read func() []Value) []Value {
	none := make([]Value, n)
	for i := range none {
		none[i] = lower.I32(0)
	}
	words := k.If("read", k.firstLane(), none, read)
	for i, w := range words {
		words[i] = k.ShuffleFrom(w, lower.I32(0))
	}
	return words
}

// told4 is told of four neighbouring words.
func (k *kernel) told4(at Value) []Value {
	return k.told(4, func() (out []Value) {
		v := k.Load(lower.Vec4, at, 16)
		for i := range 4 {
			out = append(out, k.Lane4(v, i))
		}
		return out
	})
}

// window is the first slot of a stage that this warpgroup takes.
func (k *kernel) window(flags Value) Value {
	if !k.stagger {
		return lower.I32(0)
	}
	return k.Select(k.has(flags, flagStagger), k.group, lower.I32(0))
}

// slotFlags are the flags of all slots that this warpgroup takes, together: of the slots of a staggered stage, the first or the last
// is the other warpgroup's.
func (k *kernel) slotFlags(buffer, window Value) Value {
	n := k.keys / k.SlotKeys
	end := Value(lower.I32(0))
	if k.stagger {
		end = k.MulBy(window, n)
	}
	all := k.maskFlags(buffer, end)
	for i := 1; i < n; i++ {
		all = k.Or(all, k.maskFlags(buffer, lower.I32(int64(i))))
	}
	return all
}

// maskFlags are the flags of a slot as they matter to masks: those that the voter found, where there is one.
func (k *kernel) maskFlags(buffer, slot Value) Value {
	header := k.headerAt(buffer)
	if k.HasColumns() {
		return k.Load(types.I32, k.SharedAt(k.Add(header, k.Shl(slot, 2)), k.layout.header.found), 4)
	}
	return k.Load(types.I32, k.SharedAt(k.Add(header, k.Shl(slot, 3)), 4), 4)
}

// loadQ reads the Q fragments of every step, four registers each, where they are kept: that halves what the first product reads
// of shared memory and frees the buffer for the Q of the next row tile.
func (k *kernel) loadQ() (regs [][]Value) {
	if !k.qInRegs {
		return nil
	}
	row := k.Add(k.Shl(k.And(k.warp, lower.I32(3)), 4), k.And(k.Lane, lower.I32(15)))
	row = k.Add(row, k.Shl(k.group, 6))
	line := k.Add(k.Shl(row, 7), k.shared)
	chunk, swizzle := k.LShr(k.Lane, 4), k.And(row, lower.I32(7))
	for step := range k.headDim / 16 {
		at := k.Xor(k.Add(chunk, lower.I32(int64(2*(step%4)))), swizzle)
		offset := k.layout.q + step/4*k.qPanel
		regs = append(regs, k.LdMatrix4(k.SharedAt(k.Add(line, k.Shl(at, 4)), offset), false))
	}
	k.letGo(k.emptyQ())
	return regs
}

// maskAndFree masks the scores of a stage and frees its K.
func (k *kernel) maskAndFree(buffer Value, s []Value, h header) []Value {
	s = k.mask(s, buffer, h)
	k.release(emptyK, buffer)
	return s
}

// mask sets the scores that the stage does not keep to -inf. Stages that keep all pay one branch.
func (k *kernel) mask(s []Value, buffer Value, h header) []Value {
	return k.If("edge", h.edge, s, func() []Value {
		at := k.headerAt(buffer)
		words := k.Add(at, k.MulBy(h.window, k.blocks()*wordsBytes))
		if k.stagger {
			words = k.Add(words, k.MulBy(k.group, wordsBytes))
		}
		for i := range k.keys / k.SlotKeys {
			slot := k.Add(h.window, lower.I32(int64(i)))
			v := k.told(2, func() []Value {
				start := k.Load(types.I32, k.SharedAt(k.Add(at, k.Shl(slot, 3)), 0), 4)
				return []Value{start, k.maskFlags(buffer, slot)}
			})
			sl := lower.Slot{Start: v[0], Flags: v[1], Segment: func() Value { return k.LShr(v[1], lower.SegmentShift) }}
			s = k.maskSlot(s, sl, i, words)
		}
		return s
	})
}

// special says whether a slot's flags ask for a mask.
func (k *kernel) special(flags Value) Value { return k.has(flags, lower.FlagEdge|lower.FlagColumns) }

func (k *kernel) maskSlot(s []Value, sl lower.Slot, i int, header Value) []Value {
	n := k.SlotKeys / 2 // accumulators of a slot
	words := func() Value { return k.Pack4(k.told4(k.SharedAt(header, k.wordsAt(i)))...) }
	masked := func() []Value { return k.MaskScores(s[i*n:(i+1)*n], sl, 0, words) }
	part := []Value(nil)
	if k.keys == k.SlotKeys {
		part = masked()
	} else {
		part = k.If("slot", k.special(sl.Flags), s[i*n:(i+1)*n], masked)
	}
	return slices.Concat(s[:i*n], part, s[(i+1)*n:])
}
