package sm90

import (
	"slices"

	llir "github.com/llir/llvm/ir"
	"github.com/llir/llvm/ir/enum"
	"github.com/llir/llvm/ir/types"

	"github.com/minfc/minfc/internal/codegen/lower"
)

// What a consumer warpgroup does with a stage: scores S = Q K^T, mask, softmax, output O += P V. There are two ways to keep the
// matrix units busy meanwhile. A warpgroup that has K and V of two stages at hand runs the softmax of one beside the second product
// of the one before (overlap.go):
//
//	wait K | issue S, O += P V | wait S | mask, free K | softmax | wait V | wait O, free V | P, rescale O
//
// One that has not leaves that to another block or warpgroup (stream.go):
//
//	issue O += P V, S | wait O, free V | wait S | mask, free K | rescale O (rarely), softmax | wait V and the next K | P
//
// Waits for barriers stand where they do for ptxas as well, which moves a wait for products up over everything that is not behind a
// branch.

// consume is the work of a consumer: all tiles, and the noted ones again.
func (k *kernel) consume() {
	if k.overlap {
		k.consumeTiles()
	} else {
		k.consumeStream()
	}
	k.If("again", k.verdict(), func() {
		k.restart(false)
		k.consumeExactly()
	})
}

// state is what the loop carries.
type state struct {
	k pipelineSlot // of K: of the next stage (overlap.go), or of the one that is computed (stream.go)
	v Value        // the buffer of V of the stage before (overlap.go)
	w Value        // the first slot of the stage before that this warpgroup takes
	rowState
	p    []Value  // probabilities of the stage before, as A fragments
	kept Value    // whether the stage before has a second product, i32: 0 if it was left out (skip.go)
	next header   // of the stage after k (stream.go), or at k, where blocks take tiles from a queue (overlap.go)
	tile heldTile // whose Q the products take (stream.go)
}

func (s *state) Values() []*Value {
	out := append(s.k.Values(), lower.Some(&s.v, &s.w, &s.kept)...)
	out = append(out, lower.Pointers(s.m, s.l, s.o, s.p)...)
	return append(append(out, lower.Some(&s.next)...), s.tile.Values()...)
}

func (s state) Clone() state {
	s.rowState, s.p, s.tile = s.rowState.Clone(), slices.Clone(s.p), s.tile.Clone()
	return s
}

// rowState is what the thread's two rows have come to: the unnormalised output of both, and of each the maximum and the sum.
type rowState struct{ o, m, l []Value }

func (s *rowState) Values() []*Value { return lower.Pointers(s.o, s.m, s.l) }

func (s rowState) Clone() rowState {
	return rowState{slices.Clone(s.o), slices.Clone(s.m), slices.Clone(s.l)}
}

// initial is what rows begin with; exact says that they are computed with care.
func (k *kernel) initial(exact bool) rowState {
	s := rowState{o: slices.Repeat([]Value{lower.F32(0)}, k.headDim/2)}
	for r := range 2 {
		m, l := k.InitialRow(r, exact)
		s.m, s.l = append(s.m, m), append(s.l, l)
	}
	return s
}

// goRound ends the loop's body with the state of its next round.
func (k *kernel) goRound(l *lower.Loop[state], next state, loop *llir.Block) {
	latch := k.Block
	k.Br(loop)
	l.Close(next, latch)
}

// header is what a consumer knows of a stage before it computes: the flags of the first slot, and flagMask if any of its slots needs a
// mask.
type header = Value

// flagMask stands above the flags that headers hold.
const flagMask = 1 << 30

// stageAt waits for a stage.
func (k *kernel) stageAt(at pipelineSlot) header {
	k.await(k.barrierAt(fullK, at.buffer), at.parity)
	flags, n := k.headerFlags(at.buffer, 0), k.keys/k.SlotKeys
	found := k.maskFlags(at.buffer)
	any := found[0]
	if k.stagger { // of its slots, the first or the last is the other warpgroup's
		any = k.Select(k.ICmp(enum.IPredEQ, k.window(flags), lower.I32(0)), found[0], found[n])
	}
	for _, x := range found[1:n] {
		any = k.Or(any, x)
	}
	return k.Or(flags, k.Select(k.special(any), lower.I32(flagMask), lower.I32(0)))
}

// slots is how many slots a stage may have.
func (k *kernel) slots() int { return k.stageKeys() / k.SlotKeys }

// maskFlags are the flags of all slots as they matter to masks: flags that the voter found, where there is a voter.
func (k *kernel) maskFlags(buffer Value) (out []Value) {
	if k.HasColumns() {
		return k.load4(k.SharedAt(k.headerAt(buffer), k.layout.header.found))[:k.slots()]
	}
	for i := range k.slots() {
		out = append(out, k.headerFlags(buffer, i))
	}
	return out
}

func (k *kernel) load4(at Value) (out []Value) {
	v := k.Load(lower.Vec4, at, 16)
	for i := range 4 {
		out = append(out, k.Lane4(v, i))
	}
	return out
}

// window is the first slot of a stage that this warpgroup takes.
func (k *kernel) window(flags Value) Value {
	if !k.stagger {
		return lower.I32(0)
	}
	return k.Select(k.has(flags, flagStagger), k.group, lower.I32(0))
}

// loadQ reads the Q fragments of every step, four registers each, where they are kept: that halves what the first product reads
// of shared memory and frees the buffer for the Q of the next row tile. It gives nil where Q is read in its buffer.
func (k *kernel) loadQ() (regs lower.Vectors) {
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
	k.arrive(k.emptyQ()) // every lane: they all have read
	return regs
}

// maskAndFree makes of a stage's products what the kernel's lower.Scores say, masks them and frees the stage's K.
func (k *kernel) maskAndFree(buffer Value, s []Value, h header) []Value {
	s = k.mask(k.modify(s, buffer, h), buffer, h)
	k.letGo(emptyK, buffer)
	return s
}

// modify is what the kernel's lower.Scores do to the products of a stage.
func (k *kernel) modify(s []Value, buffer Value, h header) (out []Value) {
	if k.Scores == nil {
		return s
	}
	var flags []Value // the walk's, for which columns are columns whether they need a mask or not
	for i := range k.slots() {
		flags = append(flags, k.headerFlags(buffer, i))
	}
	n := k.SlotKeys / 2 // accumulators of a slot
	for i := range k.keys / k.SlotKeys {
		out = append(out, k.Modified(s[i*n:(i+1)*n], k.slotAt(i, k.headerAt(buffer), flags, h), 0)...)
	}
	return out
}

// slotAt is slot i of the slots that this warpgroup takes of a stage; flags has one for each slot of the stage.
func (k *kernel) slotAt(i int, header Value, flags []Value, h header) lower.Slot {
	slot, f := k.Add(k.window(h), lower.I32(int64(i))), flags[i]
	if k.stagger {
		f = k.Select(k.ICmp(enum.IPredEQ, k.window(h), lower.I32(0)), flags[i], flags[i+1])
	}
	start := k.Load(types.I32, k.SharedAt(k.Add(header, k.Shl(slot, 3)), 0), 4)
	return lower.Slot{Start: start, Flags: f, Segment: func() Value { return k.LShr(f, lower.SegmentShift) }}
}

// mask sets the scores that the stage does not keep to -inf. Stages that keep all pay one branch.
func (k *kernel) mask(s []Value, buffer Value, h header) []Value {
	return k.ChooseAll("edge", k.has(h, flagMask), s, func() []Value {
		at, flags := k.headerAt(buffer), k.maskFlags(buffer)
		words := k.Add(at, k.MulBy(k.window(h), k.blocks()*wordsBytes))
		if k.stagger {
			words = k.Add(words, k.MulBy(k.group, wordsBytes))
		}
		for i := range k.keys / k.SlotKeys {
			s = k.maskSlot(s, i, k.slotAt(i, at, flags, h), words)
		}
		return s
	})
}

// special says whether a slot's flags ask for a mask.
func (k *kernel) special(flags Value) Value { return k.has(flags, lower.FlagEdge|lower.FlagColumns) }

// maskSlot masks the scores of slot i of the warpgroup's; wordsAt(i) leads from words to what was found out about its columns.
func (k *kernel) maskSlot(s []Value, i int, sl lower.Slot, words Value) []Value {
	n := k.SlotKeys / 2 // accumulators of a slot
	found := func() Value { return k.Load(lower.Vec4, k.SharedAt(words, k.wordsAt(i)), 16) }
	masked := func() []Value { return k.MaskScores(s[i*n:(i+1)*n], sl, 0, found) }
	part := []Value(nil)
	switch {
	case k.HasMeans():
		part = k.ChooseAll("slot", k.has(sl.Flags, lower.FlagEdge), s[i*n:(i+1)*n], masked)
		part = k.ChooseAll("means", k.IsColumns(sl), part, func() []Value { return k.MeanScores(part, sl) })
	case k.keys == k.SlotKeys:
		part = masked()
	default:
		part = k.ChooseAll("slot", k.special(sl.Flags), s[i*n:(i+1)*n], masked)
	}
	return slices.Concat(s[:i*n], part, s[(i+1)*n:])
}
