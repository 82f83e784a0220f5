package lower

import (
	"github.com/llir/llvm/ir/enum"
	"github.com/llir/llvm/ir/types"
)

// What the lanes of a warp do together. The warp must be converged.

// Converge orders what all lanes of a warp did to memory before what one of them does next.
func (b *Builder) Converge() { b.AsmEffect("bar.warp.sync 0xffffffff;", "~{memory}") }

// WarpSync orders what the lanes of a warp did to shared memory before it and do after it.
func (b *Builder) WarpSync() { b.AsmEffect("bar.warp.sync 0xffffffff;", "") }

// Ballot is a word with the bit of every lane of the warp for which c holds.
func (b *Builder) Ballot(c Value) Value {
	return b.Call("llvm.nvvm.vote.ballot.sync", types.I32, I32(-1), c)
}

// AnyLane says whether c holds in some lane of the warp.
func (b *Builder) AnyLane(c Value) Value {
	return b.Call("llvm.nvvm.vote.any.sync", types.I1, I32(-1), c)
}

// ShuffleXor exchanges x with the lane whose number differs by mask.
func (b *Builder) ShuffleXor(x Value, mask int64) Value {
	return b.Call("llvm.nvvm.shfl.sync.bfly.f32", types.Float, I32(-1), x, I32(mask), I32(31))
}

// ShuffleFrom is x (i32 or i64) of another lane.
func (b *Builder) ShuffleFrom(x, lane Value) Value {
	if x.Type().Equal(types.I64) {
		return b.inHalves(x, func(half Value) Value { return b.ShuffleFrom(half, lane) })
	}
	return b.Call("llvm.nvvm.shfl.sync.idx.i32", types.I32, I32(-1), x, lane, I32(31))
}

// ShuffleBits exchanges x (i32) with the lane whose number differs by mask.
func (b *Builder) ShuffleBits(x Value, mask int64) Value {
	return b.Call("llvm.nvvm.shfl.sync.bfly.i32", types.I32, I32(-1), x, I32(mask), I32(31))
}

// shuffleUp is x of the lane d below.
func (b *Builder) shuffleUp(x Value, d int64) Value {
	if x.Type().Equal(types.I64) {
		return b.inHalves(x, func(half Value) Value { return b.shuffleUp(half, d) })
	}
	return b.Call("llvm.nvvm.shfl.sync.up.i32", types.I32, I32(-1), x, I32(d), I32(0))
}

// inHalves does to an i64 what f does to its halves.
func (b *Builder) inHalves(x Value, f func(half Value) Value) Value {
	low, high := f(b.Trunc32(x)), f(b.Trunc32(b.LShr(x, 32)))
	return b.Or(b.ZExt64(low), b.Shl(b.ZExt64(high), 32))
}

// WarpAdd is the sum of x (i32) over the warp, which must be converged. LLVM 14 does not select an intrinsic for it.
func (b *Builder) WarpAdd(x Value) Value {
	return b.AsmResult(types.I32, "redux.sync.add.s32 $0, $1, 0xffffffff;", "=r,r", x)
}

// WarpMax is the largest x (i32) of the warp, which must be converged.
func (b *Builder) WarpMax(x Value) Value {
	return b.AsmResult(types.I32, "redux.sync.max.s32 $0, $1, 0xffffffff;", "=r,r", x)
}

// WarpScan is the sum of x (i32 or i64) over this lane and all lanes below it.
func (b *Builder) WarpScan(x, lane Value) Value {
	for d := int64(1); d < 32; d *= 2 {
		y := b.shuffleUp(x, d)
		x = b.Select(b.ICmp(enum.IPredUGE, lane, I32(d)), b.Add(x, y), x)
	}
	return x
}

// LanesBelow has a bit for every lane below this one.
func (b *Builder) LanesBelow(lane Value) Value {
	return b.Sub(b.ShlClamp(I32(1), lane), I32(1))
}
