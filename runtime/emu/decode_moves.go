package emu

import (
	"strings"
)

// decodeMov also packs and unpacks lists: mov.b64 %rd, {%r1, %r2}.
func decodeMov(d *decoder) {
	key := "mov." + strings.Join(d.mods, ".")
	t := d.typ()
	a := d.st.args
	if !d.count(2, 2) {
		return
	}
	switch {
	case a[0].kind == argVector:
		d.unpack(a[0], a[1], t)
	case a[1].kind == argVector:
		d.pack(a[0], a[1], t)
	case t.class == classPred:
		d.movPred(a)
	case alu64[key].fn != nil:
		d.mods = nil
		d.alu64(alu64[key], t)
	case alu32[key].fn != nil:
		d.mods = nil
		d.alu32(alu32[key], t)
	default:
		d.fail("instruction %s is not supported by the emulator", d.st.op)
	}
}

// movPred copies a predicate or sets it to a constant, which is 0 == 0 or 0 != 0.
func (d *decoder) movPred(a []operand) {
	d.in.d = d.reg(a[0], classPred)
	if a[1].kind == argImm {
		d.in.exec, d.in.imm = execPredImm, a[1].imm
		return
	}
	d.in.a, d.in.notA = d.pred(a[1])
	fn := func(a, _ uint32) uint32 { return a }
	d.in.exec = func(w *warp, in *inst, m uint32) error { return execPred(w, in, m, fn) }
}

// parts is the type of a list's elements when n of them make up t.
func (d *decoder) parts(n int, t ptxType) ptxType {
	switch {
	case t.bytes == 8 && n == 2:
		return ptxTypes["b32"]
	case t.bytes == 8 && n == 4, t.bytes == 4 && n == 2:
		return ptxTypes["b16"]
	}
	d.fail("%s does not pack %d registers", d.st.op, n)
	return ptxTypes["b32"]
}

func (d *decoder) unpack(dst, src operand, t ptxType) {
	part := d.parts(len(dst.list), t)
	d.in.exec, d.in.vec, d.in.size, d.in.wideA = execUnpack, len(dst.list), part.bytes, t.bytes == 8
	d.in.dv = d.vector(dst, d.in.vec, func(o operand) int32 { return d.dest(o, part) })
	d.in.a = d.source(src, t)
}

func (d *decoder) pack(dst, src operand, t ptxType) {
	part := d.parts(len(src.list), t)
	d.in.exec, d.in.vec, d.in.size, d.in.wideD = execPack, len(src.list), part.bytes, t.bytes == 8
	d.in.av = d.vector(src, d.in.vec, func(o operand) int32 { return d.source(o, part) })
	d.in.d = d.dest(dst, t)
}

// decodeCvta moves an address between a state space and the generic one. Global and generic addresses are equal;
// a shared window has its own place in the generic space.
func decodeCvta(d *decoder) {
	to := d.take("to")
	sp := d.oneOf("global", "shared", "param")
	d.typ()
	a, t := d.st.args, ptxTypes["b64"]
	if !d.count(2, 2) {
		return
	}
	d.in.d, d.in.a, d.in.exec = d.dest(a[0], t), d.source(a[1], t), execALU64
	var move uint64
	if sp == "shared" {
		move = genericShared
	}
	if to {
		move = -move
	}
	d.in.f64 = lanewise64(func(a, _ uint64) uint64 { return a + move })
}

func decodeCvt(d *decoder) {
	d.in.ftz = d.take("ftz")
	srcName := d.typName()
	dstName := d.typName()
	src, dst := ptxTypes[srcName], ptxTypes[dstName]
	if strings.HasSuffix(dstName, "16x2") {
		d.take("rn")
		d.alu32(alu32["cvt."+dstName+"."+srcName], ptxTypes["f32"])
		return
	}
	if !d.count(2, 2) {
		return
	}
	d.in.exec = execConvert
	d.in.conv = d.conversion(dstName, srcName)
	d.in.d, d.in.wideD = d.convertReg(d.st.args[0], dst), d.wide(d.st.args[0])
	if conv := d.in.conv; conv != nil && d.half(d.st.args[0]) {
		d.in.conv = func(x uint64) uint64 { return conv(x) & 0xffff }
	}
	if d.st.args[1].kind != argReg {
		d.in.a, d.in.wideA = d.source(d.st.args[1], src), src.class == class64
		return
	}
	d.in.a, d.in.wideA = d.convertReg(d.st.args[1], src), d.wide(d.st.args[1])
}

// half says whether a register has 16 bits: its slot's upper half stays zero.
func (d *decoder) half(a operand) bool { return a.kind == argReg && a.reg.class == class16 }

func (d *decoder) wide(a operand) bool { return a.kind == argReg && a.reg.class == class64 }

// convertReg lets a register be wider than the type, as PTX does for cvt, ld and st of small integers.
func (d *decoder) convertReg(a operand, t ptxType) int32 {
	if a.kind == argSink {
		return d.newSlot(t.class)
	}
	if a.kind == argReg && a.reg.class > t.class && a.reg.class != classPred && (!t.float || t.bytes == 2) {
		return d.slot(a.reg)
	}
	return d.reg(a, t.class)
}

// conversion picks the function of a cvt; the rounding modifier decides between float and integer rounding.
func (d *decoder) conversion(dstName, srcName string) func(uint64) uint64 {
	src, dst := ptxTypes[srcName], ptxTypes[dstName]
	f32s, f32d := srcName == "f32", dstName == "f32"
	switch {
	case smallFloats[dstName+"."+srcName] != nil:
		d.take("rn")
		return smallFloats[dstName+"."+srcName]
	case f32s && f32d:
		round := roundings[d.oneOf("rni", "rzi", "rmi", "rpi")]
		return func(x uint64) uint64 {
			if round == nil {
				return x
			}
			return uint64(bits32(float32(round(float64(f32(uint32(x)))))))
		}
	case f32s && !dst.float:
		round := roundings[d.oneOf("rni", "rzi", "rmi", "rpi")]
		if round != nil {
			return floatToInt(dst, round)
		}
	case f32d && !src.float:
		d.oneOf("rn")
		return intToFloat(src)
	case !src.float && !dst.float:
		return convertInt(dst, src)
	}
	d.fail("conversion %s is not supported by the emulator", d.st.op)
	return nil
}
