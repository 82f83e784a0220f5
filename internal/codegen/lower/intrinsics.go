package lower

import (
	"github.com/llir/llvm/ir/types"

	"github.com/minfc/minfc/abi"
)

// Special registers.
func (b *Builder) sreg(name string) Value {
	return b.Call("llvm.nvvm.read.ptx.sreg."+name, types.I32)
}

func (b *Builder) ThreadX() Value { return b.sreg("tid.x") }
func (b *Builder) BlockX() Value  { return b.sreg("ctaid.x") }
func (b *Builder) BlockY() Value  { return b.sreg("ctaid.y") }
func (b *Builder) BlockZ() Value  { return b.sreg("ctaid.z") }
func (b *Builder) GridX() Value   { return b.sreg("nctaid.x") }
func (b *Builder) GridY() Value   { return b.sreg("nctaid.y") }

// Signed minimum and maximum of i32.
func (b *Builder) Min(x, y Value) Value { return b.Call("llvm.smin.i32", types.I32, x, y) }
func (b *Builder) Max(x, y Value) Value { return b.Call("llvm.smax.i32", types.I32, x, y) }

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

// FDiv is x/y rounded once.
func (b *Builder) FDiv(x, y Value) Value {
	return b.Asm(types.Float, "div.rn.f32 $0, $1, $2;", "=f,f,f", x, y)
}

// ShuffleXor exchanges x with the lane whose number differs by mask.
func (b *Builder) ShuffleXor(x Value, mask int64) Value {
	return b.Call("llvm.nvvm.shfl.sync.bfly.f32", types.Float, I32(-1), x, I32(mask), I32(31))
}

// Barrier waits for all threads of the block.
func (b *Builder) Barrier() { b.Call("llvm.nvvm.barrier0", types.Void) }

// Converge orders what all lanes of a warp did to memory before what one of them does next.
func (b *Builder) Converge() { b.AsmEffect("bar.warp.sync 0xffffffff;", "~{memory}") }

// CopyCommit closes a group of asynchronous copies; CopyWait waits until at most n groups of this thread are under way.
func (b *Builder) CopyCommit()      { b.Call("llvm.nvvm.cp.async.commit.group", types.Void) }
func (b *Builder) CopyWait(n int64) { b.Call("llvm.nvvm.cp.async.wait.group", types.Void, I32(n)) }
func (b *Builder) CopyWaitAll()     { b.CopyWait(0) }

// Copy16 starts a copy of 16 bytes from global to shared memory, past the L1. There is no intrinsic with the L2
// prefetch hint, which is worth having: the neighbouring chunks are wanted at once.
func (b *Builder) Copy16(shared, global Value) {
	b.AsmEffect("cp.async.cg.shared.global.L2::128B [$0], [$1], 16;", "r,l", shared, global)
}

// Copy16If copies 16 bytes, or writes 16 zero bytes without touching global memory when bytes is 0.
func (b *Builder) Copy16If(shared, global, bytes Value) {
	b.AsmEffect("cp.async.cg.shared.global.L2::128B [$0], [$1], 16, $2;", "r,l,r", shared, global, bytes)
}

// ShlClamp is x << n where n > 31 gives 0, as PTX defines it (LLVM's shl does not). x may be i32 or i64.
func (b *Builder) ShlClamp(x, n Value) Value {
	if x.Type().Equal(types.I64) {
		return b.Asm(types.I64, "shl.b64 $0, $1, $2;", "=l,l,r", x, n)
	}
	return b.Asm(types.I32, "shl.b32 $0, $1, $2;", "=r,r,r", x, n)
}

// LdMatrix4 loads four 8x8 matrices of 16-bit elements; each lane points at one row of 16 bytes.
func (b *Builder) LdMatrix4(p Value, trans bool) []Value {
	name := "llvm.nvvm.ldmatrix.sync.aligned.m8n8.x4.b16.p3i8"
	if trans {
		name = "llvm.nvvm.ldmatrix.sync.aligned.m8n8.x4.trans.b16.p3i8"
	}
	return b.Fields(b.Call(name, i32x4, p), 4)
}

var (
	i32x4   = types.NewStruct(types.I32, types.I32, types.I32, types.I32)
	f32x4   = types.NewStruct(types.Float, types.Float, types.Float, types.Float)
	halfx2  = types.NewVector(2, types.Half)
	packAsm = map[abi.DType]string{
		abi.BF16: "cvt.rn.bf16x2.f32 $0, $1, $2;",
		abi.F16:  "cvt.rn.f16x2.f32 $0, $1, $2;",
	}
)

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

// Pack rounds two floats to t and puts lo in the lower half.
func (b *Builder) Pack(t abi.DType, lo, hi Value) Value {
	return b.Asm(types.I32, packAsm[t], "=r,f,f", hi, lo)
}

// PackedFMA is x*y+z of both halves of words of t, rounded once.
func (b *Builder) PackedFMA(t abi.DType, x, y, z Value) Value {
	return b.Asm(types.I32, "fma.rn."+string(t)+"x2 $0, $1, $2, $3;", "=r,r,r,r", x, y, z)
}

// ShrClamp is x >> n, logically, where n beyond the bits of x gives 0, as PTX defines it. x may be i32 or i64.
func (b *Builder) ShrClamp(x, n Value) Value {
	if x.Type().Equal(types.I64) {
		return b.Asm(types.I64, "shr.u64 $0, $1, $2;", "=l,l,r", x, n)
	}
	return b.Asm(types.I32, "shr.u32 $0, $1, $2;", "=r,r,r", x, n)
}

// Ballot is a word with the bit of every lane of the warp for which c holds.
func (b *Builder) Ballot(c Value) Value {
	return b.Call("llvm.nvvm.vote.ballot.sync", types.I32, I32(-1), c)
}

// Popc counts the bits that are set.
func (b *Builder) Popc(x Value) Value { return b.Call("llvm.ctpop.i32", types.I32, x) }
