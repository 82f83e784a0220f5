package lower

import (
	"github.com/llir/llvm/ir/constant"
	"github.com/llir/llvm/ir/types"
)

// Votes, bits and integer atomics.

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

// LowBit is the number of the lowest bit that is set, 32 for x = 0.
func (b *Builder) LowBit(x Value) Value {
	return b.Call("llvm.cttz.i32", types.I32, x, constant.False)
}

// FunnelRight is the low word of the 64 bits hi:lo shifted right by n mod 32.
func (b *Builder) FunnelRight(hi, lo, n Value) Value {
	return b.Call("llvm.fshr.i32", types.I32, hi, lo, n)
}

// LanesBelow has a bit for every lane below this one.
func (b *Builder) LanesBelow(lane Value) Value {
	return b.Sub(b.ShlClamp(I32(1), lane), I32(1))
}

// inHalves does to an i64 what f does to its halves.
func (b *Builder) inHalves(x Value, f func(half Value) Value) Value {
	low, high := f(b.Trunc32(x)), f(b.Trunc32(b.LShr(x, 32)))
	return b.Or(b.ZExt64(low), b.Shl(b.ZExt64(high), 32))
}

// SharedAdd adds x (i32) to the word at the i32 address of shared memory.
func (b *Builder) SharedAdd(addr, x Value) {
	b.AsmEffect("red.shared.add.u32 [$0], $1;", "r,r", addr, x)
}

// SharedInc counts one at the i32 address of shared memory; ptxas makes it an instruction that sums a warp's hits itself.
func (b *Builder) SharedInc(addr Value) { b.AsmEffect("red.shared.add.u32 [$0], 1;", "r", addr) }

// GlobalOr sets bits of the i32 at p.
func (b *Builder) GlobalOr(p, bits Value) { b.AsmEffect("red.global.or.b32 [$0], $1;", "l,r", p, bits) }

// WarpSync orders what the lanes of a warp did to shared memory before it and do after it.
func (b *Builder) WarpSync() { b.AsmEffect("bar.warp.sync 0xffffffff;", "") }
