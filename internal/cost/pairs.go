package cost

import (
	"errors"
	"slices"

	"github.com/minfc/minfc/ir"
)

// pairs counts the pairs that the band keeps in the rows first..last. A negative test keeps all pairs but the pairs of its
// opposite, so several are sums over their subsets.
func (b band) pairs(first, last int) (int64, error) {
	if first, last = b.clip(first, last); first > last {
		return 0, nil
	}
	var positive, negative []ir.Residue
	for _, t := range b.tests {
		if t.Not {
			negative = append(negative, t)
		} else {
			positive = append(positive, t)
		}
	}
	if len(negative) > 16 {
		return 0, errors.New("a segment has more than 16 negative residue tests: its kept pairs are not counted")
	}
	total := int64(0)
	for subset := range 1 << len(negative) {
		tests, sign := slices.Clone(positive), int64(1)
		for i, t := range negative {
			if subset>>i&1 == 1 {
				tests, sign = append(tests, t), -sign
			}
		}
		total += sign * b.pairsUnder(tests, first, last)
	}
	return total, nil
}

// pairsUnder counts the pairs of the band for which all tests hold, whatever their Not.
func (b band) pairsUnder(tests []ir.Residue, first, last int) int64 {
	keys, distances := everything, everything
	for _, t := range tests {
		if t.Diag {
			distances = distances.and(class{t.Off, t.Step})
		} else {
			keys = keys.and(class{t.Off, t.Step})
		}
	}
	if keys.step == 0 || distances.step == 0 {
		return 0
	}
	total := int64(0)
	for _, p := range b.rowRanges(first, last) {
		switch {
		case distances.step == 1:
			total += p.keysIn(keys, 0)
		case keys.step == 1: // q - k = off, so k = q - off
			total += p.keysIn(class{-distances.off, distances.step}, 1)
		default:
			total += p.mixed(keys, distances)
		}
	}
	return total
}

// rowRange is a run of rows in which both sides of the band move evenly, by slopes 0 or 1, and from <= to.
type rowRange struct {
	first, last int // rows
	from, to    line
}

// line is slope*q + off.
type line struct{ slope, off int }

func (l line) at(q int) int { return l.slope*q + l.off }

// rowRanges cuts the rows where a row bound meets a constant one.
func (b band) rowRanges(first, last int) []rowRange {
	cuts := []int{first, last + 1}
	bounds := append(append([]bound{{off: 0}, {off: b.sk}}, b.lo...), b.hi...)
	for _, x := range bounds {
		for _, y := range bounds {
			if at := y.off - x.off; x.row && !y.row && first < at && at <= last {
				cuts = append(cuts, at)
			}
		}
	}
	slices.Sort(cuts)
	cuts = slices.Compact(cuts)
	var out []rowRange
	for i := range len(cuts) - 1 {
		p := rowRange{first: cuts[i], last: cuts[i+1] - 1}
		p.from, p.to = through(p, b.from), through(p, b.to)
		// Sides can only meet at the first row of a rowRange.
		if p.from.at(p.last) < p.to.at(p.last) || p.from.at(p.first) < p.to.at(p.first) {
			out = append(out, p)
		}
	}
	return out
}

// through is the line that f follows in the rows of p.
func through(p rowRange, f func(int) int) line {
	if p.first == p.last {
		return line{0, f(p.first)}
	}
	slope := f(p.first+1) - f(p.first)
	return line{slope, f(p.first) - slope*p.first}
}

// keysIn counts the pairs of p with k = off + slope*q modulo step.
func (p rowRange) keysIn(c class, slope int) int64 {
	below := func(l line) int64 { // class members below the line, up to a constant that cancels
		return sumFloor(l.slope-slope, l.off-1-c.off, c.step, p.first, p.last)
	}
	return below(p.to) - below(p.from)
}

// mixed counts, row by row, the pairs with k in one class and q - k in another.
func (p rowRange) mixed(keys, distances class) int64 {
	total := int64(0)
	for q := p.first; q <= p.last; q++ {
		c := keys.and(class{q - distances.off, distances.step})
		if c.step > 0 {
			total += int64(floorDiv(p.to.at(q)-1-c.off, c.step) - floorDiv(p.from.at(q)-1-c.off, c.step))
		}
	}
	return total
}
