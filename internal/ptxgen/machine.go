package ptxgen

import (
	"fmt"
	"strings"
)

// vreg is a virtual register; 0 is none.
type vreg int32

type operandKind uint8

const (
	opReg   operandKind = iota // a register
	opInt                      // an integer: imm
	opFloat                    // a float32: imm holds its bits
	opAddr                     // register + imm, printed inside brackets of the template
	opSym                      // symbol + imm: the address of a variable
)

type operand struct {
	kind operandKind
	reg  vreg
	imm  int64
	sym  string
}

func reg(r vreg) operand       { return operand{kind: opReg, reg: r} }
func intImm(x int64) operand   { return operand{kind: opInt, imm: x} }
func isReg(o operand) bool     { return o.kind == opReg || o.kind == opAddr }
func symAddr(s string) operand { return operand{kind: opSym, sym: s} }

// minst is one line of PTX (for inline asm: one block of text). ops[:ndef] are written, the rest is read.
type minst struct {
	tmpl template
	ops  []operand
	ndef int
	// copied marks mov between registers of one class: the allocator may drop it.
	copied bool
	// early says that results may be written before all operands are read (asm of several statements).
	early bool
	ties  []tie
}

// tie says that operand use is read from, and result def written to, one register.
type tie struct{ def, use int }

// mphi is a phi of the block: args follow the block's preds.
type mphi struct {
	dst  vreg
	args []operand
}

type termKind uint8

const (
	termRet termKind = iota
	termTrap
	termBr     // to t
	termCondBr // to t if cond, else to f
)

type mterm struct {
	kind termKind
	cond vreg
	t, f int // block indices
}

type mblock struct {
	label string
	phis  []mphi
	insts []minst
	term  mterm
	preds []int // distinct
	succs []int // distinct
	// after, when not 0, asks for a place in the layout behind block after-1.
	after int
}

// mfunc is one kernel over virtual registers.
type mfunc struct {
	name    string
	params  []mparam
	bounds  []string // performance directives, such as ".maxntid 128, 1, 1"
	blocks  []mblock
	classes []class // by vreg; classes[0] is unused
	// hints are pairs of registers that should be one when nothing forbids it (an mma's accumulator and its result).
	hints [][2]vreg
	// root maps each vreg to the register that stands for its joined class; nil before allocate.
	root []vreg
}

type mparam struct{ decl string }

func (f *mfunc) newReg(c class) vreg {
	f.classes = append(f.classes, c)
	return vreg(len(f.classes) - 1)
}

// template is the text of an instruction with operands marked by the byte mark, followed by the operand's number in two
// bytes: a wgmma of head dim 256 has more than 256 operands.
type template string

const mark = '\x01'

// maxOperands bounds the operands of one instruction: their number is two bytes of a template.
const maxOperands = 1<<16 - 1

// parseTemplate reads text with operands written $0 or ${0}, and $$ for a dollar. n is the number of operands.
func parseTemplate(text string, n int) (template, error) {
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		c := text[i]
		if c == mark {
			return "", fmt.Errorf("asm text has the control character 0x01")
		}
		if c != '$' {
			b.WriteByte(c)
			continue
		}
		i++
		if i < len(text) && text[i] == '$' {
			b.WriteByte('$')
			continue
		}
		k, end, err := operandNumber(text, i)
		if err != nil {
			return "", err
		}
		if k >= n || k >= maxOperands {
			return "", fmt.Errorf("asm text names operand $%d, but there are %d operands", k, n)
		}
		b.WriteByte(mark)
		b.WriteByte(byte(k >> 8))
		b.WriteByte(byte(k))
		i = end - 1
	}
	return template(b.String()), nil
}

// operandNumber reads "12" or "{12}" at i and returns the number and the index behind it.
func operandNumber(text string, i int) (k, end int, err error) {
	braced := i < len(text) && text[i] == '{'
	if braced {
		i++
	}
	start := i
	for i < len(text) && text[i] >= '0' && text[i] <= '9' && i-start < 4 {
		k = k*10 + int(text[i]-'0')
		i++
	}
	if i == start {
		return 0, 0, fmt.Errorf("asm text has a $ without operand number; write $$ for a dollar")
	}
	if !braced {
		return k, i, nil
	}
	if i >= len(text) || text[i] != '}' {
		return 0, 0, fmt.Errorf("asm text has ${%d without a closing brace; operand modifiers are not supported", k)
	}
	return k, i + 1, nil
}

// tm is parseTemplate for the package's own tables, whose errors are caught by the tests.
func tm(text string) template {
	t, err := parseTemplate(text, maxOperands)
	if err != nil {
		return template("internal: " + err.Error())
	}
	return t
}
