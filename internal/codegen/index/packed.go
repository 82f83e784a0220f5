package index

import (
	"math/bits"

	"github.com/llir/llvm/ir/enum"
	"github.com/llir/llvm/ir/types"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/internal/codegen/lower"
)

// Packed kernels of the estimator take few rows of each head, 16 or 32, and give the 64 rows of a tile to 4 or 2 heads of one kv head: a pack.
// What they make are means over the heads that take part, so choices by group are all that they serve. A kv head costs as many products and
// exponentials as one head of a probe of 64 rows.
//
// A thread has rows of all heads of its tile at the same places, so that it adds up the heads' probabilities by itself, in the order of the heads,
// before anything goes along columns and diagonals. From there on a pack is a head with 16 or 32 rows. The division by the number of
// heads is in the exponents, as the log2 of the number beside the log2 of a row's sum; rows of heads that take no part have the exponent
// minus infinity.
//
//	group       packs of a kv head
//	hq          packs of a batch entry in the launch
//	q_group     q heads of a kv head
//	probe_rows  rows of each head, at most 16 or 32: the last ones
//	heads       of the q heads
//
// Where a kv head has several packs their sums lie one behind the other, each times the number of packs, so that their mean is wanted.

// headRows is how many of a thread's eight rows one head has.
func (e *estimator) headRows() int {
	if e.Packed > 0 {
		return e.Packed / 8
	}
	return threadRows
}

// mostRows is how many rows of a head are looked at.
func (e *estimator) mostRows() Value {
	if e.Packed > 0 {
		return e.Param("probe_rows")
	}
	return lower.I32(abi.ProbeRows)
}

// firstOfGroup is the first q head of the block's kv head, among all batch entries.
func (e *estimator) firstOfGroup() Value {
	kvHeads := e.UDiv(e.Param("hq"), e.Param("group"))
	return e.Mul(e.Add(e.Mul(e.BlockZ(), kvHeads), e.kvHead), e.Param("q_group"))
}

// rowOfTile is which row of which q head a row of a slot's tile is. Tiles with room to spare repeat the last head of the group.
func (e *estimator) rowOfTile(slot, row Value) (head, rowOfHead Value) {
	if e.Packed == 0 {
		return e.headOf(slot), row
	}
	log := int64(bits.TrailingZeros(uint(e.Packed)))
	in := e.Add(e.firstInGroup(slot), e.LShr(row, log))
	in = e.Min(in, e.Sub(e.Param("q_group"), lower.I32(1)))
	return e.Add(e.Mul(e.kvHead, e.Param("q_group")), in), e.And(row, lower.I32(int64(e.Packed-1)))
}

// firstInGroup is the first head of a slot's pack, within the group.
func (e *estimator) firstInGroup(slot Value) Value {
	pack := e.Add(e.Mul(e.part, lower.I32(int64(e.HeadsPerBlock))), slot)
	return e.Mul(pack, lower.I32(int64(abi.ProbeRows/e.Packed)))
}

// weigh adds the log2 of what sums are divided by to what is subtracted from the exponents of the thread's rows, and leaves heads out that
// take no part.
func (e *estimator) weigh(minus []Value) {
	first, end := e.firstOfGroup(), e.Param("q_group")
	taking := lower.While(e.Builder, "taking", lower.Fold{At: lower.I32(0), Made: lower.I32(0)}, func(f lower.Fold) Value {
		return e.ICmp(enum.IPredSLT, f.At, end)
	}, func(f lower.Fold) lower.Fold {
		n := e.Add(f.Made, e.Block.NewZExt(e.TakesPart(e.Add(first, f.At)), types.I32))
		return lower.Fold{At: e.Add(f.At, lower.I32(1)), Made: n}
	}).Made
	float := func(n Value) Value { return e.Block.NewSIToFP(n, types.Float) }
	by := e.FSub(e.Log2(float(taking)), e.Log2(float(e.Param("group"))))
	pack, last := e.firstInGroup(e.slot), e.Sub(end, lower.I32(1))
	for h := 0; h < threadRows; h += e.headRows() {
		in := e.Add(pack, lower.I32(int64(h/e.headRows())))
		takes := e.And(e.ICmp(enum.IPredSLT, in, end), e.TakesPart(e.Add(first, e.Min(in, last))))
		for i := h; i < h+e.headRows(); i++ {
			minus[i] = e.Select(takes, e.FAdd(minus[i], by), infinity)
		}
	}
}

// fold adds up the heads of a tile: what is left are rows of one head.
func (e *estimator) fold(x scores) scores {
	if e.Packed == 0 {
		return x
	}
	out := x.each(func(int, int, Value) Value { return nil })
	for i := range e.headRows() {
		for j := range x[i] {
			if x[i][j] == nil {
				continue
			}
			sum := x[i][j]
			for h := i + e.headRows(); h < threadRows; h += e.headRows() {
				sum = e.FAdd(sum, x[h][j])
			}
			out[i][j] = sum
		}
	}
	return out
}
