package lower

import (
	"github.com/llir/llvm/ir/enum"

	"github.com/minfc/minfc/ir"
)

// Poly computes a polynomial of the pattern's parameters as an i32. Const parameters were substituted before.
// The runtime has checked that the value of every polynomial fits (ir.MaxParam; row bounds may lie one beyond). Sums on the
// way may wrap, the last one does not.
func (b *Builder) Poly(p ir.Poly) Value {
	var sum Value
	p.Terms(func(coef int64, vars []string) {
		t := b.term(coef, vars)
		if sum == nil {
			sum = t
		} else {
			sum = b.Add(sum, t)
		}
	})
	if sum == nil {
		return I32(0)
	}
	return sum
}

func (b *Builder) term(coef int64, vars []string) Value {
	if len(vars) == 0 {
		return I32(coef)
	}
	v := b.Param(ir.ParamName(vars[0]))
	for _, name := range vars[1:] {
		v = b.Mul(v, b.Param(ir.ParamName(name)))
	}
	switch coef {
	case 1:
		return v
	case -1:
		return b.Sub(I32(0), v)
	}
	return b.Mul(I32(coef), v)
}

// Segment is a segment whose polynomials are computed: bounds as pairs (row-relative or not, offset).
type Segment struct {
	Lo, Hi []BoundValue
	Tests  []TestValue
	RowLo  []RowBoundValue
	RowHi  []RowBoundValue
	Hop    int
	// NeverFull, From, Except and Pool are the schedule's.
	NeverFull bool
	From      ir.Source
	Except    []ir.Source
	Pool      int
}

// BoundValue is an ir.Bound with its offset in a register.
type BoundValue struct {
	Row bool
	Off Value
}

// TestValue is an ir.Test with its numbers in registers.
type TestValue struct {
	Diag, Not bool
	Off, Step Value
}

// Segments computes the polynomials of all segments in the current block, which must dominate their uses.
func (b *Builder) Segments(s *ir.Schedule) []Segment {
	var out []Segment
	for _, g := range s.Segments {
		v := Segment{Hop: g.Hop, NeverFull: g.NeverFull, From: g.From, Except: g.Except, Pool: g.Pool}
		for _, x := range g.Lo {
			v.Lo = append(v.Lo, BoundValue{x.Row, b.Poly(x.Off)})
		}
		for _, x := range g.Hi {
			v.Hi = append(v.Hi, BoundValue{x.Row, b.Poly(x.Off)})
		}
		for _, t := range g.Tests {
			v.Tests = append(v.Tests, TestValue{t.Diag, t.Not, b.Poly(t.Off), b.Poly(t.Step)})
		}
		v.RowLo, v.RowHi = b.rowBounds(g.RowLo), b.rowBounds(g.RowHi)
		out = append(out, v)
	}
	return out
}

// LoAt is max(0, Lo...) for the query position q: the first key of the row.
func (k *RowTile) LoAt(s Segment, q Value) Value { return k.fold(s.Lo, q, I32(0), k.Max) }

// HiAt is min(sk, Hi...) for the query position q: the key after the last of the row. It is 0 for a row that is not the segment's.
func (k *RowTile) HiAt(s Segment, q Value) Value {
	return k.ofRow(s, q, k.fold(s.Hi, q, k.Length("sk"), k.Min))
}

func (b *Builder) fold(bounds []BoundValue, q, start Value, pick func(x, y Value) Value) Value {
	v := start
	for _, x := range bounds {
		at := x.Off
		if x.Row {
			at = b.Add(q, x.Off)
		}
		v = pick(v, at)
	}
	return v
}

// FloorMod is x mod m in [0, m), for m >= 1.
func (b *Builder) FloorMod(x, m Value) Value {
	r := b.SRem(x, m)
	return b.Select(b.ICmp(enum.IPredSLT, r, I32(0)), b.Add(r, m), r)
}
