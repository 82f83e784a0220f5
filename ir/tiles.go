package ir

import (
	"errors"
	"fmt"
)

// The interpreter of Schedule. It walks the key tiles exactly as a kernel does, by the rules at Segment, so its cover is
// what a launch really keeps.

// Shape is the size of one launch: Sq query rows at positions QOffset, QOffset+1, ... and Sk keys.
type Shape struct{ Sq, Sk, QOffset int }

// RowTile returns the positions of the first and last query of row tile n, the last one clipped to the last query.
func (s Shape) RowTile(n, rows int) (first, last int) {
	return s.QOffset + n*rows, s.QOffset + min((n+1)*rows, s.Sq) - 1
}

// KeyTile is one step of a row tile: the keys Start..Start+Keys-1 of a segment. Start may be below 0 and the end beyond
// what the segment keeps, unless Full: then every pair of every row in the tile counts.
type KeyTile struct {
	Start   int
	Segment int
	Full    bool
}

// Bound values of a schedule: all its polynomials evaluated.
type (
	// Launched is a schedule with the values of its parameters. It is safe for concurrent use.
	Launched struct {
		tile     Tile
		segments []launchedSegment
	}
	launchedSegment struct {
		lo, hi    []launchedBound
		rowLo     []launchedRow
		rowHi     []launchedRow
		tests     []Residue
		hop       int
		neverFull bool
		source    Source
		except    []Source
		pool      int
	}
	launchedBound struct {
		row bool
		off int
	}
	// Residue is a Test with its values.
	Residue struct {
		Diag      bool
		Off, Step int
		Not       bool
	}
)

// Bind evaluates s for one launch. values holds every parameter, as CheckLaunch returns them.
func (s *Schedule) Bind(values map[string]int64) (*Launched, error) {
	l := &Launched{tile: s.Tile}
	for _, d := range s.Index {
		if err := d.bind(values); err != nil {
			return nil, fmt.Errorf("schedule %q, index %q: %w", s.Name, d.Name, err)
		}
	}
	for i, g := range s.Segments {
		b, err := g.bind(values)
		if err != nil {
			return nil, fmt.Errorf("schedule %q, segment %d: %w", s.Name, i, err)
		}
		l.segments = append(l.segments, b)
	}
	return l, nil
}

func (g Segment) bind(values map[string]int64) (launchedSegment, error) {
	out := launchedSegment{hop: g.Hop, neverFull: g.NeverFull, source: g.From, except: g.Except, pool: g.Pool}
	var err error
	if out.lo, err = bindBounds(g.Lo, values); err != nil {
		return out, err
	}
	if out.hi, err = bindBounds(g.Hi, values); err != nil {
		return out, err
	}
	if out.rowLo, err = bindRows(g.RowLo, values); err != nil {
		return out, err
	}
	if out.rowHi, err = bindRows(g.RowHi, values); err != nil {
		return out, err
	}
	for _, t := range g.Tests {
		n, err := evalAll(values, t.Off, t.Step)
		if err != nil {
			return out, err
		}
		if n[1] < 1 {
			return out, fmt.Errorf("the step %s is %d, want at least 1", t.Step, n[1])
		}
		out.tests = append(out.tests, Residue{Diag: t.Diag, Off: n[0], Step: n[1], Not: t.Not})
	}
	return out, nil
}

// bind checks that every number of the definition stays within its limits.
func (d IndexDef) bind(values map[string]int64) error {
	var err error
	MapIndexPolys([]IndexDef{d}, func(p Poly) Poly {
		_, e := evalAll(values, p)
		err = errors.Join(err, e)
		return p
	})
	return err
}

func bindBounds(bounds []Bound, values map[string]int64) ([]launchedBound, error) {
	var out []launchedBound
	for _, b := range bounds {
		off, err := b.Eval(values)
		if err != nil {
			return nil, err
		}
		out = append(out, launchedBound{b.Row, int(off)})
	}
	return out, nil
}

func (b launchedBound) at(q int) int {
	if b.row {
		return q + b.off
	}
	return b.off
}

// extent is where keys and rows of a launch end.
type extent struct{ sk, end int }

func (s Shape) extent() extent { return extent{s.Sk, s.End()} }

// from and to are the two sides of the segment in row q: it keeps from <= k < to, as far as its tests hold. In a row that is not the
// segment's, to is 0.
func (g launchedSegment) from(q int) int {
	x := 0
	for _, b := range g.lo {
		x = max(x, b.at(q))
	}
	return x
}

func (g launchedSegment) to(q int, ends extent) int {
	if from, to := g.rows(ends.end); q < from || q >= to {
		return 0
	}
	x := ends.sk
	for _, b := range g.hi {
		x = min(x, b.at(q))
	}
	return x
}

// Holds says whether the pair passes the test.
func (t Residue) Holds(q, k int) bool {
	x := k
	if t.Diag {
		x = q - k
	}
	return (mod(x-t.Off, t.Step) == 0) != t.Not
}

// mod is the remainder in [0, n).
func mod(a, n int) int {
	if r := a % n; r < 0 {
		return r + n
	} else {
		return r
	}
}

// NextTop returns the exclusive end of the first key tile at or below the one that ends at e in which the positive test t
// holds for some pair of the rows first..last. A tile that holds such a pair is returned unchanged.
//
// On a diagonal test the tile [e-keys, e) meets the distances first-e+1 .. last-e+keys. rem is how far the largest lies
// above the nearest kept distance at or below it; beyond the width of that range the tile is empty, and the next kept
// distance enters, going down, at the row last and the key e'-1.
func (t Residue) NextTop(e, keys, first, last int) int {
	if !t.Diag {
		if rem := mod(e-1-t.Off, t.Step); rem >= keys {
			return e - rem
		}
		return e
	}
	if rem := mod(last-e+keys-t.Off, t.Step); rem > last-first+keys-1 {
		return e - (keys - 1 + t.Step - rem)
	}
	return e
}

// Tiles lists the key tiles that a kernel walks for row tile n, in order. Segments that read a list are left out: Slots lists
// theirs.
func (l *Launched) Tiles(shape Shape, n int) []KeyTile {
	var out []KeyTile
	b := l.rowBlock(shape, n)
	for i, g := range l.segments {
		if g.source.Kind == SourceRange {
			out = append(out, g.tiles(i, l.tile.Keys, b)...)
		}
	}
	return out
}

// rowBlock is what a kernel knows of the row tile that it works on.
type rowBlock struct {
	n           int // number, from 0
	first, last int // positions, the last one clipped to the last query
	extent
}

func (l *Launched) rowBlock(shape Shape, n int) rowBlock {
	b := rowBlock{n: n, extent: shape.extent()}
	b.first, b.last = shape.RowTile(n, l.tile.Rows)
	return b
}

// tiles lists the key tiles of a range.
func (g launchedSegment) tiles(segment, keys int, b rowBlock) []KeyTile {
	first, last, some := g.clip(b.first, b.last, b.end)
	top, bottom := g.to(last, b.extent), g.from(first)
	switch {
	case !some || top <= bottom:
		return nil
	case g.hop >= 0:
		return g.hopped(segment, keys, b.first, b.last, top, bottom)
	default:
		return g.cut(segment, keys, top, bottom, g.fullTop(b), g.from(b.last))
	}
}

// fullTop is the end of the keys that all rows of b keep: the upper side rises with the row, and is 0 where a row is not the segment's.
func (g launchedSegment) fullTop(b rowBlock) int {
	return min(g.to(b.first, b.extent), g.to(b.last, b.extent))
}

// cut lists tiles back to back: upper edge, full, lower edge.
func (g launchedSegment) cut(segment, keys, top, bottom, fullTop, fullBottom int) []KeyTile {
	var out []KeyTile
	count := ceilDiv(top-bottom, keys)
	upper := min(count, ceilDiv(max(0, top-fullTop), keys))
	full := 0
	if len(g.tests) == 0 && !g.neverFull {
		full = max(0, top-upper*keys-fullBottom) / keys
	}
	for n := range count {
		out = append(out, KeyTile{Start: top - (n+1)*keys, Segment: segment, Full: upper <= n && n < upper+full})
	}
	return out
}

// hopped lists the tiles in which the hop test may hold.
func (g launchedSegment) hopped(segment, keys, first, last, top, bottom int) []KeyTile {
	var out []KeyTile
	t := g.tests[g.hop]
	for e := t.NextTop(top, keys, first, last); e > bottom; e = t.NextTop(e-keys, keys, first, last) {
		out = append(out, KeyTile{Start: e - keys, Segment: segment})
	}
	return out
}

func ceilDiv(a, b int) int { return (a + b - 1) / b }

// keeps says whether an edge tile of g counts the pair.
func (g launchedSegment) keeps(q, k int, ends extent) bool {
	if k < g.from(q) || k >= g.to(q, ends) {
		return false
	}
	for _, t := range g.tests {
		if !t.Holds(q, k) {
			return false
		}
	}
	return true
}

// Row returns the keys that the launch keeps for query row i in [0, Sq): one byte a key, 1 where it is kept. It walks the
// tiles of the row's row tile; a pair that two tiles count, or a full tile that leaves [0, Sk), is an error.
func (l *Launched) Row(shape Shape, i int) ([]byte, error) {
	if i < 0 || i >= shape.Sq {
		return nil, fmt.Errorf("query row %d does not exist, there are %d", i, shape.Sq)
	}
	for n, g := range l.segments {
		if g.source.Kind != SourceRange && g.source.Kind != SourceMeans {
			return nil, fmt.Errorf("segment %d reads the list %s: use RowWith, with what EvalIndex chose", n, g.source)
		}
	}
	return l.cover(l.Tiles(shape, i/l.tile.Rows), shape.QOffset+i, shape.extent())
}

// cover marks the keys of row q that the tiles count.
func (l *Launched) cover(tiles []KeyTile, q int, ends extent) ([]byte, error) {
	sk := ends.sk
	row := make([]byte, sk)
	for _, t := range tiles {
		g := l.segments[t.Segment]
		if t.Full && (t.Start < 0 || t.Start+l.tile.Keys > sk) {
			return nil, fmt.Errorf("internal: a full tile covers the keys %d..%d of %d", t.Start, t.Start+l.tile.Keys-1, sk)
		}
		for k := max(0, t.Start); k < min(sk, t.Start+l.tile.Keys); k++ {
			if !t.Full && !g.keeps(q, k, ends) {
				continue
			}
			if row[k] != 0 {
				return nil, fmt.Errorf("internal: the pair of query %d and key %d counts twice", q, k)
			}
			row[k] = 1
		}
	}
	return row, nil
}

// Tiles is Bind and Launched.Tiles in one call.
func (s *Schedule) Tiles(values map[string]int64, shape Shape, n int) ([]KeyTile, error) {
	l, err := s.Bind(values)
	if err != nil {
		return nil, err
	}
	return l.Tiles(shape, n), nil
}

// Row is Bind and Launched.Row in one call.
func (s *Schedule) Row(values map[string]int64, shape Shape, i int) ([]byte, error) {
	l, err := s.Bind(values)
	if err != nil {
		return nil, err
	}
	return l.Row(shape, i)
}

// Reads are the keys that rows of a call may read, as ranges from the first key to before the second, one for each segment whose keys no
// list names. Tests within a range are not looked at.
func (l *Launched) Reads(shape Shape) [][2]int {
	out, ends := [][2]int{}, shape.extent()
	for _, g := range l.segments {
		if g.source.Kind != SourceRange {
			continue
		}
		from, to := g.rows(ends.end)
		first, last := max(from, shape.QOffset), min(to, ends.end)-1
		if first > last {
			continue
		}
		if r := [2]int{g.from(first), g.to(last, ends)}; r[0] < r[1] {
			out = append(out, r)
		}
	}
	return out
}
