package workload

import (
	"reflect"
	"unsafe"

	"github.com/llir/llvm/ir/enum"
	"github.com/llir/llvm/ir/types"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/internal/codegen/lower"
)

// Entry is the name of the kernel.
const Entry = "workload"

// maxThreads of a block. Fewer where a row's pieces do not divide it.
const maxThreads = 256

// kernelParams: one tensor, contiguous; a plan a head, in the order of the heads; a frequency a pair of columns; rows of a head.
var kernelParams = []lower.Param{{Name: "out", Type: "ptr"}, {Name: "plans", Type: "ptr"}, {Name: "frequencies", Type: "ptr"}, {Name: "rows", Type: "i32"}}

// Kernel is the generator of one tensor as LLVM IR. Grid row y makes head y; each thread keeps a piece of 8 columns and
// walks down the rows, with the grid as its step. It follows (*plan).row operation by operation.
func Kernel(headDim int, f abi.DType) (*lower.Kernel, error) {
	if err := (Spec{Kind: Random, Batch: 1, QHeads: 1, KVHeads: 1, SeqLen: 1, HeadDim: headDim, DType: f}).Check(); err != nil {
		return nil, err
	}
	pieces := headDim / pieceCols
	k := &kernel{headDim: headDim, dtype: f, blockRows: maxThreads / pieces}
	threads := k.blockRows * pieces
	k.Builder = lower.NewKernel(Entry, kernelParams, threads, 1)
	k.emit()
	return &lower.Kernel{Module: k.Module, Entry: Entry, Threads: threads, Params: kernelParams}, nil
}

// Value is an LLVM value.
type Value = lower.Value

type kernel struct {
	*lower.Builder
	headDim, blockRows int
	dtype              abi.DType

	plan  Value // this head's
	piece Value // number of the thread's piece in the row
	rope  Value // the plan's, or 0 where the piece is not rotated
	start [pieceCols / 2]rotation
}

// rotation is one pair of columns: its angle at position 0, and from one position to the next.
type rotation struct{ angle, frequency Value }

func (k *kernel) emit() {
	pieces := int64(k.headDim / pieceCols)
	tid := k.ThreadX()
	row := k.UDiv(tid, lower.I32(pieces))
	k.piece = k.Sub(tid, k.Mul(row, lower.I32(pieces)))
	row = k.Add(row, k.Mul(k.BlockX(), lower.I32(int64(k.blockRows))))
	k.plan = k.Offset(k.Param("plans"), k.Mul(k.ZExt64(k.BlockY()), lower.I64(int64(unsafe.Sizeof(plan{})))))
	k.prepareRope()

	entry, head := k.Block, k.NewBlock("row")
	k.Br(head)
	k.Enter(head)
	pos := k.Phi(row, entry)
	body, exit := k.NewBlock("body"), k.NewBlock("exit")
	k.CondBr(k.ICmp(enum.IPredULT, pos, k.Param("rows")), body, exit)
	k.Enter(body)
	k.store(pos, k.elements(pos))
	next := k.Add(pos, k.Mul(k.GridX(), lower.I32(int64(k.blockRows))))
	lower.AddIncoming(pos, next, k.Block)
	k.Br(head)
	k.Enter(exit)
	k.Block.NewRet(nil)
}

// u32 and f32 load a field of the plan.
func (k *kernel) u32(field string) Value { return k.Load(types.I32, k.fieldAt(field), 4) }
func (k *kernel) f32(field string) Value { return k.Load(types.Float, k.fieldAt(field), 4) }

func (k *kernel) fieldAt(name string) Value {
	f, ok := reflect.TypeFor[plan]().FieldByName(name)
	if !ok {
		panic("internal: the plan has no field " + name)
	}
	return k.Offset(k.plan, lower.I64(int64(f.Offset)))
}

// prepareRope computes what the rotation needs and does not change from row to row. Pairs beyond the rotated ones read
// a frequency too: the table has one for every pair.
func (k *kernel) prepareRope() {
	rotated := k.ICmp(enum.IPredULT, k.piece, lower.I32(int64(k.headDim/2/pieceCols)))
	k.rope = k.Select(rotated, k.f32("rope"), lower.F32(0))
	start := k.mix(k.u32("ropeKey"))
	first := k.Mul(k.piece, lower.I32(pieceCols/2))
	table := k.Offset(k.Param("frequencies"), k.ZExt64(k.Mul(first, lower.I32(4))))
	for i := range k.start {
		f := k.Add(first, lower.I32(int64(i)))
		k.start[i] = rotation{k.hash(start, f), k.Load(types.I32, k.Offset(table, lower.I64(int64(4*i))), 4)}
	}
}

// elements is (*plan).row for one piece.
func (k *kernel) elements(pos Value) []Value {
	x := k.noise(pos)
	k.addSigns(x, k.sharedAt(pos), k.mix(k.u32("sharedKey")))
	next, here := k.turnAt(pos)
	code, key := k.codeOf(pos), k.u32("codeKey")
	k.addSigns(x, here, k.mix(k.Xor(code, key)))
	k.addSigns(x, next, k.mix(k.Xor(k.Add(code, lower.I32(1)), key)))
	k.rotate(x, k.lookAt(pos))
	return x
}

func (k *kernel) noise(pos Value) []Value {
	place := k.Xor(k.mix(k.Xor(pos, k.u32("noiseKey"))), k.u32("noiseSalt"))
	first, size := k.Mul(k.piece, lower.I32(pieceCols)), k.f32("noise")
	x := make([]Value, pieceCols)
	for i := range x {
		n := k.bell(k.hash(place, k.Add(first, lower.I32(int64(i)))))
		x[i] = k.FMul(k.float(n), size)
	}
	return x
}

func (k *kernel) sharedAt(pos Value) Value {
	sink := k.Select(k.ICmp(enum.IPredULT, pos, k.u32("sinks")), k.f32("sink"), lower.F32(0))
	log := k.u32("columnLog")
	low := k.lowBits(log)
	heavy := k.And(k.mix(k.Xor(k.Block.NewLShr(pos, log), k.u32("columnKey"))), low)
	marked := k.Or(k.ICmp(enum.IPredEQ, pos, lower.I32(0)), k.ICmp(enum.IPredEQ, k.And(pos, low), heavy))
	column := k.Select(marked, k.f32("column"), lower.F32(0))
	return k.FAdd(k.FAdd(k.f32("shared"), sink), column)
}

// lowBits is 2^log - 1.
func (k *kernel) lowBits(log Value) Value {
	return k.Sub(k.Block.NewShl(lower.I32(1), log), lower.I32(1))
}

func (k *kernel) codeOf(pos Value) Value {
	n := k.Block.NewLShr(pos, k.u32("codeLog"))
	group := k.Xor(k.Block.NewLShr(n, k.u32("groupLog")), k.u32("codeKey"))
	return k.And(k.Xor(n, k.And(k.mix(group), k.u32("shuffleMask"))), k.u32("codeMask"))
}

func (k *kernel) turnAt(pos Value) (next, here Value) {
	sin, cos := k.sincos(k.And(k.Block.NewShl(pos, k.u32("turnShift")), k.u32("turnMask")))
	size := k.f32("code")
	return k.FMul(sin, size), k.FMul(cos, size)
}

func (k *kernel) lookAt(pos Value) Value {
	i := k.And(k.mix(k.Xor(pos, k.u32("distanceKey"))), k.u32("distanceMask"))
	d := k.Load(types.I32, k.Offset(k.fieldAt("distances"), k.ZExt64(k.Shl(i, 2))), 4)
	return k.Sub(pos, k.Select(k.ICmp(enum.IPredUGT, d, pos), lower.I32(0), d))
}

func (k *kernel) addSigns(x []Value, size, code Value) {
	signs := k.hash(code, k.piece)
	for i := range x {
		x[i] = k.FAdd(x[i], k.flip(size, k.LShr(signs, int64(i))))
	}
}

func (k *kernel) rotate(x []Value, pos Value) {
	for i, r := range k.start {
		sin, cos := k.sincos(k.Add(k.Mul(pos, r.frequency), r.angle))
		x[2*i] = k.FAdd(x[2*i], k.FMul(cos, k.rope))
		x[2*i+1] = k.FAdd(x[2*i+1], k.FMul(sin, k.rope))
	}
}

// store rounds a piece and writes its 16 bytes.
func (k *kernel) store(pos Value, x []Value) {
	row := k.Add(k.Mul(k.ZExt64(k.BlockY()), k.ZExt64(k.Param("rows"))), k.ZExt64(pos))
	at := k.Add(k.Mul(row, lower.I64(int64(2*k.headDim))), k.ZExt64(k.Mul(k.piece, lower.I32(2*pieceCols))))
	var pairs []Value
	for i := 0; i < len(x); i += 2 {
		pairs = append(pairs, k.Pack(k.dtype, x[i], x[i+1]))
	}
	k.Store(k.Pack4(pairs...), k.Offset(k.Param("out"), at), 16)
}
