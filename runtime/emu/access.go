package emu

import (
	"math/bits"
	"strconv"
	"strings"
)

// cacheHints change speed alone, so the emulator takes and drops them.
var cacheHints = []string{"ca", "cg", "cs", "lu", "cv", "wb", "wt", "nc", "volatile", "weak", "relaxed", "acquire", "release", "acq_rel",
	"cta", "gpu", "sys", "L1::no_allocate", "L1::evict_last", "L1::evict_first", "L1::evict_normal", "L1::evict_unchanged",
	"L2::64B", "L2::128B", "L2::256B"}

func (d *decoder) takeSpace() space {
	switch {
	case d.take("global"):
		return spaceGlobal
	case d.take("shared"), d.take("shared::cta"):
		return spaceShared
	case d.take("param"):
		return spaceParam
	}
	return spaceGeneric
}

// takeVector removes .v2 or .v4 and gives the element count.
func (d *decoder) takeVector() int {
	for _, n := range []int{2, 4} {
		if d.take("v" + strconv.Itoa(n)) {
			return n
		}
	}
	return 1
}

// takeHint removes the cache policy operand that .L2::cache_hint adds at the end.
func (d *decoder) takeHint() {
	if n := len(d.st.args); d.take("L2::cache_hint") && n > 0 {
		d.source(d.st.args[n-1], ptxTypes["b64"])
		d.st.args = d.st.args[:n-1]
	}
}

func decodeLoad(d *decoder) {
	d.takeAny(cacheHints...)
	d.takeHint()
	d.in.space, d.in.vec = d.takeSpace(), d.takeVector()
	t := d.typ()
	if !d.count(2, 2) {
		return
	}
	d.in.size, d.in.signed = t.bytes, t.signed
	d.checkWidth()
	d.in.dv = d.vector(d.st.args[0], d.in.vec, func(o operand) int32 { return d.convertReg(o, t) })
	d.dataClass(d.st.args[0], t)
	if d.in.space == spaceParam && d.st.args[1].reg == nil {
		d.paramAddress(d.st.args[1])
		return
	}
	d.address(d.st.args[1])
	d.in.exec = execLoad
}

// checkWidth holds an access to the 16 bytes of the widest one.
func (d *decoder) checkWidth() {
	if n := d.in.size * d.in.vec; n > 16 || n == 0 {
		d.fail("found an access of %d bytes, %s moves 1 to 16", n, d.st.op)
	}
}

// dataClass notes whether the data registers are 64-bit or 16-bit; the registers of a list must agree.
func (d *decoder) dataClass(a operand, t ptxType) {
	list := a.list
	if a.kind != argVector {
		list = []operand{a}
	}
	class := classNone
	for _, x := range list {
		c := t.class
		if x.kind == argReg {
			c = x.reg.class
		}
		if class != classNone && c != class {
			d.fail("the registers of one list have different sizes")
		}
		class = c
	}
	d.in.wideD = class == class64
	d.in.imm = ^uint64(0)
	if class == class16 {
		d.in.imm = 0xffff
	}
}

func (d *decoder) paramAddress(a operand) {
	at, ok := d.params[a.name]
	if a.kind != argAddr || !ok {
		d.fail("found %q, ld.param wants a parameter's name in brackets", a.name)
		return
	}
	d.in.off = int64(at) + a.off
	if n := int64(d.in.size * d.in.vec); d.in.off < 0 || d.in.off > int64(d.k.paramBytes)-n {
		d.fail("%d bytes at offset %d are outside the parameters, which have %d bytes", n, d.in.off, d.k.paramBytes)
	}
	d.in.exec = execLoadParam
}

func execLoadParam(w *warp, in *inst, m uint32) error {
	for j := 0; j < in.vec; j++ {
		v := in.extend(load(w.block.run.params[int(in.off)+j*in.size:], in.size))
		for i := range w.tmp64 {
			w.tmp64[i] = v
		}
		w.storeAny(in.dv[j], in.wideD, m)
	}
	return nil
}

// extend widens a loaded value to its register.
func (in *inst) extend(v uint64) uint64 {
	if in.signed {
		shift := 64 - 8*in.size
		v = uint64(int64(v<<shift)>>shift) & in.imm
	}
	return v
}

// addresses computes the lanes' addresses. 32-bit arithmetic wraps in 32-bit registers.
func (w *warp) addresses(in *inst, slot int32, wide bool, off int64, m uint32) (*lanes64, error) {
	if wide {
		if w.init64[slot]&m != m {
			return nil, w.ready64(slot, m)
		}
		for i, x := range &w.r64[slot] {
			w.addr[i] = x + uint64(off)
		}
		return &w.addr, nil
	}
	if w.init32[slot]&m != m {
		return nil, w.ready32(slot, m)
	}
	for i, x := range &w.r32[slot] {
		w.addr[i] = uint64(x + uint32(off))
	}
	if in.space == spaceGlobal { // an absolute address
		for i := range w.addr {
			w.addr[i] = uint64(off)
		}
	}
	return &w.addr, nil
}

// resolve turns a generic access into one of a window. All active lanes must mean the same one.
func (w *warp) resolve(in *inst, addr *lanes64, m uint32) (space, error) {
	if in.space != spaceGeneric {
		return in.space, nil
	}
	var byWindow [3]uint32 // lanes in global memory, the shared window, the parameters
	for k := m; k != 0; k &= k - 1 {
		lane := bits.TrailingZeros32(k) & 31
		byWindow[min(addr[lane]/genericShared, 2)] |= 1 << lane
	}
	switch m {
	case byWindow[0]:
		return spaceGlobal, nil
	case byWindow[1]:
		for i := range addr {
			addr[i] -= genericShared
		}
		return spaceShared, nil
	case byWindow[2]:
		return spaceParam, nil
	}
	return 0, laneError(m&^byWindow[0], "a generic address means another state space here than in other lanes, which the emulator does not support")
}

func execLoad(w *warp, in *inst, m uint32) error {
	addr, err := w.addresses(in, in.a, in.wideA, in.off, m)
	if err != nil {
		return err
	}
	sp, err := w.resolve(in, addr, m)
	if err != nil {
		return err
	}
	n := in.size * in.vec
	if sp == spaceShared {
		w.usesShared(m)
		w.block.conflicts[w.frags[0].pc] += bankConflicts(addr, m, n)
	}
	for k := m; k != 0; k &= k - 1 {
		lane := bits.TrailingZeros32(k) & 31
		p, err := w.bytesToRead(sp, addr[lane], n, lane)
		if err != nil {
			return err
		}
		w.scatter(in, lane, p)
	}
	for j := 0; j < in.vec; j++ {
		if in.wideD {
			w.init64[in.dv[j]] |= m
		} else {
			w.init32[in.dv[j]] |= m
		}
	}
	return nil
}

// scatter writes loaded bytes to a lane's registers.
func (w *warp) scatter(in *inst, lane int, p []byte) {
	for j := 0; j < in.vec; j++ {
		v := in.extend(load(p[j*in.size:], in.size))
		if in.wideD {
			w.r64[in.dv[j]][lane] = v
		} else {
			w.r32[in.dv[j]][lane] = uint32(v)
		}
	}
}

func (w *warp) bytesToRead(sp space, addr uint64, n, lane int) ([]byte, error) {
	switch sp {
	case spaceGlobal:
		return w.block.globalRead(addr, n, lane)
	case spaceParam:
		return w.block.paramRead(addr, n, lane)
	}
	s := &w.block.shared
	off, err := s.offset(addr, n, lane, "reads")
	if err != nil {
		return nil, err
	}
	if err := s.read(w, lane, off, n); err != nil {
		return nil, err
	}
	return s.data[off : off+n], nil
}

// paramRead reads a parameter through its address.
func (b *block) paramRead(addr uint64, n, lane int) ([]byte, error) {
	p := b.run.params
	off := addr - genericParam
	if off >= uint64(len(p)) || uint64(n) > uint64(len(p))-off || off%uint64(n) != 0 {
		return nil, oneLane(lane, "reads %d bytes at offset %d of the parameters, which have %d bytes", n, int64(off), len(p))
	}
	return p[off : off+uint64(n)], nil
}

func decodeStore(d *decoder) {
	d.takeAny(cacheHints...)
	d.takeHint()
	d.in.space, d.in.vec = d.takeSpace(), d.takeVector()
	t := d.typ()
	if d.in.space == spaceParam {
		d.fail("st.param is not supported by the emulator")
	}
	if !d.count(2, 2) {
		return
	}
	d.in.size = t.bytes
	d.checkWidth()
	d.in.dv = d.vector(d.st.args[1], d.in.vec, func(o operand) int32 {
		if o.kind == argReg {
			return d.convertReg(o, t)
		}
		return d.source(o, t)
	})
	d.dataClass(d.st.args[1], t)
	d.address(d.st.args[0])
	d.in.exec = execStore
}

func execStore(w *warp, in *inst, m uint32) error {
	for j := 0; j < in.vec; j++ {
		ready := w.ready32
		if in.wideD {
			ready = w.ready64
		}
		if err := ready(in.dv[j], m); err != nil {
			return err
		}
	}
	addr, err := w.addresses(in, in.a, in.wideA, in.off, m)
	if err != nil {
		return err
	}
	sp, err := w.resolve(in, addr, m)
	if err != nil {
		return err
	}
	switch sp {
	case spaceShared:
		return w.storeShared(in, addr, m)
	case spaceParam:
		return laneError(m, "writes to the kernel's parameters")
	}
	for k := m; k != 0; k &= k - 1 {
		lane := bits.TrailingZeros32(k) & 31
		p, err := w.block.globalWrite(addr[lane], in.size*in.vec, lane)
		if err != nil {
			return err
		}
		w.gather(in, lane, p)
	}
	return nil
}

// gather collects a lane's registers as bytes.
func (w *warp) gather(in *inst, lane int, p []byte) {
	for j := 0; j < in.vec; j++ {
		if in.wideD {
			save(p[j*in.size:], in.size, w.r64[in.dv[j]][lane])
		} else {
			save(p[j*in.size:], in.size, uint64(w.r32[in.dv[j]][lane]))
		}
	}
}

func (w *warp) storeShared(in *inst, addr *lanes64, m uint32) error {
	n := in.size * in.vec
	s := &w.block.shared
	w.usesShared(m)
	s.store++
	w.block.conflicts[w.frags[0].pc] += bankConflicts(addr, m, n)
	var buf [16]byte
	for k := m; k != 0; k &= k - 1 {
		lane := bits.TrailingZeros32(k) & 31
		off, err := s.offset(addr[lane], n, lane, "writes")
		if err != nil {
			return err
		}
		w.gather(in, lane, buf[:n])
		if err := s.write(w, lane, off, buf[:n]); err != nil {
			return err
		}
	}
	return nil
}

// decodeAtom handles atom and red in global and shared memory.
func decodeAtom(d *decoder) {
	d.takeAny("relaxed", "acquire", "release", "acq_rel", "cta", "gpu", "sys")
	d.takeHint()
	d.in.space = d.takeSpace()
	op := d.oneOf("add", "min", "max", "exch", "cas", "and", "or", "xor")
	name := d.typName()
	t := ptxTypes[name]
	if d.in.space != spaceGlobal && d.in.space != spaceShared || t.bytes < 4 {
		d.fail("%s is not supported by the emulator: atomics are 32- or 64-bit and in global or shared memory", d.st.op)
	}
	args := d.st.args
	if d.base == "red" {
		args = append([]operand{{kind: argSink}}, args...)
	}
	want := 3
	if op == "cas" {
		want = 4
	}
	if len(args) != want {
		d.fail("found %d operands, %s wants %d", len(d.st.args), d.st.op, want-len(args)+len(d.st.args))
		return
	}
	d.in.d = d.dest(args[0], t)
	d.address(args[1])
	d.in.b = d.source(args[2], t)
	if want == 4 {
		d.in.c = d.source(args[3], t)
	}
	d.in.wideD, d.in.size = t.class == class64, t.bytes
	d.in.exec = atomExec(op, name)
	if d.in.exec == nil {
		d.fail("%s is not supported by the emulator", d.st.op)
	}
}

// atomics compute the new value from the old one x, the operand y and, for cas, the replacement z.
var atomics = map[string]func(t ptxType, x, y, z uint64) uint64{
	"add": func(_ ptxType, x, y, _ uint64) uint64 { return x + y },
	"min": func(t ptxType, x, y, _ uint64) uint64 {
		if less(t, y, x) {
			return y
		}
		return x
	},
	"max": func(t ptxType, x, y, _ uint64) uint64 {
		if less(t, x, y) {
			return y
		}
		return x
	},
	"exch": func(_ ptxType, _, y, _ uint64) uint64 { return y },
	"and":  func(_ ptxType, x, y, _ uint64) uint64 { return x & y },
	"or":   func(_ ptxType, x, y, _ uint64) uint64 { return x | y },
	"xor":  func(_ ptxType, x, y, _ uint64) uint64 { return x ^ y },
	"cas": func(_ ptxType, x, y, z uint64) uint64 {
		if x == y {
			return z
		}
		return x
	},
}

func less(t ptxType, x, y uint64) bool {
	if t.signed {
		return int64(narrow(x, t)) < int64(narrow(y, t))
	}
	return x < y
}

func atomExec(op, name string) func(*warp, *inst, uint32) error {
	t, f := ptxTypes[name], atomics[op]
	switch {
	case t.float && op != "add" || f == nil || t.bytes < 4:
		return nil
	case t.float:
		f = func(_ ptxType, x, y, _ uint64) uint64 { return uint64(bits32(f32(uint32(x)) + f32(uint32(y)))) }
	case strings.HasPrefix(name, "b") && (op == "add" || op == "min" || op == "max"):
		return nil
	}
	return func(w *warp, in *inst, m uint32) error { return execAtom(w, in, m, t, f) }
}

// execAtom does the lanes in order; blocks exclude each other.
func execAtom(w *warp, in *inst, m uint32, t ptxType, f func(t ptxType, x, y, z uint64) uint64) error {
	operandOf := func(slot int32) (*lanes64, error) {
		var v lanes64
		if in.wideD {
			v = w.r64[slot]
			return &v, w.ready64(slot, m)
		}
		for i, x := range &w.r32[slot] {
			v[i] = uint64(x)
		}
		return &v, w.ready32(slot, m)
	}
	y, errY := operandOf(in.b)
	z, errZ := operandOf(in.c)
	addr, errA := w.addresses(in, in.a, in.wideA, in.off, m)
	if err := first(errY, errZ, errA); err != nil {
		return err
	}
	if in.space == spaceShared {
		w.usesShared(m)
		w.block.conflicts[w.frags[0].pc] += bankConflicts(addr, m, in.size)
	}
	mem := w.block.run.mem
	mem.atomic.Lock()
	defer mem.atomic.Unlock()
	err := activeLanes(m, func(lane int) error {
		p, err := w.atomicBytes(in, addr[lane], lane)
		if err != nil {
			return err
		}
		x := load(p, in.size)
		save(p, in.size, f(t, x, y[lane], z[lane]))
		w.tmp64[lane] = x
		return nil
	})
	if err == nil {
		w.storeAny(in.d, in.wideD, m)
	}
	return err
}

// atomicBytes are the bytes that an atomic reads and writes.
func (w *warp) atomicBytes(in *inst, addr uint64, lane int) ([]byte, error) {
	if in.space == spaceGlobal {
		return w.block.globalRead(addr, in.size, lane)
	}
	s := &w.block.shared
	off, err := s.offset(addr, in.size, lane, "updates")
	if err != nil {
		return nil, err
	}
	return s.data[off : off+in.size], s.update(w, lane, off, in.size)
}
