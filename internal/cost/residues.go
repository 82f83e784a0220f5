package cost

// class is the numbers x = off modulo step; a step of 0 is no number at all.
type class struct{ off, step int }

var everything = class{0, 1}

// reach bounds positions and distances, by magnitude. Of a class with a step beyond single one member at most lies within it:
// such a class is kept as that member modulo single, so that no step grows on and on.
const (
	reach  = 1 << 30
	single = 1 << 32
)

// and is the numbers in both classes, as far as they lie within reach, by the Chinese remainder theorem.
func (c class) and(d class) class {
	switch {
	case c.step == 0 || d.step == 0:
		return class{}
	case c.step == single:
		return c.ifIn(d)
	case d.step == single:
		return d.ifIn(c)
	}
	g, inverse := bezout(c.step, d.step)
	if (d.off-c.off)%g != 0 {
		return class{}
	}
	step := c.step / g * d.step
	n := d.step / g
	t := mod(mod((d.off-c.off)/g, n)*mod(inverse, n), n)
	return class{mod(c.off+c.step*t, step), step}.within()
}

// within is c with a step that stays below single, or its one member within reach, if there is one.
func (c class) within() class {
	if c.step < single {
		return c
	}
	switch x := nearest(c); {
	case x < -reach || x > reach:
		return class{}
	default:
		return class{mod(x, single), single}
	}
}

// ifIn is c, which has one member, if d has it, too.
func (c class) ifIn(d class) class {
	if mod(nearest(c)-d.off, d.step) != 0 {
		return class{}
	}
	return c
}

// nearest is the member nearest to 0.
func nearest(c class) int {
	if off := mod(c.off, c.step); off <= c.step/2 {
		return off
	} else {
		return off - c.step
	}
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
