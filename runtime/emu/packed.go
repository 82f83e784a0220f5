package emu

import "math"

// fmaPacked is a*b+c of both halves of a register, rounded once.
func fmaPacked(widen func(uint32) float32, round func(uint32) uint32) func(d, a, b, c *lanes) {
	one := func(a, b, c uint32) uint32 {
		product := float64(widen(a)) * float64(widen(b)) // exact: the factors have 11 bits at most
		return round(math.Float32bits(addToOdd(product, float64(widen(c)))))
	}
	return func(d, a, b, c *lanes) {
		for i := range d {
			low := one(a[i]&0xffff, b[i]&0xffff, c[i]&0xffff)
			d[i] = one(a[i]>>16, b[i]>>16, c[i]>>16)<<16 | low
		}
	}
}

// addToOdd is x+y as a float32 that, where the sum does not fit, has its last bit set: rounding it to fewer bits gives what rounding
// the exact sum would (Boldo and Melquiond, "Emulation of FMA and correctly rounded sums", 2008).
func addToOdd(x, y float64) float32 {
	sum := x + y
	back := sum - x
	rest := (x - (sum - back)) + (y - back) // exact: what the sum lost
	f := float32(sum)
	lost := sum - float64(f)
	if lost == 0 {
		lost = rest
	}
	if lost == 0 || lost != lost || math.IsInf(float64(f), 0) {
		return f
	}
	if f == 0 {
		return float32(math.Copysign(math.SmallestNonzeroFloat32, lost))
	}
	bits := math.Float32bits(f)
	if bits&1 == 0 { // the exact sum lies between f and its neighbour on that side, whose last bit is set
		if (lost > 0) == (f >= 0) {
			bits++
		} else {
			bits--
		}
	}
	return math.Float32frombits(bits)
}
