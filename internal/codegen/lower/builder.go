package lower

import (
	"fmt"
	"math"

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

	// Entry is the batch entry that the code works on, for kernels that read lengths from device memory.
	Entry func() Value

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
	"ptr":            {is: GlobalPtr},
	"i64":            {is: types.I64},
	"i32":            {is: types.I32},
	"f32":            {is: types.Float},
	abi.MapType:      {types.NewArray(abi.TensorMapBytes, types.I8), 64},
	abi.RowHeadsType: {types.NewArray(abi.RowHeadsMost, types.I16), 2},
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
