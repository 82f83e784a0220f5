package ir

import (
	"errors"
	"fmt"
	"slices"
)

var errChosen = errors.New("what it keeps depends on data: use KeepsWith, with what EvalIndex chose")

// KeepsWith is Keeps for a pattern with an index stage: the pairs that were asked for, given what the index stage chose.
// A chosen distance keeps the pairs at that distance and no others. Queries before sel.QOffset are in no row block.
func (p *Pattern) KeepsWith(values map[string]int64, sel *Selection) (func(q, k int) bool, error) {
	return p.keepsWith(values, sel, func(s *Selected) keepFunc {
		in := membership(s.Members)
		return func(q, k int) bool { return in(q - k) }
	})
}

// CoverWith is KeepsWith with the chosen distances replaced by the tiles that cover them: the pairs that a kernel computes.
// It keeps whatever KeepsWith keeps, unless the pattern takes chosen distances away with a difference.
func (p *Pattern) CoverWith(values map[string]int64, sel *Selection) (func(q, k int) bool, error) {
	return p.keepsWith(values, sel, func(s *Selected) keepFunc {
		tiles := CoverTiles(s.Members)
		return func(q, k int) bool {
			row := (q - sel.QOffset) / BlockSize * BlockSize
			return q >= sel.QOffset && Covered(tiles, sel.QOffset+row-k+BlockSize-1)
		}
	})
}

func (p *Pattern) keepsWith(values map[string]int64, sel *Selection, distances func(s *Selected) keepFunc) (keepFunc, error) {
	keep, err := setCompiler{values, func(s Chosen) (keepFunc, error) {
		found, err := sel.Find(s.Name)
		switch {
		case err != nil:
			return nil, err
		case found.Kind != s.Kind:
			return nil, fmt.Errorf("the selection has %s for %q, want %s", found.Kind, s.Name, s.Kind)
		case s.Kind == ChosenDistances:
			return distances(found), nil
		case s.Kind == ChosenBlocks:
			return keepBlocks(found.Blocks, sel.QOffset), nil
		case s.Kind == ChosenSpans:
			return keepGiven(found.Blocks, sel.QOffset, BlockSize), nil
		case s.Kind == ChosenKeys:
			return keepGiven(found.Blocks, sel.QOffset, 1), nil
		}
		in := membership(found.Members)
		return func(q, k int) bool { return in(k) }, nil
	}}.set(p.Keep)
	if err != nil {
		return nil, fmt.Errorf("pattern %q: %w", p.Name, err)
	}
	return keep, nil
}

// keepBlocks keeps the pairs of the chosen blocks of each row block.
func keepBlocks(blocks [][]int, offset int) keepFunc {
	in := make([]func(int) bool, len(blocks))
	for t, chosen := range blocks {
		in[t] = membership(slices.Sorted(slices.Values(chosen)))
	}
	return func(q, k int) bool {
		t := (q - offset) / BlockSize
		return q >= offset && t < len(in) && k >= 0 && in[t](k/BlockSize)
	}
}

// keepGiven keeps so many keys from each entry of a row block on. How often they count is not asked here.
func keepGiven(entries [][]int, offset, keys int) keepFunc {
	return func(q, k int) bool {
		t := (q - offset) / BlockSize
		return q >= offset && t < len(entries) && slices.ContainsFunc(entries[t], func(first int) bool { return first <= k && k < first+keys })
	}
}

// membership tests for being one of ascending numbers, none of them negative.
func membership(members []int) func(x int) bool {
	if len(members) == 0 {
		return func(int) bool { return false }
	}
	bits := make([]uint64, members[len(members)-1]/64+1)
	for _, m := range members {
		bits[m/64] |= 1 << (m % 64)
	}
	return func(x int) bool { return x >= 0 && x/64 < len(bits) && bits[x/64]>>(x%64)&1 == 1 }
}
