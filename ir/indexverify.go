package ir

import (
	"errors"
	"fmt"
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
	KindPooledQ
	KindPooledK
	KindBlockValues // one value a key block, for each query block
	KindBlockShares // the same as shares of a whole, 1 a query block
	KindColumns
	KindDistances
	KindBlocks
)

var kindWords = []string{"scores", "probabilities", "scores of squares", "probabilities of squares", "values over columns", "values over distances", "pooled queries", "pooled keys",
	"values over blocks", "shares of blocks", "chosen columns", "chosen distances", "chosen blocks"}

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
	}
	return 0, false
}

// selected is what choosing from values of a kind gives.
var selected = map[IndexKind]IndexKind{
	KindColumnValues: KindColumns, KindDistanceValues: KindDistances, KindBlockValues: KindBlocks, KindBlockShares: KindBlocks,
}

// IndexType is the type of the definition called name; ok is false if there is none or if it is not well typed.
func IndexType(defs []IndexDef, name string) (kind IndexKind, ok bool) {
	kinds, _ := indexTypes(defs)
	kind, ok = kinds[name]
	return kind, ok
}

// indexTypes types the definitions in order; those with an error have no kind.
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
	switch x := x.(type) {
	case Probe:
		if (x.Last == nil) == (x.Stride == nil) {
			return 0, errors.New("a probe has either a number of last queries or a stride")
		}
		return KindScores, nil
	case Softmax:
		switch kinds[x.Of] {
		case KindBlockValues:
			return KindBlockShares, nil
		case KindSquareScores:
			return KindSquareProbabilities, nil
		}
		return KindProbabilities, wantKind(kinds, x.Of, KindScores)
	case Antidiagonals:
		if x.Step < 2 || x.Step > BlockSize || x.Step&(x.Step-1) != 0 {
			return 0, fmt.Errorf("antidiagonals of squares of %d by %d, want a power of 2 from 2 to %d", x.Step, x.Step, BlockSize)
		}
		return KindSquareScores, nil
	case Sum:
		switch x.Over {
		case OverQueries:
			return KindColumnValues, wantKind(kinds, x.Of, KindProbabilities)
		case OverDiagonals:
			return KindDistanceValues, wantKind(kinds, x.Of, KindProbabilities)
		case OverBlocks:
			return KindBlockShares, wantKind(kinds, x.Of, KindSquareProbabilities)
		}
		return 0, fmt.Errorf("a sum over the unknown axis %d", x.Over)
	case Pool:
		if x.Of > TensorK || x.With > ReduceMax {
			return 0, fmt.Errorf("a pool of the unknown tensor %d or reduction %d", x.Of, x.With)
		}
		return KindPooledQ + IndexKind(x.Of), nil
	case BlockScores:
		return KindBlockValues, errors.Join(wantKind(kinds, x.Q, KindPooledQ), wantKind(kinds, x.K, KindPooledK))
	case Select:
		return typeOfSelect(x, kinds)
	default:
		return 0, fmt.Errorf("found a value of the unknown kind %T", x)
	}
}

func typeOfSelect(x Select, kinds map[string]IndexKind) (IndexKind, error) {
	of, known := kinds[x.Of]
	kind, ok := selected[of]
	switch {
	case !known:
		return 0, fmt.Errorf("%q is not defined before it", x.Of)
	case !ok:
		return 0, fmt.Errorf("%q is %s, want values over columns, distances or blocks", x.Of, of)
	case x.Rule > Above:
		return 0, fmt.Errorf("unknown rule %d", x.Rule)
	case x.Rule != Top && of == KindBlockValues:
		return 0, fmt.Errorf("block scores are no shares of a whole, so that only the number of blocks can be chosen, not %s; take their softmax", ruleWords[x.Rule])
	}
	return kind, nil
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
	for _, d := range defs {
		c.indexNumbers(d)
	}
}

func (c *checker) indexNumbers(d IndexDef) {
	where := "index " + d.Name
	switch x := d.Value.(type) {
	case Probe:
		for _, p := range []*Poly{x.Last, x.Stride} {
			if p != nil && c.poly(*p, where) && !c.facts.AtLeast(*p, 1) {
				c.fail("%s: the probe's %s may be below 1; give the parameter a minimum or require it", where, *p)
			}
		}
	case Select:
		polys := []Poly{x.N, x.First, x.Last}
		if x.Most != nil {
			polys = append(polys, *x.Most)
		}
		for _, p := range polys {
			if c.poly(p, where) && !c.facts.AtLeast(p, 0) {
				c.fail("%s: %s may be below 0; give the parameter a minimum or require it", where, p)
			}
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

// String is the kind as the sets of the language are called: "columns", "diagonals", "blocks".
func (k ChosenKind) String() string {
	return wordOf([]string{"columns", "diagonals", "blocks"}, int(k))
}

// MapIndexPolys returns the definitions with every polynomial replaced by f of it.
func MapIndexPolys(defs []IndexDef, f func(Poly) Poly) []IndexDef {
	var out []IndexDef
	for _, d := range defs {
		switch x := d.Value.(type) {
		case Probe:
			d.Value = Probe{mapEnd(x.Last, f), mapEnd(x.Stride, f)}
		case Select:
			x.N, x.First, x.Last, x.Most = f(x.N), f(x.First), f(x.Last), mapEnd(x.Most, f)
			d.Value = x
		}
		out = append(out, d)
	}
	return out
}
