package ir

import (
	"fmt"
	"math"
	"math/big"
	"strings"
)

// Rows of queries: bounds on their position, which cut a set or a segment as a whole.

// RowBound is a bound on the position of a query: Off, or the call's end plus Off where FromEnd is set. The end is the position
// after the last query of the call.
type RowBound struct {
	FromEnd bool
	Off     Poly
}

// firstRow and rowEnd are the bounds that every query keeps: firstRow <= q < rowEnd.
var (
	firstRow = RowBound{}
	rowEnd   = RowBound{FromEnd: true}
)

// rowAbove says whether bound x >= bound y is proven. A call without queries keeps nothing, so the end is at least 1.
func (f Facts) rowAbove(x, y RowBound) bool {
	least := int64(0)
	if x.FromEnd && !y.FromEnd {
		least = -1
	}
	return (x.FromEnd || !y.FromEnd) && f.AtLeast(x.Off.Sub(y.Off), least)
}

// NoRow says whether a set of rows is provably empty.
func (f Facts) NoRow(s Rows) bool {
	if f.rowAbove(s.From, rowEnd) {
		return true
	}
	return s.To != nil && (f.rowAbove(firstRow, *s.To) || f.rowAbove(s.From, *s.To))
}

// EveryRow says whether a set of rows provably has all rows of every call.
func (f Facts) EveryRow(s Rows) bool {
	return f.rowAbove(firstRow, s.From) && (s.To == nil || f.rowAbove(*s.To, rowEnd))
}

func (f Facts) withRowLower(g Segment, b RowBound) (Segment, bool) {
	if f.rowAbove(b, rowEnd) {
		return g, false
	}
	for _, hi := range g.RowHi {
		if f.rowAbove(b, hi) {
			return g, false
		}
	}
	if f.rowAbove(firstRow, b) {
		return g, true
	}
	g.RowLo = tightest(g.RowLo, b, f.rowAbove)
	return g, true
}

func (f Facts) withRowUpper(g Segment, b RowBound) (Segment, bool) {
	if f.rowAbove(firstRow, b) {
		return g, false
	}
	for _, lo := range g.RowLo {
		if f.rowAbove(lo, b) {
			return g, false
		}
	}
	if f.rowAbove(b, rowEnd) {
		return g, true
	}
	g.RowHi = tightest(g.RowHi, b, func(x, y RowBound) bool { return f.rowAbove(y, x) })
	return g, true
}

// tightest adds b to bounds on one side, without bounds that another implies.
func tightest(bounds []RowBound, b RowBound, implies func(x, y RowBound) bool) []RowBound {
	var keep []RowBound
	for _, x := range bounds {
		if implies(x, b) {
			return bounds
		}
		if !implies(b, x) {
			keep = append(keep, x)
		}
	}
	return append(keep, b)
}

// String writes the bound as both text forms have it: "64", "-last from end".
func (b RowBound) String() string {
	if b.FromEnd {
		return b.Off.String() + " from end"
	}
	return b.Off.String()
}

// written is the bound as the language has it, where an end that begins with a minus counts from the end of the call.
func (b RowBound) written() string {
	off := b.Off.String()
	minus := strings.HasPrefix(off, "-")
	switch {
	case b.FromEnd && !minus:
		return "-0 + " + off
	case !b.FromEnd && minus:
		return "0 - " + off[1:]
	}
	return off
}

func formatRows(s Rows) string {
	from, to := s.From.written(), ""
	if s.To != nil {
		to = s.To.written()
	}
	return "rows(" + from + ".." + to + ")"
}

func rowsText(s Rows) string {
	if s.To == nil {
		return fmt.Sprintf("rows lo %s", s.From)
	}
	return fmt.Sprintf("rows lo %s hi %s", s.From, *s.To)
}

// rowBound reads "64" or "-last from end".
func (c *cursor) rowBound() RowBound {
	b := RowBound{Off: c.poly()}
	b.FromEnd = c.accept("from", "end")
	return b
}

// rows reads what follows the word "rows" of a set.
func (c *cursor) rows() Rows {
	c.expect("lo")
	s := Rows{From: c.rowBound()}
	if c.accept("hi") {
		to := c.rowBound()
		s.To = &to
	}
	return s
}

func mapRows(s Rows, f func(RowBound) RowBound) Rows {
	out := Rows{From: f(s.From)}
	if s.To != nil {
		to := f(*s.To)
		out.To = &to
	}
	return out
}

func (c *checker) rows(s Rows, where string) {
	c.poly(s.From.Off, where)
	if s.To != nil {
		c.poly(s.To.Off, where)
	}
}

// End is the position after the last query.
func (s Shape) End() int { return s.QOffset + s.Sq }

// EndingAt is p for calls whose last query lies just before a position: rows that count from the end get positions. Keeps,
// KeepsWith and CoverWith have no meaning for others.
func (p *Pattern) EndingAt(end int) *Pattern {
	out := *p
	out.Keep = mapSet(p.Keep, func(s Set) Set {
		rows, is := s.(Rows)
		if !is {
			return s
		}
		return mapRows(rows, func(b RowBound) RowBound {
			if b.FromEnd {
				b = RowBound{Off: b.Off.Add(Int(int64(end)))}
			}
			return b
		})
	})
	return &out
}

// compileRows is membership of a query position.
func compileRows(s Rows, values map[string]int64) (func(q int) bool, error) {
	from, err := s.From.position(values)
	if err != nil || s.To == nil {
		return func(q int) bool { return int64(q) >= from }, err
	}
	to, err := s.To.position(values)
	return func(q int) bool { return from <= int64(q) && int64(q) < to }, err
}

// position is the value of a bound that does not count from the end. It may lie beyond the limit of the language: EndingAt adds the
// end to a number of the language.
func (b RowBound) position(values map[string]int64) (int64, error) {
	if b.FromEnd {
		return 0, fmt.Errorf("rows count from the end of a call (%s): use EndingAt", b.written())
	}
	sum, err := b.Off.sum(values)
	if err != nil {
		return 0, err
	}
	if sum.CmpAbs(big.NewInt(math.MaxInt32)) > 0 {
		return 0, beyond(b.Off, sum)
	}
	return sum.Int64(), nil
}

// launchedRow is a row bound with its value.
type launchedRow struct {
	fromEnd bool
	off     int
}

func bindRows(bounds []RowBound, values map[string]int64) ([]launchedRow, error) {
	var out []launchedRow
	for _, b := range bounds {
		off, err := b.Off.Eval(values)
		if err != nil {
			return nil, err
		}
		out = append(out, launchedRow{b.FromEnd, int(off)})
	}
	return out, nil
}

func (b launchedRow) at(end int) int {
	if b.fromEnd {
		return end + b.off
	}
	return b.off
}

// rows are the positions of the segment's queries: from <= q < to.
func (g launchedSegment) rows(end int) (from, to int) {
	to = end
	for _, b := range g.rowLo {
		from = max(from, b.at(end))
	}
	for _, b := range g.rowHi {
		to = min(to, b.at(end))
	}
	return from, to
}

// clip cuts the rows first..last to the rows of the segment. Where it has none of them, first and last stay among them, and some is false.
func (g launchedSegment) clip(first, last, end int) (f, l int, some bool) {
	from, to := g.rows(end)
	some = max(first, from) < min(last+1, to)
	return min(last, max(first, from)), max(first, min(last, to-1)), some
}
