package show

import (
	"fmt"

	"github.com/minfc/minfc/dsl"
	"github.com/minfc/minfc/internal/bench"
	"github.com/minfc/minfc/ir"
)

// Class is how much of a tile a set keeps.
type Class string

// The classes.
const (
	Full    Class = "full"
	Partial Class = "partial"
	Empty   Class = "empty"
)

// Tile is why a tile of queries and keys is full, partial or empty.
type Tile struct {
	Row     int      `json:"row"` // tile of the grid
	Key     int      `json:"key"`
	Queries [2]int   `json:"queries"` // from the first to before the second, those that there are
	Keys    [2]int   `json:"keys"`
	Class   Class    `json:"class"`
	Kept    int64    `json:"kept_pairs"`
	Pairs   int64    `json:"pairs"`
	Because []Reason `json:"because"` // the sets that decide, in the order in which they are written
}

// Reason is a set of the keep clause that decides what a tile is.
type Reason struct {
	Class Class  `json:"class"` // what it keeps of the tile
	Text  string `json:"text"`
	Line  int    `json:"line"`
	Col   int    `json:"column"`
}

// explain says why a tile of the grid is what it is. The grid begins at query 0 and key 0 with tiles of the newest target; kernels cut each
// band from its last key downwards, so that a step of theirs may lie across two. head is the generated one where data decides, else nil.
func (s *subject) explain(at [2]int, size ir.Tile, h *head) (*Tile, error) {
	n, params := s.n, s.values
	if h != nil {
		n, params = h.n, h.params
	}
	rows, keys := ceilDiv(n, size.Rows), ceilDiv(n, size.Keys)
	if at[0] < 0 || at[0] >= rows || at[1] < 0 || at[1] >= keys {
		return nil, fmt.Errorf("--tile: there is no tile %d,%d: %s tokens have row tiles 0 to %d of %d queries and key tiles 0 to %d of %d keys",
			at[0], at[1], bench.Length(n), rows-1, size.Rows, keys-1, size.Keys)
	}
	t := &Tile{Row: at[0], Key: at[1], Queries: [2]int{at[0] * size.Rows, min(n, (at[0]+1)*size.Rows)},
		Keys: [2]int{at[1] * size.Keys, min(n, (at[1]+1)*size.Keys)}}
	t.Pairs = int64(t.Queries[1]-t.Queries[0]) * int64(t.Keys[1]-t.Keys[0])
	e := explainer{subject: s, tile: t, kept: map[*node]int64{}}
	if err := e.count(s.keep, func(p *ir.Pattern) (func(q, k int) bool, error) {
		if p = p.EndingAt(n); h != nil {
			return p.KeepsWith(params, h.chosen)
		}
		return p.Keeps(params)
	}); err != nil {
		return nil, err
	}
	t.Kept, t.Class = e.kept[s.keep], e.class(s.keep)
	e.decide(s.keep, "")
	return t, nil
}

// explainer knows how many pairs of a tile each set keeps.
type explainer struct {
	*subject
	tile *Tile
	kept map[*node]int64
}

// count asks every set for every pair of the tile.
func (e *explainer) count(n *node, keeps func(*ir.Pattern) (func(q, k int) bool, error)) error {
	p := *e.pattern
	p.Keep = n.set
	in, err := keeps(&p)
	if err != nil {
		return err
	}
	e.kept[n] = countPairs(in, e.tile.Queries[0], e.tile.Queries[1], e.tile.Keys[0], e.tile.Keys[1])
	for _, part := range n.parts {
		if err := e.count(part, keeps); err != nil {
			return err
		}
	}
	return nil
}

func (e *explainer) class(n *node) Class {
	switch e.kept[n] {
	case 0:
		return Empty
	case e.tile.Pairs:
		return Full
	}
	return Partial
}

// decide adds the sets that make a set what it is in the tile, with a word before them.
func (e *explainer) decide(n *node, before string) {
	deciders := e.deciders(n)
	if len(deciders) == 0 {
		line, col := dsl.Position(e.file.Src, n.span.Start)
		e.tile.Because = append(e.tile.Because, Reason{e.class(n), before + e.reason(n), line, col})
	}
	_, minus := n.set.(ir.Minus)
	for _, p := range deciders {
		if minus && p == n.parts[1] {
			e.decide(p, "taken away: ")
			continue
		}
		e.decide(p, before)
	}
}

// reason is a set in words; of an operator what its sets do together, because none of them decides alone.
func (e *explainer) reason(n *node) string {
	switch n.set.(type) {
	case ir.Union:
		return "its sets keep every pair together"
	case ir.Intersect:
		return "no pair lies in all of its sets"
	}
	return e.phrase(n.set)
}

// deciders are the operands that make the result of an operator what it is; none where only all of them together do.
func (e *explainer) deciders(n *node) []*node {
	class := e.class(n)
	switch n.set.(type) {
	case ir.Union:
		if class == Full {
			return first(e.of(n.parts, Full))
		}
		if class == Empty {
			return n.parts
		}
		return e.of(n.parts, Partial)
	case ir.Intersect:
		if class == Full {
			return n.parts
		}
		if class == Empty {
			return first(e.of(n.parts, Empty))
		}
		return e.of(n.parts, Partial)
	case ir.Minus:
		return e.ofMinus(n.parts[0], n.parts[1], class)
	}
	return nil
}

// ofMinus are the sides of a difference that decide. Where a side that is taken away is empty, all that is left is the other's doing.
func (e *explainer) ofMinus(left, right *node, class Class) []*node {
	switch {
	case class == Full || e.class(left) == Empty || e.class(right) == Empty:
		return []*node{left}
	case e.class(left) == Full || e.class(right) == Full:
		return []*node{right}
	}
	return []*node{left, right}
}

// of are the sets of a class.
func (e *explainer) of(sets []*node, class Class) (out []*node) {
	for _, n := range sets {
		if e.class(n) == class {
			out = append(out, n)
		}
	}
	return out
}

func first(sets []*node) []*node { return sets[:min(len(sets), 1)] }
