package index

import (
	"math"

	"github.com/llir/llvm/ir/enum"
	"github.com/llir/llvm/ir/types"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/internal/codegen/lower"
)

// The parameters of recall. Launch: grid (1, q heads, batch). The sampled rows are row0, row0 + step, ..., probe_rows of them: the rows of
// probe_lse, which is as probe_combine wrote it and says what each row's attention sums up to over all keys.
//
//	lse        float32 [batch, q heads, sq], natural log: what the call that is looked at wrote
//	mass       float32 [batch, q heads]: the mean of exp(lse - lse over all keys) over all sampled rows
//	mass_rows  float32 [batch, q heads, sampled]: the same of each row; null: not wanted
//	before     rows that earlier launches looked at, whose sum is in mass
//	sampled    rows of all launches; the last one turns the sum into a mean
//
// Rounding can bring a share above 1, and is cut off. A NaN stays one. docs/recall.md has the definition.

// Recall compares the sums of a call's rows with the sums over all keys. The sum over the rows has one order, so that equal inputs give
// equal bits.
func Recall() (*lower.Kernel, error) {
	const warps = abi.ProbeRows / 32
	b := newBlockKernel(abi.Recall, abi.ProbeRows)
	hb := b.Add(b.Mul(b.BlockZ(), b.Param("hq")), b.BlockY())
	b.LeaveUnless(b.TakesPart(hb), nil)
	there := b.ICmp(enum.IPredSLT, b.tid, b.Param("probe_rows"))
	share := b.Choose("row", there, lower.F32(0), func() Value { return b.share(hb) })
	b.If("store_row", b.And(there, b.given("mass_rows")), func() {
		at := b.Add(b.Add(b.Mul(b.ZExt64(hb), b.ZExt64(b.Param("sampled"))), b.ZExt64(b.Param("before"))), b.ZExt64(b.tid))
		b.Store(share, b.Offset(b.Param("mass_rows"), b.Shl(at, 2)), 4)
	})
	for lanes := int64(1); lanes < 32; lanes *= 2 {
		share = b.FAdd(share, b.ShuffleXor(share, lanes))
	}
	b.leaderStores(share, 0)
	b.Barrier()
	b.If("store_mass", b.ICmp(enum.IPredEQ, b.tid, lower.I32(0)), func() { b.addMass(hb, warps) })
	b.Block.NewRet(nil)
	return b.finish(4 * warps), nil
}

// share is the kept share of the thread's row, at most 1.
func (b *blockKernel) share(hb Value) Value {
	row := b.Add(b.Param("row0"), b.Mul(b.tid, b.Param("step")))
	lse := b.Offset(b.Param("lse"), b.Add(b.Mul(b.ZExt64(b.BlockZ()), b.Param("lse_batch")), b.Mul(b.ZExt64(b.BlockY()), b.Param("lse_head"))))
	kept := b.Load(types.Float, b.at(lse, row), 4)
	stat := b.Offset(b.Param("probe_lse"), b.Shl(b.Add(b.Shl(b.ZExt64(hb), 6), b.ZExt64(b.tid)), 3))
	top, sum := b.Load(types.Float, stat, 4), b.Load(types.Float, b.Offset(stat, lower.I64(4)), 4)
	all := b.FMA(top, b.Param("scale_log2"), sum)
	share := b.Exp2(b.FMA(kept, lower.F32(math.Log2E), b.FNeg(all)))
	return b.Select(b.FCmp(enum.FPredOGT, share, lower.F32(1)), lower.F32(1), share)
}

// addMass adds what the warps found to the sum of earlier launches, and makes a mean of it where no launch follows.
func (b *blockKernel) addMass(hb Value, warps int) {
	at, before := b.at(b.Param("mass"), hb), b.Param("before")
	sum := b.Choose("carry", b.ICmp(enum.IPredNE, before, lower.I32(0)), lower.F32(0), func() Value { return b.Load(types.Float, at, 4) })
	for w := range warps {
		sum = b.FAdd(sum, b.Load(types.Float, b.SharedAt(b.shared, 4*w), 4))
	}
	sampled := b.Param("sampled")
	last := b.ICmp(enum.IPredEQ, b.Add(before, b.Param("probe_rows")), sampled)
	mean := b.FDiv(sum, b.Block.NewSIToFP(sampled, types.Float))
	b.Store(b.Select(last, mean, sum), at, 4)
}
