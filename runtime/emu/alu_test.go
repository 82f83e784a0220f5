package emu

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/big"
	"math/bits"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/x448/float16"
)

// aluKernel gives each thread three 64-bit inputs as %rd1-3, %r1-3, %f1-3 and %h1-3, and stores %rd0.
const aluKernel = header + `.visible .entry k(.param .u64 in, .param .u64 out)
{
	.reg .pred %%p<8>;
	.reg .b16 %%h<8>;
	.reg .b32 %%r<16>;
	.reg .f32 %%f<8>;
	.reg .b64 %%rd<16>;
	mov.u32 %%r15, %%tid.x;
	ld.param.u64 %%rd10, [in];
	mad.wide.u32 %%rd10, %%r15, 24, %%rd10;
	ld.global.u64 %%rd1, [%%rd10];
	ld.global.u64 %%rd2, [%%rd10+8];
	ld.global.u64 %%rd3, [%%rd10+16];
	mov.b64 {%%r1, %%r10}, %%rd1;
	mov.b64 {%%r2, %%r10}, %%rd2;
	mov.b64 {%%r3, %%r10}, %%rd3;
	mov.b32 %%f1, %%r1; mov.b32 %%f2, %%r2; mov.b32 %%f3, %%r3;
	mov.b32 {%%h1, %%h7}, %%r1; mov.b32 {%%h2, %%h7}, %%r2; mov.b32 {%%h3, %%h7}, %%r3;
	setp.lt.u32 %%p3, %%r1, %%r3;
	mov.u64 %%rd0, 77;
	mov.u32 %%r0, 7; mov.b16 %%h0, 7; mov.f32 %%f0, 1.0; setp.ne.u32 %%p0, %%r0, 7;
	and.b32 %%r14, %%r15, %s;
	setp.ne.u32 %%p7, %%r14, 0;
	@%%p7 bra $skip;
	%s
	%s
$skip:
	ld.param.u64 %%rd10, [out];
	mad.wide.u32 %%rd10, %%r15, 8, %%rd10;
	st.global.u64 [%%rd10], %%rd0;
	ret;
}
`

// results move an instruction's destination to %rd0.
var results = map[byte]string{
	'r': "cvt.u64.u32 %rd0, %r0;",
	'h': "cvt.u64.u16 %rd0, %h0;",
	'f': "mov.b32 %r0, %f0; cvt.u64.u32 %rd0, %r0;",
	'p': "selp.b64 %rd0, 1, 0, %p0;",
	'd': "",
}

type aluCase struct {
	text string // %r0, %h0, %f0, %p0 or %rd0 is the result
	want func(a, b, c uint64) uint64
}

func u2(f func(a, b uint32) uint32) func(a, b, c uint64) uint64 {
	return func(a, b, _ uint64) uint64 { return uint64(f(uint32(a), uint32(b))) }
}

func u3(f func(a, b, c uint32) uint32) func(a, b, c uint64) uint64 {
	return func(a, b, c uint64) uint64 { return uint64(f(uint32(a), uint32(b), uint32(c))) }
}

func s2(f func(a, b int32) int32) func(a, b, c uint64) uint64 {
	return func(a, b, _ uint64) uint64 { return uint64(uint32(f(int32(a), int32(b)))) }
}

func d2(f func(a, b uint64) uint64) func(a, b, c uint64) uint64 {
	return func(a, b, _ uint64) uint64 { return f(a, b) }
}

// fl computes in float64 and rounds once more, which is exact for one operation.
func fl(f func(a, b, c float64) float64) func(a, b, c uint64) uint64 {
	return func(a, b, c uint64) uint64 {
		r := float32(f(float64(f32(uint32(a))), float64(f32(uint32(b))), float64(f32(uint32(c)))))
		if r != r {
			return 0x7fffffff
		}
		return uint64(math.Float32bits(r))
	}
}

func truth(f func(a, b, c uint64) bool) func(a, b, c uint64) uint64 {
	return func(a, b, c uint64) uint64 {
		if f(a, b, c) {
			return 1
		}
		return 0
	}
}

func isNaN(x uint64) bool { return uint32(x)&0x7fffffff > 0x7f800000 }

var aluCases = []aluCase{
	{"add.u32 %r0, %r1, %r2;", u2(func(a, b uint32) uint32 { return a + b })},
	{"add.s32 %r0, %r1, -5;", u2(func(a, _ uint32) uint32 { return a - 5 })},
	{"sub.s32 %r0, %r1, %r2;", u2(func(a, b uint32) uint32 { return a - b })},
	{"mul.lo.s32 %r0, %r1, %r2;", u2(func(a, b uint32) uint32 { return a * b })},
	{"mul.hi.u32 %r0, %r1, %r2;", u2(func(a, b uint32) uint32 { h, _ := bits.Mul32(a, b); return h })},
	{"mul.hi.s32 %r0, %r1, %r2;", s2(func(a, b int32) int32 { return int32(int64(a) * int64(b) >> 32) })},
	{"mad.lo.u32 %r0, %r1, %r2, %r3;", u3(func(a, b, c uint32) uint32 { return a*b + c })},
	{"mad.hi.s32 %r0, %r1, %r2, %r3;", u3(func(a, b, c uint32) uint32 {
		return uint32(int64(int32(a))*int64(int32(b))>>32) + c
	})},
	{"min.u32 %r0, %r1, %r2;", u2(func(a, b uint32) uint32 { return min(a, b) })},
	{"max.s32 %r0, %r1, %r2;", s2(func(a, b int32) int32 { return max(a, b) })},
	{"min.s32 %r0, %r1, %r2;", s2(func(a, b int32) int32 { return min(a, b) })},
	{"max.u32 %r0, %r1, %r2;", u2(func(a, b uint32) uint32 { return max(a, b) })},
	{"abs.s32 %r0, %r1;", s2(func(a, _ int32) int32 {
		if a < 0 {
			return -a
		}
		return a
	})},
	{"neg.s32 %r0, %r1;", s2(func(a, _ int32) int32 { return -a })},
	{"or.b32 %r2, %r2, 1; div.u32 %r0, %r1, %r2;", u2(func(a, b uint32) uint32 { return a / (b | 1) })},
	{"or.b32 %r2, %r2, 1; rem.u32 %r0, %r1, %r2;", u2(func(a, b uint32) uint32 { return a % (b | 1) })},
	{"or.b32 %r2, %r2, 1; div.s32 %r0, %r1, %r2;", s2(func(a, b int32) int32 { return a / (b | 1) })},
	{"or.b32 %r2, %r2, 1; rem.s32 %r0, %r1, %r2;", s2(func(a, b int32) int32 { return a % (b | 1) })},
	{"and.b32 %r0, %r1, %r2;", u2(func(a, b uint32) uint32 { return a & b })},
	{"or.b32 %r0, %r1, %r2;", u2(func(a, b uint32) uint32 { return a | b })},
	{"xor.b32 %r0, %r1, %r2;", u2(func(a, b uint32) uint32 { return a ^ b })},
	{"not.b32 %r0, %r1;", u2(func(a, _ uint32) uint32 { return ^a })},
	{"and.b32 %r2, %r2, 63; shl.b32 %r0, %r1, %r2;", u2(func(a, b uint32) uint32 { return uint32(uint64(a) << (b & 63)) })},
	{"and.b32 %r2, %r2, 63; shr.u32 %r0, %r1, %r2;", u2(func(a, b uint32) uint32 { return a >> (b & 63) })},
	{"and.b32 %r2, %r2, 63; shr.s32 %r0, %r1, %r2;", s2(func(a, b int32) int32 { return a >> (uint32(b) & 63) })},
	{"popc.b32 %r0, %r1;", u2(func(a, _ uint32) uint32 { return uint32(bits.OnesCount32(a)) })},
	{"clz.b32 %r0, %r1;", u2(func(a, _ uint32) uint32 { return uint32(bits.LeadingZeros32(a)) })},
	{"brev.b32 %r0, %r1;", u2(func(a, _ uint32) uint32 { return bits.Reverse32(a) })},
	{"bfe.u32 %r0, %r1, 5, 9;", u2(func(a, _ uint32) uint32 { return a >> 5 & 0x1ff })},
	{"bfe.s32 %r0, %r1, 5, 9;", s2(func(a, _ int32) int32 { return a << 18 >> 23 })},
	{"bfe.s32 %r0, %r1, 28, 9;", s2(func(a, _ int32) int32 { return a >> 28 })},
	{"bfe.u32 %r0, %r1, 28, 32;", u2(func(a, _ uint32) uint32 { return a >> 28 })},
	{"bfi.b32 %r0, %r1, %r2, 8, 12;", u2(func(a, b uint32) uint32 { return b&^0xfff00 | a<<8&0xfff00 })},
	{"bfi.b32 %r0, %r1, %r2, 0, 32;", u2(func(a, _ uint32) uint32 { return a })},
	{"prmt.b32 %r0, %r1, %r2, 0x5410;", u2(func(a, b uint32) uint32 { return a&0xffff | b<<16 })},
	{"prmt.b32 %r0, %r1, %r2, 0x7b32;", u2(func(a, b uint32) uint32 {
		sign := uint32(0)
		if a>>31 != 0 {
			sign = 0xff0000
		}
		return a>>16 | b&0xff000000 | sign
	})},
	{"lop3.b32 %r0, %r1, %r2, %r3, 0x96;", u3(func(a, b, c uint32) uint32 { return a ^ b ^ c })},
	{"lop3.b32 %r0, %r1, %r2, %r3, 0xca;", u3(func(a, b, c uint32) uint32 { return a&b | ^a&c })},
	{"shf.l.wrap.b32 %r0, %r1, %r2, %r3;", u3(func(a, b, c uint32) uint32 {
		return uint32((uint64(b)<<32 | uint64(a)) << (c & 31) >> 32)
	})},
	{"shf.r.wrap.b32 %r0, %r1, %r1, %r3;", u3(func(a, _, c uint32) uint32 { return bits.RotateLeft32(a, -int(c&31)) })},
	{"shf.r.clamp.b32 %r0, %r1, %r2, 40;", u2(func(_, b uint32) uint32 { return b })},

	{"mul.wide.u32 %rd0, %r1, %r2;", func(a, b, _ uint64) uint64 { return uint64(uint32(a)) * uint64(uint32(b)) }},
	{"mul.wide.s32 %rd0, %r1, %r2;", func(a, b, _ uint64) uint64 { return uint64(int64(int32(a)) * int64(int32(b))) }},
	{"mad.wide.s32 %rd0, %r1, %r2, %rd3;", func(a, b, c uint64) uint64 { return uint64(int64(int32(a))*int64(int32(b))) + c }},
	{"mul.wide.u16 %r0, %h1, %h2;", func(a, b, _ uint64) uint64 { return uint64(uint16(a)) * uint64(uint16(b)) }},
	{"mul.wide.s16 %r0, %h1, %h2;", func(a, b, _ uint64) uint64 { return uint64(uint32(int32(int16(a)) * int32(int16(b)))) }},
	{"add.s16 %h0, %h1, %h2;", func(a, b, _ uint64) uint64 { return uint64(uint16(a + b)) }},
	{"shr.s16 %h0, %h1, 3;", func(a, _, _ uint64) uint64 { return uint64(uint16(int16(a) >> 3)) }},
	{"shl.b16 %h0, %h1, 3;", func(a, _, _ uint64) uint64 { return uint64(uint16(a << 3)) }},

	{"add.s64 %rd0, %rd1, %rd2;", d2(func(a, b uint64) uint64 { return a + b })},
	{"sub.s64 %rd0, %rd1, %rd2;", d2(func(a, b uint64) uint64 { return a - b })},
	{"mul.lo.s64 %rd0, %rd1, %rd2;", d2(func(a, b uint64) uint64 { return a * b })},
	{"mul.hi.u64 %rd0, %rd1, %rd2;", d2(func(a, b uint64) uint64 { h, _ := bits.Mul64(a, b); return h })},
	{"mul.hi.s64 %rd0, %rd1, %rd2;", d2(func(a, b uint64) uint64 {
		p := new(big.Int).Mul(big.NewInt(int64(a)), big.NewInt(int64(b)))
		return uint64(p.Rsh(p, 64).Int64())
	})},
	{"mad.lo.s64 %rd0, %rd1, %rd2, %rd3;", func(a, b, c uint64) uint64 { return a*b + c }},
	{"or.b64 %rd2, %rd2, 1; div.u64 %rd0, %rd1, %rd2;", d2(func(a, b uint64) uint64 { return a / (b | 1) })},
	{"or.b64 %rd2, %rd2, 1; rem.u64 %rd0, %rd1, %rd2;", d2(func(a, b uint64) uint64 { return a % (b | 1) })},
	{"max.s64 %rd0, %rd1, %rd2;", d2(func(a, b uint64) uint64 { return uint64(max(int64(a), int64(b))) })},
	{"not.b64 %rd0, %rd1;", d2(func(a, _ uint64) uint64 { return ^a })},
	{"shl.b64 %rd0, %rd1, 33;", d2(func(a, _ uint64) uint64 { return a << 33 })},
	{"shr.s64 %rd0, %rd1, 33;", d2(func(a, _ uint64) uint64 { return uint64(int64(a) >> 33) })},
	{"shr.u64 %rd0, %rd1, 33;", d2(func(a, _ uint64) uint64 { return a >> 33 })},
	{"popc.b64 %r0, %rd1;", d2(func(a, _ uint64) uint64 { return uint64(bits.OnesCount64(a)) })},
	{"clz.b64 %r0, %rd1;", d2(func(a, _ uint64) uint64 { return uint64(bits.LeadingZeros64(a)) })},
	{"mov.b64 %rd0, {%r2, %r1};", d2(func(a, b uint64) uint64 { return a<<32 | b&0xffffffff })},
	{"mov.b32 %r0, {%h2, %h1};", d2(func(a, b uint64) uint64 { return a&0xffff<<16 | b&0xffff })},

	{"add.rn.f32 %f0, %f1, %f2;", fl(func(a, b, _ float64) float64 { return a + b })},
	{"sub.f32 %f0, %f1, %f2;", fl(func(a, b, _ float64) float64 { return a - b })},
	{"mul.rn.f32 %f0, %f1, %f2;", fl(func(a, b, _ float64) float64 { return a * b })},
	{"mul.ftz.f32 %f0, %f1, %f2;", func(a, b, c uint64) uint64 {
		x := fl(func(a, b, _ float64) float64 { return a * b })(uint64(flush(uint32(a))), uint64(flush(uint32(b))), c)
		return uint64(flush(uint32(x)))
	}},
	{"fma.rn.f32 %f0, %f1, %f2, %f3;", fmaExact},
	{"div.rn.f32 %f0, %f1, %f2;", fl(func(a, b, _ float64) float64 { return a / b })},
	{"max.f32 %f0, %f1, %f2;", maxReference},
	{"min.f32 %f0, %f1, %f2;", func(a, b, c uint64) uint64 { // min(a,b) = -max(-a,-b), NaN aside
		r := maxReference(a^1<<31, b^1<<31, c)
		if isNaN(r) {
			return r
		}
		return r ^ 1<<31
	}},
	{"neg.f32 %f0, %f1;", u2(func(a, _ uint32) uint32 { return a ^ 1<<31 })},
	{"abs.f32 %f0, %f1;", u2(func(a, _ uint32) uint32 { return a & 0x7fffffff })},
	{"sqrt.rn.f32 %f0, %f1;", fl(func(a, _, _ float64) float64 { return math.Sqrt(a) })},
	{"rcp.approx.f32 %f0, %f1;", fl(func(a, _, _ float64) float64 { return 1 / a })},
	{"rsqrt.approx.f32 %f0, %f1;", fl(func(a, _, _ float64) float64 { return 1 / math.Sqrt(a) })},
	{"ex2.approx.f32 %f0, %f1;", fl(func(a, _, _ float64) float64 { return math.Exp2(a) })},
	{"lg2.approx.f32 %f0, %f1;", fl(func(a, _, _ float64) float64 { return math.Log2(a) })},

	{"setp.lt.s32 %p0, %r1, %r2;", truth(func(a, b, _ uint64) bool { return int32(a) < int32(b) })},
	{"setp.hi.u32 %p0, %r1, %r2;", truth(func(a, b, _ uint64) bool { return uint32(a) > uint32(b) })},
	{"setp.eq.b32 %p0, %r1, %r2;", truth(func(a, b, _ uint64) bool { return uint32(a) == uint32(b) })},
	{"setp.ge.s64 %p0, %rd1, %rd2;", truth(func(a, b, _ uint64) bool { return int64(a) >= int64(b) })},
	{"setp.ne.s16 %p0, %h1, %h2;", truth(func(a, b, _ uint64) bool { return uint16(a) != uint16(b) })},
	{"setp.le.f32 %p0, %f1, %f2;", truth(func(a, b, _ uint64) bool { return f32(uint32(a)) <= f32(uint32(b)) })},
	{"setp.ne.f32 %p0, %f1, %f2;", truth(func(a, b, _ uint64) bool {
		return !isNaN(a) && !isNaN(b) && f32(uint32(a)) != f32(uint32(b))
	})},
	{"setp.gtu.f32 %p0, %f1, %f2;", truth(func(a, b, _ uint64) bool { return !(f32(uint32(a)) <= f32(uint32(b))) })},
	{"setp.nan.f32 %p0, %f1, %f2;", truth(func(a, b, _ uint64) bool { return isNaN(a) || isNaN(b) })},
	{"setp.lt.and.u32 %p0, %r1, %r2, %p3;", truth(func(a, b, c uint64) bool {
		return uint32(a) < uint32(b) && uint32(a) < uint32(c)
	})},
	{"setp.lt.or.u32 %p0, %r1, %r2, !%p3;", truth(func(a, b, c uint64) bool {
		return uint32(a) < uint32(b) || uint32(a) >= uint32(c)
	})},
	{"setp.lt.u32 %p1|%p0, %r1, %r2;", truth(func(a, b, _ uint64) bool { return uint32(a) >= uint32(b) })},
	{"setp.lt.xor.u32 %p0, %r1, %r2, %p3;", truth(func(a, b, c uint64) bool {
		return (uint32(a) < uint32(b)) != (uint32(a) < uint32(c))
	})},
	{"setp.lt.and.u32 %p1|%p0, %r1, %r2, %p3;", truth(func(a, b, c uint64) bool {
		return uint32(a) >= uint32(b) && uint32(a) < uint32(c)
	})},
	{"not.pred %p0, %p3;", truth(func(a, _, c uint64) bool { return uint32(a) >= uint32(c) })},
	{"setp.ne.u32 %p1, %r2, 0; and.pred %p0, %p3, %p1;", truth(func(a, b, c uint64) bool { return uint32(a) < uint32(c) && uint32(b) != 0 })},
	{"mov.pred %p0, 1;", truth(func(_, _, _ uint64) bool { return true })},
	{"selp.b32 %r0, %r1, %r2, %p3;", u3(func(a, b, c uint32) uint32 {
		if a < c {
			return a
		}
		return b
	})},
	{"selp.f32 %f0, %f1, 0f00000000, !%p3;", u3(func(a, _, c uint32) uint32 {
		if a < c {
			return 0
		}
		return a
	})},
	{"@%p3 mov.u32 %r0, %r2;", u3(func(a, b, c uint32) uint32 {
		if a < c {
			return b
		}
		return 7
	})},
	{"@!%p3 mov.u32 %r0, %r2;", u3(func(a, b, c uint32) uint32 {
		if a < c {
			return 7
		}
		return b
	})},

	{"cvt.u64.u32 %rd0, %r1;", func(a, _, _ uint64) uint64 { return uint64(uint32(a)) }},
	{"cvt.s64.s32 %rd0, %r1;", func(a, _, _ uint64) uint64 { return uint64(int64(int32(a))) }},
	{"cvt.u32.u64 %r0, %rd1;", func(a, _, _ uint64) uint64 { return uint64(uint32(a)) }},
	{"cvt.s32.s8 %r0, %r1;", func(a, _, _ uint64) uint64 { return uint64(uint32(int8(a))) }},
	{"cvt.u32.u16 %r0, %h1;", func(a, _, _ uint64) uint64 { return uint64(uint16(a)) }},
	{"cvt.s16.s8 %h0, %h1;", func(a, _, _ uint64) uint64 { return uint64(uint16(int8(a))) }},
	{"cvt.rn.f32.s32 %f0, %r1;", func(a, _, _ uint64) uint64 { return uint64(math.Float32bits(float32(int32(a)))) }},
	{"cvt.rn.f32.u64 %f0, %rd1;", func(a, _, _ uint64) uint64 { return uint64(math.Float32bits(float32(a))) }},
	{"cvt.rzi.s32.f32 %r0, %f1;", func(a, _, _ uint64) uint64 { return saturate(math.Trunc(float64(f32(uint32(a)))), -1<<31, 1<<31-1) }},
	{"cvt.rmi.s32.f32 %r0, %f1;", func(a, _, _ uint64) uint64 { return saturate(math.Floor(float64(f32(uint32(a)))), -1<<31, 1<<31-1) }},
	{"cvt.rni.u32.f32 %r0, %f1;", func(a, _, _ uint64) uint64 { return saturate(math.RoundToEven(float64(f32(uint32(a)))), 0, 1<<32-1) }},
	{"cvt.rn.bf16x2.f32 %r0, %f1, %f2;", d2(func(a, b uint64) uint64 { return bf16Reference(a)<<16 | bf16Reference(b) })},
	{"cvt.rn.f16x2.f32 %r0, %f1, %f2;", d2(func(a, b uint64) uint64 { return f16Reference(a)<<16 | f16Reference(b) })},
	{"cvt.rn.f16.f32 %h0, %f1;", d2(func(a, _ uint64) uint64 { return f16Reference(a) })},
	{"cvt.f32.f16 %f0, %h1;", func(a, _, _ uint64) uint64 {
		x := float16.Frombits(uint16(a)).Float32()
		if x != x {
			return 0x7fffffff
		}
		return uint64(math.Float32bits(x))
	}},
	{"cvt.ftz.rzi.s32.f32 %r0, %f1;", func(a, _, _ uint64) uint64 { return saturate(math.Trunc(float64(f32(uint32(a)))), -1<<31, 1<<31-1) }},
	{"cvt.rzi.u64.f32 %rd0, %f1;", func(a, _, _ uint64) uint64 {
		x := new(big.Float).SetInf(f32(uint32(a)) < 0)
		if v := float64(f32(uint32(a))); v != v {
			return 0
		} else if !math.IsInf(v, 0) {
			x.SetFloat64(v)
		}
		u, _ := x.Uint64() // truncates and saturates
		return u
	}},
	{"max.NaN.f32 %f0, %f1, %f2;", func(a, b, c uint64) uint64 {
		if isNaN(a) || isNaN(b) {
			return 0x7fffffff
		}
		return maxReference(a, b, c)
	}},
	{"setp.lt.u64 %p0, %rd1, %rd2;", truth(func(a, b, _ uint64) bool { return a < b })},
	{"setp.ltu.ftz.f32 %p0, %f1, %f2;", truth(func(a, b, _ uint64) bool {
		return !(f32(flush(uint32(a))) >= f32(flush(uint32(b))))
	})},
	{"mov.pred %p1, %p3; xor.pred %p0, %p1, !%p3;", truth(func(_, _, _ uint64) bool { return true })},
	{"shl.b64 %rd0, %rd1, 64;", func(_, _, _ uint64) uint64 { return 0 }},
	{"selp.b64 %rd0, %rd1, -1, %p3;", func(a, _, c uint64) uint64 {
		if uint32(a) < uint32(c) {
			return a
		}
		return math.MaxUint64
	}},
	{"cvt.rpi.f32.f32 %f0, %f1;", fl(func(a, _, _ float64) float64 { return math.Ceil(a) })},
}

// bf16Reference rounds to 8 significant bits, or to the subnormals' unit.
func bf16Reference(a uint64) uint64 {
	x := float64(f32(uint32(a)))
	if x != x {
		return 0x7fff
	}
	_, e := math.Frexp(x)
	unit := math.Ldexp(1, max(e-8, -133))
	if math.IsInf(x, 0) {
		unit = 1
	}
	return uint64(math.Float32bits(float32(math.RoundToEven(x/unit)*unit)) >> 16)
}

func f16Reference(a uint64) uint64 {
	if isNaN(a) {
		return 0x7fff
	}
	return uint64(float16.Fromfloat32(f32(uint32(a))).Bits())
}

func saturate(x, low, high float64) uint64 {
	if x != x {
		return 0
	}
	return uint64(uint32(int64(min(max(x, low), high))))
}

// fmaExact rounds the exact sum once, with math/big.
func fmaExact(a, b, c uint64) uint64 {
	x, y, z := float64(f32(uint32(a))), float64(f32(uint32(b))), float64(f32(uint32(c)))
	if s := x*y + z; math.IsNaN(s) || math.IsInf(s, 0) || s == 0 {
		return fl(func(_, _, _ float64) float64 { return s })(0, 0, 0)
	}
	exact := func(v float64) *big.Float { return new(big.Float).SetPrec(900).SetFloat64(v) }
	sum := new(big.Float).SetPrec(900).Mul(exact(x), exact(y))
	r, _ := sum.Add(sum, exact(z)).Float32()
	return uint64(math.Float32bits(r))
}

// maxReference orders numbers by their bits, which puts -0 below +0.
func maxReference(a, b, _ uint64) uint64 {
	key := func(x uint64) int64 {
		if v := int32(x); v < 0 {
			return -int64(v&0x7fffffff) - 1
		}
		return int64(uint32(x))
	}
	switch {
	case isNaN(a) && isNaN(b):
		return 0x7fffffff
	case isNaN(a):
		return uint64(uint32(b))
	case isNaN(b), key(a) > key(b):
		return uint64(uint32(a))
	}
	return uint64(uint32(b))
}

// aluInputs are n triples: all pairs of edge values first, then edge values and random ones mixed.
func aluInputs(n int) []uint64 {
	edges := []uint64{0, 1, 31, 32, 0x7fffffff, 0x80000000, 0xffffffff, 0x3f800000, 0xbf800000, 0x7f800000, 0xff800000,
		0x7fc00000, 0x00000001, 0x80000001, 0x007fffff, 0x00800000, 0x7f7fffff, 0x33000000, 0x4b000001, 0xc0490fdb,
		1 << 63, 1<<63 - 1, ^uint64(0)}
	rng := rand.New(rand.NewPCG(3, 4))
	out := make([]uint64, 3*n)
	for i := range out {
		if p := i / 3; i%3 < 2 && p < len(edges)*len(edges) {
			out[i] = []uint64{edges[p/len(edges)], edges[p%len(edges)]}[i%3]
			continue
		}
		switch rng.IntN(4) {
		case 0:
			out[i] = edges[rng.IntN(len(edges))]
		case 1:
			out[i] = rng.Uint64()
		case 2:
			out[i] = uint64(rng.IntN(100))
		default:
			out[i] = uint64(math.Float32bits(float32(rng.NormFloat64() * math.Exp(4*rng.NormFloat64()))))
		}
	}
	return out
}

// TestALU compares every arithmetic instruction with Go, with all lanes active and with some.
func TestALU(t *testing.T) {
	const n = 1024
	in := aluInputs(n)
	var raw []byte
	for _, v := range in {
		raw = binary.LittleEndian.AppendUint64(raw, v)
	}
	r := newRig(t, Options{})
	src, dst := r.upload(raw), r.empty(8*n)
	for _, c := range aluCases {
		kind := resultKind(c.text)
		for _, skip := range []uint32{0, 5} {
			ptx := fmt.Sprintf(aluKernel, fmt.Sprint(skip), c.text, results[kind])
			require.NoError(t, r.launch(ptx, 1, n, 0, src, dst), c.text)
			out := r.download(dst, 8*n)
			for i := range n {
				a, b, x := in[3*i], in[3*i+1], in[3*i+2]
				want := uint64(77)
				if uint32(i)&skip == 0 {
					want = c.want(a, b, x)
				}
				got := binary.LittleEndian.Uint64(out[8*i:])
				require.Equal(t, fmt.Sprintf("%#x", want), fmt.Sprintf("%#x", got), "%s with %#x %#x %#x", c.text, a, b, x)
			}
		}
	}
}

// resultKind finds which register numbered 0 the text writes.
func resultKind(text string) byte {
	for _, r := range []struct {
		name string
		kind byte
	}{{"%rd0", 'd'}, {"%r0", 'r'}, {"%h0", 'h'}, {"%f0", 'f'}, {"%p0", 'p'}} {
		if strings.Contains(text, r.name) {
			return r.kind
		}
	}
	return '?'
}

// TestFlush checks what .ftz and the special values of the approximations mean for softmax.
func TestFlush(t *testing.T) {
	var x, y lanes
	inf := math.Float32bits(float32(math.Inf(-1)))
	x[0], x[1], x[2] = inf, math.Float32bits(-127), math.Float32bits(-126)
	ex2F32(&y, &x, nil, nil)
	flushAll(&y)
	require.Equal(t, []uint32{0, 0, 0x00800000}, y[:3])
	x[0], x[1] = 0, inf
	rcpF32(&y, &x, nil, nil)
	require.Equal(t, []uint32{0x7f800000, 0x80000000}, y[:2])
}

// TestFMA looks for double rounding: c far below the product, and results among the subnormals.
func TestFMA(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	sign := func(x float64) uint64 {
		if rng.IntN(2) == 0 {
			x = -x
		}
		return uint64(math.Float32bits(float32(x)))
	}
	significand := func() float64 { return float64(1<<23 + rng.IntN(1<<23)) }
	for i := range 100_000 {
		// the product has 25 or 26 bits, often a tie, and c is a nudge
		a, b, c := sign(significand()), sign(math.Ldexp(3, rng.IntN(8))), sign(math.Ldexp(1, -rng.IntN(80)))
		if i%2 == 0 { // c is a subnormal, the product about half a unit of it
			near := func() float64 { return math.Ldexp(float64(1<<23+rng.IntN(5)-2), -75-23) }
			a, b, c = sign(near()), sign(near()), sign(math.Ldexp(float64(rng.IntN(1<<22)), -149))
		}
		got := bits32(fma32(f32(uint32(a)), f32(uint32(b)), f32(uint32(c))))
		require.Equal(t, uint32(fmaExact(a, b, c)), got, "fma(%#x, %#x, %#x)", a, b, c)
	}
}
