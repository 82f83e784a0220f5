package sm80

import (
	"github.com/llir/llvm/ir/enum"

	"github.com/minfc/minfc/internal/codegen/lower"
)

// modifySlots does to the scores of a step's slots what the kernel's lower.Scores say.
func (k *kernel) modifySlots(s [][]Value, slots []lower.Slot) [][]Value {
	n := k.SlotKeys / 2 // accumulators of a slot, of one strip
	for m, strip := range s {
		for i, sl := range slots {
			copy(strip[i*n:], k.Modified(strip[i*n:(i+1)*n], sl, m))
		}
	}
	return s
}

// maskSlots sets the scores that the step's slots do not keep to -inf; slots that keep all of theirs pay one branch.
func (k *kernel) maskSlots(s [][]Value, slots []lower.Slot) [][]Value {
	for i, sl := range slots {
		s = k.maskSlot(s, sl, i)
	}
	return s
}

func (k *kernel) maskSlot(s [][]Value, sl lower.Slot, i int) [][]Value {
	n := k.SlotKeys / 2 // accumulators of a slot, of one strip
	var flat []Value
	for _, strip := range s {
		flat = append(flat, strip[i*n:(i+1)*n]...)
	}
	special := int64(lower.FlagEdge | lower.FlagColumns)
	if k.HasMeans() {
		special = lower.FlagEdge
	}
	edge := k.ICmp(enum.IPredNE, k.And(sl.Flags, lower.I32(special)), lower.I32(0))
	masked := func() []Value { return k.masked(flat, sl, i) }
	flat = k.ChooseAll("edge", edge, flat, func() []Value {
		if !k.HasColumns() {
			return masked()
		}
		return k.ChooseAll("some", k.dropsSome(sl, i), flat, masked)
	})
	if k.HasMeans() {
		flat = k.ChooseAll("means", k.IsColumns(sl), flat, func() (weighted []Value) {
			for m := range k.strips {
				weighted = append(weighted, k.MeanScores(flat[m*n:(m+1)*n], sl)...)
			}
			return weighted
		})
	}
	out := make([][]Value, len(s))
	for m, strip := range s {
		out[m] = append(append(append([]Value(nil), strip[:i*n]...), flat[m*n:(m+1)*n]...), strip[(i+1)*n:]...)
	}
	return out
}

// masked does one strip after the other: the words of all rows at once are too many registers beside the scores.
func (k *kernel) masked(flat []Value, sl lower.Slot, index int) []Value {
	var out []Value
	n := len(flat) / k.strips
	for m := range k.strips {
		out = append(out, k.MaskScores(flat[m*n:(m+1)*n], sl, m, func() Value { return k.columnWords(index) })...)
	}
	return out
}

// dropsSome says whether a slot that is no full one has scores to drop: one of columns has none where all of them count.
func (k *kernel) dropsSome(sl lower.Slot, index int) Value {
	return k.Choose("columns", k.IsColumns(sl), lower.Bool(true), func() Value {
		v, words := k.columnWords(index), []Value(nil)
		for i := range 4 {
			words = append(words, k.Lane4(v, i))
		}
		return k.Xor(k.AllColumns(words), lower.Bool(true))
	})
}

// columnWords are the words that vote wrote for a slot of the step.
func (k *kernel) columnWords(index int) Value {
	return k.Load(lower.Vec4, k.SharedAt(k.shared, k.layout.words+index*wordsBytes), 16)
}
