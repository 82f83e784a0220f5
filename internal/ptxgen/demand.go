package ptxgen

import (
	"github.com/llir/llvm/ir"
	"github.com/llir/llvm/ir/constant"
	"github.com/llir/llvm/ir/types"
	"github.com/llir/llvm/ir/value"
)

// selector turns one function into machine code. It first finds what must be computed (demand), then emits it in the
// order of the IR. What is never demanded is dead and not emitted.
type selector struct {
	fn *function
	mf *mfunc
	// regs holds the first register of each demanded value; a value of several parts has consecutive ones.
	regs []vreg
	todo []valueID
	// addresses wait until everything else is demanded: an address folds into its use only as far as the nearest
	// value that has a register anyway. Looking further would keep a loop's old pointer alive beside the new one.
	addresses []value.Value

	cur    *mblock
	arena  []operand
	consts map[constKey]vreg // constants in registers, of the current block
	parts  []class           // scratch
}

type constKey struct {
	c    class
	bits int64
	sym  string
}

// demand marks everything that needs a register.
func (s *selector) demand() {
	s.regs = make([]vreg, len(s.fn.vals))
	for _, b := range s.fn.blocks {
		for pos, inst := range b.ir.Insts {
			if s.hasEffect(inst) {
				s.mark(b.first + valueID(pos))
			}
		}
		if br, ok := b.ir.Term.(*ir.TermCondBr); ok && len(b.succs) > 1 {
			s.need(br.Cond)
		}
	}
	s.drain()
	for i := 0; i < len(s.addresses); i++ {
		base := s.address(s.addresses[i]).base
		if p, ok := base.(*ir.Param); ok && s.fn.byval[p] {
			continue // loads name the parameter itself
		}
		if base != nil {
			s.need(base)
			s.drain()
		}
	}
}

func (s *selector) drain() {
	for len(s.todo) > 0 {
		id := s.todo[len(s.todo)-1]
		s.todo = s.todo[:len(s.todo)-1]
		if inst := s.fn.vals[id].inst; inst != nil {
			s.needOperands(inst)
		}
	}
}

func (s *selector) hasEffect(inst ir.Instruction) bool {
	switch i := inst.(type) {
	case *ir.InstStore:
		return true
	case *ir.InstLoad:
		return i.Volatile
	case *ir.InstCall:
		switch callee := i.Callee.(type) {
		case *ir.InlineAsm:
			return s.fn.asms[callee].effects
		case *ir.Func:
			return s.fn.row(callee).effect
		}
	}
	return false
}

// mark gives a value its registers, once.
func (s *selector) mark(id valueID) {
	if s.regs[id] != 0 {
		return
	}
	info := &s.fn.vals[id]
	s.parts = s.parts[:0]
	if info.param != nil {
		s.parts = partsOf(s.parts, info.param.Typ)
	} else if v, ok := info.inst.(value.Value); ok {
		s.parts = partsOf(s.parts, v.Type())
	}
	s.regs[id] = vreg(len(s.mf.classes))
	for _, c := range s.parts {
		s.mf.newReg(c)
	}
	if len(s.parts) == 0 { // no result: any number but 0 says "emit"
		s.regs[id] = -1
	}
	s.todo = append(s.todo, id)
}

// need demands what holds v, or all parts of v.
func (s *selector) need(v value.Value) {
	for {
		held, _ := source(v, 0)
		ins, ok := held.(*ir.InstInsertElement)
		if !ok {
			if id := s.fn.id(held); id != 0 {
				s.mark(id)
			}
			return
		}
		s.need(ins.Elem)
		v = ins.X
	}
}

// source follows casts and address steps that change nothing and element accesses of known place to the value that holds part i of v,
// and the part of it. For a whole vector it stops at an insertion.
func source(v value.Value, i int) (value.Value, int) {
	for {
		switch x := v.(type) {
		case *ir.Arg:
			v = x.Value
		case *ir.InstFreeze:
			v = x.X
		case *ir.InstGetElementPtr:
			if k, ok := x.Indices[0].(*constant.Int); !ok || k.X.Sign() != 0 {
				return v, i
			}
			v = x.Src
		case *ir.InstExtractValue:
			v, i = x.X, int(x.Indices[0])
		case *ir.InstExtractElement:
			v, i = element(x.X, constIndex(x.Index))
		case *ir.InstBitCast, *ir.InstIntToPtr, *ir.InstPtrToInt:
			from, isFree := freeCast(x.(ir.Instruction))
			if !isFree {
				return v, i
			}
			v = from
		default:
			return v, i
		}
	}
}

// element follows insertions to the value that holds element i of vector v.
func element(v value.Value, i int) (value.Value, int) {
	for {
		ins, ok := v.(*ir.InstInsertElement)
		if !ok {
			return v, i
		}
		if constIndex(ins.Index) == i {
			return ins.Elem, 0
		}
		v = ins.X
	}
}

func constIndex(v value.Value) int { return int(v.(*constant.Int).X.Int64()) }

// freeCast returns the operand of a cast that needs no instruction.
func freeCast(inst ir.Instruction) (value.Value, bool) {
	op, from, to, ok := asCast(inst)
	if !ok || castTemplate(op, from.Type(), to) != free {
		return nil, false
	}
	return from, true
}

// needOperands demands what the code of a demanded instruction reads; it mirrors the emitters.
func (s *selector) needOperands(inst ir.Instruction) {
	switch i := inst.(type) {
	case *ir.InstPhi:
		for _, p := range s.fn.blocks[s.blockOf(i)].preds {
			s.need(incoming(i, s.fn.blocks[p].ir))
		}
	case *ir.InstLoad:
		s.addresses = append(s.addresses, i.Src)
	case *ir.InstStore:
		s.need(i.Src)
		s.addresses = append(s.addresses, i.Dst)
	case *ir.InstCall:
		s.needArgs(i)
	case *ir.InstGetElementPtr:
		if _, ok := i.Indices[0].(*constant.Int); ok {
			s.addresses = append(s.addresses, i.Src)
			return
		}
		f := s.indexed(i)
		s.needAll(f.operands())
	default:
		f := s.fused(inst)
		s.needAll(f.operands())
	}
}

func (s *selector) needAll(vs []value.Value) {
	for _, v := range vs {
		s.need(v)
	}
}

func (s *selector) blockOf(v value.Value) int32 { return s.fn.vals[s.fn.id(v)].block }

func incoming(phi *ir.InstPhi, pred *ir.Block) value.Value {
	for _, inc := range phi.Incs {
		if inc.Pred == value.Value(pred) {
			return inc.X
		}
	}
	return nil
}

func (s *selector) needArgs(i *ir.InstCall) {
	var row *intrinsic
	if f, ok := i.Callee.(*ir.Func); ok {
		row = s.fn.row(f)
	}
	for k, arg := range i.Args {
		if row != nil && (row.letter(k) == 's' || row.letter(k) == 'g') {
			s.addresses = append(s.addresses, arg)
			continue
		}
		s.need(arg)
	}
}

// address is a base with a constant distance; base nil means the symbol, or an absolute address when that is empty.
type address struct {
	base value.Value
	sym  string
	off  int64
}

// address folds constant steps between v and the nearest value with a register.
func (s *selector) address(v value.Value) address { return s.fold(v, 0) }

// fold is address with a distance already gathered.
func (s *selector) fold(v value.Value, off int64) address {
	for {
		if c, ok := v.(constant.Constant); ok {
			return constBase(c, off)
		}
		if id := s.fn.id(v); id != 0 && s.regs[id] != 0 {
			return address{base: v, off: off}
		}
		next, step, ok := s.step(v)
		if !ok || !isOffset(off+step) {
			return address{base: v, off: off}
		}
		v, off = next, off+step
	}
}

func constBase(c constant.Constant, off int64) address {
	if sym, at, ok := constAddress(c); ok {
		return address{sym: sym, off: off + at}
	}
	return address{off: off + constBits(c)}
}

// step looks one constant step behind v.
func (s *selector) step(v value.Value) (value.Value, int64, bool) {
	switch x := v.(type) {
	case *ir.Arg:
		return x.Value, 0, true
	case *ir.InstFreeze:
		return x.X, 0, true
	case *ir.InstBitCast, *ir.InstIntToPtr, *ir.InstPtrToInt:
		from, ok := freeCast(x.(ir.Instruction))
		return from, 0, ok
	case *ir.InstGetElementPtr:
		k, ok := x.Indices[0].(*constant.Int)
		if !ok || !k.X.IsInt64() || !isOffset(k.X.Int64()) {
			return nil, 0, false
		}
		return x.Src, k.X.Int64() * sizeOf(x.ElemType), true
	case *ir.InstAdd:
		return stepAdd(x)
	}
	return nil, 0, false
}

func stepAdd(x *ir.InstAdd) (value.Value, int64, bool) {
	if k, ok := x.Y.(*constant.Int); ok {
		return x.X, intBits(k), isOffset(intBits(k))
	}
	if k, ok := x.X.(*constant.Int); ok {
		return x.Y, intBits(k), isOffset(intBits(k))
	}
	return nil, 0, false
}

// intBits returns a constant as a signed number of its width.
func intBits(c *constant.Int) int64 {
	x := c.X.Int64()
	if c.X.IsUint64() {
		x = int64(c.X.Uint64())
	}
	switch c.Typ.BitSize {
	case 1:
		return x & 1
	case 16:
		return int64(int16(x))
	case 32:
		return int64(int32(x))
	}
	return x
}

// constBits returns the bits of a scalar constant; undef is 0.
func constBits(c constant.Constant) int64 {
	switch c := c.(type) {
	case *constant.Int:
		return intBits(c)
	case *constant.Float:
		return floatBits(c)
	}
	return 0
}

// isGlobalPointer says whether t is a pointer of 64 bits.
func isGlobalPointer(t types.Type) bool {
	p, ok := t.(*types.PointerType)
	return ok && p.AddrSpace != spaceShared
}
