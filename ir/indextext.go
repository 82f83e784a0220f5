package ir

import (
	"fmt"
	"strings"
)

// The words of the index stage in the text form.
var (
	axisWords      = []string{OverQueries: "queries", OverDiagonals: "diagonals", OverBlocks: "blocks"}
	tensorWords    = []string{TensorQ: "q", TensorK: "k"}
	reductionWords = []string{ReduceMean: "mean", ReduceMax: "max"}
	ruleWords      = []string{Top: "top", TopP: "mass", Above: "above"}
)

// String writes the definition in one line, without the indentation:
//
//	index logits = probe last 64
//	index strides = probe stride 16
//	index probs = softmax logits
//	index heat = sum probs over queries
//	index cols = top vertical from heat first 30
//	index many = mass 950 from heat last 4 most 4096    (mass in thousandths, a threshold after "above" in millionths)
//	index pooled = pool mean q
//	index tiles = blocks pooled pooled_k
//	index squares = antidiagonals 8
//	index shares = sum square_probs over blocks
func (d IndexDef) String() string { return "index " + d.Name + " = " + indexText(d.Value) }

func indexText(x Index) string {
	switch x := x.(type) {
	case Probe:
		return probeText(x)
	case Antidiagonals:
		return fmt.Sprintf("antidiagonals %d", x.Step)
	case Softmax:
		return "softmax " + x.Of
	case Sum:
		return fmt.Sprintf("sum %s over %s", x.Of, wordOf(axisWords, int(x.Over)))
	case Pool:
		return fmt.Sprintf("pool %s %s", wordOf(reductionWords, int(x.With)), wordOf(tensorWords, int(x.Of)))
	case BlockScores:
		return fmt.Sprintf("blocks %s %s", x.Q, x.K)
	case Select:
		return selectText(x)
	default:
		return fmt.Sprintf("unknown index %T", x)
	}
}

func probeText(x Probe) string {
	switch {
	case x.Last != nil:
		return fmt.Sprintf("probe last %s", *x.Last)
	case x.Stride != nil:
		return fmt.Sprintf("probe stride %s", *x.Stride)
	}
	return "probe"
}

func selectText(x Select) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s from %s", wordOf(ruleWords, int(x.Rule)), x.N, x.Of)
	if !x.First.Equal(Poly{}) {
		fmt.Fprintf(&b, " first %s", x.First)
	}
	if !x.Last.Equal(Poly{}) {
		fmt.Fprintf(&b, " last %s", x.Last)
	}
	if x.Most != nil {
		fmt.Fprintf(&b, " most %s", *x.Most)
	}
	return b.String()
}

func wordOf(words []string, n int) string {
	if n >= len(words) {
		return fmt.Sprintf("unknown(%d)", n)
	}
	return words[n]
}

// ParseIndexDef reads the line that String writes. It checks the form only; VerifyIndex checks the meaning.
func ParseIndexDef(line string) (IndexDef, error) {
	words, err := splitWords(strings.TrimSpace(line))
	if err != nil {
		return IndexDef{}, err
	}
	n := &node{number: 1, words: words}
	return readIndexDef(n)
}

// readIndexDef reads the line of a definition.
func readIndexDef(n *node) (IndexDef, error) {
	c := n.cursor()
	c.expect("index")
	d := IndexDef{Name: c.name()}
	c.expect("=")
	d.Value = c.index()
	return d, c.leaf(n)
}

func (c *cursor) index() Index {
	switch w := c.next(); w {
	case "probe":
		return c.probe()
	case "antidiagonals":
		return c.antidiagonals()
	case "softmax":
		return Softmax{c.name()}
	case "sum":
		of := c.name()
		c.expect("over")
		return Sum{of, Axis(c.oneOf(axisWords))}
	case "pool":
		with := Reduction(c.oneOf(reductionWords))
		return Pool{Of: Tensor(c.oneOf(tensorWords)), With: with}
	case "blocks":
		q := c.name()
		return BlockScores{q, c.name()}
	default:
		for rule, word := range ruleWords {
			if w == word {
				return c.selection(Rule(rule))
			}
		}
		c.fail("found %s, want a value of the index stage", found(w))
		return nil
	}
}

func (c *cursor) probe() Index {
	if c.accept("stride") {
		p := c.poly()
		return Probe{Stride: &p}
	}
	c.expect("last")
	p := c.poly()
	return Probe{Last: &p}
}

func (c *cursor) antidiagonals() Index {
	p := c.poly()
	n, constant := p.Const()
	if !constant {
		c.fail("found %s, want a number", p)
	}
	return Antidiagonals{int(n)}
}

func (c *cursor) selection(rule Rule) Index {
	s := Select{Rule: rule, N: c.poly()}
	c.expect("from")
	s.Of = c.name()
	if c.accept("first") {
		s.First = c.poly()
	}
	if c.accept("last") {
		s.Last = c.poly()
	}
	if c.accept("most") {
		p := c.poly()
		s.Most = &p
	}
	return s
}

// oneOf reads one of the words and returns its index.
func (c *cursor) oneOf(words []string) int {
	w := c.next()
	for i, x := range words {
		if w == x {
			return i
		}
	}
	c.fail("found %s, want %s", found(w), strings.Join(words, " or "))
	return 0
}
