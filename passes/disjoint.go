package passes

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/minfc/minfc/ir"
)

// disjoint turns the set into bands that never overlap. A band is a conjunction of bounds on keys and rows and residue tests; every
// primitive is one. An intersection joins conditions. A union A | B is A and B minus A, and what B loses to a band with
// the conditions c1, c2, ... is B & !c1, B & c1 & !c2, ... (disjoint by construction). Bands that contradict themselves
// for all legal parameters are dropped as they arise.
//
// A chosen set is a band, too: the pairs that a list says, and B & !A of two of them is B with A left out (see
// ir.Segment.Except). A segment reads one list, so bands of different lists cannot be intersected. A range cannot leave a
// chosen set out: unions cut lists last, and differences take none away.
//
// Means of what is dropped are one segment more, which keeps no pair.
func disjoint(u *Unit) error {
	l := lowering{facts: u.facts()}
	bands, err := l.bands(u.Pattern.Keep, ir.Everything())
	if err != nil {
		return err
	}
	if n := len(bands) + min(u.Pattern.Pool, 1); n > ir.MaxSegments { // means are a segment, too
		return tooMany(n)
	}
	for _, b := range bands {
		if n := max(len(b.Lo), len(b.Hi), len(b.RowLo), len(b.RowHi), len(b.Tests), len(b.Except)); n > ir.MaxLiterals {
			return tooLarge(fmt.Sprintf("a band of the set has %d conditions of one kind, and %d are the limit", n, ir.MaxLiterals))
		}
	}
	p := u.Pattern
	u.Schedule = &ir.Schedule{Name: p.Name, Params: p.Params, Requires: p.Requires, Index: usedIndex(p.Index, bands), Segments: bands, Skip: p.Skip}
	if p.Pool != 0 {
		u.Schedule.Segments = append(bands, ir.Segment{From: ir.SourceOfMeans, Pool: p.Pool, Hop: -1})
	}
	return nil
}

func tooMany(n int) error {
	return tooLarge(fmt.Sprintf("the set falls into %d or more disjoint bands, and %d are the limit", n, ir.MaxSegments))
}

func tooLarge(found string) error {
	return &ir.Unsupported{Reason: ir.TooLarge, Found: found,
		Help: "combine fewer parts that overlap, or give parameters minima that order them"}
}

type lowering struct{ facts ir.Facts }

// bands returns disjoint bands for the pairs of s inside the band within. Knowing the surroundings early keeps pieces
// from arising that an enclosing intersection would drop.
func (l lowering) bands(s ir.Set, within ir.Segment) ([]ir.Segment, error) {
	switch s := s.(type) {
	case ir.Union:
		return l.union(s.Sets, within)
	case ir.Intersect:
		return l.intersect(s.Sets, within)
	case ir.Minus:
		return l.minus(s, within)
	}
	band, err := primitiveBand(s)
	if err != nil {
		return nil, err
	}
	both, ok := l.facts.Intersect(within, band)
	switch {
	case !ok:
		return nil, nil
	case ir.Clash(within, band):
		return nil, clash(within.From, band.From)
	}
	return []ir.Segment{both}, nil
}

func (l lowering) intersect(sets []ir.Set, within ir.Segment) ([]ir.Segment, error) {
	// Primitives first: they are the surroundings of the rest. Lists that could meet may turn out to be apart within them.
	sets = slices.Clone(sets)
	slices.SortStableFunc(sets, func(a, b ir.Set) int { return weight(a) - weight(b) })
	out := []ir.Segment{within}
	for _, s := range sets {
		var next []ir.Segment
		for _, band := range out {
			pieces, err := l.bands(s, band)
			if err != nil {
				return nil, err
			}
			next = append(next, pieces...)
			if len(next) > tooManyPieces {
				return nil, tooMany(len(next))
			}
		}
		out = next
	}
	return l.tidy(out)
}

func weight(s ir.Set) int {
	switch s.(type) {
	case ir.Union, ir.Intersect, ir.Minus:
		return 2
	case ir.Chosen:
		return 1
	}
	return 0
}

func (l lowering) union(sets []ir.Set, within ir.Segment) ([]ir.Segment, error) {
	var all []ir.Segment
	for _, s := range sets {
		bands, err := l.bands(s, within)
		if err != nil {
			return nil, err
		}
		all = append(all, bands...)
		if len(all) > tooManyPieces {
			return nil, tooMany(len(all))
		}
	}
	// In the order of classify for whole members: a member may fall into bands with and without lists and tests.
	slices.SortStableFunc(all, func(a, b ir.Segment) int {
		return cmp.Or(cmp.Compare(a.From.Kind, b.From.Kind), min(len(a.Tests), 1)-min(len(b.Tests), 1))
	})
	var out []ir.Segment
	for _, band := range all {
		pieces, err := l.subtractAll([]ir.Segment{band}, out)
		if err != nil {
			return nil, err
		}
		out = append(out, pieces...)
	}
	return l.tidy(out)
}

func (l lowering) minus(s ir.Minus, within ir.Segment) ([]ir.Segment, error) {
	left, err := l.bands(s.Left, within)
	if err != nil {
		return nil, err
	}
	right, err := l.bands(s.Right, within)
	if err != nil {
		return nil, err
	}
	if i := slices.IndexFunc(right, isListed); i >= 0 {
		return nil, takenAway(right[i].From)
	}
	out, err := l.subtractAll(left, right)
	if err != nil {
		return nil, err
	}
	return l.tidy(out)
}

// subtractAll takes every band of taken from every band of from.
func (l lowering) subtractAll(from, taken []ir.Segment) ([]ir.Segment, error) {
	for _, t := range taken {
		var next []ir.Segment
		for _, b := range from {
			next = append(next, l.facts.Subtract(b, t)...)
		}
		from = next
		if len(from) > tooManyPieces {
			return nil, tooMany(len(from))
		}
	}
	return from, nil
}

// tooManyPieces bounds the bands on the way: later steps may still merge some. Work grows with its square.
const tooManyPieces = 2 * ir.MaxSegments

// tidy merges bands that only a cut separates.
func (l lowering) tidy(bands []ir.Segment) ([]ir.Segment, error) {
	if len(bands) > tooManyPieces {
		return nil, tooMany(len(bands))
	}
	var out []ir.Segment
	for _, b := range bands {
		out = l.mergeInto(out, b)
	}
	return out, nil
}

// mergeInto adds b to bands that cannot be merged among themselves.
func (l lowering) mergeInto(bands []ir.Segment, b ir.Segment) []ir.Segment {
	for i := range bands {
		if both, ok := l.facts.Merge(bands[i], b); ok {
			return l.mergeInto(slices.Delete(slices.Clone(bands), i, i+1), both)
		}
	}
	return append(bands, b)
}

// primitiveBand is the band of a set without operands. With d = q - k: d >= a is k < q - a + 1, d < b is k >= q - b + 1.
func primitiveBand(s ir.Set) (ir.Segment, error) {
	g := ir.Everything()
	switch s := s.(type) {
	case ir.All:
	case ir.Causal:
		g.Hi = []ir.Bound{distanceFrom(ir.Int(0))}
	case ir.Window:
		g.Lo = []ir.Bound{distanceFrom(s.Left)}
		g.Hi = []ir.Bound{distanceFrom(ir.Int(0).Sub(s.Right))}
	case ir.Sink:
		g.Hi = []ir.Bound{{Off: s.N}}
	case ir.Columns:
		g.Lo = []ir.Bound{{Off: s.From}}
		if s.To != nil {
			g.Hi = []ir.Bound{{Off: *s.To}}
		}
		g.Tests = []ir.Test{{Off: s.From, Step: s.Step}}
	case ir.Diagonals:
		g.Hi = []ir.Bound{distanceFrom(s.From)}
		if s.To != nil {
			g.Lo = []ir.Bound{distanceFrom(*s.To)}
		}
		g.Tests = []ir.Test{{Diag: true, Off: s.From, Step: s.Step}}
	case ir.Rows:
		g.RowLo = []ir.RowBound{s.From}
		if s.To != nil {
			g.RowHi = []ir.RowBound{*s.To}
		}
	case ir.Chosen:
		g.From = s.Source()
	default:
		return g, fmt.Errorf("internal: no band for a set of kind %T", s)
	}
	return g, nil
}

// distanceFrom is the key bound where the distance d is reached: keys below it have d or more.
func distanceFrom(d ir.Poly) ir.Bound { return ir.Bound{Row: true, Off: ir.Int(1).Sub(d)} }
