package ir

import (
	"fmt"
	"slices"
	"strings"
)

// String writes the text form, one thing a line:
//
//	program vertical_slash
//	  variant probe_heads of 1, 2, 4 for sharers
//	  value reach = q_offset + sq
//	  most budget_cols = count(p_vertical)
//	  limit batch*q_heads to 65535 "Batch times QHeads; split larger calls"
//	  work probed_keys = present*sk
//	  buffer numbers i32 2*q_heads
//	  buffer col_sum f32 q_heads, 64*ceildiv(sk, 64) passing
//	  part numbers
//	    store numbers by store_words
//	      row count count(p_vertical)
//	  part choose
//	    for b to batch by 1
//	      let first = b*q_heads
//	      heads first, q_heads
//	      run probe_sums . probe_heads grid ceildiv(sk, 64), kv_heads, 1
//	        q = at q + b*q_batch
//	        chunks = ceildiv(sk, 64)
//	        scale = float scale_log2 / 4
//	        sums = null
func (p *Program) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "program %s\n", p.Name)
	for _, v := range p.Variants {
		var of []Expr
		for _, n := range v.Of {
			of = append(of, N(n))
		}
		fmt.Fprintf(&b, "  variant %s of %s for %s\n", v.Name, joinExprs(of), v.For)
	}
	for _, v := range p.Values {
		word := "value"
		if v.Most {
			word = "most"
		}
		fmt.Fprintf(&b, "  %s %s = %s\n", word, v.Name, v.Expr)
	}
	for _, l := range p.Limits {
		fmt.Fprintf(&b, "  limit %s to %d %q\n", l.Value, l.Most, l.What)
	}
	for _, w := range p.Work {
		fmt.Fprintf(&b, "  work %s = %s\n", w.Unit, w.Amount)
	}
	for _, x := range p.Buffers {
		fmt.Fprintf(&b, "  %s\n", x)
	}
	for _, part := range p.Parts {
		fmt.Fprintf(&b, "  part %s\n", part.Name)
		printSteps(&b, "    ", part.Steps)
	}
	return b.String()
}

// String writes a buffer: "buffer col_sum f32 q_heads, sk passing".
func (x Buffer) String() string {
	s := fmt.Sprintf("buffer %s %s %s", x.Name, x.Type, joinExprs(x.Shape))
	if x.Passing {
		s += " passing"
	}
	if x.Over != "" {
		s += " over " + x.Over
	}
	return s
}

func printSteps(b *strings.Builder, indent string, steps []Step) {
	for _, s := range steps {
		b.WriteString(indent)
		switch s := s.(type) {
		case Let:
			fmt.Fprintf(b, "let %s = %s\n", s.Name, s.Expr)
		case For:
			fmt.Fprintf(b, "for %s to %s by %s\n", s.Var, s.End, s.By)
			printSteps(b, indent+"  ", s.Steps)
		case Heads:
			fmt.Fprintf(b, "heads %s, %s\n", s.First, s.N)
		case Run:
			s.print(b, indent)
		case Store:
			fmt.Fprintf(b, "store %s by %s\n", s.Buffer, s.Kernel)
			for _, r := range s.Rows {
				fmt.Fprintf(b, "%s  row %s %s", indent, wordOf(encodingWords, int(r.As)), r.Expr)
				if r.ByGroup {
					b.WriteString(" by group")
				}
				b.WriteByte('\n')
			}
		case Zero:
			fmt.Fprintf(b, "zero %s\n", s.Buffer)
		default:
			fmt.Fprintf(b, "unknown step %T\n", s)
		}
	}
}

// encodingWords are the encodings in the text form.
var encodingWords = []string{AsCount: "count", AsShare: "share", AsThreshold: "threshold", AsFraction: "fraction"}

func (s Run) print(b *strings.Builder, indent string) {
	fmt.Fprintf(b, "run %s", s.Kernel)
	if s.Variant != "" {
		fmt.Fprintf(b, ".%s", s.Variant)
	}
	fmt.Fprintf(b, " grid %s", joinExprs(s.Grid[:]))
	if s.Threads != nil {
		fmt.Fprintf(b, " threads %s", *s.Threads)
	}
	b.WriteString("\n")
	for _, a := range s.Args {
		fmt.Fprintf(b, "%s  %s\n", indent, a)
	}
}

// String writes an argument: "q = at q + b*q_batch".
func (a Arg) String() string {
	switch {
	case a.Kind == ArgNull:
		return a.Param + " = null"
	case a.Kind == ArgFloat && a.Expr.is(1):
		return fmt.Sprintf("%s = float %s", a.Param, a.Of)
	case a.Kind == ArgFloat:
		return fmt.Sprintf("%s = float %s / %s", a.Param, a.Of, a.Expr)
	case a.Kind == ArgAddress && a.Expr.is(0):
		return fmt.Sprintf("%s = at %s", a.Param, a.Of)
	case a.Kind == ArgAddress:
		return fmt.Sprintf("%s = at %s + %s", a.Param, a.Of, a.Expr)
	}
	return fmt.Sprintf("%s = %s", a.Param, a.Expr)
}

// ParseProgram reads the text form. It checks the form only; Verify checks the meaning.
func ParseProgram(text string) (*Program, error) {
	root, err := readTree(text)
	if err != nil {
		return nil, err
	}
	c := root.cursor()
	c.expect("program")
	p := &Program{Name: c.name()}
	if err := c.end(); err != nil {
		return nil, err
	}
	for _, n := range root.kids {
		if err := p.readLine(n); err != nil {
			return nil, err
		}
	}
	return p, nil
}

func (p *Program) readLine(n *node) (err error) {
	c := n.cursor()
	switch word := c.next(); word {
	case "variant":
		v := Variant{Name: c.name()}
		c.expect("of")
		for ok := true; ok; ok = c.accept(",") {
			v.Of = append(v.Of, c.integer())
		}
		c.expect("for")
		v.For = c.expr()
		p.Variants = append(p.Variants, v)
	case "value", "most":
		v := Value{Name: c.name(), Most: word == "most"}
		c.expect("=")
		v.Expr = c.expr()
		p.Values = append(p.Values, v)
	case "limit":
		l := Limit{Value: c.expr()}
		c.expect("to")
		l.Most, l.What = c.integer(), c.quoted()
		p.Limits = append(p.Limits, l)
	case "work":
		w := Work{Unit: c.name()}
		c.expect("=")
		w.Amount = c.expr()
		p.Work = append(p.Work, w)
	case "buffer":
		p.Buffers = append(p.Buffers, c.buffer())
	case "part":
		part := Part{Name: c.name()}
		if err = c.end(); err == nil {
			part.Steps, err = readSteps(n.kids)
		}
		p.Parts = append(p.Parts, part)
		return err
	default:
		return lineError(n.number, "found %q, want variant, value, most, limit, work, buffer or part", word)
	}
	return c.leaf(n)
}

func (c *cursor) buffer() Buffer {
	x := Buffer{Name: c.name(), Type: c.name(), Shape: c.exprs()}
	x.Passing = c.accept("passing")
	if c.accept("over") {
		x.Over = c.name()
	}
	return x
}

// exprs reads expressions with commas between them.
func (c *cursor) exprs() []Expr {
	out := []Expr{c.expr()}
	for c.accept(",") {
		out = append(out, c.expr())
	}
	return out
}

func readSteps(lines []*node) (steps []Step, err error) {
	for _, n := range lines {
		s, err := readStep(n)
		if err != nil {
			return nil, err
		}
		steps = append(steps, s)
	}
	return steps, nil
}

func readStep(n *node) (Step, error) {
	c := n.cursor()
	switch word := c.next(); word {
	case "let":
		s := Let{Name: c.name()}
		c.expect("=")
		s.Expr = c.expr()
		return s, c.leaf(n)
	case "heads":
		s := Heads{First: c.expr()}
		c.expect(",")
		s.N = c.expr()
		return s, c.leaf(n)
	case "zero":
		return Zero{c.name()}, c.leaf(n)
	case "for":
		s := For{Var: c.name()}
		c.expect("to")
		s.End = c.expr()
		c.expect("by")
		s.By = c.expr()
		err := c.end()
		if err == nil {
			s.Steps, err = readSteps(n.kids)
		}
		return s, err
	case "store":
		return readStore(c, n)
	case "run":
		return readRun(c, n)
	default:
		return nil, lineError(n.number, "found %q, want let, for, heads, run, store or zero", word)
	}
}

func readStore(c *cursor, n *node) (Step, error) {
	s := Store{Buffer: c.name()}
	c.expect("by")
	s.Kernel = c.name()
	if err := c.end(); err != nil {
		return nil, err
	}
	for _, line := range n.kids {
		c := line.cursor()
		c.expect("row")
		i := slices.Index(encodingWords, c.peek())
		if i < 0 {
			c.fail("found %s, want one of %s", found(c.peek()), strings.Join(encodingWords, ", "))
		}
		c.next()
		r := Row{As: Encoding(max(i, 0)), Expr: c.expr()}
		if r.ByGroup = c.accept("by"); r.ByGroup {
			c.expect("group")
		}
		s.Rows = append(s.Rows, r)
		if err := c.leaf(line); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func readRun(c *cursor, n *node) (Step, error) {
	s := Run{Kernel: c.name()}
	if c.accept(".") {
		s.Variant = c.name()
	}
	c.expect("grid")
	grid := c.exprs()
	if len(grid) != len(s.Grid) {
		c.fail("found a grid of %d numbers, want %d", len(grid), len(s.Grid))
	}
	copy(s.Grid[:], grid)
	if c.accept("threads") {
		e := c.expr()
		s.Threads = &e
	}
	if err := c.end(); err != nil {
		return nil, err
	}
	for _, line := range n.kids {
		a, err := readArg(line)
		if err != nil {
			return nil, err
		}
		s.Args = append(s.Args, a)
	}
	return s, nil
}

func readArg(n *node) (Arg, error) {
	c := n.cursor()
	a := Arg{Param: c.name(), Expr: N(0)}
	c.expect("=")
	switch {
	case c.accept("null"):
		a.Kind = ArgNull
	case c.accept("at"):
		a.Kind, a.Of = ArgAddress, c.name()
		if c.accept("+") {
			a.Expr = c.expr()
		}
	case c.accept("float"):
		a.Kind, a.Of, a.Expr = ArgFloat, c.name(), N(1)
		if c.accept("/") {
			a.Expr = N(c.integer())
		}
	default:
		a.Expr = c.expr()
	}
	return a, c.leaf(n)
}
