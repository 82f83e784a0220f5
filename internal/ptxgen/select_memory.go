package ptxgen

import (
	"fmt"

	"github.com/llir/llvm/ir"
	"github.com/llir/llvm/ir/constant"
	"github.com/llir/llvm/ir/types"
	"github.com/llir/llvm/ir/value"
)

// accessKey chooses the text of a load or store.
type accessKey struct {
	space    types.AddrSpace
	class    class
	n        int // elements
	store    bool
	volatile bool
	readOnly bool
}

var accessRows = buildAccessRows()

func buildAccessRows() map[accessKey]template {
	rows := make(map[accessKey]template)
	for space := range spaceNames {
		for c, letter := range memoryTypes {
			for _, n := range []int{1, 2, 4} {
				if letter == "" || n > 1 && class(c) != classR && class(c) != classF {
					continue
				}
				for _, volatile := range []bool{false, true} {
					k := accessKey{space: space, class: class(c), n: n, volatile: volatile}
					rows[k] = accessTemplate(k)
					k.store = true
					rows[k] = accessTemplate(k)
				}
				k := accessKey{space: space, class: class(c), n: n, readOnly: true}
				rows[k] = accessTemplate(k)
			}
		}
	}
	return rows
}

// accessTemplate writes the row of k: "ld.global.v4.u32 {$0, $1, $2, $3}, [$4];". The read-only path exists in global
// memory only, and parameters know no volatile.
func accessTemplate(k accessKey) template {
	op, vec, list := "ld", "", "$0"
	first := 0
	if k.store {
		op, first = "st", 1
		list = "$1"
	}
	if k.n > 1 {
		vec, list = fmt.Sprintf(".v%d", k.n), "{"
		for i := range k.n {
			if i > 0 {
				list += ", "
			}
			list += fmt.Sprintf("$%d", first+i)
		}
		list += "}"
	}
	space := spaceNames[k.space]
	switch {
	case k.volatile && k.space != spaceGeneric:
		space = ".volatile" + space
	case k.readOnly && k.space == spaceGlobal:
		space += ".nc"
	}
	head := op + space + vec + "." + memoryTypes[k.class] + " "
	if k.store {
		return tm(head + "[$0], " + list + ";")
	}
	return tm(head + list + fmt.Sprintf(", [$%d];", k.n))
}

// accessOf describes an access of type t through ptr.
func accessOf(t types.Type, ptr value.Value) accessKey {
	k := accessKey{space: ptr.Type().(*types.PointerType).AddrSpace, class: classOf(t), n: 1}
	if c, n := vectorOf(t); c != classNone {
		k.class, k.n = c, n
	}
	return k
}

func (s *selector) load(i *ir.InstLoad, dst vreg) {
	k := accessOf(i.ElemType, i.Src)
	k.volatile = i.Volatile
	k.readOnly = !i.Volatile && isInvariant(i)
	var ops [5]operand
	for part := range k.n {
		ops[part] = reg(dst + vreg(part))
	}
	ops[k.n] = s.memory(i.Src)
	s.emit(accessRows[k], k.n, ops[:k.n+1]...)
}

func isInvariant(i *ir.InstLoad) bool {
	for _, md := range i.Metadata {
		if md != nil && md.Name == "invariant.load" {
			return true
		}
	}
	return false
}

func (s *selector) store(i *ir.InstStore) {
	k := accessOf(i.Src.Type(), i.Dst)
	k.store, k.volatile = true, i.Volatile
	var ops [5]operand
	for part := range k.n {
		ops[1+part] = s.partInReg(i.Src, part, k.class)
	}
	ops[0] = s.memory(i.Dst)
	s.emit(accessRows[k], 0, ops[:k.n+1]...)
}

// memory returns the address operand of ptr with its constant distance folded.
func (s *selector) memory(ptr value.Value) operand {
	a := s.address(ptr)
	if a.base == nil {
		return operand{kind: opSym, sym: a.sym, imm: a.off}
	}
	if p, ok := a.base.(*ir.Param); ok && s.fn.byval[p] {
		return operand{kind: opSym, sym: s.byvalName(p), imm: a.off}
	}
	return operand{kind: opAddr, reg: s.operand(a.base, 0).reg, imm: a.off}
}

func (s *selector) byvalName(p *ir.Param) string {
	for i, q := range s.fn.ir.Params {
		if p == q {
			return paramName(s.fn.ir, i)
		}
	}
	return ""
}

// gep computes an address in a register.
func (s *selector) gep(i *ir.InstGetElementPtr, dst vreg) {
	k, isConst := i.Indices[0].(*constant.Int)
	if !isConst {
		s.form(s.indexed(i), dst)
		return
	}
	c := classOf(i.Type())
	a := s.address(i.Src)
	off := a.off + intBits(k)*sizeOf(i.ElemType)
	if c == classR {
		off = int64(int32(off))
	}
	switch {
	case a.base == nil && a.sym == "":
		s.emit(movRows[c], 1, reg(dst), intImm(off))
	case a.base == nil:
		s.emit(movSymbol, 1, reg(dst), operand{kind: opSym, sym: a.sym, imm: off})
	case off == 0:
		s.emit(movRows[c], 1, reg(dst), s.operand(a.base, 0)).copied = true
	default:
		s.emit(binaryRows[opAdd][c], 1, reg(dst), s.operand(a.base, 0), intImm(off))
	}
}
