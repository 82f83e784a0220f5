package ir

import (
	"errors"
	"fmt"
	"slices"
)

// What the verifiers prove. A verified Pattern or Schedule, launched with values that CheckLaunch and CheckValues accept,
// makes no interpreter or code generator panic, divide by zero or leave its arrays.
//
// Pattern:
//   - every parameter is declared once, with a usable name and 0 <= minimum <= default <= MaxParam;
//   - every expression uses declared parameters only and stays within the limits of a polynomial;
//   - every step is at least 1 in any legal launch, by a minimum or by a Require;
//   - sets are of known kinds, and their nesting and number are bounded;
//   - definitions of the index stage are well typed, and a chosen set is what one of them chose;
//   - the share of a skip lies between 0 and 1 in any legal launch.
//
// Schedule, besides the same for its parameters, expressions and steps:
//   - every pair of a row counts at most once: each two segments contradict each other, by a lower bound of one on keys or rows
//     that is at least an upper bound of the other, by two tests that exclude each other, by bounds that miss a test's residues, or
//     because one reads a chosen set that the other leaves out; of two lists that the caller gives every entry counts;
//   - segments lie inside [0, sk): the clip is part of their meaning, so only the number of their bounds needs a check;
//   - the tile is a positive multiple of 16 in both directions, and the order is a known one;
//   - Hop is -1 or the index of a positive test; with tests and without Hop every tile is visited;
//   - what a segment reads or leaves out is chosen by the index stage; with one, row tiles are its row blocks; only segments
//     that read a list leave sets out, and only the others hop;
//   - NeverFull is claimed only where it is proven;
//   - there is one segment of means at most, of pools that kernels have, and row tiles are row blocks then.
//
// Schedule.Causal proves that no pair has a key after its query, Schedule.EveryRowKeeps that no row q < sk is empty.

// Limits of a schedule and a pattern.
const (
	MaxSegments = 64
	MaxLiterals = 16 // bounds on one side, tests, or chosen sets left out, of one segment
	MaxParams   = 64 // and conditions
	maxSets     = 4096
)

// ErrTooInvolved is among the errors of Verify where what a schedule claims may hold, but would take too long to prove.
var ErrTooInvolved = errors.New("the segments are too involved to verify; use fewer, with fewer bounds and conditions")

// checker collects every fault, each with what it is about.
type checker struct {
	facts    Facts
	declared map[string]bool
	baked    map[string]bool // const parameters
	defs     []IndexDef
	errs     []error
}

func (c *checker) fail(format string, args ...any) {
	c.errs = append(c.errs, fmt.Errorf(format, args...))
}

// err joins the faults under one heading.
func (c *checker) err(kind, name string) error {
	if len(c.errs) == 0 {
		return nil
	}
	return fmt.Errorf("%s %q: %w", kind, name, errors.Join(c.errs...))
}

// poly checks one expression; false means that nothing may be proven from it.
func (c *checker) poly(p Poly, where string) bool {
	if err := p.check(); err != nil {
		c.fail("%s: %w", where, err)
		return false
	}
	for _, v := range p.Vars() {
		if !c.declared[v] {
			c.fail("%s: %s uses %q, which is no declared parameter", where, p, v)
			return false
		}
	}
	return true
}

// step checks that a step is an expression that can only be at least 1.
func (c *checker) step(p Poly, where string) {
	if c.poly(p, where) && !c.facts.AtLeast(p, 1) {
		c.fail("%s: the step %s may be below 1; give the parameter a minimum or require it", where, p)
	}
}

// params checks the declarations and prepares the facts that proofs need.
func (c *checker) params(name string, params []Param, requires []Require) {
	c.declared, c.baked = map[string]bool{}, map[string]bool{}
	if !isName(name) {
		c.fail("%q cannot be a name; use letters, digits and _", name)
	}
	if len(params) > MaxParams || len(requires) > MaxParams {
		c.fail("%d parameters and %d conditions, want at most %d of each", len(params), len(requires), MaxParams)
		params, requires = nil, nil
	}
	for _, p := range params {
		c.param(p)
		c.declared[p.Name], c.baked[p.Name] = true, p.Binding == BindConst
	}
	ok := true
	for _, r := range requires {
		ok = c.poly(r.Value, "require") && ok
		if magnitude(r.Min) > MaxParam {
			c.fail("require %s >= %d: the number is beyond the limit of %d", r.Value, r.Min, int64(MaxParam))
		}
	}
	if !ok {
		requires = nil
	}
	c.facts = NewFacts(params, requires).deeper()
}

func (c *checker) param(p Param) {
	switch {
	case !isName(p.Name):
		c.fail("%q cannot be the name of a parameter; use letters, digits and _", p.Name)
	case p.Name == "q" || p.Name == "k":
		c.fail("%q cannot be the name of a parameter: it stands for a position", p.Name)
	case c.declared[p.Name]:
		c.fail("parameter %q is declared twice", p.Name)
	case p.Binding > BindConst:
		c.fail("parameter %q has the unknown binding %d", p.Name, p.Binding)
	case p.Min < 0 || p.Default < p.Min || p.Default > MaxParam:
		c.fail("parameter %q has minimum %d and default %d, want 0 <= minimum <= default <= %d", p.Name, p.Min, p.Default, int64(MaxParam))
	}
}

// Verify checks p. The list above says what it proves; all faults are reported.
func (p *Pattern) Verify() error {
	c := &checker{}
	c.params(p.Name, p.Params, p.Requires)
	c.index(p.Index)
	c.defs = p.Index
	c.skip(p.Skip)
	count := 0
	c.set(p.Keep, 0, &count)
	if p.Pool != 0 {
		if err := CheckPool(int64(p.Pool)); err != nil {
			c.fail("else: %w", err)
		}
	}
	return c.err("pattern", p.Name)
}

func (c *checker) set(s Set, depth int, count *int) {
	if *count++; depth > maxDepth-3 || *count > maxSets {
		if len(c.errs) == 0 {
			c.fail("the set expression is too large, want at most %d sets nested at most %d deep", maxSets, maxDepth-3)
		}
		return
	}
	where, kids := setLine(s)
	switch s := s.(type) {
	case All, Causal, Union, Intersect, Minus:
	case Window:
		c.poly(s.Left, where)
		c.poly(s.Right, where)
	case Sink:
		c.poly(s.N, where)
	case Columns:
		c.keyRange(s.From, s.To, s.Step, where)
	case Diagonals:
		c.keyRange(s.From, s.To, s.Step, where)
	case Rows:
		c.rows(s, where)
	case Chosen:
		c.chosen(s, c.defs)
	case nil:
		c.fail("a set is missing")
	default:
		c.fail("found a set of the unknown kind %T", s)
	}
	for _, kid := range kids {
		c.set(kid, depth+1, count)
	}
}

func (c *checker) keyRange(from Poly, to *Poly, step Poly, where string) {
	c.poly(from, where)
	if to != nil {
		c.poly(*to, where)
	}
	c.step(step, where)
}

// Verify checks s. The list above says what it proves; all faults are reported.
func (s *Schedule) Verify() error {
	c := &checker{}
	c.params(s.Name, s.Params, s.Requires)
	if !goodTile(s.Tile.Rows) || !goodTile(s.Tile.Keys) {
		c.fail("the tile is %dx%d, want positive multiples of 16 up to %d", s.Tile.Rows, s.Tile.Keys, maxTile)
	}
	c.index(s.Index)
	c.defs = s.Index
	c.skip(s.Skip)
	if len(s.Index) > 0 && s.Tile.Rows != BlockSize {
		c.fail("the tile has %d rows, want %d: lists of chosen keys are made for blocks of that many rows", s.Tile.Rows, BlockSize)
	}
	if int(s.Order) >= len(orderWords) {
		c.fail("unknown order %d", s.Order)
	}
	if len(s.Segments) > MaxSegments {
		c.fail("%d segments, want at most %d", len(s.Segments), MaxSegments)
		return c.err("schedule", s.Name)
	}
	for i, g := range s.Segments {
		c.segment(g, s.Tile, fmt.Sprintf("segment %d", i))
	}
	c.means(s)
	if len(c.errs) == 0 { // proofs rest on sound expressions
		c.disjoint(s.Segments)
	}
	return c.err("schedule", s.Name)
}

const maxTile = 1024

func goodTile(n int) bool { return n > 0 && n%16 == 0 && n <= maxTile }

func (c *checker) segment(g Segment, tile Tile, where string) {
	if max(len(g.Lo), len(g.Hi), len(g.Tests)) > MaxLiterals {
		c.fail("%s: %d lower bounds, %d upper bounds and %d tests, want at most %d of each", where, len(g.Lo), len(g.Hi), len(g.Tests),
			MaxLiterals)
		return
	}
	if max(len(g.RowLo), len(g.RowHi)) > MaxLiterals {
		c.fail("%s: %d lower and %d upper bounds on rows, want at most %d of each", where, len(g.RowLo), len(g.RowHi), MaxLiterals)
		return
	}
	for _, b := range append(g.RowLo[:len(g.RowLo):len(g.RowLo)], g.RowHi...) {
		c.poly(b.Off, where)
	}
	for _, b := range append(g.Lo[:len(g.Lo):len(g.Lo)], g.Hi...) {
		c.bound(b, where)
	}
	for _, t := range g.Tests {
		c.poly(t.Off, where)
		c.step(t.Step, where)
	}
	c.sources(g, where)
	if g.Hop < -1 || g.Hop >= len(g.Tests) || g.Hop >= 0 && g.Tests[g.Hop].Not {
		c.fail("%s: hop is %d, want -1 or the index of a test that is not inverted", where, g.Hop)
	}
	if len(c.errs) == 0 && g.NeverFull && !c.facts.NeverFull(g, tile) {
		c.fail("%s: it says never-full, but a full tile is not excluded", where)
	}
}

// sources checks what a segment reads and leaves out.
func (c *checker) sources(g Segment, where string) {
	if len(g.Except) > MaxLiterals {
		c.fail("%s: it leaves out %d chosen sets, want at most %d", where, len(g.Except), MaxLiterals)
		return
	}
	listed := g.From != Source{}
	all := g.Except[:len(g.Except):len(g.Except)]
	if listed {
		all = append(all, g.From)
	}
	for _, s := range all {
		if s.Kind == SourceMeans { // see means
			continue
		}
		set, ok := s.Chosen()
		kind, _ := IndexType(c.defs, s.Name)
		if is, can := kind.Chosen(); !ok || !can || is != set.Kind {
			c.fail("%s: the index stage chooses no %s", where, s)
		}
	}
	switch {
	case listed && g.Hop >= 0:
		c.fail("%s: hop is %d, but a segment that reads a list visits what the list says", where, g.Hop)
	case !listed && len(g.Except) > 0:
		c.fail("%s: it leaves out chosen sets, which only a segment that reads a list can do", where)
	}
}

func (c *checker) disjoint(segments []Segment) {
	for i, a := range segments {
		for j, b := range segments[:i] {
			if apart(a, b) {
				continue
			}
			_, overlap := c.facts.Intersect(a, b)
			switch {
			case c.facts.exhausted():
				c.fail("%w", ErrTooInvolved)
				return
			case overlap:
				c.fail("segments %d and %d may keep the same pair", j, i)
			}
		}
	}
}

// NeverFull says whether provably no tile of g can be full: it has tests, or its bounds leave less than a tile of keys to
// all rows, even when the tile has a single row. Tiles of lists have BlockSize keys.
func (f Facts) NeverFull(g Segment, tile Tile) bool {
	if len(g.Tests) > 0 || len(g.Except) > 0 || g.From.Kind == SourceMeans {
		return true
	}
	if g.From.Kind != SourceRange {
		tile.Keys = BlockSize
	}
	for _, hi := range g.Hi {
		for _, lo := range append(g.Lo[:len(g.Lo):len(g.Lo)], keyZero) {
			if lo.Row == hi.Row && f.AtLeast(lo.Off.Sub(hi.Off), 1-int64(tile.Keys)) {
				return true
			}
		}
	}
	return false
}

// Causal says whether provably every kept pair has k <= q.
func (s *Schedule) Causal() bool {
	f := NewFacts(s.Params, s.Requires).deeper()
	later := literal{kind: lower, bound: Bound{Row: true, Off: Int(1)}}
	for _, g := range s.Segments {
		if _, possible := f.with(g, later); possible && g.From.Kind != SourceMeans { // which keep no pair
			return false
		}
	}
	return true
}

// KeepsCausal says whether provably every pair with k <= q is kept.
func (s *Schedule) KeepsCausal() bool {
	f := NewFacts(s.Params, s.Requires).deeper()
	return f.Covers(s.Segments, Segment{Hi: []Bound{{Row: true, Off: Int(1)}}, Hop: -1})
}

// EveryRowKeeps says whether provably every row with q < sk keeps at least one key: its own (k = q), or key 0.
func (s *Schedule) EveryRowKeeps() bool {
	f := NewFacts(s.Params, s.Requires).deeper()
	own := Segment{Lo: []Bound{{Row: true}}, Hi: []Bound{{Row: true, Off: Int(1)}}, Hop: -1}
	first := Segment{Hi: []Bound{{Off: Int(1)}}, Hop: -1}
	return f.Covers(s.onLine(f, true), own) || f.Covers(s.onLine(f, false), first)
}

// onLine looks at the bands where d = 0 (diag) or k = 0: there the tests on d, or on k, hold everywhere or nowhere.
// Bands whose tests are not known to hold are left out. A list that is forced to hold distance 0, or key 0, is no condition
// there.
func (s *Schedule) onLine(f Facts, diag bool) []Segment {
	var out []Segment
	for _, g := range s.Segments {
		keep, tests := g.From.Kind != SourceMeans, []Test(nil)
		if s.forced(f, g.From, diag) {
			g.From = Source{}
		}
		for _, t := range g.Tests {
			switch {
			case t.Diag != diag:
				tests = append(tests, t)
			case t.Not && !t.classMissesZero() || !t.Not && !t.classHoldsZero():
				keep = false
			}
		}
		if g.Tests = tests; keep {
			out = append(out, g)
		}
	}
	return out
}

// forced says whether a list provably holds distance 0 (diag) or column 0, whatever the data. The tile of distance 0 holds
// the own key of each of its rows.
func (s *Schedule) forced(f Facts, source Source, diag bool) bool {
	want := Source{SourceColumns, source.Name}
	if diag {
		want.Kind = SourceRuns
	}
	i := slices.IndexFunc(s.Index, func(d IndexDef) bool { return d.Name == source.Name })
	if i < 0 || source != want {
		return false
	}
	choice, ok := s.Index[i].Value.(Select)
	return ok && f.AtLeast(choice.First, 1)
}
