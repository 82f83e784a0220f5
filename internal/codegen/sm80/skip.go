package sm80

import (
	"github.com/llir/llvm/ir/enum"
	"github.com/llir/llvm/ir/types"

	"github.com/minfc/minfc/internal/codegen/lower"
)

// Tiles that are left out (lower/skip.go). Each warp decides for its own rows: it shares barriers, K and V with the others, which all of them
// wait for and copy whatever a warp leaves out. What is saved is maxima, exponentials and the second product.

// The words that count the block's tiles stand behind the word of its doubts: tiles that weigh, and tiles that were left out.
const (
	wordWeighs = 4
	wordLeft   = 8
)

// addUnlessNegligible takes the scores of a step into the rows, unless they are negligible beside what the rows of the warp have met.
func (k *tileWork) addUnlessNegligible(st rowState, s [][]Value) rowState {
	x := k.scaledMaxima(s)
	weighs := k.AnyLane(k.Weighs(x, st.m))
	k.If("count", k.ICmp(enum.IPredEQ, k.Lane, lower.I32(0)), func() {
		word := k.Select(weighs, lower.I32(wordWeighs), lower.I32(wordLeft))
		k.SharedInc(k.Add(k.Add(k.shared, lower.I32(int64(k.layout.doubt))), word))
	})
	return lower.Choose(k.Builder, "weighs", weighs, st, func() rowState {
		out := k.raiseTo(st, s, x)
		k.accumulate(&out, s, func() {})
		return out
	})
}

func (k *kernel) skipWord(word int) Value { return k.SharedAt(k.shared, k.layout.doubt+word) }

// noSkips clears the words. The barriers of the tile stand before their first use.
func (k *kernel) noSkips() {
	if !k.Skips() {
		return
	}
	for _, word := range []int{wordWeighs, wordLeft} {
		k.Store(lower.I32(0), k.skipWord(word), 4)
	}
}

// reportSkips adds the block's words to the numbers of its head, behind the barrier of the epilogue.
func (k *kernel) reportSkips() {
	if !k.Skips() {
		return
	}
	k.If("skips", k.ICmp(enum.IPredEQ, k.ThreadX(), lower.I32(0)), func() {
		left := k.Load(types.I32, k.skipWord(wordLeft), 4)
		k.AddSkips(k.Add(k.Load(types.I32, k.skipWord(wordWeighs), 4), left), left)
	})
}
