package lower

import (
	"math"

	"github.com/llir/llvm/ir/enum"
	"github.com/llir/llvm/ir/types"

	"github.com/minfc/minfc/abi"
)

// How a tile is computed with care (outputs.go says when). Maxima are raw scores, so that the exponent of a row's maximum is exactly 0
// whatever its size; probabilities leave headroom for sums of the largest values; and a value that is not finite reaches the rows
// that keep its key alone. m starts at -inf, l and o at 0.

// Headroom of a type: probabilities are at most 2^-Headroom, so that with 2^32 keys the products with the largest finite values do not
// add up to infinity. float32 has room for values of f16 as it is.
func Headroom(t abi.DType) float64 {
	if t == abi.BF16 {
		return 32
	}
	return 0
}

// largest is the largest finite value of t.
func largest(t abi.DType) float64 {
	if t == abi.BF16 {
		return 0x1.fep127
	}
	return 65504
}

// exponents are the bits of the exponents of a pair of t, which are all ones where a value is not finite; units are their lowest ones.
func exponents(t abi.DType) (bits, units int64) {
	if t == abi.BF16 {
		return 0x7f807f80, 0x00800080
	}
	return 0x7c007c00, 0x04000400
}

// ExactMaximum takes the largest of a thread's raw scores of a row into its maximum, and says what brings sums to the new one.
func (k *RowTile) ExactMaximum(was, threadMax Value) (m, alpha Value) {
	m = k.FMax(was, k.MaxQuad(threadMax))
	alpha = k.Exp2(k.FMul(k.FSub(was, m), k.scale()))
	return m, k.Select(k.FCmp(enum.FPredOEQ, m, NegInf()), F32(1), alpha)
}

// ExactProbability is the probability of a raw score beside its row's maximum.
func (k *RowTile) ExactProbability(score, m Value) Value {
	from := k.Select(k.FCmp(enum.FPredOEQ, m, NegInf()), F32(0), m) // a row without keys: all its scores are -inf
	return k.Exp2(k.FMA(k.FSub(score, from), k.scale(), F32(-Headroom(k.DType))))
}

// ExactLSE is the natural logarithm of the sum of exp(scale*score) of a row, -inf if it kept nothing.
func (k *RowTile) ExactLSE(m, l Value) Value {
	sum := k.FMul(k.Log2(k.FMul(l, F32(math.Exp2(Headroom(k.DType))))), F32(math.Ln2))
	lse := k.FMA(m, k.FMul(k.scale(), F32(math.Ln2)), sum)
	return k.Select(k.FCmp(enum.FPredOEQ, l, F32(0)), NegInf(), lse)
}

// ExactOutputs are o/l of one row as pairs in the type of the output, zeros for a row with l = 0. Where rounding would make infinity of
// finite values, the largest one is stored.
func (k *RowTile) ExactOutputs(o []Value, l Value) (pairs []Value) {
	inv := k.Inverse(l)
	for i := 0; i < len(o); i += 2 {
		pairs = append(pairs, k.Pack(k.DType, k.saturated(o[i], inv), k.saturated(o[i+1], inv)))
	}
	return pairs
}

// KeptKeys has a bit for every key of a stage that a row keeps: words of 32, the same in the row's four lanes. scores are the thread's
// masked ones, two of every eight keys.
func (k *RowTile) KeptKeys(scores []Value) []Value {
	words := make([]Value, (len(scores)*4+31)/32)
	for i := range words {
		words[i] = I32(0)
	}
	for i, s := range scores {
		key := 8*(i/2) + i%2
		kept := k.FCmp(enum.FPredUNE, s, NegInf()) // NaN, too: its key is kept
		words[key/32] = k.Or(words[key/32], k.Select(kept, I32(1<<(key%32)), I32(0)))
	}
	for i, w := range words {
		w = k.ShlClamp(w, k.Shl(k.And(k.Lane, I32(3)), 1))
		for _, lanes := range []int64{1, 2} {
			w = k.Or(w, k.ShuffleBits(w, lanes))
		}
		words[i] = w
	}
	return words
}

// ValueTile is a tile of V in shared memory: panels of 64 columns, 128 bytes a row, in the 128-byte swizzle.
type ValueTile struct {
	At     Value // shared address
	Keys   Value // rows, a multiple of 4
	Own    int   // rows that a warp multiplies
	Panels int
	Panel  int // bytes from one panel to the next

	Warp  Value // this warp's number among the warps that read the tile
	Warps int
	Meet  func() // waits for all of them; what they wrote is then there for the next product
}

// panelRow is the bytes of a row of a panel.
const panelRow = 128

// CleanValues takes the values that are not finite out of a tile of V: it adds them to the outputs of the rows that keep their keys,
// and puts zeros in their place. first is the tile's row of a warp's first key; scores and o are of each of the thread's rows its masked
// scores, two of every eight keys, and its outputs, two of every eight columns. All warps that read the tile must call it.
func (k *RowTile) CleanValues(t ValueTile, first Value, scores, o [][]Value) [][]Value {
	found := k.AnyLane(k.ICmp(enum.IPredNE, k.scan(t, I32(0), I32(1), false), I32(0)))
	return Choose(k.Builder, "not_finite", found, Vectors(o), func() Vectors {
		var out Vectors
		for i := 0; i < len(o); i += 2 { // strip by strip: registers are short here
			kept := [][]Value{k.KeptKeys(scores[i]), k.KeptKeys(scores[i+1])}
			out = append(out, k.spread(t, first, kept, o[i:i+2])...)
		}
		t.Meet()
		k.scan(t, t.Warp, I32(int64(t.Warps)), true)
		t.Meet()
		return out
	})
}

// scan looks at every step-th four rows of a tile from number start on, a lane at 16 bytes, and gives a word that is not 0 if it saw
// values that are not finite. With clean it puts zeros in their place.
func (k *RowTile) scan(t ValueTile, start, step Value, clean bool) Value {
	at := k.Add(t.At, k.Add(k.Shl(k.And(k.Lane, I32(7)), 4), k.MulBy(k.LShr(k.Lane, 3), panelRow)))
	return While(k.Builder, "scan", Fold{start, I32(0)},
		func(v Fold) Value { return k.ICmp(enum.IPredSLT, v.At, k.LShr(t.Keys, 2)) },
		func(v Fold) Fold {
			seen := v.Made
			for p := range t.Panels {
				from := k.SharedAt(k.Add(at, k.MulBy(v.At, 4*panelRow)), p*t.Panel)
				seen = k.Or(seen, k.scanWords(from, clean))
			}
			return Fold{k.Add(v.At, step), seen}
		}).Made
}

func (k *RowTile) scanWords(from Value, clean bool) Value {
	words, seen := k.Load(Vec4, from, 16), Value(I32(0))
	var cleaned []Value
	for i := range 4 {
		w := k.Lane4(words, i)
		bad := k.notFinite(w)
		seen = k.Or(seen, bad)
		cleaned = append(cleaned, k.And(w, k.Not(bad)))
	}
	if clean {
		k.Store(k.Pack4(cleaned...), from, 16)
	}
	return seen
}

// notFinite has all bits of the halves of a pair set that are not finite.
func (k *RowTile) notFinite(pair Value) Value {
	bits, unit := exponents(k.DType)
	top := k.And(k.Add(k.And(pair, I32(bits)), I32(unit)), I32(-0x7fff8000)) // the exponent's carry, in the place of the sign
	return k.Mul(k.LShr(top, 15), I32(0xffff))
}

// spread adds the values that are not finite to the outputs o of the rows that keep their keys.
func (k *RowTile) spread(t ValueTile, first Value, kept, o Vectors) Vectors {
	type walk = Walk[Vectors, *Vectors]
	return While(k.Builder, "spread", walk{I32(0), o},
		func(key walk) Value { return k.ICmp(enum.IPredSLT, key.At, I32(int64(t.Own))) },
		func(key walk) walk {
			next := walk{k.Add(key.At, I32(1)), key.Of.Clone()}
			k.spreadKey(t, k.Add(first, key.At), k.keeps(kept, key.At), next.Of)
			return next
		}).Of
}

// keeps says of each row whether it keeps key n of its words.
func (k *RowTile) keeps(kept [][]Value, n Value) (out []Value) {
	for _, words := range kept {
		word := words[0]
		for i := 1; i < len(words); i++ {
			word = k.Select(k.ICmp(enum.IPredEQ, k.LShr(n, 5), I32(int64(i))), words[i], word)
		}
		bit := k.And(k.ShrClamp(word, k.And(n, I32(31))), I32(1))
		out = append(out, k.ICmp(enum.IPredNE, bit, I32(0)))
	}
	return out
}

// spreadKey adds what is not finite of one key's value to the outputs of the rows that keep it.
func (k *RowTile) spreadKey(t ValueTile, key Value, keeps []Value, o Vectors) {
	columns := len(o[0]) // of a row in this thread: two of every eight
	row := k.Add(t.At, k.Add(k.MulBy(key, panelRow), k.Shl(k.And(k.Lane, I32(3)), 2)))
	turn := k.Shl(k.And(key, I32(7)), 4)
	for i := 0; i < columns; i += 2 {
		chunk := i / 2
		at := k.SharedAt(k.Add(row, k.Xor(turn, I32(int64(chunk%8*16)))), chunk/8*t.Panel)
		pair := k.Load(types.I32, at, 4)
		lo, hi := k.Widen(k.DType, k.And(pair, k.notFinite(pair)))
		for r, keep := range keeps {
			o[r][i] = k.FAdd(o[r][i], k.Select(keep, lo, F32(0)))
			o[r][i+1] = k.FAdd(o[r][i+1], k.Select(keep, hi, F32(0)))
		}
	}
}
