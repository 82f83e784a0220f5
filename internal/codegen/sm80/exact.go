package sm80

import (
	"github.com/llir/llvm/ir/enum"
	"github.com/llir/llvm/ir/types"

	"github.com/minfc/minfc/internal/codegen/lower"
)

// Tiles that are computed again, with care (lower/outputs.go says why, lower/exact.go how). A word of shared memory counts the warps that
// ask for it.

// noDoubt clears the word. The barriers of the tile stand before its first use.
func (k *kernel) noDoubt() {
	k.If("clear", k.ICmp(enum.IPredEQ, k.ThreadX(), lower.I32(0)), func() {
		k.Store(lower.I32(0), k.doubtAt(), 4)
		k.noSkips()
	})
}

func (k *kernel) doubtAt() Value { return k.SharedAt(k.shared, k.layout.doubt) }

// note counts the warp if one of its lanes doubts its rows.
func (k *kernel) note(doubt Value) {
	some := k.AnyLane(doubt)
	k.If("note", k.And(some, k.ICmp(enum.IPredEQ, k.Lane, lower.I32(0))), func() {
		k.SharedAdd(k.Add(k.shared, lower.I32(int64(k.layout.doubt))), lower.I32(1))
	})
}

// doubtful says whether a warp asked, after the barrier of the epilogue.
func (k *kernel) doubtful() Value {
	return k.ICmp(enum.IPredNE, k.Load(types.I32, k.doubtAt(), 4), lower.I32(0))
}

// again computes the tile with care: one strip of each warp after the other, where the fast way computes all at once and has no register
// left for more.
func (k *kernel) again() {
	if k.strips == 1 {
		k.carefully(nil)
		return
	}
	k.Repeat("strip", lower.I32(0), func(strip Value) (Value, Value) {
		k.carefully(k.MulBy(strip, k.stripRows()))
		next := k.Add(strip, lower.I32(1))
		return next, k.ICmp(enum.IPredULT, next, lower.I32(int64(k.strips)))
	})
}

// carefully computes one strip of each warp, the one that so many rows of the tile stand before.
func (k *kernel) carefully(before Value) {
	own := *k
	own.exact, own.strips, own.before = true, 1, before
	own.bind()
	k.Barrier() // the outputs have left Q's place
	own.epilogue(own.tile())
}

// exactMaxima takes the scores of a step into the maxima, brings sums and outputs to them, and cleans the step's V.
func (k *kernel) exactMaxima(st rowState, s [][]Value) rowState {
	out := st.Clone()
	var scores, o [][]Value
	for i := range out.m {
		row := lower.OfRow(s[i/2], i%2)
		m, alpha := k.ExactMaximum(st.m[i], k.threadMax(s[i/2], i%2))
		out.m[i], out.l[i] = m, k.FMul(st.l[i], alpha)
		scores, o = append(scores, row), append(o, nil)
		for _, x := range lower.OfRow(st.o[i/2], i%2) {
			o[i] = append(o[i], k.FMul(x, alpha))
		}
	}
	o = k.CleanValues(k.valueTile(), lower.I32(0), scores, o)
	for strip := range out.o {
		out.o[strip] = lower.JoinRows(o[2*strip], o[2*strip+1])
	}
	return out
}

// valueTile is the V of a step.
func (k *kernel) valueTile() lower.ValueTile {
	return lower.ValueTile{At: k.Add(k.shared, lower.I32(int64(k.layout.v))), Keys: lower.I32(int64(k.keys)), Own: k.keys,
		Panels: k.panels, Panel: k.kvPanel, Warp: k.warp, Warps: k.warps, Meet: k.Barrier}
}
