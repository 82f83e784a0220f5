package emu

import (
	"errors"
	"fmt"
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
	args []operand // of the statement that is being parsed
	room []operand // for the arguments of further statements
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
	if t := &p.toks[p.pos]; t.kind != tokString && t.text == text && t.kind != tokEOF {
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

// operand parses one operand, or the pair a|b.
func (p *parser) operand() (operand, error) {
	a, err := p.simpleOperand()
	if err != nil || !p.accept("|") {
		return a, err
	}
	b, err := p.simpleOperand()
	return operand{kind: argPair, list: []operand{a, b}}, err
}
