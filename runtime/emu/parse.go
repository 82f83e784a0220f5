package emu

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// ptxModule is the syntax tree of one PTX text.
type ptxModule struct {
	target  string
	shared  []symbol
	entries []*entry
}

// symbol is a shared array. A dynamic one has no size of its own: it gets the launch's.
type symbol struct {
	name        string
	size, align int
	dynamic     bool
	line        int
}

// param is a kernel parameter.
type param struct {
	name        string
	size, align int
}

type entry struct {
	name       string
	line       int
	params     []param
	maxThreads int // 0: no directive, as below
	minBlocks  int // on one multiprocessor
	maxRegs    int // of a thread
	shared     []symbol
	body       []stmt
}

// scope is one pair of braces: registers and labels are local to it.
type scope struct {
	parent   *scope
	regs     map[string]*register
	families []regFamily
	labels   map[string]int // name -> index of the next statement
}

// regFamily is `%r<100>`: registers are made when first used, so a huge count costs nothing.
type regFamily struct {
	prefix string
	count  int
	class  regClass
}

type register struct {
	name  string
	class regClass
	slot  int32 // -1 until the decoder assigns it
}

// stmt is one instruction.
type stmt struct {
	line     int
	text     string // source
	guard    *register
	guardNot bool
	op       string
	args     []operand
	scope    *scope
}

type operandKind uint8

const (
	argReg    operandKind = iota
	argImm                // integer in imm
	argFloat              // float32 bits in imm
	argName               // special register, symbol, parameter or label, plus off
	argAddr               // [reg or name or number + off]
	argVector             // { ... }
	argPair               // a|b
	argSink               // _
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

// parseError carries the source line, so that a log can show it.
type parseError struct {
	line int
	msg  string
}

func (e parseError) Error() string { return fmt.Sprintf("line %d: %s", e.line, e.msg) }

type parser struct {
	src  string
	toks []token
	pos  int
	mod  *ptxModule
	ent  *entry
	sc   *scope
}

// parse reads a module. It stops at the first syntax error.
func parse(src string) (*ptxModule, error) {
	toks, err := lex(src)
	if err != nil {
		return nil, err
	}
	p := &parser{src: src, toks: toks, mod: &ptxModule{}}
	for p.peek().kind != tokEOF {
		if err := p.moduleItem(); err != nil {
			return nil, err
		}
	}
	if p.mod.target == "" {
		return nil, errors.New("line 1: found no .target directive, wanted PTX text such as the compiler emits")
	}
	return p.mod, nil
}

func (p *parser) peek() token { return p.toks[p.pos] }

func (p *parser) next() token {
	t := p.toks[p.pos]
	if t.kind != tokEOF {
		p.pos++
	}
	return t
}

func (p *parser) accept(text string) bool {
	if t := p.peek(); t.kind != tokString && t.text == text && t.kind != tokEOF {
		p.pos++
		return true
	}
	return false
}

func (p *parser) fail(t token, want string) error {
	return parseError{t.line, fmt.Sprintf("found %q, wanted %s", t.text, want)}
}

func (p *parser) expect(text string) error {
	if !p.accept(text) {
		return p.fail(p.peek(), fmt.Sprintf("%q", text))
	}
	return nil
}

func (p *parser) word(what string) (string, error) {
	t := p.next()
	if t.kind != tokWord {
		return "", p.fail(t, what)
	}
	return t.text, nil
}

func (p *parser) integer(what string, max int) (int, error) {
	t := p.next()
	if t.kind != tokNumber {
		return 0, p.fail(t, what)
	}
	v, err := strconv.ParseUint(strings.TrimRight(t.text, "U"), 0, 64)
	if err != nil || v > uint64(max) {
		return 0, p.fail(t, fmt.Sprintf("%s of at most %d", what, max))
	}
	return int(v), nil
}

func (p *parser) moduleItem() error {
	t := p.next()
	switch t.text {
	case ".version", ".address_size":
		p.next()
		return nil
	case ".target":
		name, err := p.word("a target such as sm_80")
		p.mod.target = name
		for p.accept(",") {
			p.next()
		}
		return err
	case ".visible", ".weak", ".extern":
		return nil // linkage makes no difference to one module
	case ".shared":
		s, err := p.sharedArray(t.line)
		p.mod.shared = append(p.mod.shared, s)
		return err
	case ".entry":
		return p.entry(t.line)
	case ".file", ".loc":
		return p.skipDebug(t)
	case ".pragma":
		return p.skipTo(";")
	}
	return p.fail(t, "a directive that the emulator knows: .version .target .address_size .shared .entry .file")
}

// skipDebug drops the rest of a .file or .loc, which has no terminator but its line.
func (p *parser) skipDebug(t token) error {
	for p.peek().kind != tokEOF && p.peek().line == t.line {
		p.next()
	}
	return nil
}

func (p *parser) skipTo(end string) error {
	for {
		t := p.next()
		if t.kind == tokEOF {
			return p.fail(t, fmt.Sprintf("%q", end))
		}
		if t.text == end {
			return nil
		}
	}
}

const maxStaticShared = 48 << 10

// sharedArray parses `.align 16 .b8 name[64];` after `.shared`.
func (p *parser) sharedArray(line int) (symbol, error) {
	s := symbol{line: line}
	align, typ, err := p.alignedType()
	if err != nil {
		return s, err
	}
	s.align = align
	if s.name, err = p.word("a name"); err != nil {
		return s, err
	}
	count := 1
	if p.accept("[") {
		if p.accept("]") {
			s.dynamic = true
			return s, p.expect(";")
		}
		if count, err = p.integer("an array length", maxStaticShared); err != nil {
			return s, err
		}
		if err := p.expect("]"); err != nil {
			return s, err
		}
	}
	s.size = count * typ.bytes
	return s, p.expect(";")
}

// alignedType parses `[.align N] .type`.
func (p *parser) alignedType() (align int, typ ptxType, err error) {
	if p.accept(".align") {
		t := p.peek()
		if align, err = p.integer("an alignment", 1024); err != nil {
			return 0, typ, err
		}
		if align == 0 || align&(align-1) != 0 {
			return 0, typ, p.fail(t, "a power of two")
		}
	}
	t := p.next()
	typ, ok := ptxTypes[strings.TrimPrefix(t.text, ".")]
	if !ok || typ.bytes == 0 || !strings.HasPrefix(t.text, ".") {
		return 0, typ, p.fail(t, "a type such as .b8 or .u32")
	}
	if align == 0 {
		align = typ.bytes
	}
	return align, typ, nil
}

func (p *parser) entry(line int) error {
	name, err := p.word("a kernel name")
	if err != nil {
		return err
	}
	p.ent = &entry{name: name, line: line}
	if p.accept("(") && !p.accept(")") {
		if err := p.params(); err != nil {
			return err
		}
	}
	if err := p.entryDirectives(); err != nil {
		return err
	}
	p.mod.entries = append(p.mod.entries, p.ent)
	return p.body()
}

func (p *parser) params() error {
	for {
		if err := p.expect(".param"); err != nil {
			return err
		}
		par, err := p.param()
		if err != nil {
			return err
		}
		p.ent.params = append(p.ent.params, par)
		if p.accept(")") {
			return nil
		}
		if err := p.expect(","); err != nil {
			return err
		}
	}
}

const maxParamBytes = 4352

func (p *parser) param() (param, error) {
	align, typ, err := p.alignedType()
	if err != nil {
		return param{}, err
	}
	for p.accept(".ptr") || p.accept(".global") || p.accept(".shared") {
		continue // pointer attributes
	}
	if p.accept(".align") {
		if _, err := p.integer("an alignment", 1<<20); err != nil {
			return param{}, err
		}
	}
	name, err := p.word("a parameter name")
	if err != nil {
		return param{}, err
	}
	count := 1
	if p.accept("[") {
		if count, err = p.integer("a parameter length", maxParamBytes); err != nil {
			return param{}, err
		}
		err = p.expect("]")
	}
	return param{name: name, size: count * typ.bytes, align: align}, err
}

// entryDirectives parses what stands between the parameters and the body.
func (p *parser) entryDirectives() error {
	for !p.accept("{") {
		t := p.next()
		switch t.text {
		case ".maxntid", ".reqntid":
			n, err := p.dims()
			if err != nil {
				return err
			}
			p.ent.maxThreads = n
		case ".minnctapersm", ".maxnreg":
			n, err := p.integer("a count", 1024)
			if err != nil {
				return err
			}
			if t.text == ".maxnreg" {
				p.ent.maxRegs = n
			} else {
				p.ent.minBlocks = n
			}
		case ".pragma":
			if err := p.skipTo(";"); err != nil {
				return err
			}
		default:
			return p.fail(t, "a kernel directive (.maxntid .reqntid .minnctapersm .maxnreg) or the body")
		}
	}
	return nil
}

func (p *parser) dims() (int, error) {
	n := 1
	for {
		t := p.peek()
		v, err := p.integer("a thread count", 1024)
		if err != nil {
			return 0, err
		}
		if n *= v; n > 1024 {
			return 0, p.fail(t, "at most 1024 threads a block")
		}
		if !p.accept(",") {
			return n, nil
		}
	}
}

func (p *parser) push() {
	p.sc = &scope{parent: p.sc, regs: map[string]*register{}, labels: map[string]int{}}
}

// body parses up to the brace that closes the kernel; nested braces open scopes.
func (p *parser) body() error {
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
	st := stmt{line: first.line, scope: p.sc, args: make([]operand, 0, 4)}
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
		if len(st.args) > 0 {
			if err := p.expect(","); err != nil {
				return err
			}
		}
		a, err := p.operand()
		if err != nil {
			return err
		}
		st.args = append(st.args, a)
	}
	st.text = p.src[first.start:p.toks[p.pos-1].end]
	p.ent.body = append(p.ent.body, st)
	return nil
}

// operand parses one operand, or the pair a|b.
func (p *parser) operand() (operand, error) {
	a, err := p.simpleOperand()
	if err != nil || !p.accept("|") {
		return a, err
	}
	b, err := p.simpleOperand()
	return operand{kind: argPair, list: []operand{a, b}}, err
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
