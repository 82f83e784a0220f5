package sm80

import (
	"github.com/llir/llvm/ir/enum"

	"github.com/minfc/minfc/codegen/lower"
)

// Masks are words of 32 keys a row, shifted by the thread's first column (2*(lane mod 4)), so that every accumulator
// tests a constant bit. Bounds and residue tests of any schedule become words; only edge tiles pay for them.

// rowMask is what one row of the thread keeps: keys lo <= key < hi and, where there are tests, their words.
type rowMask struct {
	lo, hi Value
	tests  []Value // one a word, nil without tests in the schedule
}

func (k *kernel) words() int { return k.slotKeys / 32 }

// hasTests says whether any segment has residue tests: only then are there words for them.
func (k *kernel) hasTests() bool {
	for _, s := range k.segments {
		if len(s.Tests) > 0 {
			return true
		}
	}
	return false
}

// maskSlots sets the scores that the step's slots do not keep to -inf; slots that keep all of theirs pay one branch.
func (k *kernel) maskSlots(s [][]Value, slots []slot) [][]Value {
	for i, sl := range slots {
		s = k.maskSlot(s, sl, i)
	}
	return s
}

func (k *kernel) maskSlot(s [][]Value, sl slot, i int) [][]Value {
	n := k.slotKeys / 2 // accumulators of a slot, of one strip
	var flat []Value
	for _, strip := range s {
		flat = append(flat, strip[i*n:(i+1)*n]...)
	}
	edge := k.ICmp(enum.IPredNE, k.And(sl.flags, lower.I32(flagEdge|flagColumns)), lower.I32(0))
	flat = k.If("edge", edge, flat, func() []Value { return k.masked(flat, sl, i) })
	out := make([][]Value, len(s))
	for m, strip := range s {
		out[m] = append(append(append([]Value(nil), strip[:i*n]...), flat[m*n:(m+1)*n]...), strip[(i+1)*n:]...)
	}
	return out
}

// threadKey is the key of the thread's first column.
func (k *kernel) threadKey(k0 Value) Value {
	return k.Add(k0, k.Shl(k.And(k.lane, lower.I32(3)), 1))
}

// masked does one strip after the other: the words of all rows at once are too many registers beside the scores.
func (k *kernel) masked(flat []Value, sl slot, index int) []Value {
	var out []Value
	n := len(flat) / k.strips
	for m := range k.strips {
		words := k.slotWords(sl, index, m)
		for i, x := range flat[m*n : (m+1)*n] {
			col, r := 8*(i/4)+i%2, i/2%2
			bit := k.And(words[r*k.words()+col/32], lower.I32(1<<(col%32)))
			keep := k.ICmp(enum.IPredNE, bit, lower.I32(0))
			out = append(out, k.Select(keep, x, lower.NegInf()))
		}
	}
	return out
}

// slotWords are the mask words of the thread's two rows of a strip, row by row.
func (k *kernel) slotWords(sl slot, index, strip int) []Value {
	bounds := func() []Value {
		key := k.threadKey(sl.start)
		rows := k.rowMasks(sl, strip, key)
		return append(k.maskWords(rows[0], key), k.maskWords(rows[1], key)...)
	}
	if !k.hasColumns() {
		return bounds()
	}
	columns := k.isColumns(sl)
	return k.If("columns", columns, k.If("range", k.Xor(columns, lower.Bool(true)), k.zeros(2*k.words()), bounds),
		func() []Value { return k.columnMask(sl, index, strip) })
}

func (k *kernel) zeros(n int) []Value {
	out := make([]Value, n)
	for i := range out {
		out[i] = lower.I32(0)
	}
	return out
}

// maskWords turns a row's bounds into words: bit b of word w stands for key+32w+b.
func (k *kernel) maskWords(r rowMask, key Value) []Value {
	var out []Value
	lo, hi := k.Sub(r.lo, key), k.Sub(r.hi, key)
	for w := range k.words() {
		from, to := lo, hi
		if w > 0 {
			from, to = k.Sub(lo, lower.I32(int64(32*w))), k.Sub(hi, lower.I32(int64(32*w)))
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
func (k *kernel) notBelow(n Value) Value {
	return k.ShlClamp(lower.I32(-1), k.Max(n, lower.I32(0)))
}

// rowMasks computes the bounds of the slot's segment for the thread's two rows of a strip.
func (k *kernel) rowMasks(sl slot, strip int, key Value) [2]rowMask {
	var segment Value
	if len(k.segments) > 1 {
		segment = sl.segment()
	}
	vals := k.segmentMasks(k.segments[0], strip, key)
	for i, s := range k.segments[1:] {
		mine := k.ICmp(enum.IPredEQ, segment, lower.I32(int64(i+1)))
		vals = k.If("segment", mine, vals, func() []Value { return k.segmentMasks(s, strip, key) })
	}
	var out [2]rowMask
	for r := range out {
		v := vals[r*len(vals)/2:][:len(vals)/2]
		out[r] = rowMask{lo: v[0], hi: v[1]}
		if len(v) > 2 {
			out[r].tests = v[2:]
		}
	}
	return out
}

// segmentMasks lists lo, hi and the test words of both rows, flat, so that segments can be joined by phis.
func (k *kernel) segmentMasks(s lower.Segment, strip int, key Value) []Value {
	var out []Value
	for r := range 2 {
		q := k.Add(k.first(), k.rowOf(strip, r))
		out = append(out, k.LoAt(s, q), k.HiAt(s, q))
		if k.hasTests() {
			out = append(out, k.testWords(s, q, key)...)
		}
	}
	return out
}

func (k *kernel) testWords(s lower.Segment, q, key Value) []Value {
	words := make([]Value, k.words())
	for i := range words {
		words[i] = lower.I32(-1)
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
func (k *kernel) residueWords(t lower.TestValue, q, key Value) []Value {
	first := k.Sub(t.Off, key) // key + first = Off
	if t.Diag {
		first = k.Sub(k.Sub(q, key), t.Off) // q - (key + first) = Off
	}
	first = k.FloorMod(first, t.Step)
	var out []Value
	for w := 0; w < k.words(); w += 2 {
		if w > 0 {
			first = k.FloorMod(k.Sub(first, lower.I32(64)), t.Step)
		}
		pair := k.ShlClamp(k.periodOf(t), first)
		out = append(out, k.Trunc32(pair), k.Trunc32(k.LShr(pair, 32)))
	}
	return out[:k.words()]
}

// periodOf has the bits 0, Step, 2*Step, ... below 64 set, by doubling. Step is cut to 64 first, so that no shift amount
// wraps to a small one.
func (k *kernel) periodOf(t lower.TestValue) Value {
	step := k.Min(t.Step, lower.I32(64))
	pattern := lower.Value(lower.I64(1))
	for i := range int64(6) {
		pattern = k.Or(pattern, k.ShlClamp(pattern, k.Shl(step, i)))
	}
	return pattern
}
