package show

import (
	"fmt"

	"github.com/minfc/minfc/compile"
	"github.com/minfc/minfc/dsl"
	"github.com/minfc/minfc/ir"
)

// Advice is one thing that a person may want to change.
type Advice struct {
	Rule string `json:"rule"`
	Text string `json:"text"`
	Line int    `json:"line,omitempty"` // of the source that it is about, 0 where that is the whole pattern
	Col  int    `json:"column,omitempty"`
}

// adviser is what rules look at.
type adviser struct {
	*subject
	tiles  Tiles // of the newest target
	times  []Time
	advice []Advice
}

// rules are all advice that there is. Each says only what counts of tiles, the cost model or a budget show of this very pattern.
var rules = []struct {
	name  string
	check func(a *adviser, say func(at *node, text string)) error
}{
	{"keeps nothing", keepsNothing},
	{"adds nothing", addsNothing},
	{"free keys", freeKeys},
	{"step below a tile", stepBelowTile},
	{"slower than dense", slowerThanDense},
	{"budget of all", budgetOfAll},
	{"distances one by one", distancesOneByOne},
	{"no limit", noLimit},
}

// advise follows the rules in their order.
func (s *subject) advise(tiles Tiles, times []Time) ([]Advice, error) {
	a := &adviser{subject: s, tiles: tiles, times: times}
	for _, r := range rules {
		err := r.check(a, func(at *node, text string) {
			x := Advice{Rule: r.name, Text: text}
			if at != nil {
				x.Line, x.Col = dsl.Position(s.file.Src, at.span.Start)
			}
			a.advice = append(a.advice, x)
		})
		if err != nil {
			return nil, err
		}
	}
	return a.advice, nil
}

// keepsNothing finds patterns without a pair.
func keepsNothing(a *adviser, say func(*node, string)) error {
	if a.dynamic() {
		return nil
	}
	kept, err := a.pairs(a.pattern.Keep, a.n)
	if err == nil && kept == 0 {
		say(nil, "no pair is kept at this length")
	}
	return err
}

// mostUnited is how many sets of a union are left out one by one.
const mostUnited = 8

// addsNothing finds sets of unions whose pairs the others of the union keep as well, or that the rest of the clause leaves out.
func addsNothing(a *adviser, say func(*node, string)) error {
	if a.dynamic() {
		return nil
	}
	kept, err := a.pairs(a.pattern.Keep, a.n)
	if err != nil || kept == 0 {
		return err
	}
	var walk func(n *node) error
	walk = func(n *node) error {
		_, union := n.set.(ir.Union)
		for _, p := range n.parts {
			if union && len(n.parts) <= mostUnited {
				without, err := a.pairs(replaced(a.keep, p, nil), a.n)
				if err != nil {
					return err
				}
				if without == kept {
					say(p, fmt.Sprintf("%s: this changes nothing at this length", a.phrase(p.set)))
				}
			}
			if err := walk(p); err != nil {
				return err
			}
		}
		return nil
	}
	return walk(a.keep)
}

// freeKeys finds windows and sinks that could keep more keys at the price that they have now: kernels walk whole tiles.
func freeKeys(a *adviser, say func(*node, string)) (err error) {
	if a.dynamic() {
		return nil
	}
	a.keep.kept(func(n *node) {
		var size ir.Poly
		word := "sink"
		switch x := n.set.(type) {
		case ir.Window:
			size, word = x.Left, "window"
		case ir.Sink:
			size = x.N
		}
		now := a.value(size)
		if err != nil || now == 0 || now >= int64(a.n) {
			return
		}
		var most int64
		if most, err = a.largestAlike(n, now); err == nil && most > now {
			say(n, fmt.Sprintf("a %s of %d costs as many tiles as one of %d", word, now, most))
		}
	})
	return err
}

// walk is what kernels walk, of all targets together, and what they keep.
type walk struct{ tiles, pairs int64 }

// largestAlike is the largest round size above now, a multiple of 64 and no more than a tile larger, with which the pattern keeps more pairs
// in no more tiles; now where there is none.
func (a *adviser) largestAlike(at *node, now int64) (int64, error) {
	have, err := a.walkWith(at, now)
	if err != nil {
		return 0, err
	}
	const round = ir.BlockSize
	for size := (now + int64(a.tiles.Keys)) / round * round; size > now; size -= round {
		if size > int64(a.n) {
			continue
		}
		with, err := a.walkWith(at, size)
		if err != nil {
			return 0, err
		}
		if with.tiles <= have.tiles && with.pairs > have.pairs {
			return size, nil
		}
	}
	return now, nil
}

// walkWith is the walk if the window or sink at a place of the pattern had that size.
func (a *adviser) walkWith(at *node, size int64) (w walk, err error) {
	var resized ir.Set = ir.Sink{N: ir.Int(size)}
	if x, is := at.set.(ir.Window); is {
		resized = ir.Window{Left: ir.Int(size), Right: x.Right}
	}
	p := a.keeping(replaced(a.keep, at, resized))
	for _, target := range compile.Targets() {
		schedule, err := a.scheduleFor(p, target)
		if err != nil {
			return w, err
		}
		c, err := a.count(schedule, 0, a.n, a.n)
		if err != nil {
			return w, err
		}
		w.tiles, w.pairs = w.tiles+c.Tiles(), w.pairs+c.Pairs()
	}
	return w, nil
}

// replaced is the set of n with another one in the place of what is at a node; nil leaves out a set of a union.
func replaced(n, at *node, with ir.Set) ir.Set {
	if n == at {
		return with
	}
	var parts []ir.Set
	for _, p := range n.parts {
		if x := replaced(p, at, with); x != nil {
			parts = append(parts, x)
		}
	}
	switch n.set.(type) {
	case ir.Union:
		return ir.Union{Sets: parts}
	case ir.Intersect:
		return ir.Intersect{Sets: parts}
	case ir.Minus:
		return ir.Minus{Left: parts[0], Right: parts[1]}
	}
	return n.set
}

// stepBelowTile finds steps with which every tile keeps a pair: a diagonal crosses a tile of rows and keys wherever the step is less than
// both together, a column where it is no more than its keys (see NextTop in package ir).
func stepBelowTile(a *adviser, say func(*node, string)) error {
	if a.dynamic() {
		return nil
	}
	a.keep.kept(func(n *node) {
		var step, skips int64
		what := "diagonals"
		switch x := n.set.(type) {
		case ir.Diagonals:
			step, skips = a.value(x.Step), int64(a.tiles.Rows+a.tiles.Keys)
		case ir.Columns:
			what, step, skips = "columns", a.value(x.Step), int64(a.tiles.Keys)+1
		}
		if step > 1 && step < skips {
			say(n, fmt.Sprintf("%s with a step of %d skip no tile on %s: each of %d x %d has one; steps of %d and more can",
				what, step, a.tiles.Target, a.tiles.Rows, a.tiles.Keys, skips))
		}
	})
	return nil
}

// slowerThanDense finds patterns that attention without sparsity beats.
func slowerThanDense(a *adviser, say func(*node, string)) error {
	for _, t := range a.times {
		if !t.Dense && t.LowMS > t.DenseMS*1.001 {
			say(nil, fmt.Sprintf("on an %s dense attention is predicted to be faster at this length: %s, not %s", t.Machine, milliseconds(t.DenseMS),
				milliseconds(t.LowMS)))
		}
	}
	return nil
}

// budgetOfAll finds budgets that choose all there is at the length.
func budgetOfAll(a *adviser, say func(*node, string)) error {
	a.eachChoice(func(n *node, x ir.Select) {
		all := int64(a.n) // columns, or distances
		if n.set.(ir.Chosen).Kind == ir.ChosenBlocks {
			all = int64(ceilDiv(a.n, ir.BlockSize))
		} else if run := a.runOf(x); run > 1 {
			all = (all + run - 1) / run
		}
		if most, known := a.mostMembers(x, a.n); known && most >= all {
			say(n, fmt.Sprintf("a budget of %s chooses all %d at this length", countOf(most, a.unit(x)), all))
		}
	})
	return nil
}

// runOf is how many distances a member of a choice has.
func (a *adviser) runOf(x ir.Select) int64 {
	if of, is := a.definition(x.Of).(ir.Sum); is && of.Over == ir.OverRuns {
		return a.value(of.Run)
	}
	return 1
}

// eachChoice calls f for every chosen set, with the rule that chooses it.
func (a *adviser) eachChoice(f func(n *node, x ir.Select)) {
	a.keep.kept(func(n *node) {
		if c, is := n.set.(ir.Chosen); is {
			if x, is := a.definition(c.Name).(ir.Select); is {
				f(n, x)
			}
		}
	})
}

// distancesOneByOne finds choices of single distances, which cost a tile each where they lie apart (docs/slash-tiles.md).
func distancesOneByOne(a *adviser, say func(*node, string)) error {
	a.eachChoice(func(n *node, x ir.Select) {
		if n.set.(ir.Chosen).Kind == ir.ChosenDistances && a.runOf(x) == 1 {
			say(n, "each distance far from all others costs a tile of 64 keys in every row block; runs of distances, "+
				"sum(..., diagonals(64)), bound that")
		}
	})
	return nil
}

// noLimit finds choices without a budget, for which a launch makes room for everything.
func noLimit(a *adviser, say func(*node, string)) error {
	a.eachChoice(func(n *node, x ir.Select) {
		if _, known := a.mostMembers(x, a.n); !known {
			say(n, fmt.Sprintf("nothing limits how many %s are chosen, so a run has room for all of them: `with most N` bounds memory and time",
				plural(a.unit(x))))
		}
	})
	return nil
}
