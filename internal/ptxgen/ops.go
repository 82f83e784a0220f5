package ptxgen

import (
	"github.com/llir/llvm/ir"
	"github.com/llir/llvm/ir/enum"
	"github.com/llir/llvm/ir/types"
	"github.com/llir/llvm/ir/value"
)

// binaryOp is an instruction of two operands and a result of one type.
type binaryOp uint8

const (
	opAdd binaryOp = iota
	opSub
	opMul
	opUDiv
	opSDiv
	opURem
	opSRem
	opShl
	opLShr
	opAShr
	opAnd
	opOr
	opXor
	opFAdd
	opFSub
	opFMul
	numBinaryOps
)

// binaryRows are the PTX instructions by operation and class; a missing one is unsupported. Shifts need no guard: LLVM
// leaves amounts of the width and above undefined, PTX clamps them. Float operations say .rn so that ptxas never
// contracts a multiplication and an addition.
var binaryRows = [numBinaryOps][numClasses]template{
	opAdd:  {classR: tm("add.s32 $0, $1, $2;"), classD: tm("add.s64 $0, $1, $2;")},
	opSub:  {classR: tm("sub.s32 $0, $1, $2;"), classD: tm("sub.s64 $0, $1, $2;")},
	opMul:  {classR: tm("mul.lo.s32 $0, $1, $2;"), classD: tm("mul.lo.s64 $0, $1, $2;")},
	opUDiv: {classR: tm("div.u32 $0, $1, $2;"), classD: tm("div.u64 $0, $1, $2;")},
	opSDiv: {classR: tm("div.s32 $0, $1, $2;"), classD: tm("div.s64 $0, $1, $2;")},
	opURem: {classR: tm("rem.u32 $0, $1, $2;"), classD: tm("rem.u64 $0, $1, $2;")},
	opSRem: {classR: tm("rem.s32 $0, $1, $2;"), classD: tm("rem.s64 $0, $1, $2;")},
	opShl:  {classR: tm("shl.b32 $0, $1, $2;"), classD: tm("shl.b64 $0, $1, $2;")},
	opLShr: {classR: tm("shr.u32 $0, $1, $2;"), classD: tm("shr.u64 $0, $1, $2;")},
	opAShr: {classR: tm("shr.s32 $0, $1, $2;"), classD: tm("shr.s64 $0, $1, $2;")},
	opAnd:  {classPred: tm("and.pred $0, $1, $2;"), classR: tm("and.b32 $0, $1, $2;"), classD: tm("and.b64 $0, $1, $2;")},
	opOr:   {classPred: tm("or.pred $0, $1, $2;"), classR: tm("or.b32 $0, $1, $2;"), classD: tm("or.b64 $0, $1, $2;")},
	opXor:  {classPred: tm("xor.pred $0, $1, $2;"), classR: tm("xor.b32 $0, $1, $2;"), classD: tm("xor.b64 $0, $1, $2;")},
	opFAdd: {classF: tm("add.rn.f32 $0, $1, $2;")},
	opFSub: {classF: tm("sub.rn.f32 $0, $1, $2;")},
	opFMul: {classF: tm("mul.rn.f32 $0, $1, $2;")},
}

// asBinary takes a binary instruction apart.
func asBinary(inst ir.Instruction) (op binaryOp, x, y value.Value, ok bool) {
	switch i := inst.(type) {
	case *ir.InstAdd:
		return opAdd, i.X, i.Y, true
	case *ir.InstSub:
		return opSub, i.X, i.Y, true
	case *ir.InstMul:
		return opMul, i.X, i.Y, true
	case *ir.InstUDiv:
		return opUDiv, i.X, i.Y, true
	case *ir.InstSDiv:
		return opSDiv, i.X, i.Y, true
	case *ir.InstURem:
		return opURem, i.X, i.Y, true
	case *ir.InstSRem:
		return opSRem, i.X, i.Y, true
	case *ir.InstShl:
		return opShl, i.X, i.Y, true
	case *ir.InstLShr:
		return opLShr, i.X, i.Y, true
	case *ir.InstAShr:
		return opAShr, i.X, i.Y, true
	case *ir.InstAnd:
		return opAnd, i.X, i.Y, true
	case *ir.InstOr:
		return opOr, i.X, i.Y, true
	case *ir.InstXor:
		return opXor, i.X, i.Y, true
	case *ir.InstFAdd:
		return opFAdd, i.X, i.Y, true
	case *ir.InstFSub:
		return opFSub, i.X, i.Y, true
	case *ir.InstFMul:
		return opFMul, i.X, i.Y, true
	}
	return 0, nil, nil, false
}

// castOp is an instruction from one type to another.
type castOp uint8

const (
	opZExt castOp = iota
	opSExt
	opTrunc
	opBitCast
	opIntToPtr
	opPtrToInt
	opSIToFP
	opUIToFP
	opFPToSI
	opFPToUI
	numCastOps
)

type castKey struct {
	op       castOp
	from, to class
}

// free marks casts that change nothing in a register.
const free template = "free"

var castRows = map[castKey]template{
	{opZExt, classPred, classH}: tm("selp.b16 $0, 1, 0, $1;"),
	{opZExt, classPred, classR}: tm("selp.b32 $0, 1, 0, $1;"),
	{opZExt, classPred, classD}: tm("selp.b64 $0, 1, 0, $1;"),
	{opSExt, classPred, classR}: tm("selp.b32 $0, -1, 0, $1;"),
	{opSExt, classPred, classD}: tm("selp.b64 $0, -1, 0, $1;"),
	{opZExt, classH, classR}:    tm("cvt.u32.u16 $0, $1;"),
	{opSExt, classH, classR}:    tm("cvt.s32.s16 $0, $1;"),
	{opZExt, classR, classD}:    tm("cvt.u64.u32 $0, $1;"),
	{opSExt, classR, classD}:    tm("cvt.s64.s32 $0, $1;"),
	{opTrunc, classD, classR}:   tm("cvt.u32.u64 $0, $1;"),
	{opTrunc, classR, classH}:   tm("cvt.u16.u32 $0, $1;"),
	// Truncation to i1 keeps the low bit; $1 is a scratch register.
	{opTrunc, classR, classPred}: tm("and.b32 $1, $2, 1;\nsetp.ne.s32 $0, $1, 0;"),

	{opBitCast, classR, classF}: tm("mov.b32 $0, $1;"),
	{opBitCast, classF, classR}: tm("mov.b32 $0, $1;"),
	{opBitCast, classR, classR}: free,
	{opBitCast, classF, classF}: free,
	{opBitCast, classD, classD}: free,

	{opIntToPtr, classR, classR}: free,
	{opIntToPtr, classD, classD}: free,
	{opPtrToInt, classR, classR}: free,
	{opPtrToInt, classD, classD}: free,
	{opPtrToInt, classR, classD}: tm("cvt.u64.u32 $0, $1;"),
	{opIntToPtr, classD, classR}: tm("cvt.u32.u64 $0, $1;"),

	{opSIToFP, classR, classF}: tm("cvt.rn.f32.s32 $0, $1;"),
	{opUIToFP, classR, classF}: tm("cvt.rn.f32.u32 $0, $1;"),
	{opFPToSI, classF, classR}: tm("cvt.rzi.s32.f32 $0, $1;"),
	{opFPToUI, classF, classR}: tm("cvt.rzi.u32.f32 $0, $1;"),
}

// asCast takes a cast apart.
func asCast(inst ir.Instruction) (op castOp, from value.Value, to types.Type, ok bool) {
	switch i := inst.(type) {
	case *ir.InstZExt:
		return opZExt, i.From, i.To, true
	case *ir.InstSExt:
		return opSExt, i.From, i.To, true
	case *ir.InstTrunc:
		return opTrunc, i.From, i.To, true
	case *ir.InstBitCast:
		return opBitCast, i.From, i.To, true
	case *ir.InstIntToPtr:
		return opIntToPtr, i.From, i.To, true
	case *ir.InstPtrToInt:
		return opPtrToInt, i.From, i.To, true
	case *ir.InstSIToFP:
		return opSIToFP, i.From, i.To, true
	case *ir.InstUIToFP:
		return opUIToFP, i.From, i.To, true
	case *ir.InstFPToSI:
		return opFPToSI, i.From, i.To, true
	case *ir.InstFPToUI:
		return opFPToUI, i.From, i.To, true
	}
	return 0, nil, nil, false
}

// castTemplate returns the row of a cast, or "" when it is unsupported or ill-typed.
func castTemplate(op castOp, from, to types.Type) template {
	t := castRows[castKey{op, classOf(from), classOf(to)}]
	fp, fromPtr := from.(*types.PointerType)
	tp, toPtr := to.(*types.PointerType)
	_, fromInt := from.(*types.IntType)
	_, toInt := to.(*types.IntType)
	ok := true
	switch op {
	case opBitCast:
		ok = fromPtr == toPtr && (!fromPtr || fp.AddrSpace == tp.AddrSpace)
	case opIntToPtr:
		ok = fromInt && toPtr && tp.AddrSpace != spaceGeneric
	case opPtrToInt:
		ok = fromPtr && toInt && fp.AddrSpace != spaceGeneric
	case opZExt, opSExt, opTrunc:
		ok = fromInt && toInt
	case opSIToFP, opUIToFP:
		ok = fromInt
	case opFPToSI, opFPToUI:
		ok = toInt
	}
	if !ok {
		return ""
	}
	return t
}

// intPredicates name the comparison and whether it is unsigned, by predicate.
var intPredicates = map[enum.IPred]struct {
	name     string
	unsigned bool
}{
	enum.IPredEQ: {"eq", false}, enum.IPredNE: {"ne", false},
	enum.IPredSLT: {"lt", false}, enum.IPredSLE: {"le", false}, enum.IPredSGT: {"gt", false}, enum.IPredSGE: {"ge", false},
	enum.IPredULT: {"lt", true}, enum.IPredULE: {"le", true}, enum.IPredUGT: {"gt", true}, enum.IPredUGE: {"ge", true},
}

// floatPredicates name the comparison by predicate; a comparison that ends in u is true for NaN.
var floatPredicates = map[enum.FPred]string{
	enum.FPredOEQ: "eq", enum.FPredONE: "ne", enum.FPredOLT: "lt", enum.FPredOLE: "le", enum.FPredOGT: "gt", enum.FPredOGE: "ge",
	enum.FPredUEQ: "equ", enum.FPredUNE: "neu", enum.FPredULT: "ltu", enum.FPredULE: "leu", enum.FPredUGT: "gtu", enum.FPredUGE: "geu",
	enum.FPredORD: "num", enum.FPredUNO: "nan",
}

type icmpKey struct {
	pred enum.IPred
	c    class
}

var icmpRows, fcmpRows = buildCompareRows()

func buildCompareRows() (map[icmpKey]template, map[enum.FPred]template) {
	ints := make(map[icmpKey]template)
	for pred, p := range intPredicates {
		for c, bits := range map[class]string{classH: "16", classR: "32", classD: "64"} {
			letter := ".s"
			if p.unsigned {
				letter = ".u"
			}
			ints[icmpKey{pred, c}] = tm("setp." + p.name + letter + bits + " $0, $1, $2;")
		}
	}
	ints[icmpKey{enum.IPredNE, classPred}] = tm("xor.pred $0, $1, $2;")
	ints[icmpKey{enum.IPredEQ, classPred}] = tm("xor.pred $0, $1, $2;\nnot.pred $0, $0;")
	floats := make(map[enum.FPred]template)
	for pred, name := range floatPredicates {
		floats[pred] = tm("setp." + name + ".f32 $0, $1, $2;")
	}
	return ints, floats
}

// selectRows choose by a predicate, $3.
var selectRows = [numClasses]template{
	classH: tm("selp.b16 $0, $1, $2, $3;"),
	classR: tm("selp.b32 $0, $1, $2, $3;"),
	classF: tm("selp.f32 $0, $1, $2, $3;"),
	classD: tm("selp.b64 $0, $1, $2, $3;"),
}

// memoryTypes are the type letters of loads and stores, by class.
var memoryTypes = [numClasses]string{classH: "u16", classR: "u32", classF: "f32", classD: "u64"}

var spaceNames = map[types.AddrSpace]string{spaceGlobal: ".global", spaceShared: ".shared", spaceGeneric: ".param"}
