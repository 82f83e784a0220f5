package ptxgen

import (
	"math/bits"

	"github.com/llir/llvm/ir"
	"github.com/llir/llvm/ir/constant"
	"github.com/llir/llvm/ir/types"
	"github.com/llir/llvm/ir/value"
)

// form is how an instruction is computed: a template over the result, a scratch register where there is one, and the
// operands. Demand and emission both start from it, so they cannot disagree.
type form struct {
	tmpl template
	ops  [3]value.Value
	n    int
	// scratch, when not classNone, asks for a second written register.
	scratch class
	// pre, when not empty, first computes a register of class preClass from operand preOp and preArgs, and that register
	// takes the operand's place.
	pre      template
	preClass class
	preOp    int
	preArgs  []value.Value
	// regsOnly wants constants in registers: predicates have no immediates.
	regsOnly bool
}

func (f *form) operands() []value.Value { return f.ops[:f.n] }

func newForm(t template, ops ...value.Value) form {
	f := form{tmpl: t, n: len(ops)}
	copy(f.ops[:], ops)
	return f
}

// prepared asks that operand op goes through an instruction of its own first.
func (f form) prepared(op int, c class, pre template, args ...value.Value) form {
	f.preOp, f.preClass, f.pre, f.preArgs = op, c, pre, args
	return f
}

var (
	madLo32   = tm("mad.lo.s32 $0, $1, $2, $3;")
	madLo64   = tm("mad.lo.s64 $0, $1, $2, $3;")
	mulWide   = map[bool]template{true: tm("mul.wide.s32 $0, $1, $2;"), false: tm("mul.wide.u32 $0, $1, $2;")}
	madWide   = map[bool]template{true: tm("mad.wide.s32 $0, $1, $2, $3;"), false: tm("mad.wide.u32 $0, $1, $2, $3;")}
	notPred   = tm("not.pred $0, $1;")
	negFloat  = tm("neg.f32 $0, $1;")
	narrow    = tm("cvt.u32.u64 $0, $1;")
	shiftLeft = tm("shl.b64 $0, $1, $2;")
)

// fused chooses the form of an arithmetic instruction; tmpl is empty for anything else.
func (s *selector) fused(inst ir.Instruction) form {
	if op, x, y, ok := asBinary(inst); ok {
		return s.binaryForm(inst, op, x, y)
	}
	if op, from, to, ok := asCast(inst); ok {
		f := newForm(castTemplate(op, from.Type(), to), from)
		if op == opTrunc && classOf(to) == classPred {
			f.scratch = classR
		}
		return f
	}
	switch i := inst.(type) {
	case *ir.InstICmp:
		f := newForm(icmpRows[icmpKey{i.Pred, classOf(i.X.Type())}], i.X, i.Y)
		f.regsOnly = classOf(i.X.Type()) == classPred
		return f
	case *ir.InstFCmp:
		return newForm(fcmpRows[i.Pred], i.X, i.Y)
	case *ir.InstSelect:
		return newForm(selectRows[classOf(i.Type())], i.ValueTrue, i.ValueFalse, i.Cond)
	case *ir.InstFNeg:
		return newForm(negFloat, i.X)
	}
	return form{}
}

func (s *selector) binaryForm(inst ir.Instruction, op binaryOp, x, y value.Value) form {
	c := classOf(x.Type())
	switch {
	case op == opAdd:
		if f, ok := s.mulAdd(inst, x, y); ok {
			return f
		}
		if f, ok := s.mulAdd(inst, y, x); ok {
			return f
		}
	case op == opMul && c == classD:
		if a, b, signed, ok := wideFactors(x, y); ok {
			return newForm(mulWide[signed], a, b)
		}
	case op == opXor && c == classPred && isTrue(y):
		return newForm(notPred, x)
	case c == classD && (op == opShl || op == opLShr || op == opAShr):
		return shift64(binaryRows[op][c], x, y)
	}
	f := newForm(binaryRows[op][c], x, y)
	f.regsOnly = c == classPred
	return f
}

// shift64 narrows the amount of a 64-bit shift: PTX wants 32 bits.
func shift64(t template, x, y value.Value) form {
	if _, ok := y.(constant.Constant); ok {
		return newForm(t, x, y)
	}
	return newForm(t, x, y).prepared(1, classR, narrow)
}

func isTrue(v value.Value) bool {
	c, ok := v.(*constant.Int)
	return ok && intBits(c) == 1
}

// mulAdd fuses m + c into one mad when m is a multiplication of the same block that nobody else uses.
func (s *selector) mulAdd(at ir.Instruction, m, c value.Value) (form, bool) {
	mul, ok := m.(*ir.InstMul)
	if !ok || !s.usedOnceNear(mul, at) {
		return form{}, false
	}
	if classOf(mul.Type()) == classR {
		return newForm(madLo32, mul.X, mul.Y, c), true
	}
	if a, b, signed, ok := wideFactors(mul.X, mul.Y); ok {
		return newForm(madWide[signed], a, b, c), true
	}
	return newForm(madLo64, mul.X, mul.Y, c), true
}

func (s *selector) usedOnceNear(v value.Value, at ir.Instruction) bool {
	a, b := s.fn.id(v), s.fn.id(at.(value.Value))
	return a != 0 && s.fn.vals[a].uses == 1 && s.fn.vals[a].block == s.fn.vals[b].block
}

// wideFactors recognises a 64-bit product of two extended 32-bit numbers: both by sign or both by zeroes, or one of
// them a constant that fits.
func wideFactors(x, y value.Value) (a, b value.Value, signed, ok bool) {
	ax, sx, okx := extended(x)
	ay, sy, oky := extended(y)
	switch {
	case okx && oky && sx == sy:
		return ax, ay, sx, true
	case okx && fitsWide(y, sx):
		return ax, y, sx, true
	case oky && fitsWide(x, sy):
		return x, ay, sy, true
	}
	return nil, nil, false, false
}

// extended returns the i32 behind a sext or zext to i64.
func extended(v value.Value) (from value.Value, signed, ok bool) {
	switch x := v.(type) {
	case *ir.InstSExt:
		return x.From, true, sameType(x.To, types.I64) && sameType(x.From.Type(), types.I32)
	case *ir.InstZExt:
		return x.From, false, sameType(x.To, types.I64) && sameType(x.From.Type(), types.I32)
	}
	return nil, false, false
}

func fitsWide(v value.Value, signed bool) bool {
	c, ok := v.(*constant.Int)
	if !ok {
		return false
	}
	x := intBits(c)
	return signed && x == int64(int32(x)) || !signed && x == int64(uint32(x))
}

// indexed chooses the form of a getelementptr with a register index: base + index * size of an element.
func (s *selector) indexed(i *ir.InstGetElementPtr) form {
	size, index := sizeOf(i.ElemType), i.Indices[0]
	if isGlobalPointer(i.Type()) {
		return s.indexed64(i, index, size)
	}
	if from, _, ok := extended(index); ok {
		index = from // shared addresses have 32 bits: only the low half counts
	}
	var f form
	mul, isMul := index.(*ir.InstMul)
	switch {
	case classOf(index.Type()) == classD:
		f = newForm(madLo32, index, constant.NewInt(types.I32, size), i.Src).prepared(0, classR, narrow)
	case size == 1 && isMul && s.usedOnceNear(mul, i):
		f = newForm(madLo32, mul.X, mul.Y, i.Src)
	case size == 1:
		f = newForm(binaryRows[opAdd][classR], i.Src, index)
	default:
		f = newForm(madLo32, index, constant.NewInt(types.I32, size), i.Src)
	}
	return f
}

func (s *selector) indexed64(i *ir.InstGetElementPtr, index value.Value, size int64) form {
	from, signed, wide := extended(index)
	if classOf(index.Type()) == classR {
		from, signed, wide = index, true, true // an i32 index is signed
	}
	mul, isMul := index.(*ir.InstMul)
	switch {
	case wide:
		return newForm(madWide[signed], from, constant.NewInt(types.I32, size), i.Src)
	case size == 1 && isMul && s.usedOnceNear(mul, i):
		f, _ := s.mulAdd(i, mul, i.Src)
		return f
	case size == 1:
		return newForm(binaryRows[opAdd][classD], i.Src, index)
	case size&(size-1) == 0:
		amount := constant.NewInt(types.I32, int64(bits.TrailingZeros64(uint64(size))))
		return newForm(binaryRows[opAdd][classD], i.Src, index).prepared(1, classD, shiftLeft, amount)
	}
	return newForm(madLo64, index, constant.NewInt(types.I64, size), i.Src)
}
