package ir

import (
	"fmt"
	"slices"
	"strings"
)

// String writes the definition in one line, without the indentation:
//
//	index logits = probe last 64
//	index strides = probe stride 16
//	index probs = softmax logits
//	index heat = sum probs over queries
//	index stripes = sum probs over runs 64
//	index cols = top vertical from heat first 30
//	index many = mass 950 from heat last 4 most 4096    (mass in thousandths, a threshold after "above" in millionths)
//	index near_best = near 700 from heat                (thousandths of the largest value)
//	index same = top 64 from stripes first 2 by group   (one choice for the query heads of a kv head)
//	index pooled = pool mean q
//	index pooled_k = pool max k over 128
//	index tiles = blocks pooled pooled_k
//	index squares = antidiagonals 8
//	index shares = sum square_probs over blocks
//	index spans = given spans
func (d IndexDef) String() string {
	if d.Value == nil {
		return "index " + d.Name + " = nothing"
	}
	return "index " + d.Name + " = " + d.Value.text()
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

// indexReaders read the values of the index stage, by the first word of their text. Choices begin with the word of their rule.
var indexReaders = map[string]func(*cursor) Index{
	"probe":         (*cursor).probe,
	"antidiagonals": (*cursor).antidiagonals,
	"softmax":       (*cursor).softmax,
	"sum":           (*cursor).sum,
	"pool":          (*cursor).pool,
	"blocks":        (*cursor).blocks,
	"given":         (*cursor).given,
}

func (c *cursor) index() Index {
	w := c.next()
	if read := indexReaders[w]; read != nil {
		return read(c)
	}
	if rule := slices.Index(ruleWords, w); rule >= 0 {
		return c.selection(Rule(rule))
	}
	c.fail("found %s, want a value of the index stage", found(w))
	return nil
}

// constant reads a number without parameters.
func (c *cursor) constant() int {
	p := c.poly()
	n, constant := p.Const()
	if !constant {
		c.fail("found %s, want a number", p)
	}
	return int(n)
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
