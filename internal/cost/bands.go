package cost

import (
	"fmt"

	"github.com/minfc/minfc/ir"
)

// band is a segment of a schedule with the values of one launch: max(0, lo...) <= k < min(sk, hi...), and every test holds, in
// the rows rowFrom <= q < rowTo.
type band struct {
	lo, hi    []bound
	tests     []ir.Residue
	rowFrom   int
	rowTo     int
	hop       int // index in tests of the test whose empty tiles are skipped, or -1
	neverFull bool
	sk        int
}

// bound is off, or q + off.
type bound struct {
	row bool
	off int
}

// bands evaluates the schedule of w. Bind proves that no value leaves the range of the kernels' arithmetic.
func (w Work) bands() ([]band, error) {
	values, err := ir.CheckLaunch(w.Schedule.Params, w.Schedule.Requires, w.Params)
	if err != nil {
		return nil, err
	}
	if _, err := w.Schedule.Bind(values); err != nil {
		return nil, err
	}
	e := evaluator{values: values}
	var out []band
	for i, g := range w.Schedule.Segments {
		if g.From.Kind == ir.SourceMeans { // which keep no pair: Counts.means has their slots
			continue
		}
		if g.From.Kind != ir.SourceRange || len(g.Except) > 0 {
			return nil, fmt.Errorf("segment %d of schedule %s depends on the data: only static patterns have a price", i, w.Schedule.Name)
		}
		b := band{lo: e.bounds(g.Lo), hi: e.bounds(g.Hi), hop: g.Hop, neverFull: g.NeverFull, sk: w.SeqK}
		b.rowFrom, b.rowTo = e.rows(g, w.QOffset+w.SeqQ)
		for _, t := range g.Tests {
			b.tests = append(b.tests, ir.Residue{Diag: t.Diag, Off: e.eval(t.Off), Step: e.eval(t.Step), Not: t.Not})
		}
		out = append(out, b)
	}
	return out, e.err
}

// evaluator keeps the first error.
type evaluator struct {
	values map[string]int64
	err    error
}

func (e *evaluator) eval(p ir.Poly) int {
	v, err := p.Eval(e.values)
	e.keep(err)
	return int(v)
}

func (e *evaluator) keep(err error) {
	if e.err == nil {
		e.err = err
	}
}

func (e *evaluator) bounds(list []ir.Bound) []bound {
	var out []bound
	for _, b := range list {
		off, err := b.Eval(e.values)
		e.keep(err)
		out = append(out, bound{b.Row, int(off)})
	}
	return out
}

// rows are the positions of the rows of a segment, for a call that ends at a position.
func (e *evaluator) rows(g ir.Segment, end int) (from, to int) {
	at := func(b ir.RowBound) int {
		if b.FromEnd {
			return end + e.eval(b.Off)
		}
		return e.eval(b.Off)
	}
	to = end
	for _, b := range g.RowLo {
		from = max(from, at(b))
	}
	for _, b := range g.RowHi {
		to = min(to, at(b))
	}
	return from, to
}

// clip cuts the rows first..last to the rows of the band; there are none where last is then before first.
func (b band) clip(first, last int) (int, int) {
	return max(first, b.rowFrom), min(last, b.rowTo-1)
}

func (b bound) at(q int) int {
	if b.row {
		return q + b.off
	}
	return b.off
}

// from and to are the sides of the band in row q: from <= k < to.
func (b band) from(q int) int {
	x := 0
	for _, l := range b.lo {
		x = max(x, l.at(q))
	}
	return x
}

func (b band) to(q int) int {
	x := b.sk
	for _, h := range b.hi {
		x = min(x, h.at(q))
	}
	return x
}
