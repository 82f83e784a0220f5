package lower

import (
	"math"

	"github.com/llir/llvm/ir/enum"
)

// Scores says what scores are between the first product and the mask, and what rows begin with. The zero Scores, which all kernels of the
// language have, leaves products as they are, and costs nothing: the scale of a call (its parameter scale_log2, with the log2 of e in it)
// is in the exponents alone. With a modifier or an initial state, scores become logits first: products times the softmax scale.
type Scores struct {
	Modifiers []Modifier // in the order in which they apply
	Initial   Initial
}

// Modifier changes a logit, as a soft cap or a bias does.
type Modifier func(k *RowTile, s Score) Value

// Score is one logit of the thread, and which pair it is of. Positions are asked for where they are used.
type Score struct {
	Logit      Value
	Query, Key func() Value // absolute positions, i32
}

// Initial is what the thread's row i begins with: a maximum of logits, and a sum relative to it. A sink is a logit with the sum 1. The
// output of a row begins with 0.
type Initial func(k *RowTile, i int) (logit, sum Value)

func (s *Scores) areLogits() bool { return s != nil && (len(s.Modifiers) > 0 || s.Initial != nil) }

// scale brings scores to the log2 domain.
func (k *RowTile) scale() Value {
	if k.Scores.areLogits() {
		return F32(math.Log2E)
	}
	return k.Param("scale_log2")
}

// Modified are the scores of one strip of a slot after the modifiers.
func (k *RowTile) Modified(s []Value, sl Slot, strip int) []Value {
	if !k.Scores.areLogits() {
		return s
	}
	toLogit := k.FMul(k.Param("scale_log2"), F32(math.Ln2))
	out := make([]Value, len(s))
	for i, x := range s {
		col, r := 8*(i/4)+i%2, i/2%2
		at := Score{k.FMul(x, toLogit), func() Value { return k.Query(strip, r) }, func() Value { return k.keyAt(sl, col) }}
		for _, modify := range k.Scores.Modifiers {
			at.Logit = modify(k, at)
		}
		out[i] = at.Logit
	}
	return out
}

// keyAt is the key of a column of a slot, counted from the thread's first one.
func (k *RowTile) keyAt(sl Slot, col int) Value {
	key := k.Add(k.threadKey(sl.Start), I32(int64(col)))
	if !k.HasColumns() {
		return key
	}
	return k.Choose("key", k.IsColumns(sl), key, func() Value { return k.ListAt(k.ColumnSegment().From, key) })
}

// InitialRow is the maximum and the sum that the thread's row i begins with: scaled, in the log2 domain, or with care (exact.go) the
// maximum of raw scores. Of the four lanes of a row, whose sums are added up at the end, one has the sum.
func (k *RowTile) InitialRow(i int, exact bool) (m, l Value) {
	switch {
	case k.Scores != nil && k.Scores.Initial != nil:
		m, l = k.Scores.Initial(k, i)
	case exact:
		return NegInf(), F32(0)
	default:
		return k.startOf(i), F32(0)
	}
	first := k.ICmp(enum.IPredEQ, k.And(k.Lane, I32(3)), I32(0))
	if exact {
		l = k.FMul(l, F32(math.Exp2(-Headroom(k.DType))))
	} else {
		m = k.FMul(m, k.scale())
	}
	return m, k.Select(first, l, F32(0))
}

// Scaled is a score in the log2 domain.
func (k *RowTile) Scaled(score Value) Value { return k.FMul(score, k.scale()) }

// NewMaximum takes the largest of a thread's scores of a row into its maximum, and says what brings sums to the new one.
func (k *RowTile) NewMaximum(was, threadMax Value) (m, alpha Value) {
	m = k.FMax(k.Scaled(k.MaxQuad(threadMax)), was)
	return m, k.Exp2(k.FSub(was, m))
}

// Probability is 2 to the scaled score minus its row's maximum, which comes negated: the sign is a modifier of the FMA, no instruction.
func (k *RowTile) Probability(score, negated Value) Value {
	return k.Exp2(k.FMA(score, k.scale(), negated))
}

// slack is how far scores may exceed what a row's probabilities are relative to, in the log2 domain, before that is raised. Until
// then probabilities are up to 2^slack, sums and outputs as much larger, and the division at the end undoes it.
const slack = 8

// Exceed says whether one of the warp's values x (scores, scaled, in the log2 domain) exceeds its m by more than the slack: then
// maxima have to be raised and outputs rescaled. After a tile's first stage that is rare.
func (k *RowTile) Exceed(x, m []Value) Value {
	any := Value(Bool(false))
	for i := range x {
		any = k.Or(any, k.FCmp(enum.FPredOGT, x[i], k.FAdd(m[i], F32(k.slackOf()))))
	}
	return k.AnyLane(any)
}
