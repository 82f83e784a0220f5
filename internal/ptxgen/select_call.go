package ptxgen

import (
	"github.com/llir/llvm/ir"
)

func (s *selector) call(i *ir.InstCall, dst vreg) {
	switch callee := i.Callee.(type) {
	case *ir.InlineAsm:
		s.asm(i, s.fn.asms[callee], dst)
	case *ir.Func:
		s.intrinsic(i, s.fn.row(callee), dst)
	}
}

func (s *selector) intrinsic(i *ir.InstCall, row *intrinsic, dst vreg) {
	s.parts = partsOf(s.parts[:0], row.result)
	ndef := len(s.parts)
	ops := make([]operand, 0, 16)
	for k := range ndef {
		ops = append(ops, reg(dst+vreg(k)))
	}
	for k, arg := range i.Args {
		switch row.letter(k) {
		case 's', 'g':
			ops = append(ops, s.memory(arg))
		case 'n', 'b', 'I', 'F':
			ops = append(ops, s.value(arg))
		default:
			ops = append(ops, s.inReg(arg))
		}
	}
	for k := 0; row.accum > 0 && k < ndef; k++ {
		// A constant's register is shared by the block; only real accumulators continue in place.
		if isReg(s.operand(i.Args[row.accum-ndef+k], 0)) {
			s.mf.hints = append(s.mf.hints, [2]vreg{ops[k].reg, ops[row.accum+k].reg})
		}
	}
	s.emit(row.tmpl, ndef, ops...)
}

// asm emits inline asm. An operand tied to a result is first copied to a register of its own, which then is the
// result's register; allocate drops the copy when the operand's life ends here.
func (s *selector) asm(i *ir.InstCall, form *asmForm, dst vreg) {
	ndef := len(form.outs)
	ops := make([]operand, 0, ndef+len(form.ins))
	var ties []tie
	for k := range ndef {
		ops = append(ops, reg(dst+vreg(k)))
	}
	for k, arg := range i.Args {
		in := form.ins[k]
		switch {
		case in.imm:
			ops = append(ops, s.operand(arg, 0))
		case in.tied >= 0:
			own := s.mf.newReg(in.class)
			x := s.operand(arg, 0)
			s.emit(movRows[in.class], 1, reg(own), x).copied = isReg(x)
			ties = append(ties, tie{def: in.tied, use: len(ops)})
			ops = append(ops, reg(own))
		default:
			ops = append(ops, s.inReg(arg))
		}
	}
	m := s.emit(form.tmpl, ndef, ops...)
	m.early, m.ties = form.early, ties
}
