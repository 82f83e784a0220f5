package ir

import (
	"fmt"
	"strings"
)

// String writes the text form, one set a line:
//
//	pattern a_shape
//	  param sink = 128 min 0
//	  param window = 1024 min 1
//	  keep
//	    intersect
//	      causal
//	      union
//	        sink sink
//	        window left window right 0
//
// Definitions of the index stage stand before keep, and "chosen columns cols" is a set that one of them chose. Behind them stands what a
// kernel may leave out: "skip share". After keep may stand "else mean 512": means of pools of so many keys stand for what is dropped.
func (p *Pattern) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "pattern %s\n", p.Name)
	printParams(&b, p.Params, p.Requires)
	printIndex(&b, p.Index)
	printSkip(&b, p.Skip)
	b.WriteString("  keep\n")
	if p.Keep != nil {
		printSet(&b, "    ", p.Keep)
	}
	if p.Pool != 0 {
		fmt.Fprintf(&b, "  else mean %d\n", p.Pool)
	}
	return b.String()
}

func printSet(b *strings.Builder, indent string, s Set) {
	word, kids := setLine(s)
	fmt.Fprintf(b, "%s%s\n", indent, word)
	for _, kid := range kids {
		printSet(b, indent+"  ", kid)
	}
}

// setLine is the line of a set and the sets on the lines below it.
func setLine(s Set) (string, []Set) {
	switch s := s.(type) {
	case All:
		return "all", nil
	case Causal:
		return "causal", nil
	case Window:
		return fmt.Sprintf("window left %s right %s", s.Left, s.Right), nil
	case Sink:
		return fmt.Sprintf("sink %s", s.N), nil
	case Columns:
		return "columns " + rangeText(s.From, s.To, s.Step), nil
	case Diagonals:
		return "diagonals " + rangeText(s.From, s.To, s.Step), nil
	case Rows:
		return rowsText(s), nil
	case Union:
		return "union", s.Sets
	case Intersect:
		return "intersect", s.Sets
	case Minus:
		return "minus", []Set{s.Left, s.Right}
	case Chosen:
		return fmt.Sprintf("chosen %s %s", s.Kind, s.Name), nil
	default:
		return fmt.Sprintf("unknown set %T", s), nil
	}
}

func rangeText(from Poly, to *Poly, step Poly) string {
	if to == nil {
		return fmt.Sprintf("from %s step %s", from, step)
	}
	return fmt.Sprintf("from %s to %s step %s", from, *to, step)
}

// ParsePattern reads the text form. It checks the form only; Verify checks the meaning.
func ParsePattern(text string) (*Pattern, error) {
	root, err := readTree(text)
	if err != nil {
		return nil, err
	}
	c := root.cursor()
	c.expect("pattern")
	p := &Pattern{Name: c.name()}
	if err := c.end(); err != nil {
		return nil, err
	}
	for _, n := range root.kids {
		if err := p.readLine(n); err != nil {
			return nil, err
		}
	}
	if p.Keep == nil {
		return nil, lineError(root.number, `pattern %q has no "keep" line`, p.Name)
	}
	return p, nil
}

func (p *Pattern) readLine(n *node) error {
	param, found, err := readParam(n)
	switch {
	case err != nil:
		return err
	case p.Keep != nil:
		return p.readElse(n)
	case found:
		p.Params = append(p.Params, param)
	case n.words[0] == "require":
		r, err := readRequire(n)
		if err != nil {
			return err
		}
		p.Requires = append(p.Requires, r)
	case n.words[0] == "index":
		d, err := readIndexDef(n)
		if err != nil {
			return err
		}
		p.Index = append(p.Index, d)
	case n.words[0] == "skip":
		p.Skip, err = readSkip(n, p.Skip)
		return err
	case n.words[0] == "keep" && len(n.words) == 1 && len(n.kids) == 1:
		p.Keep, err = readSet(n.kids[0])
		return err
	default:
		return lineError(n.number, `found %q, want "param", "const", "require", "index", "skip" or "keep" with one set below it`,
			strings.Join(n.words, " "))
	}
	return nil
}

// readElse reads the line after keep, which is the last one.
func (p *Pattern) readElse(n *node) error {
	c := n.cursor()
	if p.Pool != 0 || !c.accept("else", "mean") {
		return lineError(n.number, `found %q after "keep", want one line "else mean N" at most`, n.words[0])
	}
	if p.Pool = c.constant(); p.Pool == 0 {
		c.fail("found 0 keys, want some")
	}
	return c.leaf(n)
}

// readSet reads a set and what stands below it. The depth is bounded by readTree.
func readSet(n *node) (Set, error) {
	if len(n.words) == 1 {
		if s, found, err := readOperator(n); found {
			return s, err
		}
	}
	c := n.cursor()
	s := c.primitive()
	return s, c.leaf(n)
}

func readOperator(n *node) (s Set, found bool, err error) {
	switch n.words[0] {
	case "union", "intersect", "minus":
	default:
		return nil, false, nil
	}
	var sets []Set
	for _, kid := range n.kids {
		s, err := readSet(kid)
		if err != nil {
			return nil, true, err
		}
		sets = append(sets, s)
	}
	switch {
	case n.words[0] == "union":
		return Union{sets}, true, nil
	case n.words[0] == "intersect":
		return Intersect{sets}, true, nil
	case len(sets) != 2:
		return nil, true, lineError(n.number, "found %d sets below minus, want two", len(sets))
	}
	return Minus{sets[0], sets[1]}, true, nil
}

// primitive reads a set without operands.
func (c *cursor) primitive() Set {
	switch w := c.next(); w {
	case "all":
		return All{}
	case "causal":
		return Causal{}
	case "window":
		c.expect("left")
		left := c.poly()
		c.expect("right")
		return Window{left, c.poly()}
	case "sink":
		return Sink{c.poly()}
	case "columns":
		from, to, step := c.keyRange()
		return Columns{from, to, step}
	case "diagonals":
		from, to, step := c.keyRange()
		return Diagonals{from, to, step}
	case "rows":
		return c.rows()
	case "chosen":
		return c.chosen()
	default:
		c.fail("found %s, want a set", found(w))
		return nil
	}
}

// chosenKinds are the kinds of chosen sets in the order of their numbers.
var chosenKinds = []string{ChosenColumns.String(), ChosenDistances.String(), ChosenBlocks.String(),
	ChosenSpans.String(), ChosenKeys.String()}

func (c *cursor) chosen() Set {
	kind := ChosenKind(c.oneOf(chosenKinds))
	return Chosen{Name: c.name(), Kind: kind}
}

func (c *cursor) keyRange() (from Poly, to *Poly, step Poly) {
	c.expect("from")
	from = c.poly()
	if c.accept("to") {
		p := c.poly()
		to = &p
	}
	c.expect("step")
	return from, to, c.poly()
}
