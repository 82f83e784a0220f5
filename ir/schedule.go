package ir

import "slices"

// Schedule says, for every row tile, which key tiles are visited and which of their pairs count.
//
// It is symbolic: bounds are polynomials in the parameters, so one schedule serves every length and value.
// A row tile covers the absolute query positions first..last (last is clipped to the last query). Segments are
// walked in order; the pairs of different segments never overlap, so each pair counts once. Lists that the caller gives are the exception:
// every entry counts.
type Schedule struct {
	Name     string
	Params   []Param
	Requires []Require
	Tile     Tile
	Order    Order
	Index    []IndexDef // what computes the lists that segments read; empty for static patterns
	Segments []Segment
	Skip     *Skip // nil: every kept pair counts
}

// Tile is the work of one thread block and one step of its loop: Rows queries by Keys keys.
type Tile struct{ Rows, Keys int }

// Order is the order in which row tiles are handed out.
type Order uint8

const (
	OrderAscending    Order = iota // first row tile first
	OrderLongestFirst              // last row tile first: causal rows grow with their position
)

// Segment is a convex band of pairs cut by residue tests:
//
//	max(0, Lo...) <= k < min(sk, Hi...)  and every test holds
//
// in the rows at max(0, RowLo...) <= q < min(end, RowHi...), where end is the position after the last query of the call.
//
// For one row tile, with lo(q) and hi(q) the two sides above, the key tiles are cut downwards from the top:
//
//	top = hi(last)   bottom = lo(first)   fullTop = hi(first)   fullBottom = lo(last)
//	tile n covers keys [top-(n+1)*Keys, top-n*Keys), n < ceil((top-bottom)/Keys)
//	upper edge tiles: the first ceil((top-fullTop)/Keys)
//	full tiles:       the next floor((top-upper*Keys-fullBottom)/Keys), none when there are tests
//	lower edge tiles: the rest
//
// A row tile without rows of the segment has no tiles of it. One with other rows, too, has edge tiles alone: there, top is the
// top of the segment's last row and bottom the bottom of its first, and the mask leaves the other rows out.
//
// A segment whose keys come from a list visits the tiles of BlockSize keys that the list says instead (see Launched.Slots);
// bounds and tests hold there, too. A segment of means visits the means of all pools before the row block, BlockSize at a time. It keeps no
// pair, and has no bounds: what its means stand for follows from what the other segments compute (Launched.DroppedKeys).
//
// All bounds have slope 0 or 1 in q, so a full tile keeps every pair of every row: it needs no mask.
// A lower edge tile may begin below key 0; keys below 0 are masked.
type Segment struct {
	Lo, Hi []Bound // empty Lo: from key 0; empty Hi: up to sk
	Tests  []Test
	// RowLo and RowHi bound the rows; without them the segment has all.
	RowLo, RowHi []RowBound
	// Hop is the index in Tests of the positive test whose empty tiles are skipped, or -1 (see NextTop).
	Hop int
	// NeverFull says that no tile can be full, whatever the parameters (then the kernel has no code for it).
	NeverFull bool
	// From says where the keys come from; Except are chosen sets whose pairs the segment leaves out, because another
	// segment has them.
	From   Source
	Except []Source
	// Pool is how many keys a row is the mean of, of a segment of means; else 0.
	Pool int
}

// sourceWords are the kinds of sources in the text form.
var sourceWords = []string{SourceRange: "range", SourceRuns: "runs", SourceBlocks: "blocks", SourceColumns: "columns",
	SourceSpans: "spans", SourceKeys: "keys", SourceMeans: "means"}

// String is the kind's word in the text form.
func (k SourceKind) String() string { return wordOf(sourceWords, int(k)) }

// String writes a source: "runs diags".
func (s Source) String() string {
	if s.Name == "" {
		return s.Kind.String()
	}
	return s.Kind.String() + " " + s.Name
}

// Source is where the keys of a chosen set of a known kind come from.
func (s Chosen) Source() Source {
	kinds := [...]SourceKind{ChosenColumns: SourceColumns, ChosenDistances: SourceRuns, ChosenBlocks: SourceBlocks,
		ChosenSpans: SourceSpans, ChosenKeys: SourceKeys}
	return Source{kinds[s.Kind], s.Name}
}

// Chosen is the chosen set that a source reads; false for ranges and unknown kinds.
func (s Source) Chosen() (Chosen, bool) {
	for kind := ChosenColumns; kind <= ChosenKeys; kind++ {
		if c := (Chosen{s.Name, kind}); c.Source() == s {
			return c, true
		}
	}
	return Chosen{}, false
}

// Bound is a bound on the key position: Off, or q + Off when Row is set.
type Bound struct {
	Row bool
	Off Poly
}

// distance is the distance at which a row bound lies, as the language counts them: keys below it are that far from q or
// farther.
func (b Bound) distance() Poly { return Int(1).Sub(b.Off) }

// Eval is the value of Off. The limit of the language holds for distances, so a row bound may lie one beyond it: kernels add
// it to a position, which leaves room for that.
func (b Bound) Eval(values map[string]int64) (int64, error) {
	if !b.Row {
		return b.Off.Eval(values)
	}
	d, sign := b.distance(), int64(1)
	if len(d.terms) > 0 && d.terms[0].coef < 0 { // errors show a number as people write it
		d, sign = Int(0).Sub(d), -1
	}
	v, err := d.Eval(values)
	return 1 - sign*v, err
}

// check says why the bound cannot be used, if so.
func (c *checker) bound(b Bound, where string) {
	if b.Row {
		c.poly(b.distance(), where)
	} else {
		c.poly(b.Off, where)
	}
}

// Test is a residue test: (x - Off) mod Step == 0, with x = q-k if Diag, else x = k; Not inverts it.
// Step >= 1 at launch.
type Test struct {
	Diag bool
	Off  Poly
	Step Poly
	Not  bool
}

// Vars lists the parameters that the segment's bounds and tests depend on; some may be there more than once.
func (g Segment) Vars() []string {
	var out []string
	for _, b := range append(slices.Clone(g.Lo), g.Hi...) {
		out = append(out, b.Off.Vars()...)
	}
	for _, b := range append(slices.Clone(g.RowLo), g.RowHi...) {
		out = append(out, b.Off.Vars()...)
	}
	for _, t := range g.Tests {
		out = append(append(out, t.Off.Vars()...), t.Step.Vars()...)
	}
	return out
}

// Lists are the chosen sets that segments read or leave out, in the order of their first use.
func (s *Schedule) Lists() []Source {
	var out []Source
	for _, g := range s.Segments {
		for _, l := range append([]Source{g.From}, g.Except...) {
			if l.Kind != SourceRange && !slices.Contains(out, l) {
				out = append(out, l)
			}
		}
	}
	return out
}

// HasRow says whether the query at position q is one of the segment's rows, in a call that ends at a position. Values are the parameters of
// a legal launch.
func (g Segment) HasRow(values map[string]int64, q, end int) bool {
	bound, err := g.bind(values)
	if err != nil {
		return false
	}
	from, to := bound.rows(end)
	return from <= q && q < to
}
