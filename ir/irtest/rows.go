package irtest

import (
	"math/rand/v2"

	"github.com/minfc/minfc/ir"
)

// WithRows returns p with bounds on rows: one to three of its sets are cut to rows of the call, lose some, or gain all keys of them.
// The defaults of the parameters stay within the limits.
func WithRows(rng *rand.Rand, p *ir.Pattern) *ir.Pattern {
	g := &generator{rng: rng, params: p.Params}
	values := defaults(p)
	for {
		out := *p
		for range 1 + rng.IntN(3) {
			at := rng.IntN(countSets(out.Keep))
			out.Keep = g.changeSet(out.Keep, &at)
		}
		if withinLimits(&out, values) {
			return &out
		}
	}
}

func countSets(s ir.Set) int {
	n := 1
	for _, x := range operands(s) {
		n += countSets(x)
	}
	return n
}

func operands(s ir.Set) []ir.Set {
	switch s := s.(type) {
	case ir.Union:
		return s.Sets
	case ir.Intersect:
		return s.Sets
	case ir.Minus:
		return []ir.Set{s.Left, s.Right}
	}
	return nil
}

// changeSet puts bounds on rows into set number at of s and the sets below it.
func (g *generator) changeSet(s ir.Set, at *int) ir.Set {
	if *at--; *at == -1 {
		return g.rowsIn(s)
	}
	var sets []ir.Set
	for _, x := range operands(s) {
		sets = append(sets, g.changeSet(x, at))
	}
	switch s := s.(type) {
	case ir.Union:
		return ir.Union{Sets: sets}
	case ir.Intersect:
		return ir.Intersect{Sets: sets}
	case ir.Minus:
		return ir.Minus{Left: sets[0], Right: sets[1]}
	default:
		return s
	}
}

// rowsIn cuts s by rows, or unites the two: mostly the former, which leaves what data chose in one piece.
func (g *generator) rowsIn(s ir.Set) ir.Set {
	rows := ir.Rows{From: g.rowBound()}
	if g.rng.IntN(3) > 0 {
		to := g.rowBound()
		rows.To = &to
	}
	switch g.rng.IntN(8) {
	case 0, 1, 2:
		return ir.Intersect{Sets: []ir.Set{rows, s}}
	case 3:
		return ir.Minus{Left: s, Right: rows}
	case 4:
		return ir.Minus{Left: rows, Right: s}
	default:
		return ir.Union{Sets: []ir.Set{s, rows}}
	}
}

// rowBound draws a position, or a number of rows before the end.
func (g *generator) rowBound() ir.RowBound {
	p := g.poly()
	if g.rng.IntN(2) == 0 {
		return ir.RowBound{Off: p}
	}
	return ir.RowBound{FromEnd: true, Off: ir.Int(0).Sub(p)}
}

// RowsBySeed is WithRows for every third seed, else p itself. It draws from a source of its own, so that what a seed draws besides stays.
func RowsBySeed(seed uint64, p *ir.Pattern) *ir.Pattern {
	if seed%3 != 2 {
		return p
	}
	return WithRows(rand.New(rand.NewPCG(seed, 17)), p)
}
