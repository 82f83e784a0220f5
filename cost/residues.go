package cost

import "fmt"

// class is the numbers x = off modulo step; a step of 0 is no number at all.
type class struct{ off, step int }

var everything = class{0, 1}

// maxStep is where combined steps end: no two positions are further apart.
const maxStep = 1 << 31

// and is the numbers in both classes, by the Chinese remainder theorem. It passes an earlier error on.
func (c class) and(d class, err error) (class, error) {
	if err != nil || c.step == 0 {
		return c, err
	}
	g, inverse := bezout(c.step, d.step)
	if (d.off-c.off)%g != 0 {
		return class{}, nil
	}
	step := c.step / g * d.step
	if step > maxStep {
		return class{}, fmt.Errorf("residue tests combine to a step of %d: kept pairs are counted up to 2^31", step)
	}
	n := d.step / g
	t := mod(mod((d.off-c.off)/g, n)*mod(inverse, n), n)
	return class{mod(c.off+c.step*t, step), step}, nil
}

// bezout returns g = gcd(a, b) and x with a*x = g modulo b.
func bezout(a, b int) (g, x int) {
	x, y := 1, 0
	for b != 0 {
		q := a / b
		a, b = b, a-q*b
		x, y = y, x-q*y
	}
	return a, x
}

// sumFloor is the sum of floor((slope*q + off) / step) over first <= q <= last, for a slope of -1, 0 or 1.
func sumFloor(slope, off, step, first, last int) int64 {
	count := int64(last - first + 1)
	lowest := slope*first + off
	if slope < 0 {
		lowest = slope*last + off
	}
	base := floorDiv(lowest, step)
	if slope == 0 {
		return count * int64(base)
	}
	// The other numbers follow upwards, one by one.
	start := lowest - base*step
	return count*int64(base) + sumBelow(start+int(count), step) - sumBelow(start, step)
}

// sumBelow is the sum of floor(i / step) over 0 <= i < n.
func sumBelow(n, step int) int64 {
	t, r := int64(n/step), int64(n%step)
	return int64(step)*(t*(t-1)/2) + r*t
}

func floorDiv(a, n int) int {
	if q := a / n; a%n < 0 {
		return q - 1
	} else {
		return q
	}
}

// mod is the remainder in [0, n).
func mod(a, n int) int { return a - n*floorDiv(a, n) }
