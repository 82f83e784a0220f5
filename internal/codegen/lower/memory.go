package lower

import (
	llir "github.com/llir/llvm/ir"
	"github.com/llir/llvm/ir/constant"
	"github.com/llir/llvm/ir/types"
)

// Memory: addresses, loads and stores, copies, atomics.

// Offset is the global pointer p plus bytes (i64).
func (b *Builder) Offset(p, bytes Value) Value { return b.Block.NewGetElementPtr(types.I8, p, bytes) }

// SharedAt is the shared pointer at the i32 address plus a constant.
func (b *Builder) SharedAt(addr Value, offset int) Value {
	p := b.Block.NewIntToPtr(addr, SharedPtr)
	if offset == 0 {
		return p
	}
	return b.Block.NewGetElementPtr(types.I8, p, I32(int64(offset)))
}

// Address is a global pointer as an i64.
func (b *Builder) Address(p Value) Value { return b.Block.NewPtrToInt(p, types.I64) }

// Load loads a t from p (a byte pointer of any space).
func (b *Builder) Load(t types.Type, p Value, align int) Value {
	l := b.Block.NewLoad(t, b.cast(p, t))
	l.Align = llir.Align(align)
	return l
}

// Store stores v at p.
func (b *Builder) Store(v, p Value, align int) {
	s := b.Block.NewStore(v, b.cast(p, v.Type()))
	s.Align = llir.Align(align)
}

func (b *Builder) cast(p Value, t types.Type) Value {
	return b.Block.NewBitCast(p, pointer(t, p.Type().(*types.PointerType).AddrSpace))
}

// Vec4 is four i32 as one value, the widest access of one thread.
var Vec4 = types.NewVector(4, types.I32)

// Pack4 makes a Vec4; PackVector a vector of as many i32.
func (b *Builder) Pack4(xs ...Value) Value { return b.PackVector(xs...) }

func (b *Builder) PackVector(xs ...Value) Value {
	var v Value = constant.NewUndef(types.NewVector(uint64(len(xs)), types.I32))
	for i, x := range xs {
		v = b.Block.NewInsertElement(v, x, I32(int64(i)))
	}
	return v
}

// Lane4 is element i of a vector.
func (b *Builder) Lane4(v Value, i int) Value { return b.Block.NewExtractElement(v, I32(int64(i))) }

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

// SharedAdd adds x (i32) to the word at the i32 address of shared memory.
func (b *Builder) SharedAdd(addr, x Value) {
	b.AsmEffect("red.shared.add.u32 [$0], $1;", "r,r", addr, x)
}

// SharedInc counts one at the i32 address of shared memory; ptxas makes it an instruction that sums a warp's hits itself.
func (b *Builder) SharedInc(addr Value) { b.AsmEffect("red.shared.add.u32 [$0], 1;", "r", addr) }

// GlobalAdd adds x (i32) to the word at p.
func (b *Builder) GlobalAdd(p, x Value) { b.AsmEffect("red.global.add.u32 [$0], $1;", "l,r", p, x) }

// GlobalOr sets bits of the i32 at p.
func (b *Builder) GlobalOr(p, bits Value) { b.AsmEffect("red.global.or.b32 [$0], $1;", "l,r", p, bits) }
