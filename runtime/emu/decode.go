package emu

import (
	"errors"
	"fmt"
	"math"
	"strings"
)

// sharedBase is the address of the first shared byte. It is not 0, so that a null pointer is out of bounds;
// the GPU has the same offset, 1 KB reserved for each block.
const sharedBase = 0x400

// decoder turns the statements of one entry into instructions.
type decoder struct {
	k       *kernel
	target  string
	symbols map[string]uint64
	params  map[string]int // offset in the parameter space
	seen32  map[uint64]int32
	seen64  map[uint64]int32
	seenSp  map[string]int32

	sumLists map[string]int32 // see sumList

	st   *stmt
	in   inst
	base string   // opcode up to the first dot
	mods []string // modifiers not yet taken
	err  error    // first error of this statement
}

// maxErrors bounds a load log: the rest is most often the same mistake again.
const maxErrors = 20

// decodeEntry decodes a kernel. The error joins one line for each statement that cannot run.
func decodeEntry(m *ptxModule, e *entry) (*kernel, error) {
	d := newDecoder(m, e)
	d.layoutShared(m, e)
	d.layoutParams(e)
	var errs []error
	d.k.code = make([]inst, 0, len(e.body)+1)
	for i := range e.body {
		in, err := d.statement(&e.body[i])
		if err != nil {
			errs = append(errs, fmt.Errorf("line %d: %w\n\t%s", e.body[i].line, err, folded(e.body[i].text)))
			if len(errs) == maxErrors {
				break
			}
		}
		d.k.code = append(d.k.code, in)
	}
	if len(errs) == 0 {
		d.finish(e)
	}
	return d.k, errors.Join(errs...)
}

func newDecoder(m *ptxModule, e *entry) *decoder {
	k := &kernel{name: e.name, params: e.params, maxThreads: e.maxThreads, maxShared: targets[m.target].shared,
		launchRegs: e.launchRegs(), n32: 1, n64: 1, nP: 1}
	k.const32 = []constant{{0, 0}}
	k.const64 = []constant{{0, 0}}
	return &decoder{k: k, target: m.target, symbols: map[string]uint64{}, params: map[string]int{},
		seen32: map[uint64]int32{0: 0}, seen64: map[uint64]int32{0: 0}, seenSp: map[string]int32{}}
}

func alignUp(n, a int) int { return (n + a - 1) &^ (a - 1) }

// layoutShared places the static arrays in order, then the dynamic one, which every dynamic symbol names.
func (d *decoder) layoutShared(m *ptxModule, e *entry) {
	at, dynAlign := 0, 16
	for _, list := range [][]symbol{m.shared, e.shared} {
		for _, s := range list {
			if s.dynamic {
				dynAlign = max(dynAlign, s.align)
				continue
			}
			at = alignUp(at, s.align)
			d.symbols[s.name] = uint64(sharedBase + at)
			at += s.size
		}
	}
	if at > 0 {
		at = alignUp(at, dynAlign)
	}
	d.k.staticShared = at
	for _, list := range [][]symbol{m.shared, e.shared} {
		for _, s := range list {
			if s.dynamic {
				d.symbols[s.name] = uint64(sharedBase + at)
			}
		}
	}
}

func (d *decoder) layoutParams(e *entry) {
	at := 0
	for _, p := range e.params {
		at = alignUp(at, p.align)
		d.params[p.name] = at
		d.k.paramOffset = append(d.k.paramOffset, at)
		at += p.size
	}
	d.k.paramBytes = at
}

// finish ends the kernel with an exit, so that running off the end is defined, and makes the start masks.
func (d *decoder) finish(e *entry) {
	d.k.code = append(d.k.code, inst{ctl: ctlExit, guard: -1, name: "ret", text: "end of the kernel", line: e.line})
	d.k.ready32 = make([]uint32, d.k.n32)
	d.k.ready64 = make([]uint32, d.k.n64)
	for _, c := range d.k.const32 {
		d.k.ready32[c.slot] = fullMask
	}
	for _, c := range d.k.const64 {
		d.k.ready64[c.slot] = fullMask
	}
	for _, s := range d.k.special32 {
		d.k.ready32[s.slot] = fullMask
	}
	if d.k.tensor {
		d.watchTensor(e)
	}
}

func (d *decoder) statement(st *stmt) (inst, error) {
	d.st, d.err = st, nil
	d.in = inst{guard: -1, line: st.line, name: st.op, text: st.text, neg: st.guardNot}
	if st.guard != nil {
		d.in.guard = d.slot(st.guard)
	}
	parts := strings.Split(st.op, ".")
	d.base, d.mods = parts[0], parts[1:]
	decode := instructions[d.base]
	if decode == nil {
		return d.in, fmt.Errorf("instruction %s is not supported by the emulator", st.op)
	}
	d.needs(opcodeLevels[d.base])
	decode(d)
	if d.err == nil && len(d.mods) > 0 {
		d.fail("modifier .%s of %s is not supported by the emulator", d.mods[0], d.base)
	}
	return d.in, d.err
}

func (d *decoder) fail(format string, args ...any) {
	if d.err == nil {
		d.err = fmt.Errorf(format, args...)
	}
}

// opcodeLevels are the opcodes of which every form needs more than sm_80.
var opcodeLevels = map[string]int{"elect": levelSM90, "stmatrix": levelSM90, "setmaxnreg": levelSM90a, "wgmma": levelSM90a}

// needs refuses an instruction that the module's target does not have.
func (d *decoder) needs(level int) {
	if targets[d.target].level < level {
		d.fail("instruction %s needs .target sm_90a, found %s", d.st.op, d.target)
	}
}

// take removes a modifier and says whether it was there.
func (d *decoder) take(mod string) bool {
	for i, m := range d.mods {
		if m == mod {
			d.mods = append(d.mods[:i:i], d.mods[i+1:]...)
			return true
		}
	}
	return false
}

// takeAny removes all modifiers of a list that change nothing in the emulator.
func (d *decoder) takeAny(mods ...string) {
	for _, m := range mods {
		d.take(m)
	}
}

// oneOf removes the first modifier that is in the list.
func (d *decoder) oneOf(mods ...string) string {
	for _, m := range mods {
		if d.take(m) {
			return m
		}
	}
	d.fail("%s wants one of .%s", d.base, strings.Join(mods, " ."))
	return ""
}

// typ removes the last modifier, a type.
func (d *decoder) typ() ptxType {
	name := d.typName()
	return ptxTypes[name]
}

func (d *decoder) typName() string {
	if len(d.mods) > 0 {
		name := d.mods[len(d.mods)-1]
		if _, ok := ptxTypes[name]; ok {
			d.mods = d.mods[:len(d.mods)-1]
			return name
		}
	}
	d.fail("%s wants a type that the emulator knows", d.base)
	return "b32"
}

// count checks the number of operands.
func (d *decoder) count(low, high int) bool {
	if n := len(d.st.args); n < low || n > high {
		d.fail("found %d operands, %s wants %d", n, d.st.op, high)
	}
	return d.err == nil
}

// slot gives a register its place in its file.
func (d *decoder) slot(r *register) int32 {
	if r.slot < 0 {
		r.slot = d.newSlot(r.class)
		d.k.names = append(d.k.names, regName{r.class, r.slot, r.name})
	}
	return r.slot
}

func (d *decoder) newSlot(c regClass) int32 {
	n := &d.k.n32
	switch c {
	case class64:
		n = &d.k.n64
	case classPred:
		n = &d.k.nP
	}
	*n++
	return *n - 1
}

// reg wants a register of a class.
func (d *decoder) reg(a operand, c regClass) int32 {
	if a.kind != argReg {
		d.fail("found %s, %s wants a register of %s there", describe(a), d.st.op, c)
		return 0
	}
	if a.reg.class != c {
		d.fail("register %s holds %s, %s wants %s there", a.reg.name, a.reg.class, d.st.op, c)
		return 0
	}
	return d.slot(a.reg)
}

func describe(a operand) string {
	switch a.kind {
	case argReg, argName:
		return a.name
	case argImm:
		return fmt.Sprintf("the number %d", int64(a.imm))
	case argFloat:
		return fmt.Sprintf("the number %v", math.Float32frombits(uint32(a.imm)))
	case argAddr:
		return "an address in brackets"
	case argVector:
		return "a list in braces"
	case argPair:
		return "a pair a|b"
	case argSink:
		return "_"
	}
	return "an unknown operand"
}

// source is an operand that is read: a register, a constant, a special register or an address.
func (d *decoder) source(a operand, t ptxType) int32 {
	if a.not {
		d.fail("found !%s, only predicates can be negated", a.name)
	}
	switch a.kind {
	case argReg:
		return d.reg(a, t.class)
	case argImm:
		if t.float {
			d.fail("found %s, %s wants a float such as 0f00000000", describe(a), d.st.op)
		}
		return d.constant(a.imm, t)
	case argFloat:
		// mov.b32 and st.b32 take the bits of a float literal
		if !(t.float && t.bytes == 4) && !strings.HasSuffix(d.st.op, ".b32") {
			d.fail("found %s, %s wants an integer", describe(a), d.st.op)
		}
		return d.constant(a.imm, t)
	case argName:
		return d.named(a, t)
	}
	d.fail("found %s, %s wants a value there", describe(a), d.st.op)
	return 0
}

// named resolves special registers and shared symbols.
func (d *decoder) named(a operand, t ptxType) int32 {
	if addr, ok := d.symbols[a.name]; ok {
		if t.class != class32 && t.class != class64 {
			d.fail("the address of %s needs 32 or 64 bits, %s has %s", a.name, d.st.op, t.class)
		}
		return d.constant(addr+uint64(a.off), t)
	}
	if _, ok := specials[a.name]; ok {
		if t.class != class32 || a.off != 0 {
			d.fail("%s is a 32-bit register, %s wants %s", a.name, d.st.op, t.class)
		}
		return d.special(a.name)
	}
	if at, ok := d.params[a.name]; ok && t.class == class64 {
		return d.constant(genericParam+uint64(at)+uint64(a.off), t)
	}
	if a.name == "WARP_SZ" {
		return d.constant(32, t)
	}
	d.fail("%s is not declared", a.name)
	return 0
}

func (d *decoder) special(name string) int32 {
	s, ok := d.seenSp[name]
	if !ok {
		s = d.newSlot(class32)
		d.seenSp[name] = s
		d.k.special32 = append(d.k.special32, special{s, name})
	}
	return s
}

// constant gives a value a slot; equal values share one.
func (d *decoder) constant(v uint64, t ptxType) int32 {
	switch t.class {
	case class64:
		if s, ok := d.seen64[v]; ok {
			return s
		}
		s := d.newSlot(class64)
		d.seen64[v] = s
		d.k.const64 = append(d.k.const64, constant{s, v})
		return s
	case class16:
		v &= 0xffff
	case class32:
		v &= 0xffffffff
	default:
		d.fail("found a number, %s wants %s", d.st.op, t.class)
		return 0
	}
	if s, ok := d.seen32[v]; ok {
		return s
	}
	s := d.newSlot(class32)
	d.seen32[v] = s
	d.k.const32 = append(d.k.const32, constant{s, v})
	return s
}

// dest is a register that is written.
func (d *decoder) dest(a operand, t ptxType) int32 {
	if a.kind == argSink {
		return d.newSlot(t.class)
	}
	return d.reg(a, t.class)
}

// pred is a predicate source, which may be negated.
func (d *decoder) pred(a operand) (slot int32, not bool) {
	if a.kind == argReg && a.reg.class == classPred {
		return d.slot(a.reg), a.not
	}
	d.fail("found %s, %s wants a predicate there", describe(a), d.st.op)
	return 0, false
}

// vector is a list of n sources or destinations; a single register is a list of one.
func (d *decoder) vector(a operand, n int, each func(operand) int32) (v [4]int32) {
	list := a.list
	if a.kind != argVector {
		list = []operand{a}
	}
	if len(list) != n || n > 4 {
		d.fail("found %d registers in the list, %s wants %d", len(list), d.st.op, n)
		return v
	}
	for i, x := range list {
		v[i] = each(x)
	}
	return v
}

// immediate is an operand that must be known at load time.
func (d *decoder) immediate(a operand) uint64 {
	if a.kind != argImm {
		d.fail("found %s, %s wants a number there", describe(a), d.st.op)
	}
	return a.imm
}

// address decodes [base+off] into slot a, wideA and off.
func (d *decoder) address(a operand) {
	if a.kind != argAddr || len(a.list) > 0 {
		d.fail("found %s, %s wants an address in brackets", describe(a), d.st.op)
		return
	}
	d.in.off = a.off
	switch {
	case a.reg != nil && a.reg.class == class64:
		d.in.a, d.in.wideA = d.slot(a.reg), true
	case a.reg != nil && a.reg.class == class32 && d.in.space == spaceShared:
		d.in.a = d.slot(a.reg)
	case a.reg != nil:
		d.fail("address register %s holds %s, global addresses have 64 bits and shared ones 32 or 64", a.reg.name, a.reg.class)
	case a.name != "":
		addr, ok := d.symbols[a.name]
		if !ok || d.in.space != spaceShared {
			d.fail("%s is not a declared array of that state space", a.name)
		}
		d.in.off += int64(addr)
	default:
		d.in.off += int64(a.imm)
	}
}

// addressOperand is a decoded address beside the one that inst itself holds.
type addressOperand struct {
	slot int32
	wide bool
	off  int64
}

// addressIn decodes an address in a state space.
func (d *decoder) addressIn(sp space, a operand) addressOperand {
	d.in.space, d.in.a, d.in.off, d.in.wideA = sp, 0, 0, false
	d.address(a)
	return addressOperand{d.in.a, d.in.wideA, d.in.off}
}

func (w *warp) readyAddress(a addressOperand, m uint32) error {
	if a.wide {
		return w.ready64(a.slot, m)
	}
	return w.ready32(a.slot, m)
}

// laneAddress computes one lane's address. 32-bit arithmetic wraps in 32-bit registers.
func (w *warp) laneAddress(a addressOperand, lane int) uint64 {
	if a.wide {
		return w.r64[a.slot][lane] + uint64(a.off)
	}
	return uint64(w.r32[a.slot][lane] + uint32(a.off))
}
