package ir

import (
	"fmt"
	"strconv"
	"strings"
)

// orderWords are the names of the orders in the text form.
var orderWords = []string{OrderAscending: "ascending", OrderLongestFirst: "longest-first"}

// String is the order's word in the text form.
func (o Order) String() string {
	if int(o) < len(orderWords) {
		return orderWords[o]
	}
	return fmt.Sprintf("order(%d)", o)
}

// String writes the text form. q stands for the position of the query:
//
//	schedule a_shape
//	  param sink = 128 min 0
//	  param window = 1024 min 1
//	  tile 128x64 longest-first
//	  segment 0
//	    lo   q - window + 1
//	    hi   q + 1
//	  segment 1
//	    hi   sink
//	    hi   q - window + 1
//
// Definitions of the index stage stand before the tile. A segment that reads what one of them chose says so first:
//
//	index cols = top vertical from heat first 30
//	tile 64x64 longest-first
//	segment 0
//	  from columns cols
//	  except runs diags
//	  hi   q + 1
//
// A segment of means says how many keys each is of:
//
//	segment 1
//	  from means dropped
//	  pool 512
//
// What a kernel may leave out stands before the tile, too: "skip share".
//
// Bounds on rows are positions of queries, or count from the end of the call:
//
//	segment 2
//	  rows lo -last from end
//	  hi   q + 1
func (s *Schedule) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "schedule %s\n", s.Name)
	printParams(&b, s.Params, s.Requires)
	printIndex(&b, s.Index)
	printSkip(&b, s.Skip)
	fmt.Fprintf(&b, "  tile %dx%d %s\n", s.Tile.Rows, s.Tile.Keys, s.Order)
	for i, g := range s.Segments {
		fmt.Fprintf(&b, "  segment %d\n", i)
		g.print(&b)
	}
	return b.String()
}

func (g Segment) print(b *strings.Builder) {
	if g.From != (Source{}) {
		fmt.Fprintf(b, "    from %s\n", g.From)
	}
	if g.Pool != 0 {
		fmt.Fprintf(b, "    pool %d\n", g.Pool)
	}
	for _, s := range g.Except {
		fmt.Fprintf(b, "    except %s\n", s)
	}
	for _, lo := range g.RowLo {
		fmt.Fprintf(b, "    rows lo %s\n", lo)
	}
	for _, hi := range g.RowHi {
		fmt.Fprintf(b, "    rows hi %s\n", hi)
	}
	for _, lo := range g.Lo {
		fmt.Fprintf(b, "    lo   %s\n", lo)
	}
	for _, hi := range g.Hi {
		fmt.Fprintf(b, "    hi   %s\n", hi)
	}
	for _, t := range g.Tests {
		fmt.Fprintf(b, "    test %s\n", t)
	}
	if g.Hop >= 0 {
		fmt.Fprintf(b, "    hop  test %d\n", g.Hop)
	}
	if g.NeverFull {
		b.WriteString("    never-full\n")
	}
}

// String writes a bound: "q - window + 1" or "sink".
func (b Bound) String() string {
	off := b.Off.String()
	switch {
	case !b.Row:
		return off
	case off == "0":
		return "q"
	case off[0] == '-':
		return "q - " + off[1:]
	}
	return "q + " + off
}

// String writes a test: "q - k = off mod step" or "k != off mod step".
func (t Test) String() string {
	x, equal := "k", "="
	if t.Diag {
		x = "q - k"
	}
	if t.Not {
		equal = "!="
	}
	return fmt.Sprintf("%s %s %s mod %s", x, equal, t.Off, t.Step)
}

// ParseSchedule reads the text form. It checks the form only; Verify checks the meaning.
func ParseSchedule(text string) (*Schedule, error) {
	root, err := readTree(text)
	if err != nil {
		return nil, err
	}
	c := root.cursor()
	c.expect("schedule")
	s := &Schedule{Name: c.name()}
	if err := c.end(); err != nil {
		return nil, err
	}
	tiled := false
	for _, n := range root.kids {
		if err := s.readLine(n, &tiled); err != nil {
			return nil, err
		}
	}
	if !tiled {
		return nil, lineError(root.number, `schedule %q has no "tile" line`, s.Name)
	}
	return s, nil
}

func (s *Schedule) readLine(n *node, tiled *bool) error {
	param, found, err := readParam(n)
	switch word := n.words[0]; {
	case err != nil:
		return err
	case found && !*tiled:
		s.Params = append(s.Params, param)
	case word == "require" && !*tiled:
		r, err := readRequire(n)
		s.Requires = append(s.Requires, r)
		return err
	case word == "index" && !*tiled:
		d, err := readIndexDef(n)
		s.Index = append(s.Index, d)
		return err
	case word == "skip" && !*tiled:
		s.Skip, err = readSkip(n, s.Skip)
		return err
	case word == "tile" && !*tiled:
		*tiled = true
		return s.readTile(n)
	case word == "segment" && *tiled:
		return s.readSegment(n)
	default:
		return lineError(n.number, `found %q, want "param", "const", "require", "index" and "skip" lines, then one "tile", then "segment" lines`,
			strings.Join(n.words, " "))
	}
	return nil
}

func (s *Schedule) readTile(n *node) error {
	c := n.cursor()
	c.expect("tile")
	s.Tile.Rows = c.small()
	keys, ok := strings.CutPrefix(c.next(), "x")
	if !ok {
		c.fail(`want the tile as "128x64"`)
	}
	k := cursor{number: c.number, words: []string{keys}, err: c.err}
	s.Tile.Keys = k.small()
	if k.err != nil {
		return k.err
	}
	word := strings.Join(c.words, "")
	for o, w := range orderWords {
		if w == word {
			s.Order, c.words = Order(o), nil
			return c.leaf(n)
		}
	}
	return lineError(n.number, "found the order %q, want one of %s", word, strings.Join(orderWords, ", "))
}

// small reads a number that fits a tile or an index.
func (c *cursor) small() int {
	v := c.integer()
	if v > MaxParam {
		c.fail("found %d, want at most %d", v, int64(MaxParam))
	}
	return int(v)
}

func (s *Schedule) readSegment(n *node) error {
	c := n.cursor()
	c.expect("segment")
	c.expect(strconv.Itoa(len(s.Segments)))
	if err := c.end(); err != nil {
		return err
	}
	g := Segment{Hop: -1}
	for _, kid := range n.kids {
		k := kid.cursor()
		g.readLine(k)
		if err := k.leaf(kid); err != nil {
			return err
		}
	}
	s.Segments = append(s.Segments, g)
	return nil
}

func (g *Segment) readLine(c *cursor) {
	switch {
	case c.accept("pool"):
		g.Pool = c.small()
	case c.accept("from"):
		if g.From != (Source{}) {
			c.fail("a segment reads one list only; it reads %s already", g.From)
		}
		g.From = c.source()
	case c.accept("except"):
		g.Except = append(g.Except, c.source())
	case c.accept("rows", "lo"):
		g.RowLo = append(g.RowLo, c.rowBound())
	case c.accept("rows", "hi"):
		g.RowHi = append(g.RowHi, c.rowBound())
	case c.accept("lo"):
		g.Lo = append(g.Lo, c.bound())
	case c.accept("hi"):
		g.Hi = append(g.Hi, c.bound())
	case c.accept("test"):
		g.Tests = append(g.Tests, c.test())
	case c.accept("hop", "test"):
		g.Hop = c.small()
	case c.accept("never", "-", "full"):
		g.NeverFull = true
	default:
		c.fail(`found %s, want "from", "pool", "except", "rows lo", "rows hi", "lo", "hi", "test", "hop test" or "never-full"`, found(c.peek()))
	}
}

// source reads "columns cols".
func (c *cursor) source() Source {
	kind := SourceRuns + SourceKind(c.oneOf(sourceWords[SourceRuns:]))
	return Source{Kind: kind, Name: c.name()}
}

// bound reads "q + off" or "off".
func (c *cursor) bound() Bound {
	p := c.poly()
	b := Bound{Off: p.Substitute(map[string]int64{"q": 0})}
	rest := p.Sub(b.Off)
	switch {
	case rest.Equal(Var("q")):
		b.Row = true
	case !rest.Equal(Poly{}):
		c.fail("found %s in a bound, want q once, with slope 1, or not at all", rest)
	}
	return b
}

func (c *cursor) test() Test {
	t := Test{Diag: c.accept("q", "-", "k")}
	if !t.Diag {
		c.expect("k")
	}
	if t.Not = c.accept("!="); !t.Not {
		c.expect("=")
	}
	t.Off = c.poly()
	c.expect("mod")
	t.Step = c.poly()
	return t
}
