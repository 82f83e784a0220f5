package index

import (
	"github.com/llir/llvm/ir/enum"
	"github.com/llir/llvm/ir/types"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/internal/codegen/lower"
	"github.com/minfc/minfc/ir"
)

// The parameters of the kernel of each rule are two jobs of the same form, so that columns and distances, or any two
// selections, run at the same time. Launch: grid (H, 1 or 2), H = batch times q heads; the second row of blocks does job b.
//
//	values   f32 [H, stride]: candidates 0..n-1 of each head, and values that may be anything but unwritten up to a multiple of 4
//	bits     u32 [H, stride/32]: bit i of a head is set if i was chosen; every word of a head that takes part is written
//	budget   i32 [hq]: how many of each q head (select_top), which share of the sum of all values in thousandths, at most
//	         1000 (select_mass), the bits of the smallest float that is chosen, at least 1 (select_above), or the bits of a float
//	         up to 1, the share of the largest value from which on values are chosen (select_near)
//	most     i32 [hq]: how many at most, for the rules without a number
//	least    i32 [hq]: how many at least, up to most, for the same rules; null: none
//	first    the candidates 0..first-1 and
//	last     n-last..n-1 are chosen whatever their value, within the number
//	stride   elements from head to head, a multiple of 32
//	unit     of select_mass: the values of a head sum to less than 2^(52-unit); up to 50
//
// The number of a head is clamped to [what is forced, n].
// Shared memory of a block: the histogram, then the words through which its warps agree.
const (
	selectThreads = 1024
	selectBins    = 2048
	selectScan    = 4 * selectBins // sums of the 32 warps
	selectState   = selectScan + 4*32
	selectShared  = selectState + 16
)

// The words of the state: the bin that holds the last one wanted, how many are wanted of it, how many it holds.
const (
	stateBin = 4 * iota
	stateWant
	stateHeld
)

// radixPass is one histogram over a digit of the keys that share the digits above. Keys have 31 bits.
type radixPass struct{ shift, bits int64 }

var radixPasses = []radixPass{{20, 11}, {10, 10}, {0, 10}}

// forcedKey is above the key of every value, also of infinity.
const forcedKey = 0x7fffffff

// selector is the state of one lowering.
type selector struct {
	*blockKernel
	weighs      bool  // the search adds up masses
	job         Value // i1: the second job
	values      Value
	n           Value // candidates that are looked at: 0 when none is wanted
	first, free Value // candidates first..first+free-1 are not forced
	all, forced Value // candidates, and how many of them are forced
	dropped     Value // see dropBits
}

// found says which candidates are chosen: candidates with keys above top, and the first want of the held ones whose key is top.
type found struct{ top, want, held Value }

func (f *found) Values() []*Value { return []*Value{&f.top, &f.want, &f.held} }

// SelectTop chooses the largest values of each head, ties by the smaller index: a radix select on the bits of the floats,
// which order like integers when none is negative. Negative values and NaN count as 0. Three passes find the key of the
// last one wanted, a digit each, and a fourth writes the bitmap.
func SelectTop(lengths bool) (*lower.Kernel, error) {
	s := newSelector(ir.Top, lengths)
	s.emit(func() found { return s.search(s.wanted("budget")) })
	return s.finish(selectShared), nil
}

func newSelector(rule ir.Rule, lengths bool) *selector {
	return &selector{blockKernel: newBlockKernel(entryOf(abi.SelectKernels[rule], lengths), selectThreads)}
}

func (s *selector) param(name string) Value {
	return s.Select(s.job, s.Param("b_"+name), s.Param("a_"+name))
}

func (s *selector) emit(search func() found) {
	s.LeaveUnless(s.TakesPart(s.BlockX()), nil)
	s.job = s.ICmp(enum.IPredEQ, s.BlockY(), lower.I32(1))
	stride := s.param("stride")
	start := s.Shl(s.Mul(s.ZExt64(s.BlockX()), s.ZExt64(stride)), 2)
	s.values = s.Offset(s.param("values"), start)
	f := search()
	words := s.LShr(stride, 5)
	bits := s.Offset(s.param("bits"), s.LShr(start, 5))
	s.choose(bits, words, f.top, s.ties(words, f))
	s.Block.NewRet(nil)
}

// search finds the want largest.
func (s *selector) search(want Value) found {
	f := found{top: lower.I32(0), want: want}
	for i, p := range radixPasses {
		s.histogram(p, f.top, i == 0)
		f = s.findBin(p, f)
	}
	return f
}

// ofHead is this head's entry of a parameter.
func (s *selector) ofHead(name string) Value {
	head := s.Block.NewURem(s.BlockX(), s.Param("hq"))
	return s.Load(types.I32, s.Offset(s.param(name), s.Shl(s.ZExt64(head), 2)), 4)
}

// wanted is the number to choose, clamped; it sets what is looked at.
func (s *selector) wanted(number string) Value {
	n := s.Max(s.number(), lower.I32(0))
	first := s.Min(s.Max(s.param("first"), lower.I32(0)), n) // clamped one by one: the sum of two limits would wrap
	forced := s.Add(first, s.Min(s.Max(s.param("last"), lower.I32(0)), s.Sub(n, first)))
	want := s.Min(s.Max(s.ofHead(number), forced), n)
	s.all, s.forced = n, forced
	none := s.ICmp(enum.IPredEQ, want, lower.I32(0))
	s.first, s.free = first, s.Select(none, lower.I32(0), s.Sub(n, forced))
	s.n = s.Select(none, lower.I32(0), n)
	return want
}

// least is the number that is chosen at least, given the most.
func (s *selector) least(most Value) Value {
	given := s.ICmp(enum.IPredNE, s.Address(s.param("least")), lower.I64(0))
	n := s.Choose("least", given, lower.I32(0), func() Value { return s.ofHead("least") })
	return s.Min(s.Max(n, s.forced), most)
}

// number is how many candidates there are.
func (s *selector) number() Value {
	if !s.ReadsLengths() {
		return s.param("n")
	}
	s.Entry = func() Value { return s.UDiv(s.BlockX(), s.Param("hq")) }
	reach := s.Add(s.Length("q_offset"), s.Length("sq"))
	of := s.param("of")
	keys, each := s.ICmp(enum.IPredEQ, of, lower.I32(0)), s.Max(of, lower.I32(1))
	runs := s.UDiv(s.Add(reach, s.Sub(each, lower.I32(1))), each)
	return s.Select(keys, s.Min(s.Length("sk"), reach), runs)
}

// order is the key of a value. The maximum turns NaN, -0 and what is negative into 0.
func (s *selector) order(v Value) Value { return s.AsInt(s.FMax(v, lower.F32(0))) }

// key orders candidate i with the value v; whoever is no candidate is not in.
func (s *selector) key(v, i Value) (key, in Value) {
	forced := s.ICmp(enum.IPredUGE, s.Sub(i, s.first), s.free)
	return s.Select(forced, lower.I32(forcedKey), s.order(v)), s.ICmp(enum.IPredSLT, i, s.n)
}

// plain says whether all of the candidates from..from+number-1 exist and none is forced.
func (s *selector) plain(from Value, number int64) Value {
	end := s.Add(from, lower.I32(number))
	return s.And(s.ICmp(enum.IPredSGE, from, s.first), s.ICmp(enum.IPredSLE, end, s.Add(s.first, s.free)))
}

// A thread counts vectorsAtOnce vectors of 4 candidates at a time, each vectorStep behind the one before.
const (
	vectorsAtOnce = 4
	vectorStep    = 4 * selectThreads
	countAtOnce   = vectorsAtOnce * vectorStep
)

// histogram counts the keys whose digits above p's are top's: all of them in the first pass.
func (s *selector) histogram(p radixPass, top Value, first bool) {
	for i := range selectBins / selectThreads {
		s.Store(lower.I32(0), s.SharedAt(s.word(s.tid), 4*selectThreads*i), 4)
		if s.weighs {
			s.Store(lower.I32(0), s.SharedAt(s.word(s.tid), massParts+4*selectThreads*i), 4)
		}
	}
	if first { // what findBin finds where nothing is wanted
		s.If("state", s.ICmp(enum.IPredEQ, s.tid, lower.I32(0)), func() {
			s.Store(s.Pack4(lower.I32(0), lower.I32(0), lower.I32(0), lower.I32(0)), s.SharedAt(s.shared, selectState), 16)
			if s.weighs {
				s.Store(lower.I64(0), s.SharedAt(s.shared, massGoal), 8)
			}
		})
	}
	s.Barrier()
	in := s.inPass(p, top, first)
	s.While("count", lower.I32(0), func(from Value) Value {
		return s.ICmp(enum.IPredSLT, from, s.n)
	}, func(from Value) Value {
		at := s.Add(from, s.Shl(s.tid, 2))
		s.IfElse("plain", s.plain(from, countAtOnce), func() { s.countPlain(p, at, in) }, func() { s.countAny(p, at, in) })
		return s.Add(from, lower.I32(countAtOnce))
	})
	s.Barrier()
}

// inPass says of a key whether a pass counts it; it gives nil where every key counts.
func (s *selector) inPass(p radixPass, top Value, first bool) func(key Value) Value {
	if s.weighs {
		return s.inMassPass(p, top, first)
	}
	if first {
		return func(Value) Value { return nil }
	}
	return s.sharesTop(p, top)
}

// sharesTop says of a key whether its digits above p's are top's.
func (s *selector) sharesTop(p radixPass, top Value) func(key Value) Value {
	low := s.Shl(top, p.shift+p.bits)
	return func(key Value) Value {
		return s.ICmp(enum.IPredULT, s.Sub(key, low), lower.I32(1<<(p.shift+p.bits)))
	}
}

// countPlain counts candidates that all exist and are not forced. Few are in after the first pass: one test finds out for
// a whole vector.
func (s *selector) countPlain(p radixPass, at Value, in func(key Value) Value) {
	offset := make([]Value, vectorsAtOnce)
	for u := range offset {
		offset[u] = lower.I64(int64(4 * u * vectorStep))
	}
	keys := s.vectors(s.Shl(s.ZExt64(at), 2), offset)
	for i, v := range keys {
		keys[i] = s.order(v)
	}
	for ; len(keys) > 0; keys = keys[4:] {
		any := in(keys[0])
		if any == nil {
			for _, k := range keys[:4] {
				s.hit(p, k, nil)
			}
			continue
		}
		for _, k := range keys[1:4] {
			any = s.Or(any, in(k))
		}
		s.If("some", any, func() {
			for _, k := range keys[:4] {
				s.hit(p, k, in(k))
			}
		})
	}
}

// countAny counts candidates of which some may be forced or not exist.
func (s *selector) countAny(p radixPass, at Value, in func(key Value) Value) {
	s.eachNear(at, func(v, i Value) {
		key, there := s.key(v, i)
		if c := in(key); c != nil {
			there = s.And(there, c)
		}
		s.hit(p, key, there)
	})
}

// eachNear loads vectorsAtOnce vectors from candidate at on, or the last one in place of what is behind it, and hands out each value with
// the number of its candidate, which may be behind the last one.
func (s *selector) eachNear(at Value, each func(v, i Value)) {
	last := s.And(s.Sub(s.n, lower.I32(1)), lower.I32(-4))
	offset := make([]Value, vectorsAtOnce)
	for u := range offset {
		i := s.Min(s.Add(at, lower.I32(int64(u*vectorStep))), last)
		offset[u] = s.Shl(s.ZExt64(i), 2)
	}
	for i, v := range s.vectors(lower.I64(0), offset) {
		each(v, s.Add(at, lower.I32(int64(i/4*vectorStep+i%4))))
	}
}

// hit adds a key to the histogram, if c holds or is nil.
func (s *selector) hit(p radixPass, key, c Value) {
	count := func() {
		bin := s.word(s.And(s.LShr(key, p.shift), lower.I32(1<<p.bits-1)))
		s.SharedInc(bin)
		if s.weighs {
			s.weigh(p, key, bin)
		}
	}
	if c == nil {
		count()
		return
	}
	s.If("hit", c, count)
}

// vectors loads four values at each offset from byte start on.
func (s *selector) vectors(start Value, offset []Value) []Value {
	base := s.Offset(s.values, start)
	loaded := make([]Value, len(offset))
	for u, o := range offset {
		loaded[u] = s.Load(lower.Vec4, s.Offset(base, o), 16)
	}
	var out []Value
	for _, v := range loaded {
		for e := range 4 {
			out = append(out, s.AsFloat(s.Lane4(v, e)))
		}
	}
	return out
}

// highBin is the first of the two bins that each thread looks at, in falling order.
func (s *selector) highBin() Value { return s.Sub(lower.I32(selectBins-1), s.Shl(s.tid, 1)) }

// binPair loads a word of the thread's two bins from the array at an offset.
func (s *selector) binPair(high Value, at int) (h, l Value) {
	address := s.word(high)
	return s.Load(types.I32, s.SharedAt(address, at), 4), s.Load(types.I32, s.SharedAt(address, at-4), 4)
}

// findBin finds the bin that holds the want-th largest, and adds its digit to top.
func (s *selector) findBin(p radixPass, f found) found {
	high, want := s.highBin(), f.want
	h, l := s.binPair(high, 0)
	before, _ := s.scan(s.Add(h, l), selectScan)
	inHigh, inLow := s.Add(before, h), s.Add(s.Add(before, h), l)
	s.If("mine", s.And(s.ICmp(enum.IPredSLT, before, want), s.ICmp(enum.IPredSLE, want, inLow)), func() {
		c := s.ICmp(enum.IPredSLE, want, inHigh)
		bin := s.Select(c, high, s.Sub(high, lower.I32(1)))
		left := s.Sub(want, s.Select(c, before, inHigh))
		s.Store(s.Pack4(bin, left, s.Select(c, h, l), lower.I32(0)), s.SharedAt(s.shared, selectState), 16)
	})
	s.Barrier()
	state := s.Load(lower.Vec4, s.SharedAt(s.shared, selectState), 16)
	top := s.Or(s.Shl(f.top, p.bits), s.Lane4(state, stateBin/4))
	return found{top, s.Lane4(state, stateWant/4), s.Lane4(state, stateHeld/4)}
}

// A warp makes plainWords words of the bitmap at a time, 32 candidates each, or wordsAtOnce where there is more to look at.
const (
	plainWords  = 8
	wordsAtOnce = 4
)

// everyTie is fewer candidates than any count: all ties are chosen.
const everyTie = -1 << 30

// ties says how many candidates with the last key come before the words of this warp, counted from the number that is
// left out: the first of them whose count is negative are chosen. All are when they all fit, and nobody counts.
func (s *selector) ties(words Value, f found) Value {
	some := s.ICmp(enum.IPredSLT, f.want, f.held)
	return s.Choose("ties", some, lower.I32(everyTie), func() Value {
		from, end := s.span(words, plainWords)
		mine := s.eachWords("tie", from, end, lower.I32(0), func(seen, _ Value, keys, in []Value) Value {
			for u := range keys {
				equal := s.And(in[u], s.ICmp(enum.IPredEQ, keys[u], f.top))
				seen = s.Add(seen, s.Popc(s.Ballot(equal)))
			}
			return seen
		})
		before, _ := s.scanUniform(mine, selectScan)
		return s.Sub(before, f.want)
	})
}

// choose writes the bitmap.
func (s *selector) choose(bits, words, top, seen Value) {
	from, end := s.span(words, plainWords)
	every := s.ICmp(enum.IPredEQ, seen, lower.I32(everyTie))
	lower.While(s.Builder, "word", lower.Fold{At: from, Made: seen}, func(word lower.Fold) Value {
		return s.ICmp(enum.IPredSLT, word.At, end)
	}, func(word lower.Fold) lower.Fold {
		next := s.Min(s.Add(word.At, lower.I32(plainWords)), end)
		plain := s.And(every, s.plain(s.Shl(word.At, 5), 32*plainWords))
		rest := s.Choose("careful", s.Not(plain), word.Made, func() Value {
			return s.chooseAny(bits, word.At, next, top, word.Made)
		})
		s.If("easy", plain, func() {
			s.choosePlain(bits, word.At, end, top)
		})
		return lower.Fold{At: next, Made: rest}
	})
}

// choosePlain makes words of candidates that all exist and are not forced, all ties among them chosen.
func (s *selector) choosePlain(bits, word, end, top Value) {
	start := s.Shl(s.ZExt64(s.Add(s.Shl(word, 5), s.lane)), 2)
	base, vals := s.Offset(s.values, start), make([]Value, plainWords)
	for u := range vals {
		vals[u] = s.Load(types.Float, s.Offset(base, lower.I64(int64(128*u))), 4)
	}
	var made []Value
	for _, v := range vals {
		made = append(made, s.Ballot(s.ICmp(enum.IPredSGE, s.order(v), top)))
	}
	s.putWords(bits, word, end, made)
}

// putWords has one lane each store the words made from number word on, as far as they lie before end.
func (s *selector) putWords(bits, word, end Value, made []Value) {
	mine := made[0]
	for u := 1; u < len(made); u++ {
		mine = s.Select(s.ICmp(enum.IPredEQ, s.lane, lower.I32(int64(u))), made[u], mine)
	}
	at := s.Add(word, s.lane)
	writes := s.And(s.ICmp(enum.IPredULT, s.lane, lower.I32(int64(len(made)))), s.ICmp(enum.IPredSLT, at, end))
	s.If("store", writes, func() {
		s.Store(mine, s.at(bits, at), 4)
	})
}

// chooseAny makes the words from..end-1 whatever is among them; it takes and returns the count of ties.
func (s *selector) chooseAny(bits, from, end, top, seen Value) Value {
	below := s.LanesBelow(s.lane)
	return s.eachWords("any", from, end, seen, func(seen, word Value, keys, in []Value) Value {
		var made []Value
		for u := range keys {
			above := s.And(in[u], s.ICmp(enum.IPredSGT, keys[u], top))
			equal := s.And(in[u], s.ICmp(enum.IPredEQ, keys[u], top))
			all := s.Ballot(equal)
			rank := s.Add(seen, s.Popc(s.And(all, below)))
			made = append(made, s.Ballot(s.Or(above, s.And(equal, s.ICmp(enum.IPredSLT, rank, lower.I32(0))))))
			seen = s.Add(seen, s.Popc(all))
		}
		s.putWords(bits, word, end, made)
		return seen
	})
}

// eachWords walks the words from..end-1, wordsAtOnce at a time, with the key of each lane's candidate in each word.
func (s *selector) eachWords(name string, from, end, start Value, body func(carry, word Value, keys, in []Value) Value) Value {
	last := s.Max(s.Sub(s.n, lower.I32(1)), lower.I32(0))
	return lower.While(s.Builder, name, lower.Fold{At: from, Made: start}, func(word lower.Fold) Value {
		return s.ICmp(enum.IPredSLT, word.At, end)
	}, func(word lower.Fold) lower.Fold {
		index := make([]Value, wordsAtOnce)
		for u := range index {
			index[u] = s.Add(s.Shl(s.Add(word.At, lower.I32(int64(u))), 5), s.lane)
		}
		vals := make([]Value, wordsAtOnce)
		for u, i := range index {
			vals[u] = s.Load(types.Float, s.at(s.values, s.Min(i, last)), 4)
		}
		keys, in := make([]Value, wordsAtOnce), make([]Value, wordsAtOnce)
		for u := range keys {
			keys[u], in[u] = s.key(vals[u], index[u])
		}
		next := body(word.Made, word.At, keys, in)
		return lower.Fold{At: s.Add(word.At, lower.I32(wordsAtOnce)), Made: next}
	}).Made
}
