package bench

import (
	"fmt"

	"github.com/minfc/minfc/ir"
)

// Count is the work of one (batch, head) of a launch.
type Count struct {
	Pairs int64 // kept query-key pairs
	Tiles int64 // row tile x key tile steps that the kernel computes
}

// CountWork counts what a launch of s keeps and computes, in closed form for each row and row tile. values holds every
// parameter, as ir.CheckLaunch returns them.
func CountWork(s *ir.Schedule, values map[string]int64, shape ir.Shape) (Count, error) {
	if err := checkStatic(s); err != nil {
		return Count{}, err
	}
	var c Count
	for i, g := range s.Segments {
		b, err := bindBand(g, values)
		if err != nil {
			return Count{}, fmt.Errorf("schedule %s, segment %d: %w", s.Name, i, err)
		}
		for q := shape.QOffset; q < shape.QOffset+shape.Sq; q++ {
			c.Pairs += b.pairs(int64(q), int64(shape.Sk))
		}
		for n := 0; n*s.Tile.Rows < shape.Sq; n++ {
			first, last := shape.RowTile(n, s.Tile.Rows)
			c.Tiles += b.tiles(int64(first), int64(last), int64(shape.Sk), int64(s.Tile.Keys))
		}
	}
	return c, nil
}

// checkStatic refuses schedules whose work only the data knows.
func checkStatic(s *ir.Schedule) error {
	if len(s.Index) > 0 {
		return fmt.Errorf("what %s keeps is decided by the data, want a static pattern: its tiles cannot be counted before it runs", s.Name)
	}
	return nil
}

// band is a segment of a schedule with its numbers.
type band struct {
	lo, hi []line
	tests  []residue
	hop    int
}

type line struct {
	row bool
	off int64
}

type residue struct {
	diag, not bool
	off, step int64
}

func bindBand(g ir.Segment, values map[string]int64) (band, error) {
	b := band{hop: g.Hop}
	e := evaluator{values: values}
	for _, x := range g.Lo {
		b.lo = append(b.lo, line{x.Row, e.value(x.Off)})
	}
	for _, x := range g.Hi {
		b.hi = append(b.hi, line{x.Row, e.value(x.Off)})
	}
	for _, t := range g.Tests {
		r := residue{t.Diag, t.Not, e.value(t.Off), e.value(t.Step)}
		if e.err == nil && r.step < 1 {
			e.err = fmt.Errorf("the step %s is %d, want at least 1", t.Step, r.step)
		}
		b.tests = append(b.tests, r)
	}
	return b, e.err
}

// evaluator keeps the first error of several polynomials.
type evaluator struct {
	values map[string]int64
	err    error
}

func (e *evaluator) value(p ir.Poly) int64 {
	v, err := p.Eval(e.values)
	if err != nil && e.err == nil {
		e.err = err
	}
	return v
}

func (l line) at(q int64) int64 {
	if l.row {
		return q + l.off
	}
	return l.off
}

// from and to bound the kept keys of row q: from <= k < to.
func (b band) from(q int64) int64 {
	x := int64(0)
	for _, l := range b.lo {
		x = max(x, l.at(q))
	}
	return x
}

func (b band) to(q, sk int64) int64 {
	for _, l := range b.hi {
		sk = min(sk, l.at(q))
	}
	return sk
}

// pairs counts the keys that row q keeps. Negative tests are taken away by inclusion and exclusion.
func (b band) pairs(q, sk int64) int64 {
	lo, hi := b.from(q), b.to(q, sk)
	if hi <= lo {
		return 0
	}
	return countClass(everyKey, b.tests, q, lo, hi)
}

// countClass counts the keys of class c in [lo, hi) that pass the tests in row q.
func countClass(c class, tests []residue, q, lo, hi int64) int64 {
	if len(tests) == 0 {
		return c.count(lo, hi)
	}
	t, rest := tests[0], tests[1:]
	with, some := c.meet(t.keys(q))
	inside := int64(0)
	if some {
		inside = countClass(with, rest, q, lo, hi)
	}
	if t.not {
		return countClass(c, rest, q, lo, hi) - inside
	}
	return inside
}

// keys is the class of the keys that the test, without its not, keeps in row q.
func (t residue) keys(q int64) class {
	if t.diag {
		return class{floorMod(q-t.off, t.step), t.step}
	}
	return class{floorMod(t.off, t.step), t.step}
}

// tiles counts the key tiles of the row tile first..last, by the rules at ir.Segment.
func (b band) tiles(first, last, sk, keys int64) int64 {
	top, bottom := b.to(last, sk), b.from(first)
	if top <= bottom {
		return 0
	}
	if b.hop < 0 {
		return (top - bottom + keys - 1) / keys
	}
	t := b.tests[b.hop]
	if t.diag {
		t.off -= last // distances from the last row
	}
	return t.hops(top, bottom, keys, last-first)
}

// hops counts the tiles that the walk from top to bottom visits, where tiles without a key of the class are jumped over
// (ir.NextTop). After a jump the walk is always in the same state, so whole cycles between jumps are counted at once.
func (t residue) hops(top, bottom, keys, rows int64) int64 {
	width := keys // number of x values that one tile meets
	if t.diag {
		width = keys + rows
	}
	if t.step <= width {
		return (top - bottom + keys - 1) / keys // no tile is without
	}
	count, cycleCount, cycleEnd := int64(0), int64(-1), int64(0)
	for e := top; ; e -= keys {
		if jump := t.jump(e, keys, width); jump > 0 {
			e -= jump
			if cycleCount >= 0 && e > bottom {
				n := (e - bottom - 1) / (cycleEnd - e) // whole cycles that still end above the bottom
				count, e = count+n*(count-cycleCount), e-n*(cycleEnd-e)
			}
			cycleCount, cycleEnd = count, e
		}
		if e <= bottom {
			return count
		}
		count++
	}
}

// jump is how far below e the next tile with a key of the class ends, 0 when the tile that ends at e has one. t.off is
// relative to the last row on a diagonal test.
func (t residue) jump(e, keys, width int64) int64 {
	if !t.diag {
		if rem := floorMod(e-1-t.off, t.step); rem >= width {
			return rem
		}
		return 0
	}
	if rem := floorMod(keys-e-t.off, t.step); rem >= width {
		return keys - 1 + t.step - rem
	}
	return 0
}

// class is the set of integers x with x mod step == at, 0 <= at < step; step 0 means the single integer at.
type class struct{ at, step int64 }

var everyKey = class{0, 1}

// maxStep is beyond every key position: a class with a larger step has at most one key.
const maxStep = 1 << 31

func (c class) count(lo, hi int64) int64 {
	if c.step == 0 {
		if lo <= c.at && c.at < hi {
			return 1
		}
		return 0
	}
	return floorDiv(hi-1-c.at, c.step) - floorDiv(lo-1-c.at, c.step)
}

// meet intersects two classes (the Chinese remainder theorem). The second result is false when nothing is left of the
// integers in [0, maxStep).
func (c class) meet(o class) (class, bool) {
	if c.step == 0 {
		return c, floorMod(c.at-o.at, o.step) == 0
	}
	g, inverse := extendedGCD(c.step, o.step)
	if floorMod(o.at-c.at, g) != 0 {
		return class{}, false
	}
	m := o.step / g
	k := floorMod(floorMod((o.at-c.at)/g, m)*floorMod(inverse, m), m)
	out := class{c.at + c.step*k, c.step * m} // below 2^62, as steps are below 2^31
	if out.step > maxStep {
		return class{at: out.at}, out.at < maxStep
	}
	return out, true
}

// extendedGCD returns g = gcd(a, b) and x with a*x = g modulo b.
func extendedGCD(a, b int64) (g, x int64) {
	x0, x1 := int64(1), int64(0)
	for b != 0 {
		q := a / b
		a, b = b, a-q*b
		x0, x1 = x1, x0-q*x1
	}
	return a, x0
}

func floorMod(a, n int64) int64 {
	if r := a % n; r < 0 {
		return r + n
	} else {
		return r
	}
}

func floorDiv(a, n int64) int64 { return (a - floorMod(a, n)) / n }
