package lower

import (
	"slices"

	"github.com/llir/llvm/ir/enum"
)

// Masks are words of 32 keys a row, shifted by the thread's first column (2*(lane mod 4)), so that every accumulator
// tests a constant bit. Bounds and residue tests of any schedule become words; only edge slots pay for them.

// rowMask is what one row of the thread keeps: keys lo <= key < hi and, where there are tests, their words.
type rowMask struct {
	lo, hi Value
	tests  []Value // one a word, nil without tests in the schedule
}

// rowMasks are the masks of the thread's two rows of a strip.
type rowMasks [2]rowMask

func (m *rowMasks) Values() (out []*Value) {
	for r := range m {
		out = append(append(out, &m[r].lo, &m[r].hi), Pointers(m[r].tests)...)
	}
	return out
}

func (m rowMasks) Clone() rowMasks {
	for r := range m {
		m[r].tests = slices.Clone(m[r].tests)
	}
	return m
}

// MaskScores sets the scores of one strip of a slot, other than of means, that it does not keep to -inf. columns reads the words of a slot of columns
// (see columnMask).
func (k *RowTile) MaskScores(s []Value, sl Slot, strip int, columns func() Value) []Value {
	words := k.slotWords(sl, strip, columns)
	var out []Value
	for i, x := range s {
		col, r := 8*(i/4)+i%2, i/2%2
		bit := k.And(words[r*k.Words()+col/32], I32(1<<(col%32)))
		keep := k.ICmp(enum.IPredNE, bit, I32(0))
		out = append(out, k.Select(keep, x, NegInf()))
	}
	return out
}

// slotWords are the mask words of the thread's two rows of a strip, row by row.
func (k *RowTile) slotWords(sl Slot, strip int, words func() Value) []Value {
	bounds := func() []Value {
		key := k.threadKey(sl.Start)
		rows := k.rowMasks(sl, strip, key)
		return append(k.maskWords(rows[0], key), k.maskWords(rows[1], key)...)
	}
	if !k.HasColumns() {
		return bounds()
	}
	columns := k.IsColumns(sl)
	return k.ChooseAll("columns", columns, k.ChooseAll("range", k.Xor(columns, Bool(true)), k.zeros(2*k.Words()), bounds),
		func() []Value { return k.columnMask(sl, strip, words()) })
}

func (k *RowTile) zeros(n int) []Value {
	out := make([]Value, n)
	for i := range out {
		out[i] = I32(0)
	}
	return out
}

// Words is the number of mask words of a row of a slot.
func (k *RowTile) Words() int { return (k.SlotKeys + 31) / 32 }

// hasTests says whether any segment has residue tests: only then are there words for them.
func (k *RowTile) hasTests() bool {
	for _, s := range k.Segs {
		if len(s.Tests) > 0 {
			return true
		}
	}
	return false
}

// threadKey is the key of the thread's first column.
func (k *RowTile) threadKey(k0 Value) Value {
	return k.Add(k0, k.Shl(k.And(k.Lane, I32(3)), 1))
}

// maskWords turns a row's bounds into words: bit b of word w stands for key+32w+b.
func (k *RowTile) maskWords(r rowMask, key Value) []Value {
	var out []Value
	lo, hi := k.Sub(r.lo, key), k.Sub(r.hi, key)
	for w := range k.Words() {
		from, to := lo, hi
		if w > 0 {
			from, to = k.Sub(lo, I32(int64(32*w))), k.Sub(hi, I32(int64(32*w)))
		}
		word := k.And(k.notBelow(from), k.Not(k.notBelow(to)))
		if r.tests != nil {
			word = k.And(word, r.tests[w])
		}
		out = append(out, word)
	}
	return out
}

// notBelow has the bits n and up set: all of them for n <= 0, none for n > 31.
func (k *RowTile) notBelow(n Value) Value {
	return k.ShlClamp(I32(-1), k.Max(n, I32(0)))
}

// rowMasks computes the bounds of the slot's segment for the thread's two rows of a strip.
func (k *RowTile) rowMasks(sl Slot, strip int, key Value) rowMasks {
	var segment Value
	if len(k.Segs) > 1 {
		segment = sl.Segment()
	}
	out := k.segmentMasks(k.Segs[0], strip, key)
	for i, s := range k.Segs[1:] {
		mine := k.ICmp(enum.IPredEQ, segment, I32(int64(i+1)))
		out = Choose(k.Builder, "segment", mine, out, func() rowMasks { return k.segmentMasks(s, strip, key) })
	}
	return out
}

// segmentMasks are what the bounds and tests of one segment keep.
func (k *RowTile) segmentMasks(s Segment, strip int, key Value) (out rowMasks) {
	for r := range out {
		q := k.Query(strip, r)
		out[r] = rowMask{lo: k.LoAt(s, q), hi: k.HiAt(s, q)}
		if k.hasTests() {
			out[r].tests = k.testWords(s, q, key)
		}
	}
	return out
}

func (k *RowTile) testWords(s Segment, q, key Value) []Value {
	words := make([]Value, k.Words())
	for i := range words {
		words[i] = I32(-1)
	}
	for _, t := range s.Tests {
		for i, w := range k.residueWords(t, q, key) {
			if t.Not {
				w = k.Not(w)
			}
			words[i] = k.And(words[i], w)
		}
	}
	return words
}

// residueWords has a bit for every key of one residue class: a pattern of period Step shifted to the first such key.
func (k *RowTile) residueWords(t TestValue, q, key Value) []Value {
	first := k.Sub(t.Off, key) // key + first = Off
	if t.Diag {
		first = k.Sub(k.Sub(q, key), t.Off) // q - (key + first) = Off
	}
	first = k.FloorMod(first, t.Step)
	var out []Value
	for w := 0; w < k.Words(); w += 2 {
		if w > 0 {
			first = k.FloorMod(k.Sub(first, I32(64)), t.Step)
		}
		pair := k.ShlClamp(k.periodOf(t), first)
		out = append(out, k.Trunc32(pair), k.Trunc32(k.LShr(pair, 32)))
	}
	return out[:k.Words()]
}

// periodOf has the bits 0, Step, 2*Step, ... below 64 set, by doubling. Step is cut to 64 first, so that no shift amount
// wraps to a small one.
func (k *RowTile) periodOf(t TestValue) Value {
	step := k.Min(t.Step, I32(64))
	pattern := Value(I64(1))
	for i := range int64(6) {
		pattern = k.Or(pattern, k.ShlClamp(pattern, k.Shl(step, i)))
	}
	return pattern
}
