package ir

import (
	"errors"
	"fmt"
	"slices"
)

// IndexKind is the type of a definition of the index stage: what its numbers are, and what they range over.
type IndexKind uint8

const (
	KindScores        IndexKind = iota // logits [queries, keys]
	KindProbabilities                  // the same after softmax
	KindSquareScores                   // one value a square of queries and keys
	KindSquareProbabilities
	KindColumnValues // one value a key
	KindDistanceValues
	KindRunValues // one value a run of neighbouring distances
	KindPooledQ
	KindPooledK
	KindBlockValues // one value a key block, for each query block
	KindBlockShares // the same as shares of a whole, 1 a query block
	KindColumns
	KindDistances
	KindBlocks
	KindSpans // lists of the caller
	KindKeys
)

var kindWords = []string{"scores", "probabilities", "scores of squares", "probabilities of squares", "values over columns",
	"values over distances", "values over runs of distances", "pooled queries", "pooled keys",
	"values over blocks", "shares of blocks", "chosen columns", "chosen distances", "chosen blocks",
	"given spans", "given keys"}

// String is the kind in words: "values over columns".
func (k IndexKind) String() string { return wordOf(kindWords, int(k)) }

// Chosen says whether a pattern can keep what a definition of this kind chose, and as what.
func (k IndexKind) Chosen() (ChosenKind, bool) {
	switch k {
	case KindColumns:
		return ChosenColumns, true
	case KindDistances:
		return ChosenDistances, true
	case KindBlocks:
		return ChosenBlocks, true
	case KindSpans:
		return ChosenSpans, true
	case KindKeys:
		return ChosenKeys, true
	}
	return 0, false
}

// IndexType is the type of the definition called name; ok is false if there is none or if it is not well typed.
func IndexType(defs []IndexDef, name string) (kind IndexKind, ok bool) {
	kinds, _ := indexTypes(defs)
	kind, ok = kinds[name]
	return kind, ok
}

// indexTypes types the definitions in order; a definition with an error has no kind.
func indexTypes(defs []IndexDef) (map[string]IndexKind, []error) {
	kinds, seen := map[string]IndexKind{}, map[string]bool{}
	var errs []error
	for _, d := range defs {
		kind, err := typeOf(d.Value, kinds)
		switch {
		case !isName(d.Name):
			err = fmt.Errorf("%q cannot be the name of an index definition; use letters, digits and _", d.Name)
		case seen[d.Name]:
			err = fmt.Errorf("index %q is defined twice", d.Name)
		case err != nil:
			err = fmt.Errorf("index %q: %w", d.Name, err)
		default:
			kinds[d.Name] = kind
		}
		if err != nil {
			errs = append(errs, err)
		}
		seen[d.Name] = true
	}
	return kinds, errs
}

func typeOf(x Index, kinds map[string]IndexKind) (IndexKind, error) {
	if x == nil {
		return 0, errors.New("there is no value")
	}
	return x.typed(kinds)
}

func wantKind(kinds map[string]IndexKind, name string, want IndexKind) error {
	switch got, known := kinds[name]; {
	case !known:
		return fmt.Errorf("%q is not defined before it", name)
	case got != want:
		return fmt.Errorf("%q is %s, want %s", name, got, want)
	}
	return nil
}

// maxIndex bounds the definitions of one pattern.
const maxIndex = 64

// VerifyIndex checks the definitions of a pattern or schedule with these parameters; all faults are reported. What passes
// is evaluated without a panic for every launch that CheckLaunch accepts.
func VerifyIndex(defs []IndexDef, params []Param, requires []Require) error {
	c := &checker{}
	c.params("index", params, requires)
	c.index(defs)
	return errors.Join(c.errs...)
}

// index checks definitions; the parameters are checked already.
func (c *checker) index(defs []IndexDef) {
	if len(defs) > maxIndex {
		c.fail("%d index definitions, want at most %d", len(defs), maxIndex)
		return
	}
	_, errs := indexTypes(defs)
	c.errs = append(c.errs, errs...)
	c.given(defs)
	for _, d := range defs {
		c.indexNumbers(d)
	}
}

func (c *checker) indexNumbers(d IndexDef) {
	x, ok := d.Value.(parameterized)
	if !ok {
		return
	}
	where, n := "index "+d.Name, x.numbers()
	for _, p := range slices.Concat(n.budgets, n.others) {
		if c.poly(p, where) && !c.facts.AtLeast(p, n.least) {
			c.fail("%s: %s%s may be below %d; give the parameter a minimum or require it", where, n.who, p, n.least)
		}
	}
	for _, p := range n.parts {
		c.poly(p, where)
	}
	for _, p := range n.runs {
		c.run(p, where, n.who)
	}
}

// run checks the size of runs. One that const parameters give is checked when it has a number: by the pass that bakes them, and when it
// is evaluated.
func (c *checker) run(p Poly, where, who string) {
	if !c.poly(p, where) {
		return
	}
	if v, constant := p.Const(); constant {
		if err := CheckRun(v); err != nil {
			c.fail("%s: %w", where, err)
		}
	}
	for _, v := range p.Vars() {
		if !c.baked[v] {
			c.fail("%s: %s%s depends on %s, which is known at launch only; make it const", where, who, p, v)
		}
	}
}

// chosen checks that a set is what an index definition of this name chose.
func (c *checker) chosen(s Chosen, defs []IndexDef) {
	kind, ok := IndexType(defs, s.Name)
	if is, can := kind.Chosen(); !ok || !can || is != s.Kind {
		c.fail("the chosen %s %q are not defined by the index stage", s.Kind, s.Name)
	}
}

// String is the kind as the sets of the language are called: "columns", "diagonals", "blocks"; of given lists "spans", "keys".
func (k ChosenKind) String() string {
	return wordOf([]string{"columns", "diagonals", "blocks", "spans", "keys"}, int(k))
}

// MapIndexPolys returns the definitions with every polynomial replaced by f of it.
func MapIndexPolys(defs []IndexDef, f func(Poly) Poly) []IndexDef {
	var out []IndexDef
	for _, d := range defs {
		if x, ok := d.Value.(parameterized); ok {
			d.Value = x.mapPolys(f)
		}
		out = append(out, d)
	}
	return out
}
