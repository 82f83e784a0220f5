package emu

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

type operand struct {
	kind operandKind
	not  bool // !%p
	reg  *register
	name string
	imm  uint64
	off  int64
	list []operand
}

func (p *parser) push() {
	p.sc = &scope{parent: p.sc, regs: map[string]*register{}, labels: map[string]int{}}
}

// body parses up to the brace that closes the kernel; nested braces open scopes.
func (p *parser) body() error {
	p.ent.body = make([]stmt, 0, p.statementsAhead())
	p.sc = nil
	p.push()
	for p.sc != nil {
		t := p.peek()
		var err error
		switch {
		case t.kind == tokEOF:
			return p.fail(t, "the closing brace of the kernel")
		case p.accept("{"):
			p.push()
		case p.accept("}"):
			p.sc = p.sc.parent
		case p.accept(";"):
		case strings.HasPrefix(t.text, ".") && t.kind == tokWord:
			err = p.bodyDirective()
		case t.kind == tokWord && p.toks[p.pos+1].text == ":":
			err = p.label()
		default:
			err = p.instruction()
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// statementsAhead is about how many statements the kernel has that begins here.
func (p *parser) statementsAhead() int {
	rest, _, _ := strings.Cut(p.src[p.peek().start:], ".entry")
	return min(strings.Count(rest, ";"), len(rest)/8)
}

func (p *parser) bodyDirective() error {
	t := p.next()
	switch t.text {
	case ".reg":
		return p.registers()
	case ".loc", ".file":
		return p.skipDebug(t)
	case ".pragma":
		return p.skipTo(";")
	case ".shared":
		s, err := p.sharedArray(t.line)
		p.ent.shared = append(p.ent.shared, s)
		return err
	}
	return p.fail(t, "a directive that the emulator knows: .reg .shared .loc .pragma")
}

func (p *parser) label() error {
	t := p.next()
	p.next() // the colon
	if _, dup := p.sc.labels[t.text]; dup {
		return parseError{t.line, fmt.Sprintf("label %s stands twice in one scope", t.text)}
	}
	p.sc.labels[t.text] = len(p.ent.body)
	return nil
}

// registers parses `.reg .b32 %r<10>, %x;`.
func (p *parser) registers() error {
	t := p.next()
	typ, ok := ptxTypes[strings.TrimPrefix(t.text, ".")]
	if !ok || !strings.HasPrefix(t.text, ".") {
		return p.fail(t, "a register type such as .b32 (f64 registers are not supported)")
	}
	for {
		name, err := p.word("a register name")
		if err != nil {
			return err
		}
		if p.accept("<") {
			n, err := p.integer("a register count", math.MaxInt32)
			if err != nil {
				return err
			}
			if err := p.expect(">"); err != nil {
				return err
			}
			p.sc.families = append(p.sc.families, regFamily{name, n, typ.class})
		} else {
			p.sc.regs[name] = &register{name: name, class: typ.class, slot: -1}
		}
		if p.accept(";") {
			return nil
		}
		if err := p.expect(","); err != nil {
			return err
		}
	}
}

// lookup finds a register in the innermost scope that declares it.
func (s *scope) lookup(name string) *register {
	for ; s != nil; s = s.parent {
		if r := s.regs[name]; r != nil {
			return r
		}
		for _, f := range s.families {
			if f.has(name) {
				r := &register{name: name, class: f.class, slot: -1}
				s.regs[name] = r
				return r
			}
		}
	}
	return nil
}

func (f regFamily) has(name string) bool {
	digits, ok := strings.CutPrefix(name, f.prefix)
	if !ok || digits == "" || len(digits) > 1 && digits[0] == '0' || !isDigit(digits[0]) {
		return false
	}
	n, err := strconv.Atoi(digits)
	return err == nil && n < f.count
}

func (p *parser) instruction() error {
	first := p.peek()
	st := stmt{line: first.line, scope: p.sc}
	p.args = p.args[:0]
	if p.accept("@") {
		st.guardNot = p.accept("!")
		t := p.next()
		st.guard = p.sc.lookup(t.text)
		if st.guard == nil || st.guard.class != classPred {
			return p.fail(t, "a declared predicate register")
		}
	}
	t := p.next()
	if t.kind != tokWord {
		return p.fail(t, "an instruction")
	}
	st.op = t.text
	for !p.accept(";") {
		if len(p.args) > 0 {
			if err := p.expect(","); err != nil {
				return err
			}
		}
		a, err := p.operand()
		if err != nil {
			return err
		}
		p.args = append(p.args, a)
	}
	st.args = p.keep(p.args)
	st.text = p.src[first.start:p.toks[p.pos-1].end]
	p.ent.body = append(p.ent.body, st)
	return nil
}

// keep copies the arguments of a statement to memory that many statements share: most have three, and there are thousands.
func (p *parser) keep(args []operand) []operand {
	if len(args) > len(p.room) {
		p.room = make([]operand, max(512, len(args)))
	}
	kept := p.room[:len(args):len(args)]
	p.room = p.room[len(args):]
	copy(kept, args)
	return kept
}

func (p *parser) simpleOperand() (operand, error) {
	switch {
	case p.accept("{"):
		return p.vector()
	case p.accept("["):
		return p.address()
	case p.accept("!"):
		a, err := p.value()
		a.not = true
		return a, err
	}
	a, err := p.value()
	if err != nil || a.kind != argName {
		return a, err
	}
	a.off, err = p.offset()
	return a, err
}

func (p *parser) vector() (operand, error) {
	v := operand{kind: argVector}
	for {
		a, err := p.value()
		if err != nil {
			return v, err
		}
		v.list = append(v.list, a)
		if p.accept("}") {
			return v, nil
		}
		if err := p.expect(","); err != nil {
			return v, err
		}
	}
}

// address parses `base + offset ]`; what follows a comma (coordinates of a tensor copy) goes to the list.
func (p *parser) address() (operand, error) {
	base, err := p.value()
	if err != nil {
		return base, err
	}
	a := operand{kind: argAddr, reg: base.reg, name: base.name, imm: base.imm}
	if a.off, err = p.offset(); err != nil {
		return a, err
	}
	if p.accept(",") {
		if err := p.expect("{"); err != nil {
			return a, err
		}
		coords, err := p.vector()
		if err != nil {
			return a, err
		}
		a.list = coords.list
	}
	return a, p.expect("]")
}

// offset parses `+4`, `-4` and `+-4`, repeated.
func (p *parser) offset() (int64, error) {
	var sum int64
	for {
		neg := false
		switch {
		case p.accept("+"):
			neg = p.accept("-")
		case p.accept("-"):
			neg = true
		default:
			return sum, nil
		}
		v, err := p.value()
		if err != nil {
			return 0, err
		}
		if v.kind != argImm {
			return 0, p.fail(p.toks[p.pos-1], "an integer offset")
		}
		if neg {
			v.imm = -v.imm
		}
		sum += int64(v.imm)
	}
}

// value parses a register, name or number.
func (p *parser) value() (operand, error) {
	t := p.next()
	neg := t.text == "-"
	if neg {
		t = p.next()
	}
	switch {
	case t.kind == tokNumber:
		return number(t, neg)
	case t.kind != tokWord || neg:
		return operand{}, p.fail(t, "a register, a name or a number")
	case t.text == "_":
		return operand{kind: argSink}, nil
	}
	if r := p.sc.lookup(t.text); r != nil {
		return operand{kind: argReg, reg: r, name: t.text}, nil
	}
	return operand{kind: argName, name: t.text}, nil
}

func number(t token, neg bool) (operand, error) {
	s := strings.TrimRight(t.text, "U")
	switch {
	case len(s) == 10 && (s[1] == 'f' || s[1] == 'F') && s[0] == '0':
		v, err := strconv.ParseUint(s[2:], 16, 32)
		if err == nil {
			return operand{kind: argFloat, imm: v ^ signIf(neg)}, nil
		}
	case strings.ContainsAny(s, ".eE") && !strings.HasPrefix(strings.ToLower(s), "0x"):
		v, err := strconv.ParseFloat(s, 32)
		if err == nil {
			return operand{kind: argFloat, imm: uint64(math.Float32bits(float32(v))) ^ signIf(neg)}, nil
		}
	default:
		v, err := strconv.ParseUint(s, 0, 64)
		if err == nil {
			if neg {
				v = -v
			}
			return operand{kind: argImm, imm: v}, nil
		}
	}
	return operand{}, parseError{t.line, fmt.Sprintf("found %q, wanted a number (f64 literals are not supported)", t.text)}
}

func signIf(neg bool) uint64 {
	if neg {
		return 1 << 31
	}
	return 0
}
