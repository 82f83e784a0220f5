package ptxgen

import (
	"fmt"
	"math"

	"github.com/llir/llvm/ir"
	"github.com/llir/llvm/ir/constant"
	"github.com/llir/llvm/ir/types"
	"github.com/llir/llvm/ir/value"
)

// selectFunc emits a verified function. Errors are internal: a form that verify let through and nobody emits.
func selectFunc(fn *function) (*mfunc, error) {
	s := &selector{fn: fn, mf: &mfunc{name: fn.ir.Name(), bounds: fn.bounds, classes: make([]class, 1, 2*len(fn.vals)+1)}}
	s.mf.blocks = make([]mblock, len(fn.blocks))
	s.demand()
	s.labels()
	for i, b := range fn.blocks {
		s.cur = &s.mf.blocks[i]
		s.cur.insts = make([]minst, 0, len(b.ir.Insts)+4)
		s.consts = make(map[constKey]vreg)
		if i == 0 {
			s.params()
		}
		if err := s.block(b); err != nil {
			return nil, err
		}
	}
	return s.mf, nil
}

// labels names the blocks after the blocks of the IR, made legal and unique.
func (s *selector) labels() {
	seen := make(map[string]bool)
	for i, b := range s.fn.blocks {
		base := make([]byte, 0, 16)
		if !b.ir.IsUnnamed() {
			for _, c := range []byte(b.ir.LocalName) {
				if !isIdentByte(c) {
					c = '_'
				}
				base = append(base, c)
			}
		}
		if len(base) == 0 {
			base = fmt.Appendf(base, "b%d", i)
		}
		label := string(base)
		for n := 2; seen[label]; n++ {
			label = fmt.Sprintf("%s_%d", base, n)
		}
		seen[label] = true
		m := &s.mf.blocks[i]
		m.label = "$" + label
		m.preds, m.succs = toInts(b.preds), toInts(b.succs)
	}
}

func toInts(xs []int32) []int {
	out := make([]int, len(xs))
	for i, x := range xs {
		out[i] = int(x)
	}
	return out
}

var (
	loadParam = map[class]template{
		classR: tm("ld.param.u32 $0, [$1];"), classF: tm("ld.param.f32 $0, [$1];"), classD: tm("ld.param.u64 $0, [$1];"),
	}
	toGlobal = tm("cvta.to.global.u64 $0, $1;")
)

// params declares the parameters and loads the used ones.
func (s *selector) params() {
	for i, p := range s.fn.ir.Params {
		name := paramName(s.fn.ir, i)
		c := classOf(p.Typ)
		used := s.regs[s.fn.id(p)]
		switch {
		case s.fn.byval[p]:
			size := sizeOf(p.Typ.(*types.PointerType).ElemType)
			s.mf.params = append(s.mf.params, mparam{fmt.Sprintf(".param .align %d .b8 %s[%d]", paramAlign(p), name, size)})
			if used != 0 {
				s.emit(movRows[classD], 1, reg(used), symAddr(name))
			}
		default:
			s.mf.params = append(s.mf.params, mparam{".param ." + memoryTypes[c] + " " + name})
			if used != 0 {
				s.loadParam(used, p, name)
			}
		}
	}
}

func (s *selector) loadParam(dst vreg, p *ir.Param, name string) {
	c := classOf(p.Typ)
	if !types.IsPointer(p.Typ) {
		s.emit(loadParam[c], 1, reg(dst), symAddr(name))
		return
	}
	raw := s.mf.newReg(c)
	s.emit(loadParam[c], 1, reg(raw), symAddr(name))
	s.emit(toGlobal, 1, reg(dst), reg(raw))
}

// emit appends an instruction; ops[:ndef] are its results.
func (s *selector) emit(t template, ndef int, ops ...operand) *minst {
	n := len(s.arena)
	if cap(s.arena)-n < len(ops) {
		s.arena, n = make([]operand, 0, 1024+len(ops)), 0
	}
	s.arena = append(s.arena, ops...)
	s.cur.insts = append(s.cur.insts, minst{tmpl: t, ops: s.arena[n:len(s.arena):len(s.arena)], ndef: ndef})
	return &s.cur.insts[len(s.cur.insts)-1]
}

func (s *selector) block(b *block) error {
	for pos, inst := range b.ir.Insts {
		if dst := s.regs[b.first+valueID(pos)]; dst != 0 {
			if err := s.inst(b, inst, dst); err != nil {
				return s.fn.errorf(b.ir, "%s: %v", describe(inst, pos), err)
			}
		}
	}
	return s.term(b)
}

func (s *selector) inst(b *block, inst ir.Instruction, dst vreg) error {
	switch i := inst.(type) {
	case *ir.InstPhi:
		s.phi(b, i, dst)
	case *ir.InstLoad:
		s.load(i, dst)
	case *ir.InstStore:
		s.store(i)
	case *ir.InstGetElementPtr:
		s.gep(i, dst)
	case *ir.InstCall:
		s.call(i, dst)
	case *ir.InstSelect:
		if classOf(i.Type()) == classPred {
			s.selectPred(i, dst)
			return nil
		}
		s.selectValue(i, dst)
	default:
		f := s.fused(inst)
		if f.tmpl == "" || f.tmpl == free {
			return fmt.Errorf("internal: no PTX for %s", mnemonic(inst))
		}
		s.form(f, dst)
	}
	return nil
}

// form emits f into dst.
func (s *selector) form(f form, dst vreg) {
	var ops [5]operand
	var vals [3]operand
	for k, v := range f.operands() {
		if f.regsOnly {
			vals[k] = s.inReg(v)
		} else {
			vals[k] = s.value(v)
		}
	}
	if f.pre != "" {
		vals[f.preOp] = s.prepare(f, vals[f.preOp])
	}
	ops[0] = reg(dst)
	n := 1
	if f.scratch != classNone {
		ops[n] = reg(s.mf.newReg(f.scratch))
		n++
	}
	ndef := n
	n += copy(ops[n:], vals[:f.n])
	s.emit(f.tmpl, ndef, ops[:n]...)
}

func (s *selector) prepare(f form, x operand) operand {
	r := reg(s.mf.newReg(f.preClass))
	ops := []operand{r, x}
	for _, v := range f.preArgs {
		ops = append(ops, s.operand(v, 0))
	}
	s.emit(f.pre, 1, ops...)
	return r
}

// operand returns part i of v: a register, or an immediate for a constant.
func (s *selector) operand(v value.Value, i int) operand {
	held, part := source(v, i)
	if ins, ok := held.(*ir.InstInsertElement); ok {
		return s.operand(element(ins, part))
	}
	if c, ok := held.(constant.Constant); ok {
		return constOperand(c)
	}
	return reg(s.regs[s.fn.id(held)] + vreg(part))
}

// value is operand for places that take numbers, but no names of variables.
func (s *selector) value(v value.Value) operand {
	o := s.operand(v, 0)
	if o.kind == opSym {
		return s.inReg(v)
	}
	return o
}

func constOperand(c constant.Constant) operand {
	switch c := c.(type) {
	case *constant.Float:
		return operand{kind: opFloat, imm: floatBits(c)}
	case *constant.Int:
		return intImm(intBits(c))
	}
	if sym, off, ok := constAddress(c); ok {
		return operand{kind: opSym, sym: sym, imm: off}
	}
	if classOf(c.Type()) == classF || !isScalar(c.Type()) && floatVector(c.Type()) {
		return operand{kind: opFloat}
	}
	return intImm(0)
}

func isScalar(t types.Type) bool { return classOf(t) != classNone }

func floatVector(t types.Type) bool {
	c, _ := vectorOf(t)
	return c == classF
}

// floatBits returns the bits of a float constant, rounded to nearest even; NaN is the canonical one.
func floatBits(c *constant.Float) int64 {
	if c.NaN {
		return int64(math.Float32bits(float32(math.NaN())))
	}
	x, _ := c.X.Float32()
	return int64(math.Float32bits(x))
}

// inReg is operand for places that take no immediate.
func (s *selector) inReg(v value.Value) operand { return s.partInReg(v, 0, classOf(v.Type())) }

func (s *selector) partInReg(v value.Value, i int, c class) operand {
	o := s.operand(v, i)
	if isReg(o) {
		return o
	}
	return reg(s.constant(c, o))
}

var movRows = [numClasses]template{
	classPred: tm("mov.pred $0, $1;"), classH: tm("mov.b16 $0, $1;"), classR: tm("mov.b32 $0, $1;"),
	classF: tm("mov.f32 $0, $1;"), classD: tm("mov.b64 $0, $1;"),
}

// movSymbol are movs that take the address of a variable.
var movSymbol = tm("mov.u32 $0, $1;")

// constant returns a register that holds o, one a block.
func (s *selector) constant(c class, o operand) vreg {
	key := constKey{c, o.imm, o.sym}
	if r, ok := s.consts[key]; ok {
		return r
	}
	r := s.mf.newReg(c)
	t := movRows[c]
	if o.kind == opSym && c == classR {
		t = movSymbol
	}
	s.emit(t, 1, reg(r), o)
	s.consts[key] = r
	return r
}

func (s *selector) phi(b *block, i *ir.InstPhi, dst vreg) {
	p := mphi{dst: dst, args: make([]operand, len(b.preds))}
	for k, pred := range b.preds {
		p.args[k] = s.operand(incoming(i, s.fn.blocks[pred].ir), 0)
	}
	s.cur.phis = append(s.cur.phis, p)
}

func (s *selector) term(b *block) error {
	switch t := b.ir.Term.(type) {
	case *ir.TermRet:
		s.cur.term = mterm{kind: termRet}
	case *ir.TermUnreachable:
		s.cur.term = mterm{kind: termTrap}
	case *ir.TermBr:
		s.cur.term = mterm{kind: termBr, t: int(b.succs[0])}
	case *ir.TermCondBr:
		if len(b.succs) == 1 {
			s.cur.term = mterm{kind: termBr, t: int(b.succs[0])}
			return nil
		}
		s.cur.term = mterm{kind: termCondBr, cond: s.inReg(t.Cond).reg, t: int(b.succs[0]), f: int(b.succs[1])}
	default:
		return s.fn.errorf(b.ir, "internal: no PTX for terminator %s", mnemonic(t))
	}
	return nil
}

func (s *selector) selectValue(i *ir.InstSelect, dst vreg) {
	t := selectRows[classOf(i.Type())]
	s.emit(t, 1, reg(dst), s.value(i.ValueTrue), s.value(i.ValueFalse), s.inReg(i.Cond))
}

// selectPred chooses between predicates, for which there is no selp: c ? a : b is (a and c) or (b and not c). The common
// forms "c and a" (b false) and "c or b" (a true) take one instruction.
func (s *selector) selectPred(i *ir.InstSelect, dst vreg) {
	and, or := binaryRows[opAnd][classPred], binaryRows[opOr][classPred]
	c := s.inReg(i.Cond)
	switch {
	case isFalse(i.ValueFalse):
		s.emit(and, 1, reg(dst), c, s.inReg(i.ValueTrue))
	case isTrue(i.ValueTrue):
		s.emit(or, 1, reg(dst), c, s.inReg(i.ValueFalse))
	default:
		x, y, n := reg(s.mf.newReg(classPred)), reg(s.mf.newReg(classPred)), reg(s.mf.newReg(classPred))
		a, b := s.inReg(i.ValueTrue), s.inReg(i.ValueFalse)
		s.emit(and, 1, x, c, a)
		s.emit(notPred, 1, n, c)
		s.emit(and, 1, y, n, b)
		s.emit(or, 1, reg(dst), x, y)
	}
}

func isFalse(v value.Value) bool {
	c, ok := v.(*constant.Int)
	return ok && intBits(c) == 0
}
