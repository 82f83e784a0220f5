package emu

import "math/bits"

// op32 and op64 are arithmetic instructions that treat each lane alone. They always compute 32 lanes; the caller
// keeps only the active ones. Division by zero gives all ones, as the hardware does, and never traps.
type op32 struct {
	args int
	fn   func(d, a, b, c *lanes)
}

type op64 struct {
	args int
	fn   func(d, a, b, c *lanes64)
}

// alu32 is keyed by the opcode without rounding and .ftz.
var alu32 = map[string]op32{
	"mov.b32": {1, mov32}, "mov.u32": {1, mov32}, "mov.s32": {1, mov32}, "mov.f32": {1, mov32},
	"mov.b16": {1, mov32}, "mov.u16": {1, mov32}, "mov.s16": {1, mov32},
	"add.u32": {2, add32}, "add.s32": {2, add32},
	"sub.u32": {2, sub32}, "sub.s32": {2, sub32},
	"mul.lo.u32": {2, mulLo32}, "mul.lo.s32": {2, mulLo32},
	"mul.hi.u32": {2, func(d, a, b, _ *lanes) {
		for i := range d {
			d[i] = uint32(uint64(a[i]) * uint64(b[i]) >> 32)
		}
	}},
	"mul.hi.s32": {2, func(d, a, b, _ *lanes) {
		for i := range d {
			d[i] = uint32(int64(int32(a[i])) * int64(int32(b[i])) >> 32)
		}
	}},
	"mad.lo.u32": {3, madLo32}, "mad.lo.s32": {3, madLo32},
	"mad.hi.u32": {3, func(d, a, b, c *lanes) {
		for i := range d {
			d[i] = uint32(uint64(a[i])*uint64(b[i])>>32) + c[i]
		}
	}},
	"mad.hi.s32": {3, func(d, a, b, c *lanes) {
		for i := range d {
			d[i] = uint32(int64(int32(a[i]))*int64(int32(b[i]))>>32) + c[i]
		}
	}},
	"min.u32": {2, func(d, a, b, _ *lanes) {
		for i := range d {
			d[i] = min(a[i], b[i])
		}
	}},
	"max.u32": {2, func(d, a, b, _ *lanes) {
		for i := range d {
			d[i] = max(a[i], b[i])
		}
	}},
	"min.s32": {2, func(d, a, b, _ *lanes) {
		for i := range d {
			d[i] = uint32(min(int32(a[i]), int32(b[i])))
		}
	}},
	"max.s32": {2, func(d, a, b, _ *lanes) {
		for i := range d {
			d[i] = uint32(max(int32(a[i]), int32(b[i])))
		}
	}},
	"abs.s32": {1, func(d, a, _, _ *lanes) {
		for i := range d {
			d[i] = uint32(max(int32(a[i]), -int32(a[i])))
		}
	}},
	"neg.s32": {1, func(d, a, _, _ *lanes) {
		for i := range d {
			d[i] = -a[i]
		}
	}},
	"div.u32": {2, lanewise2(func(a, b uint32) uint32 {
		if b == 0 {
			return ^uint32(0)
		}
		return a / b
	})},
	"rem.u32": {2, lanewise2(func(a, b uint32) uint32 {
		if b == 0 {
			return a
		}
		return a % b
	})},
	"div.s32": {2, lanewise2(func(a, b uint32) uint32 {
		if b == 0 {
			return ^uint32(0)
		}
		return uint32(int32(a) / int32(b))
	})},
	"rem.s32": {2, lanewise2(func(a, b uint32) uint32 {
		if b == 0 {
			return a
		}
		return uint32(int32(a) % int32(b))
	})},
	"and.b32": {2, and32}, "and.b16": {2, and32},
	"or.b32": {2, or32}, "or.b16": {2, or32},
	"xor.b32": {2, xor32}, "xor.b16": {2, xor32},
	"not.b32": {1, func(d, a, _, _ *lanes) {
		for i := range d {
			d[i] = ^a[i]
		}
	}},
	"shl.b32": {2, func(d, a, b, _ *lanes) {
		for i := range d {
			d[i] = a[i] << b[i] // Go shifts clamp as PTX does
		}
	}},
	"shr.u32": {2, shrU32}, "shr.b32": {2, shrU32},
	"shr.s32": {2, func(d, a, b, _ *lanes) {
		for i := range d {
			d[i] = uint32(int32(a[i]) >> b[i])
		}
	}},
	"popc.b32": {1, lanewise1(func(a uint32) uint32 { return uint32(bits.OnesCount32(a)) })},
	"clz.b32":  {1, lanewise1(func(a uint32) uint32 { return uint32(bits.LeadingZeros32(a)) })},
	"brev.b32": {1, lanewise1(bits.Reverse32)},
	"bfe.u32":  {3, lanewise3(bfeU32)},
	"bfe.s32":  {3, lanewise3(bfeS32)},
	"prmt.b32": {3, lanewise3(prmt)},

	"shf.l.wrap.b32":  {3, lanewise3(func(a, b, c uint32) uint32 { return uint32(pair(a, b) << (c & 31) >> 32) })},
	"shf.r.wrap.b32":  {3, lanewise3(func(a, b, c uint32) uint32 { return uint32(pair(a, b) >> (c & 31)) })},
	"shf.l.clamp.b32": {3, lanewise3(func(a, b, c uint32) uint32 { return uint32(pair(a, b) << min(c, 32) >> 32) })},
	"shf.r.clamp.b32": {3, lanewise3(func(a, b, c uint32) uint32 { return uint32(pair(a, b) >> min(c, 32)) })},

	"add.u16": {2, low16(add32)}, "add.s16": {2, low16(add32)},
	"sub.u16": {2, low16(sub32)}, "sub.s16": {2, low16(sub32)},
	"mul.lo.u16": {2, low16(mulLo32)}, "mul.lo.s16": {2, low16(mulLo32)},
	"shr.u16": {2, shrU32}, "shr.b16": {2, shrU32},
	"shl.b16": {2, lanewise2(func(a, b uint32) uint32 { return a << b & 0xffff })},
	"shr.s16": {2, lanewise2(func(a, b uint32) uint32 { return uint32(int32(int16(a))>>b) & 0xffff })},
	"not.b16": {1, lanewise1(func(a uint32) uint32 { return ^a & 0xffff })},

	"add.f32": {2, addF32}, "sub.f32": {2, subF32}, "mul.f32": {2, mulF32}, "fma.f32": {3, fmaF32}, "mad.f32": {3, fmaF32},
	"div.f32": {2, divF32}, "div.approx.f32": {2, divF32}, "div.full.f32": {2, divF32},
	"max.f32": {2, maxF32}, "min.f32": {2, minF32},
	"max.NaN.f32": {2, maxNaNF32}, "min.NaN.f32": {2, minNaNF32},
	"abs.f32":        {1, lanewise1(func(a uint32) uint32 { return a &^ (1 << 31) })},
	"neg.f32":        {1, lanewise1(func(a uint32) uint32 { return a ^ 1<<31 })},
	"ex2.approx.f32": {1, ex2F32}, "lg2.approx.f32": {1, lg2F32},
	"rcp.approx.f32": {1, rcpF32}, "rcp.f32": {1, rcpF32},
	"sqrt.approx.f32": {1, sqrtF32}, "sqrt.f32": {1, sqrtF32}, "rsqrt.approx.f32": {1, rsqrtF32},
	"cvt.bf16x2.f32": {2, packBF16}, "cvt.f16x2.f32": {2, packF16},
	"fma.bf16x2": {3, fmaPacked(fromBF16, toBF16)}, "fma.f16x2": {3, fmaPacked(fromF16, toF16)},
}

var alu64 = map[string]op64{
	"mov.b64": {1, mov64}, "mov.u64": {1, mov64}, "mov.s64": {1, mov64},
	"add.u64": {2, add64}, "add.s64": {2, add64},
	"sub.u64":    {2, lanewise64(func(a, b uint64) uint64 { return a - b })},
	"sub.s64":    {2, lanewise64(func(a, b uint64) uint64 { return a - b })},
	"mul.lo.u64": {2, lanewise64(func(a, b uint64) uint64 { return a * b })},
	"mul.lo.s64": {2, lanewise64(func(a, b uint64) uint64 { return a * b })},
	"mul.hi.u64": {2, lanewise64(func(a, b uint64) uint64 { hi, _ := bits.Mul64(a, b); return hi })},
	"mul.hi.s64": {2, lanewise64(mulHiS64)},
	"mad.lo.u64": {3, madLo64}, "mad.lo.s64": {3, madLo64},
	"min.u64": {2, lanewise64(func(a, b uint64) uint64 { return min(a, b) })},
	"max.u64": {2, lanewise64(func(a, b uint64) uint64 { return max(a, b) })},
	"min.s64": {2, lanewise64(func(a, b uint64) uint64 { return uint64(min(int64(a), int64(b))) })},
	"max.s64": {2, lanewise64(func(a, b uint64) uint64 { return uint64(max(int64(a), int64(b))) })},
	"and.b64": {2, lanewise64(func(a, b uint64) uint64 { return a & b })},
	"or.b64":  {2, lanewise64(func(a, b uint64) uint64 { return a | b })},
	"xor.b64": {2, lanewise64(func(a, b uint64) uint64 { return a ^ b })},
	"not.b64": {1, lanewise64(func(a, _ uint64) uint64 { return ^a })},
	"neg.s64": {1, lanewise64(func(a, _ uint64) uint64 { return -a })},
	"abs.s64": {1, lanewise64(func(a, _ uint64) uint64 { return uint64(max(int64(a), -int64(a))) })},
	"div.u64": {2, lanewise64(func(a, b uint64) uint64 {
		if b == 0 {
			return ^uint64(0)
		}
		return a / b
	})},
	"rem.u64": {2, lanewise64(func(a, b uint64) uint64 {
		if b == 0 {
			return a
		}
		return a % b
	})},
	"div.s64": {2, lanewise64(func(a, b uint64) uint64 {
		if b == 0 {
			return ^uint64(0)
		}
		return uint64(int64(a) / int64(b))
	})},
	"rem.s64": {2, lanewise64(func(a, b uint64) uint64 {
		if b == 0 {
			return a
		}
		return uint64(int64(a) % int64(b))
	})},
}

// shift64 has a 64-bit value and a 32-bit count.
var shift64 = map[string]func(a uint64, n uint32) uint64{
	"shl.b64": func(a uint64, n uint32) uint64 { return a << n },
	"shr.b64": func(a uint64, n uint32) uint64 { return a >> n },
	"shr.u64": func(a uint64, n uint32) uint64 { return a >> n },
	"shr.s64": func(a uint64, n uint32) uint64 { return uint64(int64(a) >> n) },
}

// wide32 multiplies two 32-bit registers to 64 bits; mad.wide adds a 64-bit one.
var wide32 = map[string]func(a, b uint32) uint64{
	"mul.wide.u32": func(a, b uint32) uint64 { return uint64(a) * uint64(b) },
	"mul.wide.s32": func(a, b uint32) uint64 { return uint64(int64(int32(a)) * int64(int32(b))) },
	"mad.wide.u32": func(a, b uint32) uint64 { return uint64(a) * uint64(b) },
	"mad.wide.s32": func(a, b uint32) uint64 { return uint64(int64(int32(a)) * int64(int32(b))) },
}

// wide16 multiplies two 16-bit registers to 32 bits.
var wide16 = map[string]func(a, b uint32) uint32{
	"mul.wide.u16": func(a, b uint32) uint32 { return a * b },
	"mul.wide.s16": func(a, b uint32) uint32 { return uint32(int32(int16(a)) * int32(int16(b))) },
}

func lanewise1(f func(a uint32) uint32) func(d, a, b, c *lanes) {
	return func(d, a, _, _ *lanes) {
		for i := range d {
			d[i] = f(a[i])
		}
	}
}

func lanewise2(f func(a, b uint32) uint32) func(d, a, b, c *lanes) {
	return func(d, a, b, _ *lanes) {
		for i := range d {
			d[i] = f(a[i], b[i])
		}
	}
}

func lanewise3(f func(a, b, c uint32) uint32) func(d, a, b, c *lanes) {
	return func(d, a, b, c *lanes) {
		for i := range d {
			d[i] = f(a[i], b[i], c[i])
		}
	}
}

func lanewise64(f func(a, b uint64) uint64) func(d, a, b, c *lanes64) {
	return func(d, a, b, _ *lanes64) {
		for i := range d {
			d[i] = f(a[i], b[i])
		}
	}
}

// low16 keeps a 16-bit register's upper half zero.
func low16(f func(d, a, b, c *lanes)) func(d, a, b, c *lanes) {
	return func(d, a, b, c *lanes) {
		f(d, a, b, c)
		for i := range d {
			d[i] &= 0xffff
		}
	}
}

func mov32(d, a, _, _ *lanes)   { *d = *a }
func mov64(d, a, _, _ *lanes64) { *d = *a }

func add32(d, a, b, _ *lanes) {
	for i := range d {
		d[i] = a[i] + b[i]
	}
}

func sub32(d, a, b, _ *lanes) {
	for i := range d {
		d[i] = a[i] - b[i]
	}
}

func mulLo32(d, a, b, _ *lanes) {
	for i := range d {
		d[i] = a[i] * b[i]
	}
}

func madLo32(d, a, b, c *lanes) {
	for i := range d {
		d[i] = a[i]*b[i] + c[i]
	}
}

func and32(d, a, b, _ *lanes) {
	for i := range d {
		d[i] = a[i] & b[i]
	}
}

func or32(d, a, b, _ *lanes) {
	for i := range d {
		d[i] = a[i] | b[i]
	}
}

func xor32(d, a, b, _ *lanes) {
	for i := range d {
		d[i] = a[i] ^ b[i]
	}
}

func shrU32(d, a, b, _ *lanes) {
	for i := range d {
		d[i] = a[i] >> b[i]
	}
}

func add64(d, a, b, _ *lanes64) {
	for i := range d {
		d[i] = a[i] + b[i]
	}
}

func madLo64(d, a, b, c *lanes64) {
	for i := range d {
		d[i] = a[i]*b[i] + c[i]
	}
}

func mulHiS64(a, b uint64) uint64 {
	hi, _ := bits.Mul64(a, b)
	if int64(a) < 0 {
		hi -= b
	}
	if int64(b) < 0 {
		hi -= a
	}
	return hi
}

func pair(lo, hi uint32) uint64 { return uint64(hi)<<32 | uint64(lo) }

// bfeU32 extracts n bits from position p; bits beyond 31 are zero.
func bfeU32(a, p, n uint32) uint32 {
	p, n = p&0xff, n&0xff
	return uint32(uint64(a) >> p & (1<<n - 1))
}

// bfeS32 also repeats the field's highest bit, or the sign of a where the field leaves the register.
func bfeS32(a, p, n uint32) uint32 {
	p, n = p&0xff, n&0xff
	if n == 0 {
		return 0
	}
	wide := int64(int32(a)) >> min(p, 63)
	if n >= 64 {
		return uint32(wide)
	}
	return uint32(wide << (64 - n) >> (64 - n))
}

// bfi puts the low n bits of a at position p of b.
func bfi(a, b, p, n uint32) uint32 {
	p, n = p&0xff, n&0xff
	field := uint32((uint64(1)<<n - 1) << p)
	return b&^field | uint32(uint64(a)<<p)&field
}

// prmt picks four bytes of {b,a}; bit 3 of a selector repeats the byte's sign instead.
func prmt(a, b, sel uint32) uint32 {
	bytes := pair(a, b)
	var d uint32
	for i := 0; i < 4; i++ {
		s := sel >> (4 * i)
		v := uint8(bytes >> (8 * (s & 7)))
		if s&8 != 0 {
			v = uint8(int8(v) >> 7)
		}
		d |= uint32(v) << (8 * i)
	}
	return d
}

// lop3 makes the function of a truth table: bit (a<<2|b<<1|c) of the table is the result.
func lop3(table uint8) func(d, a, b, c *lanes) {
	return func(d, a, b, c *lanes) {
		for i := range d {
			var v uint32
			for t := 0; t < 8; t++ {
				if table>>t&1 != 0 {
					v |= flip(a[i], t&4 == 0) & flip(b[i], t&2 == 0) & flip(c[i], t&1 == 0)
				}
			}
			d[i] = v
		}
	}
}

func flip(x uint32, not bool) uint32 {
	if not {
		return ^x
	}
	return x
}
