package lower

import (
	llir "github.com/llir/llvm/ir"
	"github.com/llir/llvm/ir/constant"
	"github.com/llir/llvm/ir/enum"
	"github.com/llir/llvm/ir/types"

	"github.com/minfc/minfc/abi"
)

// Helpers of the kernels that choose and collect: loops, votes, sums over a warp or block.

// BlockThreads is the number of threads of the block.
func (b *Builder) BlockThreads() Value { return b.sreg("ntid.x") }

// Repeat emits a loop whose body runs at least once. The body gets the loop's values, start at first, and returns the next
// ones and whether to run again; the last ones are the result.
func (b *Builder) Repeat(name string, start []Value, body func(v []Value) (next []Value, again Value)) []Value {
	from, loop := b.Block, b.NewBlock(name)
	from.NewBr(loop)
	b.Enter(loop)
	var phis []*llir.InstPhi
	var vals []Value
	for _, x := range start {
		p := b.Phi(x, from)
		phis, vals = append(phis, p), append(vals, p)
	}
	next, again := body(vals)
	latch, done := b.Block, b.NewBlock(name+".done")
	for i, p := range phis {
		AddIncoming(p, next[i], latch)
	}
	latch.NewCondBr(again, loop, done)
	b.Enter(done)
	return next
}

// AsmResult emits inline assembly with a result that must keep its place.
func (b *Builder) AsmResult(ret types.Type, text, constraints string, args ...Value) Value {
	a := b.inlineAsm(ret, text, constraints, args)
	a.SideEffect = true
	return b.Block.NewCall(a, args...)
}

// WarpAdd is the sum of x (i32) over the warp, which must be converged. LLVM 14 does not select an intrinsic for it.
func (b *Builder) WarpAdd(x Value) Value {
	return b.AsmResult(types.I32, "redux.sync.add.s32 $0, $1, 0xffffffff;", "=r,r", x)
}

// HighBit is the number of the highest bit that is set, for x != 0.
func (b *Builder) HighBit(x Value) Value {
	return b.Sub(I32(31), b.Call("llvm.ctlz.i32", types.I32, x, constant.False))
}

// WarpScan is the sum of x (i32 or i64) over this lane and all lanes below it.
func (b *Builder) WarpScan(x, lane Value) Value {
	for d := int64(1); d < 32; d *= 2 {
		y := b.shuffleUp(x, d)
		x = b.Select(b.ICmp(enum.IPredUGE, lane, I32(d)), b.Add(x, y), x)
	}
	return x
}

// shuffleUp is x of the lane d below.
func (b *Builder) shuffleUp(x Value, d int64) Value {
	if x.Type().Equal(types.I64) {
		return b.inHalves(x, func(half Value) Value { return b.shuffleUp(half, d) })
	}
	return b.Call("llvm.nvvm.shfl.sync.up.i32", types.I32, I32(-1), x, I32(d), I32(0))
}

// AShr is the arithmetic shift to the right.
func (b *Builder) AShr(x Value, n int64) Value {
	return b.Block.NewAShr(x, constant.NewInt(x.Type().(*types.IntType), n))
}

// UMin is the unsigned minimum of i32.
func (b *Builder) UMin(x, y Value) Value { return b.Call("llvm.umin.i32", types.I32, x, y) }

// AsFloat and AsInt reinterpret 32 bits.
func (b *Builder) AsFloat(x Value) Value { return b.Block.NewBitCast(x, types.Float) }
func (b *Builder) AsInt(x Value) Value   { return b.Block.NewBitCast(x, types.I32) }

// Widen splits a pair of 16-bit floats into two float32, exactly.
func (b *Builder) Widen(t abi.DType, pair Value) (lo, hi Value) {
	if t == abi.BF16 {
		return b.AsFloat(b.Shl(pair, 16)), b.AsFloat(b.And(pair, I32(-1<<16)))
	}
	return b.widenHalf(pair), b.widenHalf(b.LShr(pair, 16))
}

func (b *Builder) widenHalf(x Value) Value {
	return b.Asm(types.Float, "cvt.f32.f16 $0, $1;", "=f,h", b.Block.NewTrunc(x, types.I16))
}
