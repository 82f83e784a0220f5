package irtest

import (
	"math/rand/v2"

	"github.com/minfc/minfc/ir"
)

// Numbers at the limits of the language and next to them. Bounds of a kernel are sums of such numbers in 32 bits, so they are
// drawn often. Most of them leave every key or none; numbers near MaxEnd meet the keys of queries at the last positions.

// limit draws a number next to a limit, of either sign.
func limit(rng *rand.Rand) int64 {
	n := largest(rng)
	if rng.IntN(3) == 0 {
		n = ir.MaxEnd - int64(rng.IntN(300))
	}
	if rng.IntN(2) == 0 {
		n = -n
	}
	return n
}

// largest draws the largest number that there is, or one just below it.
func largest(rng *rand.Rand) int64 { return ir.MaxParam - int64(rng.IntN(3)) }

// limitPoly is such a number, or a parameter less a number: one that lies at a limit itself comes out small.
func (g *generator) limitPoly() ir.Poly {
	p := ir.Int(limit(g.rng))
	if len(g.params) == 0 || g.rng.IntN(2) == 0 {
		return p
	}
	switch g.rng.IntN(3) {
	case 0:
		return g.variable()
	case 1:
		return p.Add(g.variable())
	default:
		return p.Sub(g.variable())
	}
}

// AtLimit moves the queries of a shape to the last positions that there are.
func AtLimit(rng *rand.Rand, s ir.Shape) ir.Shape {
	s.QOffset = ir.MaxEnd - s.Sq - rng.IntN(2)
	return s
}

// withinLimits says whether every number of p stays within the limits of the language for these values.
func withinLimits(p *ir.Pattern, values map[string]int64) bool {
	return p.CheckValues(values) == nil
}
