package lower

import (
	"math/bits"

	"github.com/llir/llvm/ir/constant"
	"github.com/llir/llvm/ir/enum"
	"github.com/llir/llvm/ir/types"
)

// Arithmetic of numbers in registers.

// Integer arithmetic, on i32 and i64 alike.
func (b *Builder) Add(x, y Value) Value  { return b.Block.NewAdd(x, y) }
func (b *Builder) Sub(x, y Value) Value  { return b.Block.NewSub(x, y) }
func (b *Builder) Mul(x, y Value) Value  { return b.Block.NewMul(x, y) }
func (b *Builder) UDiv(x, y Value) Value { return b.Block.NewUDiv(x, y) }
func (b *Builder) SRem(x, y Value) Value { return b.Block.NewSRem(x, y) }

func (b *Builder) Shl(x Value, n int64) Value {
	return b.Block.NewShl(x, constant.NewInt(x.Type().(*types.IntType), n))
}

func (b *Builder) LShr(x Value, n int64) Value {
	return b.Block.NewLShr(x, constant.NewInt(x.Type().(*types.IntType), n))
}

// AShr is the arithmetic shift to the right.
func (b *Builder) AShr(x Value, n int64) Value {
	return b.Block.NewAShr(x, constant.NewInt(x.Type().(*types.IntType), n))
}

func (b *Builder) And(x, y Value) Value { return b.Block.NewAnd(x, y) }
func (b *Builder) Or(x, y Value) Value  { return b.Block.NewOr(x, y) }
func (b *Builder) Xor(x, y Value) Value { return b.Block.NewXor(x, y) }

func (b *Builder) Not(x Value) Value {
	t := x.Type().(*types.IntType)
	if t.BitSize == 1 {
		return b.Block.NewXor(x, constant.True) // llir prints no other i1 than 0 and 1
	}
	return b.Block.NewXor(x, constant.NewInt(t, -1))
}

func (b *Builder) SExt64(x Value) Value  { return b.Block.NewSExt(x, types.I64) }
func (b *Builder) ZExt64(x Value) Value  { return b.Block.NewZExt(x, types.I64) }
func (b *Builder) Trunc32(x Value) Value { return b.Block.NewTrunc(x, types.I32) }

// MulBy and UDivBy take a constant n >= 1; a power of two is a shift.
func (b *Builder) MulBy(x Value, n int) Value {
	if bits.OnesCount(uint(n)) == 1 {
		return b.Shl(x, int64(bits.TrailingZeros(uint(n))))
	}
	return b.Mul(x, I32(int64(n)))
}

func (b *Builder) UDivBy(x Value, n int) Value {
	zeros := bits.TrailingZeros(uint(n))
	odd := n >> zeros
	switch {
	case odd == 1:
		return b.LShr(x, int64(zeros))
	case zeros == 0:
		return b.UDiv(x, I32(int64(n)))
	}
	// ptxas divides by a constant as by any number, with a reciprocal. x>>zeros has 31 bits at most, for which a product with 1/odd is exact
	// (Granlund and Montgomery, "Division by Invariant Integers using Multiplication", 1994, theorem 4.2).
	high := bits.Len(uint(odd-1)) - 1
	inverse := int64(1)<<(32+high)/int64(odd) + 1
	product := b.Block.NewMul(b.ZExt64(b.LShr(x, int64(zeros))), I64(inverse))
	return b.Block.NewTrunc(b.Block.NewLShr(product, I64(int64(32+high))), types.I32)
}

// Signed minimum and maximum of i32.
func (b *Builder) Min(x, y Value) Value { return b.Call("llvm.smin.i32", types.I32, x, y) }
func (b *Builder) Max(x, y Value) Value { return b.Call("llvm.smax.i32", types.I32, x, y) }

// UMin is the unsigned minimum of i32.
func (b *Builder) UMin(x, y Value) Value { return b.Call("llvm.umin.i32", types.I32, x, y) }

// ShlClamp is x << n where n > 31 gives 0, as PTX defines it (LLVM's shl does not). x may be i32 or i64.
func (b *Builder) ShlClamp(x, n Value) Value {
	if x.Type().Equal(types.I64) {
		return b.Asm(types.I64, "shl.b64 $0, $1, $2;", "=l,l,r", x, n)
	}
	return b.Asm(types.I32, "shl.b32 $0, $1, $2;", "=r,r,r", x, n)
}

// ShrClamp is x >> n, logically, where n beyond the bits of x gives 0, as PTX defines it. x may be i32 or i64.
func (b *Builder) ShrClamp(x, n Value) Value {
	if x.Type().Equal(types.I64) {
		return b.Asm(types.I64, "shr.u64 $0, $1, $2;", "=l,l,r", x, n)
	}
	return b.Asm(types.I32, "shr.u32 $0, $1, $2;", "=r,r,r", x, n)
}

// FunnelRight is the low word of the 64 bits hi:lo shifted right by n mod 32.
func (b *Builder) FunnelRight(hi, lo, n Value) Value {
	return b.Call("llvm.fshr.i32", types.I32, hi, lo, n)
}

// HighBit is the number of the highest bit that is set, for x != 0.
func (b *Builder) HighBit(x Value) Value {
	return b.Sub(I32(31), b.Call("llvm.ctlz.i32", types.I32, x, constant.False))
}

// LowBit is the number of the lowest bit that is set, 32 for x = 0.
func (b *Builder) LowBit(x Value) Value {
	return b.Call("llvm.cttz.i32", types.I32, x, constant.False)
}

// Popc counts the bits that are set.
func (b *Builder) Popc(x Value) Value { return b.Call("llvm.ctpop.i32", types.I32, x) }

// Comparisons and choice.
func (b *Builder) ICmp(p enum.IPred, x, y Value) Value { return b.Block.NewICmp(p, x, y) }
func (b *Builder) FCmp(p enum.FPred, x, y Value) Value { return b.Block.NewFCmp(p, x, y) }
func (b *Builder) Select(c, x, y Value) Value          { return b.Block.NewSelect(c, x, y) }

// Float arithmetic, each rounded once.
func (b *Builder) FAdd(x, y Value) Value { return b.Block.NewFAdd(x, y) }
func (b *Builder) FSub(x, y Value) Value { return b.Block.NewFSub(x, y) }
func (b *Builder) FMul(x, y Value) Value { return b.Block.NewFMul(x, y) }
func (b *Builder) FNeg(x Value) Value    { return b.Block.NewFNeg(x) }

// FDiv is x/y rounded once.
func (b *Builder) FDiv(x, y Value) Value {
	return b.Asm(types.Float, "div.rn.f32 $0, $1, $2;", "=f,f,f", x, y)
}

// FMA is x*y+z rounded once; FMax and FMin ignore NaN.
func (b *Builder) FMA(x, y, z Value) Value { return b.Call("llvm.fma.f32", types.Float, x, y, z) }
func (b *Builder) FAbs(x Value) Value      { return b.Call("llvm.fabs.f32", types.Float, x) }
func (b *Builder) FMax(x, y Value) Value   { return b.Call("llvm.maxnum.f32", types.Float, x, y) }
func (b *Builder) FMin(x, y Value) Value   { return b.Call("llvm.minnum.f32", types.Float, x, y) }

// Approximations of the special function unit: 2^x, log2 x, 1/x. The .ftz forms are one instruction each.
func (b *Builder) Exp2(x Value) Value { return b.Call("llvm.nvvm.ex2.approx.ftz.f", types.Float, x) }
func (b *Builder) Log2(x Value) Value { return b.Call("llvm.nvvm.lg2.approx.ftz.f", types.Float, x) }

func (b *Builder) Rcp(x Value) Value {
	return b.Asm(types.Float, "rcp.approx.ftz.f32 $0, $1;", "=f,f", x) // LLVM 14 has no intrinsic for it
}

// AsFloat and AsInt reinterpret 32 bits.
func (b *Builder) AsFloat(x Value) Value { return b.Block.NewBitCast(x, types.Float) }
func (b *Builder) AsInt(x Value) Value   { return b.Block.NewBitCast(x, types.I32) }
