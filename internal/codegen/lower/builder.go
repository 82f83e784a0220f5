package lower

import (
	"fmt"
	"math"
	"math/bits"

	llir "github.com/llir/llvm/ir"
	"github.com/llir/llvm/ir/constant"
	"github.com/llir/llvm/ir/enum"
	"github.com/llir/llvm/ir/metadata"
	"github.com/llir/llvm/ir/types"
	"github.com/llir/llvm/ir/value"

	"github.com/minfc/minfc/abi"
)

// Value is an LLVM value.
type Value = value.Value

// Address spaces of NVVM.
const (
	Global types.AddrSpace = 1
	Shared types.AddrSpace = 3
)

// GlobalPtr and SharedPtr are byte pointers. Typed pointers, because LLVM 14 is the tool that checks the IR.
var (
	GlobalPtr = pointer(types.I8, Global)
	SharedPtr = pointer(types.I8, Shared)
)

func pointer(t types.Type, space types.AddrSpace) *types.PointerType {
	p := types.NewPointer(t)
	p.AddrSpace = space
	return p
}

// Builder appends instructions to a current block. Its methods are named after what they compute; all emit in call order,
// which the code generators use to place instructions for the target's scheduler.
type Builder struct {
	Module *llir.Module
	Func   *llir.Func
	Block  *llir.Block

	params     map[string]Value
	sections   []sectionValues // of a body that several sections share: see group.go
	intrinsics map[string]*llir.Func
	labels     map[string]int
}

// NewKernel starts a module with one kernel of the given parameters. threads and minBlocks become launch bounds: they
// tell ptxas how many registers it may use.
func NewKernel(name string, params []Param, threads, minBlocks int) *Builder {
	m := llir.NewModule()
	m.TargetTriple = "nvptx64-nvidia-cuda"
	b := &Builder{Module: m, params: map[string]Value{}, intrinsics: map[string]*llir.Func{}, labels: map[string]int{}}
	var args []*llir.Param
	for _, p := range params {
		a := newParam(p)
		b.params[p.Name] = a
		b.labels[p.Name]++ // parameters and blocks share one name space
		args = append(args, a)
	}
	b.Func = m.NewFunc(name, types.Void, args...)
	b.annotate("kernel", 1)
	b.annotate("maxntidx", int64(threads))
	b.annotate("minctasm", int64(minBlocks))
	b.Block = b.NewBlock("entry")
	return b
}

// paramTypes says of each type of parameter what it is in LLVM IR. Arrays are passed by value, at a multiple of align; the hardware reads
// tensor maps in place and wants them at one of 64.
var paramTypes = map[string]struct {
	is    types.Type
	align llir.Align
}{
	"ptr":         {is: GlobalPtr},
	"i64":         {is: types.I64},
	"i32":         {is: types.I32},
	"f32":         {is: types.Float},
	abi.MapType:   {types.NewArray(abi.TensorMapBytes, types.I8), 64},
	abi.HeadsType: {types.NewArray(abi.RowHeadsMost, types.I16), 2},
}

func newParam(p Param) *llir.Param {
	t := paramTypes[p.Type]
	if _, array := t.is.(*types.ArrayType); !array {
		return llir.NewParam(p.Name, t.is)
	}
	a := llir.NewParam(p.Name, types.NewPointer(t.is))
	a.Attrs = append(a.Attrs, llir.Byval{Typ: t.is}, t.align)
	return a
}

func (b *Builder) annotate(key string, v int64) {
	const list = "nvvm.annotations"
	t := &metadata.Tuple{MetadataID: metadata.MetadataID(len(b.Module.MetadataDefs))}
	t.Fields = []metadata.Field{b.Func, &metadata.String{Value: key}, constant.NewInt(types.I32, v)}
	b.Module.MetadataDefs = append(b.Module.MetadataDefs, t)
	named := b.Module.NamedMetadataDefs[list]
	if named == nil {
		named = &metadata.NamedDef{Name: list}
		b.Module.NamedMetadataDefs[list] = named
	}
	named.Nodes = append(named.Nodes, t)
}

// SharedBase is the address of the block's dynamic shared memory as an i32.
func (b *Builder) SharedBase() Value {
	if len(b.Module.Globals) == 0 {
		b.declareShared()
	}
	return b.Block.NewPtrToInt(b.Module.Globals[0], types.I32)
}

func (b *Builder) declareShared() {
	g := b.Module.NewGlobal("smem", types.NewArray(0, types.I8))
	g.AddrSpace = Shared
	g.Typ = pointer(g.ContentType, Shared)
	g.Linkage = enum.LinkageExternal
	g.Align = 1024 // 128-byte swizzled rows repeat after 1024 bytes
}

// Param is the kernel parameter of that name.
func (b *Builder) Param(name string) Value {
	if v, ok := b.params[name]; ok {
		return v
	}
	return b.paramOfSection(name)
}

// NewBlock appends an empty block; names repeat freely, a number keeps them apart.
func (b *Builder) NewBlock(name string) *llir.Block {
	n := b.labels[name]
	b.labels[name]++
	if n > 0 {
		name = fmt.Sprintf("%s.%d", name, n)
	}
	return b.Func.NewBlock(name)
}

// Enter makes blk current. Blocks must be created in the order in which they should stand in the program.
func (b *Builder) Enter(blk *llir.Block) { b.Block = blk }

// Constants.
func I32(v int64) Value { return constant.NewInt(types.I32, int64(int32(v))) }
func I64(v int64) Value { return constant.NewInt(types.I64, v) }

// F32 is a float32 constant; llir wants a value already rounded.
func F32(v float64) Value { return constant.NewFloat(types.Float, float64(float32(v))) }

// Bool is a constant of type i1.
func Bool(v bool) Value { return constant.NewBool(v) }

// NegInf is the float32 constant -inf.
func NegInf() Value { return F32(math.Inf(-1)) }

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

// Comparisons and choice.
func (b *Builder) ICmp(p enum.IPred, x, y Value) Value { return b.Block.NewICmp(p, x, y) }
func (b *Builder) FCmp(p enum.FPred, x, y Value) Value { return b.Block.NewFCmp(p, x, y) }
func (b *Builder) Select(c, x, y Value) Value          { return b.Block.NewSelect(c, x, y) }

// Float arithmetic, each rounded once.
func (b *Builder) FAdd(x, y Value) Value { return b.Block.NewFAdd(x, y) }
func (b *Builder) FSub(x, y Value) Value { return b.Block.NewFSub(x, y) }
func (b *Builder) FMul(x, y Value) Value { return b.Block.NewFMul(x, y) }
func (b *Builder) FNeg(x Value) Value    { return b.Block.NewFNeg(x) }

// Call calls the intrinsic of that name, declaring it at its first use.
func (b *Builder) Call(name string, ret types.Type, args ...Value) Value {
	f := b.intrinsics[name]
	if f == nil {
		var ps []*llir.Param
		for _, a := range args {
			ps = append(ps, llir.NewParam("", a.Type()))
		}
		f = b.Module.NewFunc(name, ret, ps...)
		b.intrinsics[name] = f
	}
	return b.Block.NewCall(f, args...)
}

// Asm emits inline assembly without side effects; operands are $0 (result) and up.
func (b *Builder) Asm(ret types.Type, text, constraints string, args ...Value) Value {
	return b.Block.NewCall(b.inlineAsm(ret, text, constraints, args), args...)
}

// AsmEffect emits inline assembly that must keep its place.
func (b *Builder) AsmEffect(text, constraints string, args ...Value) {
	b.AsmResult(types.Void, text, constraints, args...)
}

func (b *Builder) inlineAsm(ret types.Type, text, constraints string, args []Value) *llir.InlineAsm {
	var ts []types.Type
	for _, a := range args {
		ts = append(ts, a.Type())
	}
	return llir.NewInlineAsm(types.NewPointer(types.NewFunc(ret, ts...)), text, constraints)
}

// Field is the i-th member of a struct result.
func (b *Builder) Field(x Value, i uint64) Value { return b.Block.NewExtractValue(x, i) }

// Fields splits a struct of n members.
func (b *Builder) Fields(x Value, n int) []Value {
	out := make([]Value, n)
	for i := range out {
		out[i] = b.Field(x, uint64(i))
	}
	return out
}

// Memory.

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

// Control flow.

// Br ends the current block.
func (b *Builder) Br(to *llir.Block) { b.Block.NewBr(to) }

// CondBr ends the current block.
func (b *Builder) CondBr(c Value, yes, no *llir.Block) { b.Block.NewCondBr(c, yes, no) }

// Phi starts a phi in the current block with its first incoming value.
func (b *Builder) Phi(x Value, from *llir.Block) *llir.InstPhi {
	return b.Block.NewPhi(llir.NewIncoming(x, from))
}

// AddIncoming completes a phi.
func AddIncoming(p *llir.InstPhi, x Value, from *llir.Block) {
	p.Incs = append(p.Incs, llir.NewIncoming(x, from))
}

// If emits a block that runs when c holds. then returns the values that differ; els are their values otherwise.
func (b *Builder) If(name string, c Value, els []Value, then func() []Value) []Value {
	from := b.Block
	yes := b.NewBlock(name)
	// The join block is appended after whatever then appends, so that the text reads top down.
	b.Enter(yes)
	vals := then()
	last := b.Block
	join := b.NewBlock(name + ".end")
	last.NewBr(join)
	from.NewCondBr(c, yes, join)
	b.Enter(join)
	out := make([]Value, len(els))
	for i := range els {
		phi := b.Phi(vals[i], last)
		AddIncoming(phi, els[i], from)
		out[i] = phi
	}
	return out
}

// IfElse emits two blocks, of which one runs.
func (b *Builder) IfElse(name string, c Value, then, otherwise func()) {
	from := b.Block
	yes := b.NewBlock(name + ".yes")
	b.Enter(yes)
	then()
	lastYes := b.Block
	no := b.NewBlock(name + ".no")
	b.Enter(no)
	otherwise()
	lastNo := b.Block
	join := b.NewBlock(name + ".end")
	lastYes.NewBr(join)
	lastNo.NewBr(join)
	from.NewCondBr(c, yes, no)
	b.Enter(join)
}
