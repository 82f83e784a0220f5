package lower

import (
	"github.com/llir/llvm/ir/types"

	"github.com/minfc/minfc/abi"
)

// Pairs of 16-bit floats, and products of matrices of them.

var (
	i32x4   = types.NewStruct(types.I32, types.I32, types.I32, types.I32)
	f32x4   = types.NewStruct(types.Float, types.Float, types.Float, types.Float)
	halfx2  = types.NewVector(2, types.Half)
	packAsm = map[abi.DType]string{
		abi.BF16: "cvt.rn.bf16x2.f32 $0, $1, $2;",
		abi.F16:  "cvt.rn.f16x2.f32 $0, $1, $2;",
	}
)

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

// Pack rounds two floats to t and puts lo in the lower half.
func (b *Builder) Pack(t abi.DType, lo, hi Value) Value {
	return b.Asm(types.I32, packAsm[t], "=r,f,f", hi, lo)
}

// PackedFMA is x*y+z of both halves of words of t, rounded once.
func (b *Builder) PackedFMA(t abi.DType, x, y, z Value) Value {
	return b.Asm(types.I32, "fma.rn."+string(t)+"x2 $0, $1, $2, $3;", "=r,r,r,r", x, y, z)
}

// LdMatrix4 loads four 8x8 matrices of 16-bit elements; each lane points at one row of 16 bytes.
func (b *Builder) LdMatrix4(p Value, trans bool) []Value {
	name := "llvm.nvvm.ldmatrix.sync.aligned.m8n8.x4.b16.p3i8"
	if trans {
		name = "llvm.nvvm.ldmatrix.sync.aligned.m8n8.x4.trans.b16.p3i8"
	}
	return b.Fields(b.Call(name, i32x4, p), 4)
}

// MMA is D = A*B + C for one 16x8x16 step: a four, bb two registers of 16-bit pairs, c four floats.
func (b *Builder) MMA(t abi.DType, a, bb, c []Value) []Value {
	ab := append(append([]Value(nil), a...), bb...)
	name := "llvm.nvvm.mma.m16n8k16.row.col.bf16"
	if t == abi.F16 {
		name = "llvm.nvvm.mma.m16n8k16.row.col.f32.f32"
		for i, x := range ab {
			ab[i] = b.Block.NewBitCast(x, halfx2)
		}
	}
	return b.Fields(b.Call(name, f32x4, append(ab, c...)...), 4)
}
