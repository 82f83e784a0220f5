package lower

import (
	"math"

	"github.com/llir/llvm/ir/enum"
)

// Kernels compute a row tile fast first: probabilities are exp2(score*scale - m), where m is the rounded product of a maximum and the
// scale, and P V takes every key of a tile with every row. That is right as long as
//
//   - |m| < far. Beyond, the rounding of m is no longer small beside 1, and may be beyond what an exponent holds;
//   - a row has kept keys at all: where it seems not to, all its scores may lie below what maxima start from;
//   - nothing infinite came out. 0 times a value that is not finite is NaN, so a key that the row does not keep may have been the cause,
//     and P, which is rounded for the product but not for the sum, may lift the largest finite values over the top.
//
// A tile with a row for which that fails is computed again, with care (exact.go). Nothing of this is in the loops of the fast way.

// far is where the rounding of m reaches 2^-12: up to there the probability of a row's maximum rounds to 1 in either type.
const far = 1 << 13

// Lowest is where a row's maximum starts. It is finite, so that a tile in which a row keeps nothing has exponents of -inf
// and a factor of 1, never (-inf)-(-inf).
const Lowest = -1e30

// Outputs are o/l of one row as pairs in the type of the output, zeros for a row with l = 0, and a word that has exponent bits only if
// one of them is not finite: infinity times 0 is NaN, and stays.
func (k *RowTile) Outputs(o []Value, l Value) (pairs []Value, test Value) {
	inv := k.Inverse(l)
	test = I32(0)
	for i := 0; i < len(o); i += 2 {
		pair := k.Pack(k.DType, k.FMul(o[i], inv), k.FMul(o[i+1], inv))
		pairs = append(pairs, pair)
		test = k.PackedFMA(k.DType, pair, I32(0), test)
	}
	return pairs, test
}

// Doubtful says whether the tile must be computed again because of the thread's row i: m and l are its maximum and sum, test is the
// word of Outputs. Rows past sq are never doubtful.
func (k *RowTile) Doubtful(i int, m, l, test Value) Value {
	big := k.FCmp(enum.FPredUGE, k.FAbs(m), F32(far))
	infinite := k.ICmp(enum.IPredNE, k.And(test, I32(0x7fff7fff)), I32(0))
	some := k.Or(big, infinite)
	return k.Choose("doubt", some, Bool(false), func() Value {
		row := k.Add(k.Row0(), k.RowOf(i))
		inside := k.ICmp(enum.IPredSLT, row, k.Length("sq"))
		doubtful := k.Xor(k.And(k.FCmp(enum.FPredOEQ, l, F32(0)), k.keepsNothing(i)), Bool(true))
		if k.ReadsLengths() { // what lies beyond a sequence's keys is loaded, not zeros
			doubtful = k.Or(doubtful, infinite)
		}
		return k.And(inside, doubtful)
	})
}

// keepsNothing says whether the bounds of the schedule's segments leave the thread's row i no key. What lists and residues leave is
// not asked: such rows may keep something.
func (k *RowTile) keepsNothing(i int) Value {
	none := Value(Bool(true))
	for _, s := range k.Segs {
		q := k.Add(k.First(), k.RowOf(i))
		none = k.And(none, k.ICmp(enum.IPredSGE, k.LoAt(s, q), k.HiAt(s, q)))
	}
	return none
}

// saturated is o*inv, within the finite values of the output if o is finite.
func (k *RowTile) saturated(o, inv Value) Value {
	x, most := k.FMul(o, inv), largest(k.DType)
	finite := k.FCmp(enum.FPredOLT, k.FAbs(o), F32(math.Inf(1)))
	return k.Select(finite, k.FMin(k.FMax(x, F32(-most)), F32(most)), x)
}
