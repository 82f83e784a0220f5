// Package irtest makes random patterns, parameters and shapes for tests that compare interpreters with each other.
package irtest

import (
	"fmt"
	"math/rand/v2"

	"github.com/minfc/minfc/ir"
)

// generator draws everything from one source, so that a seed gives the same pattern everywhere.
type generator struct {
	rng    *rand.Rand
	params []ir.Param
	// requires are satisfied by the defaults of params
	requires []ir.Require
	chosen   []ir.Chosen // the leaves of dynamic
}

// RandomPattern returns a pattern that passes Verify. Most numbers are small, so that bounds meet within a few hundred keys;
// some lie at the limits of the language.
func RandomPattern(rng *rand.Rand) *ir.Pattern {
	g := &generator{rng: rng}
	for i := range rng.IntN(4) {
		low := int64(rng.IntN(3))
		p := ir.Param{Name: fmt.Sprintf("p%d", i), Min: low, Default: low + int64(rng.IntN(40))}
		if rng.IntN(8) == 0 {
			p.Default = largest(rng)
		}
		if rng.IntN(4) == 0 {
			p.Binding = ir.BindConst
		}
		g.params = append(g.params, p)
	}
	if len(g.params) >= 2 && rng.IntN(3) == 0 {
		a, b := g.params[0], g.params[1]
		g.requires = append(g.requires, ir.Require{
			Value: ir.Var(a.Name).Sub(ir.Var(b.Name)), Min: a.Default - b.Default, What: "the gap between p0 and p1",
		})
	}
	return g.legal(func() ir.Set { return g.set(1 + rng.IntN(3)) })
}

// legal is a pattern that keeps what draw draws, tried until the defaults of the parameters stay within the limits.
func (g *generator) legal(draw func() ir.Set) *ir.Pattern {
	p := &ir.Pattern{Name: "random", Params: g.params, Requires: g.requires}
	defaults := map[string]int64{}
	for _, x := range g.params {
		defaults[x.Name] = x.Default
	}
	for p.Keep = draw(); !withinLimits(p, defaults); {
		p.Keep = draw()
	}
	return p
}

// set draws a set; depth bounds how far operators nest. Causal parts are frequent, as they are in use.
func (g *generator) set(depth int) ir.Set {
	if depth == 0 {
		return g.primitive()
	}
	switch g.rng.IntN(8) {
	case 0, 1, 2:
		return ir.Union{Sets: g.sets(depth)}
	case 3, 4:
		return ir.Intersect{Sets: append([]ir.Set{ir.Causal{}}, g.sets(depth)...)}
	case 5:
		return ir.Intersect{Sets: g.sets(depth)}
	case 6:
		return ir.Minus{Left: g.set(depth - 1), Right: g.set(depth - 1)}
	default:
		return g.primitive()
	}
}

func (g *generator) sets(depth int) []ir.Set {
	n := 2 + g.rng.IntN(3)
	if g.rng.IntN(12) == 0 {
		n = g.rng.IntN(2)
	}
	var out []ir.Set
	for range n {
		out = append(out, g.set(depth-1))
	}
	return out
}

func (g *generator) primitive() ir.Set {
	switch g.rng.IntN(12) {
	case 0:
		if g.rng.IntN(3) == 0 {
			return ir.All{}
		}
		return ir.Causal{}
	case 1, 2, 3:
		return ir.Window{Left: g.poly(), Right: g.poly()}
	case 4:
		return ir.Window{Left: g.poly()}
	case 5, 6:
		return ir.Sink{N: g.poly()}
	case 7, 8, 9:
		return ir.Diagonals{From: g.poly(), To: g.end(), Step: g.step()}
	default:
		return ir.Columns{From: g.poly(), To: g.end(), Step: g.step()}
	}
}

// poly draws a sum of up to one parameter, or product of two, and a small number, which may be negative. One in eight lies at a
// limit.
func (g *generator) poly() ir.Poly {
	if g.rng.IntN(8) == 0 {
		return g.limitPoly()
	}
	p := ir.Int(int64(g.rng.IntN(60) - 10))
	if len(g.params) == 0 {
		return p
	}
	switch g.rng.IntN(6) {
	case 0, 1:
		p = g.variable()
	case 2:
		p = p.Add(g.variable())
	case 3:
		p = g.variable().Mul(ir.Int(int64(g.rng.IntN(4) - 1))).Add(p)
	case 4:
		p = p.Add(g.variable().Mul(g.variable()))
	}
	return p
}

func (g *generator) variable() ir.Poly {
	return ir.Var(g.params[g.rng.IntN(len(g.params))].Name)
}

func (g *generator) end() *ir.Poly {
	if g.rng.IntN(3) == 0 {
		return nil
	}
	p := g.poly()
	return &p
}

// step draws a step that is always at least 1. Large ones leave whole tiles empty.
func (g *generator) step() ir.Poly {
	switch n := g.rng.IntN(6); {
	case n == 0 && g.rng.IntN(4) == 0:
		return ir.Int(largest(g.rng))
	case n == 0:
		return ir.Int(int64(30 + g.rng.IntN(150)))
	case n < 4 || len(g.params) == 0:
		return ir.Int(int64(1 + g.rng.IntN(5)))
	default:
		return g.variable().Add(ir.Int(1))
	}
}

// RandomValues returns legal values for the parameters of p (const ones at their default), as ir.CheckLaunch does. One in six
// lies at the limit.
func RandomValues(rng *rand.Rand, p *ir.Pattern) map[string]int64 {
	for range 20 {
		values := map[string]int64{}
		for _, param := range p.Params {
			if param.Binding == ir.BindLaunch {
				values[param.Name] = param.Min + int64(rng.IntN(50))
				if rng.IntN(6) == 0 {
					values[param.Name] = largest(rng)
				}
			}
		}
		if out, err := ir.CheckLaunch(p.Params, p.Requires, values); err == nil && withinLimits(p, out) {
			return out
		}
	}
	out, err := ir.CheckLaunch(p.Params, p.Requires, nil)
	if err != nil {
		panic(fmt.Sprintf("irtest: the defaults of a random pattern are not legal: %v", err))
	}
	return out
}

// RandomShape returns a shape of at most maxSq queries and maxSk keys. Causal squares, chunks at the end and queries beyond
// the keys all occur.
func RandomShape(rng *rand.Rand, maxSq, maxSk int) ir.Shape {
	s := ir.Shape{Sq: 1 + rng.IntN(maxSq), Sk: 1 + rng.IntN(maxSk)}
	switch rng.IntN(4) {
	case 0:
	case 1:
		s.QOffset = max(0, s.Sk-s.Sq)
	default:
		s.QOffset = rng.IntN(maxSk)
	}
	return s
}

// RandomTile returns a small tile.
func RandomTile(rng *rand.Rand) ir.Tile {
	sizes := []int{16, 32, 48, 64, 128}
	return ir.Tile{Rows: sizes[rng.IntN(len(sizes))], Keys: sizes[rng.IntN(len(sizes))]}
}
