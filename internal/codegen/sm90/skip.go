package sm90

import (
	"slices"

	"github.com/llir/llvm/ir/enum"
	"github.com/llir/llvm/ir/types"

	"github.com/minfc/minfc/internal/codegen/lower"
)

// Stages that are left out (lower/skip.go). A warpgroup decides together, because a product is its work as a whole: its warps vote at a named
// barrier. Of a stage that is left out the warpgroup still frees K and V; what it saves is exponentials and the second product.

// weighs says whether a stage counts for some row of the warpgroup; x are the scaledMaxima of its scores. It counts the stage.
func (k *kernel) weighs(x, m []Value) Value {
	weighs := k.AsmResult(types.I1, "bar.red.or.pred $0, $1, 128, $2;", "=b,r,b", k.voting(), k.Weighs(x, m))
	k.If("count", k.counts(), func() {
		k.SharedInc(k.Add(k.tallyAt(), k.Select(weighs, lower.I32(0), lower.I32(4))))
	})
	return weighs
}

// voting is the number of the barrier at which the warpgroup votes: none that exact.go has.
func (k *kernel) voting() Value {
	number := k.Add(k.warpgroup(), lower.I32(2))
	if k.tiles > 1 {
		number = k.Add(number, k.MulBy(k.half, k.groups))
	}
	return number
}

// warpgroup is the number of the warpgroup among the warpgroups that work on its tile, read again rather than kept.
func (k *kernel) warpgroup() Value { return k.LShr(k.thread(), 7) }

// counts says whether the thread counts the stages of its warpgroup: the first of its 128, whose number is read again rather than kept.
func (k *kernel) counts() Value {
	return k.ICmp(enum.IPredEQ, k.And(k.ThreadX(), lower.I32(127)), lower.I32(0))
}

// tallyAt is the shared address of the warpgroup's numbers: stages of its tile that weigh, and stages that were left out. One thread has them.
func (k *kernel) tallyAt() Value {
	return k.Add(k.shared, k.Add(k.Shl(k.warpgroup(), 3), lower.I32(int64(k.layout.tally-tallyBytes)))) // the first one loads
}

// noSkips clears the numbers of all warpgroups.
func (k *kernel) noSkips() {
	for w := 0; k.Skips() && w < tallyBytes*k.groups; w += 4 {
		k.Store(lower.I32(0), k.SharedAt(k.shared, k.layout.tally+w), 4)
	}
}

// reportSkips adds the warpgroup's numbers of a tile to the numbers of its head, and clears them.
func (k *kernel) reportSkips() {
	if !k.Skips() {
		return
	}
	k.If("skips", k.counts(), func() {
		at := k.tallyAt()
		left := k.Load(types.I32, k.SharedAt(at, 4), 4)
		k.AddSkips(k.Add(k.Load(types.I32, k.SharedAt(at, 0), 4), left), left)
		k.Store(lower.I32(0), k.SharedAt(at, 0), 4)
		k.Store(lower.I32(0), k.SharedAt(at, 4), 4)
	})
}

// softmaxUnlessNegligible takes the masked scores of a stage into the rows, unless it is left out.
func (k *kernel) softmaxUnlessNegligible(st state, s []Value) state {
	x := k.scaledMaxima(s)
	weighs := k.weighs(x, st.m)
	out := st.Clone()
	out.kept = k.Select(weighs, lower.I32(1), lower.I32(0))
	none := softmaxed{st.rowState, slices.Repeat([]Value{lower.I32(0)}, len(s)/2)}
	done := lower.Choose(k.Builder, "weighs", weighs, none, func() softmaxed {
		d := softmaxed{rowState: k.raiseTo(st.rowState, s, x)}
		d.p = k.fragments(k.probabilities(&d.rowState, s))
		return d
	})
	out.rowState, out.p = done.rowState, done.p
	return out
}

// softmaxed is what the softmax of a stage leaves: rows, and probabilities as A fragments.
type softmaxed struct {
	rowState
	p []Value
}

func (s *softmaxed) Values() []*Value { return append(s.rowState.Values(), lower.Pointers(s.p)...) }

func (s softmaxed) Clone() softmaxed { return softmaxed{s.rowState.Clone(), slices.Clone(s.p)} }

// keptProducts is products where the stage of st may have been left out, and has no second product then. ptxas makes products serial unless
// each way through a branch begins with none in flight and ends with none, so both ways have a first product of their own, and the output
// of a tile that is over is written behind it, not beside.
func (k *kernel) keptProducts(st state, h header) (next state, s []Value) {
	v := k.pipelineSlotOfV(st.k)
	next = st.Clone()
	next.k = k.nextPipelineSlot(v)
	if k.queued {
		next.tile = k.nextTile(next, h)
	}
	next.w = k.window(h)
	scores := func() []Value { return k.scores(next.k.buffer, next.w, next.tile.q) }
	var both, first lower.Vectors
	one, other := k.IfElse("kept", k.ICmp(enum.IPredNE, st.kept, lower.I32(0)), func() {
		o, s := k.addValues(st, v.buffer), scores()
		o = k.awaitProducts(1, o)
		both = lower.Vectors{o, k.awaitProducts(0, s)}
	}, func() {
		first = lower.Vectors{st.o, k.awaitProducts(0, scores())}
	})
	joined := lower.Join(k.Builder, both, one, first, other)
	st.o, s = joined[0], joined[1]
	k.release(emptyV, v.buffer)
	next.rowState = k.finishTile(st, next.tile.tileID, h)
	return next, s
}

// afterKept computes what follows the stage of st. If that may have been left out there are two ways, for the reason of keptProducts: with
// its second product pending, and without.
func (k *kernel) afterKept(st state, stage func(pending bool) state) state {
	if st.kept == nil {
		return stage(true)
	}
	var with, without state
	one, other := k.IfElse("kept", k.ICmp(enum.IPredNE, st.kept, lower.I32(0)), func() { with = stage(true) }, func() { without = stage(false) })
	return lower.Join(k.Builder, with, one, without, other)
}

// lastProduct is the output with the second product of the stage of st, unless that was left out.
func (k *kernel) lastProduct(st state) []Value {
	product := func() []Value { return k.awaitProducts(0, k.addValues(st, st.v)) }
	if st.kept == nil {
		return product()
	}
	return k.ChooseAll("kept", k.ICmp(enum.IPredNE, st.kept, lower.I32(0)), st.o, product)
}

// softmax takes masked scores into the rows, unless the stage is left out (kept is nil where none is). It returns the factors that bring the
// output to the new maxima, and probabilities.
func (k *kernel) softmax(rows *rowState, s []Value) (alpha, p []Value, kept Value) {
	if !k.Skips() {
		return k.newMaxima(rows, s), k.probabilities(rows, s), nil
	}
	weighs := k.weighs(k.scaledMaxima(s), rows.m)
	one, zero := lower.F32(1), lower.F32(0)
	none := lower.Vectors{rows.m, rows.l, {one, one}, slices.Repeat([]Value{zero}, len(s))}
	done := lower.Choose(k.Builder, "weighs", weighs, none, func() lower.Vectors {
		to := rows.Clone()
		alpha := k.newMaxima(&to, s)
		p := k.probabilities(&to, s)
		return lower.Vectors{to.m, to.l, alpha, p}
	})
	rows.m, rows.l = done[0], done[1]
	return done[2], done[3], k.Select(weighs, lower.I32(1), lower.I32(0))
}
