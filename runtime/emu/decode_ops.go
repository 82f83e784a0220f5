package emu

import (
	"strings"
)

// instructions is the table of what the emulator knows, by the opcode up to its first dot. A row takes the modifiers
// it understands; what is left over is refused.
var instructions map[string]func(*decoder)

func init() {
	instructions = map[string]func(*decoder){
		"mov":  decodeMov,
		"cvta": decodeCvta,
		"cvt":  decodeCvt,
		"setp": decodeSetp,
		"selp": decodeSelp,
		"lop3": decodeLop3,
		"bfi":  decodeBfi,

		"createpolicy": decodePolicy,

		"ld":       decodeLoad,
		"ldu":      decodeLoad,
		"st":       decodeStore,
		"atom":     decodeAtom,
		"red":      decodeAtom,
		"cp":       decodeCpAsync,
		"ldmatrix": decodeLdmatrix,
		"mma":      decodeMMA,
		"wgmma":    decodeWgmma,
		"shfl":     decodeShfl,
		"vote":     decodeVote,
		"redux":    decodeRedux,
		"activemask": func(d *decoder) {
			d.takeAny("b32")
			if d.count(1, 1) {
				d.in.exec, d.in.d = execActivemask, d.reg(d.st.args[0], class32)
			}
		},

		"bar":      decodeBarrier,
		"barrier":  decodeBarrier,
		"mbarrier": decodeMbarrier,
		"membar":   decodeFence,
		"fence":    decodeFence,
		"prefetch": decodePrefetch,

		"nanosleep":  decodeNanosleep,
		"setmaxnreg": decodeSetmaxnreg,
		"elect":      decodeElect,
		"stmatrix":   decodeStmatrix,

		"bra":  decodeBranch,
		"ret":  decodeExit,
		"exit": decodeExit,
		"trap": decodeTrap,
	}
	for _, base := range strings.Fields(`add sub mul mad fma min max abs neg div rem and or xor not shl shr
		popc clz brev bfe prmt shf ex2 lg2 rcp sqrt rsqrt`) {
		instructions[base] = decodeALU
	}
}

// decodeALU finds the opcode in the tables of lane functions, without its rounding and flushing.
func decodeALU(d *decoder) {
	d.in.ftz = d.take("ftz")
	d.take("rn")
	key := d.base + "." + strings.Join(d.mods, ".")
	typ := d.typ()
	d.mods = nil
	if d.in.ftz && (!typ.float || typ.bytes != 4) {
		d.fail(".ftz belongs to f32 instructions")
	}
	switch {
	case alu32[key].fn != nil:
		d.alu32(alu32[key], typ)
	case alu64[key].fn != nil:
		d.alu64(alu64[key], typ)
	case shift64[key] != nil:
		d.shift64(shift64[key])
	case wide32[key] != nil:
		d.wide32(key)
	case wide16[key] != nil:
		d.wide16(wide16[key], typ)
	case typ.class == classPred && predOps[key] != nil:
		d.predOp(key)
	case key == "popc.b64" || key == "clz.b64":
		d.count64(key)
	default:
		d.fail("instruction %s is not supported by the emulator", d.st.op)
	}
}

func (d *decoder) alu32(op op32, t ptxType) {
	a := d.st.args
	if !d.count(op.args+1, op.args+1) {
		return
	}
	d.in.exec, d.in.f32 = execALU32, op.fn
	if d.in.ftz {
		d.in.exec = execFlush32
	}
	d.in.d = d.dest(a[0], t)
	d.in.a = d.source(a[1], t)
	second := t
	switch d.base {
	case "shl", "shr", "bfe":
		second = ptxTypes["u32"] // positions and counts
	}
	if op.args > 1 {
		d.in.b = d.source(a[2], second)
	}
	if op.args > 2 {
		d.in.c = d.source(a[3], second)
	}
}

func (d *decoder) alu64(op op64, t ptxType) {
	a := d.st.args
	if !d.count(op.args+1, op.args+1) {
		return
	}
	d.in.exec, d.in.f64 = execALU64, op.fn
	d.in.d, d.in.a = d.dest(a[0], t), d.source(a[1], t)
	if op.args > 1 {
		d.in.b = d.source(a[2], t)
	}
	if op.args > 2 {
		d.in.c = d.source(a[3], t)
	}
}

func (d *decoder) shift64(fn func(uint64, uint32) uint64) {
	a, t := d.st.args, ptxTypes["b64"]
	if !d.count(3, 3) {
		return
	}
	d.in.d, d.in.a, d.in.b = d.dest(a[0], t), d.source(a[1], t), d.source(a[2], ptxTypes["u32"])
	d.in.exec = func(w *warp, in *inst, m uint32) error { return execShift64(w, in, m, fn) }
}

func (d *decoder) wide32(key string) {
	a, t := d.st.args, ptxTypes["u32"]
	fn := wide32[key]
	if d.base == "mad" && d.count(4, 4) {
		d.in.c = d.source(a[3], ptxTypes["b64"])
	} else if !d.count(3, 3) {
		return
	}
	d.in.d, d.in.a, d.in.b = d.dest(a[0], ptxTypes["b64"]), d.source(a[1], t), d.source(a[2], t)
	d.in.exec = func(w *warp, in *inst, m uint32) error { return execWide(w, in, m, fn) }
}

func (d *decoder) wide16(fn func(a, b uint32) uint32, t ptxType) {
	a := d.st.args
	if d.count(3, 3) {
		d.in.d, d.in.a, d.in.b = d.dest(a[0], ptxTypes["b32"]), d.source(a[1], t), d.source(a[2], t)
		d.in.exec, d.in.f32 = execALU32, lanewise2(fn)
	}
}

func (d *decoder) count64(key string) {
	a := d.st.args
	if d.count(2, 2) {
		d.in.d, d.in.a, d.in.wideA = d.dest(a[0], ptxTypes["b32"]), d.source(a[1], ptxTypes["b64"]), true
		d.in.exec, d.in.conv = execConvert, counts64[key]
	}
}

func (d *decoder) predOp(key string) {
	a := d.st.args
	want := 3
	if d.base == "not" {
		want = 2
	}
	if !d.count(want, want) {
		return
	}
	d.in.d = d.reg(a[0], classPred)
	d.in.a, d.in.notA = d.pred(a[1])
	if want == 3 {
		d.in.c, d.in.notC = d.pred(a[2])
	}
	fn := predOps[key]
	d.in.exec = func(w *warp, in *inst, m uint32) error { return execPred(w, in, m, fn) }
}

func decodeLop3(d *decoder) {
	d.takeAny("b32")
	a, t := d.st.args, ptxTypes["b32"]
	if !d.count(5, 5) {
		return
	}
	d.in.exec, d.in.f32 = execALU32, lop3(uint8(d.immediate(a[4])))
	d.in.d, d.in.a, d.in.b, d.in.c = d.dest(a[0], t), d.source(a[1], t), d.source(a[2], t), d.source(a[3], t)
}

func decodeBfi(d *decoder) {
	d.oneOf("b32")
	a, t := d.st.args, ptxTypes["b32"]
	if !d.count(5, 5) {
		return
	}
	d.in.exec, d.in.d = execBfi, d.dest(a[0], t)
	for i := range d.in.av {
		d.in.av[i] = d.source(a[i+1], t)
	}
}

// decodeSetp handles setp.<cmp>[.<and|or|xor>][.ftz].<type> p[|q], a, b[, [!]c].
func decodeSetp(d *decoder) {
	d.in.ftz = d.take("ftz")
	name := d.typName()
	t := ptxTypes[name]
	combine := ""
	if d.take("and") {
		combine = "and"
	} else if d.take("or") {
		combine = "or"
	} else if d.take("xor") {
		combine = "xor"
	}
	if len(d.mods) != 1 {
		d.fail("setp wants one comparison, found %q", strings.Join(d.mods, "."))
		return
	}
	want, ok := comparison(d.mods[0], t)
	if !ok {
		d.fail("comparison .%s.%s is not supported by the emulator", d.mods[0], name)
		return
	}
	d.mods = nil
	n := 3
	if combine != "" {
		n = 4
	}
	if !d.count(n, n) {
		return
	}
	d.in.want, d.in.cmp = want, comparers[name]
	d.setpOperands(t, combine)
}

func (d *decoder) setpOperands(t ptxType, combine string) {
	a := d.st.args
	dst := []operand{a[0], {kind: argSink}}
	if a[0].kind == argPair {
		dst = a[0].list
	}
	sink := func(o operand) int32 {
		if o.kind == argSink {
			return d.newSlot(classPred)
		}
		return d.reg(o, classPred)
	}
	d.in.d, d.in.d2, d.in.dead2 = sink(dst[0]), sink(dst[1]), dst[1].kind == argSink
	d.in.a, d.in.b = d.source(a[1], t), d.source(a[2], t)
	d.in.wideA = t.class == class64
	d.in.exec = execSetp
	if combine != "" {
		d.in.mode = combine[0]
		d.in.c, d.in.notC = d.pred(a[3])
	}
}

func decodeSelp(d *decoder) {
	t := d.typ()
	a := d.st.args
	if !d.count(4, 4) {
		return
	}
	if t.class == class64 {
		d.in.wideD = true
	}
	d.in.exec = execSelp
	d.in.d, d.in.a, d.in.b = d.dest(a[0], t), d.source(a[1], t), d.source(a[2], t)
	d.in.c, d.in.notC = d.pred(a[3])
}

func decodeBranch(d *decoder) {
	d.takeAny("uni")
	if !d.count(1, 1) {
		return
	}
	d.in.ctl = ctlBranch
	for s := d.st.scope; s != nil; s = s.parent {
		if at, ok := s.labels[d.st.args[0].name]; ok {
			d.in.target = int32(at)
			return
		}
	}
	d.fail("label %s is not declared", describe(d.st.args[0]))
}

func decodeExit(d *decoder) {
	d.takeAny("uni")
	d.count(0, 0)
	d.in.ctl = ctlExit
}

func decodeTrap(d *decoder) {
	d.count(0, 0)
	d.in.exec = execTrap
}

// decodePolicy makes a cache policy, whose value nobody looks at.
func decodePolicy(d *decoder) {
	d.mods = nil
	if d.count(2, 3) {
		d.in.d, d.in.a, d.in.exec, d.in.f64 = d.dest(d.st.args[0], ptxTypes["b64"]), d.constant(0, ptxTypes["b64"]), execALU64, mov64
	}
}

// decodeFence accepts every memory fence: the emulator's memory is sequentially consistent inside a block, and
// between blocks it promises nothing that a fence could strengthen.
func decodeFence(d *decoder) {
	if d.take("proxy") && len(d.mods) > 0 && d.mods[0] == "async" {
		decodeProxyFence(d)
		return
	}
	if d.take("mbarrier_init") {
		d.needs(levelSM90)
		d.takeAny("release", "cluster")
		d.in.exec = execPublish
		return
	}
	d.mods = nil
	d.in.exec = func(*warp, *inst, uint32) error { return nil }
}

// decodePrefetch drops prefetches, but looks at the tensor map that prefetch.tensormap names.
func decodePrefetch(d *decoder) {
	if !d.take("tensormap") {
		decodeFence(d)
		return
	}
	d.needs(levelSM90)
	if !d.count(1, 1) {
		return
	}
	at := d.addressIn(d.takeSpace(), d.st.args[0])
	d.in.exec = func(w *warp, _ *inst, m uint32) error {
		if err := w.readyAddress(at, m); err != nil {
			return err
		}
		return activeLanes(m, func(lane int) error {
			_, err := w.mapAt(w.laneAddress(at, lane), lane)
			return err
		})
	}
}

// decodeNanosleep sleeps for no time, as the GPU may.
func decodeNanosleep(d *decoder) {
	d.oneOf("u32")
	if d.count(1, 1) {
		d.in.a = d.source(d.st.args[0], ptxTypes["u32"])
		d.in.exec = func(w *warp, in *inst, m uint32) error { return w.ready32(in.a, m) }
	}
}
