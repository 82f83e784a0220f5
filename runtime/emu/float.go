package emu

import "math"

// Every float32 operation rounds once to nearest even; NaN results are the canonical 0x7fffffff as on the GPU, so
// that results do not depend on the host. The .approx functions are correctly rounded, well inside their 2 ulp.

const canonicalNaN = 0x7fffffff

func f32(b uint32) float32 { return math.Float32frombits(b) }

func bits32(x float32) uint32 {
	if x != x {
		return canonicalNaN
	}
	return math.Float32bits(x)
}

func addF32(d, a, b, _ *lanes) {
	for i := range d {
		d[i] = bits32(f32(a[i]) + f32(b[i]))
	}
}

func subF32(d, a, b, _ *lanes) {
	for i := range d {
		d[i] = bits32(f32(a[i]) - f32(b[i]))
	}
}

func mulF32(d, a, b, _ *lanes) {
	for i := range d {
		d[i] = bits32(f32(a[i]) * f32(b[i]))
	}
}

func divF32(d, a, b, _ *lanes) {
	for i := range d {
		d[i] = bits32(f32(a[i]) / f32(b[i]))
	}
}

func fmaF32(d, a, b, c *lanes) {
	for i := range d {
		d[i] = bits32(fma32(f32(a[i]), f32(b[i]), f32(c[i])))
	}
}

// fma32 rounds a*b+c once. The product is exact in float64; the sum is not, and rounding it again to float32 goes
// wrong only when the float64 result looks like a tie of float32, or is so small that float32 has fewer bits.
func fma32(a, b, c float32) float32 {
	p := float64(a) * float64(b)
	s := p + float64(c)
	u := math.Float64bits(s)
	if u&0x1fffffff == 0x10000000 || u>>52&0x7ff < 1023-126 {
		return float32(roundToOdd(p, float64(c), s))
	}
	return float32(s)
}

// roundToOdd corrects s = p+c so that an inexact sum has an odd last bit: rounding that to a shorter format is
// right. The error of the sum is exact by Knuth's two-sum.
func roundToOdd(p, c, s float64) float64 {
	bb := s - p
	err := (p - (s - bb)) + (c - bb)
	u := math.Float64bits(s)
	if err == 0 || err != err || u&1 != 0 {
		return s
	}
	if (err > 0) == (s > 0) {
		return math.Float64frombits(u + 1)
	}
	return math.Float64frombits(u - 1)
}

// max and min drop a NaN when the other operand is a number; -0 is below +0.
func maxF32(d, a, b, _ *lanes) {
	for i := range d {
		x, y := f32(a[i]), f32(b[i])
		switch {
		case x > y || y != y:
			d[i] = bits32(x)
		case x == y:
			d[i] = a[i] & b[i] // the zeros: +0 unless both are -0
		default:
			d[i] = bits32(y)
		}
	}
}

func minF32(d, a, b, _ *lanes) {
	for i := range d {
		x, y := f32(a[i]), f32(b[i])
		switch {
		case x < y || y != y:
			d[i] = bits32(x)
		case x == y:
			d[i] = a[i] | b[i]
		default:
			d[i] = bits32(y)
		}
	}
}

func maxNaNF32(d, a, b, _ *lanes) {
	for i := range d {
		d[i] = bits32(max(f32(a[i]), f32(b[i])))
	}
}

func minNaNF32(d, a, b, _ *lanes) {
	for i := range d {
		d[i] = bits32(min(f32(a[i]), f32(b[i])))
	}
}

func ex2F32(d, a, _, _ *lanes) {
	for i := range d {
		d[i] = bits32(float32(math.Exp2(float64(f32(a[i])))))
	}
}

func lg2F32(d, a, _, _ *lanes) {
	for i := range d {
		d[i] = bits32(float32(math.Log2(float64(f32(a[i])))))
	}
}

func rcpF32(d, a, _, _ *lanes) {
	for i := range d {
		d[i] = bits32(1 / f32(a[i]))
	}
}

func sqrtF32(d, a, _, _ *lanes) {
	for i := range d {
		d[i] = bits32(float32(math.Sqrt(float64(f32(a[i])))))
	}
}

func rsqrtF32(d, a, _, _ *lanes) {
	for i := range d {
		d[i] = bits32(float32(1 / math.Sqrt(float64(f32(a[i])))))
	}
}

// flush replaces subnormals by zeros of the same sign.
func flush(x uint32) uint32 {
	if x&0x7f800000 == 0 {
		return x & (1 << 31)
	}
	return x
}

func flushAll(x *lanes) {
	for i := range x {
		x[i] = flush(x[i])
	}
}

// The first source of a packed conversion goes to the upper half.
func packBF16(d, hi, lo, _ *lanes) {
	for i := range d {
		d[i] = toBF16(hi[i])<<16 | toBF16(lo[i])
	}
}

func packF16(d, hi, lo, _ *lanes) {
	for i := range d {
		d[i] = toF16(hi[i])<<16 | toF16(lo[i])
	}
}

// toBF16 rounds float32 bits to nearest even.
func toBF16(x uint32) uint32 {
	if x&0x7fffffff > 0x7f800000 {
		return 0x7fff
	}
	return (x + 0x7fff + x>>16&1) >> 16
}

// toF16 rounds float32 bits to nearest even, with subnormals and overflow to infinity.
func toF16(x uint32) uint32 {
	sign := x >> 16 & 0x8000
	x &= 0x7fffffff
	switch {
	case x > 0x7f800000:
		return 0x7fff
	case x >= 0x477ff000: // 65520 and above
		return sign | 0x7c00
	case x < 0x38800000: // below 2^-14: adding 0.5 leaves units of 2^-24 in the low bits
		return sign | math.Float32bits(f32(x)+0.5)&0x7ff
	}
	return sign | (x-0x38000000+0xfff+x>>13&1)>>13
}

// fromF16 widens exactly.
func fromF16(h uint32) float32 {
	x := f32((h & 0x7fff) << 13)
	if h&0x7c00 == 0x7c00 {
		x = f32((h&0x7fff)<<13 | 0x7f800000)
	} else {
		x *= 0x1p112 // exponent bias 127 against 15, also right for subnormals
	}
	if h&0x8000 != 0 {
		return -x
	}
	return x
}

// numbersF16 is fromF16 of every value, for products: a look-up takes half the time and has no branch on the sign.
var numbersF16 = func() (all [1 << 16]float32) {
	for h := range all {
		all[h] = fromF16(uint32(h))
	}
	return all
}()

func fromBF16(h uint32) float32 { return f32(h << 16) }
