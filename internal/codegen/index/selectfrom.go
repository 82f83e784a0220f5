package index

import (
	"github.com/llir/llvm/ir/enum"
	"github.com/llir/llvm/ir/types"

	"github.com/minfc/minfc/internal/codegen/lower"
	"github.com/minfc/minfc/ir"
)

// Rules that choose all values from a smallest one on.

// Shared memory of select_near, behind the shared memory that select_top has too: the largest key of each warp.
const (
	nearLargest = selectShared
	nearShared  = nearLargest + 4*32
)

// SelectAbove chooses the values from a smallest one on; if these are too many the largest of them, and if they are too few the largest
// values.
func SelectAbove(lengths bool) (*lower.Kernel, error) {
	s := newSelector(ir.Above, lengths)
	s.emit(func() found { return s.searchFrom(func() Value { return s.ofHead("budget") }) })
	return s.finish(selectShared), nil
}

// SelectNear chooses as SelectAbove does the values that are at least a share of the largest value of their head, forced candidates
// included. Negative values and NaN count as 0, and what is 0 is chosen only by force or to be enough.
func SelectNear(lengths bool) (*lower.Kernel, error) {
	s := newSelector(ir.NearMax, lengths)
	s.emit(func() found { return s.searchFrom(s.near) })
	return s.finish(nearShared), nil
}

// searchFrom finds the values from the smallest key wanted on. They are counted where there are bounds, and a number is searched for only
// where they are too many or too few.
func (s *selector) searchFrom(key func() Value) found {
	most := s.wanted("most")
	least := s.least(most)
	smallest, zero := key(), lower.I32(0)
	every := found{smallest, zero, zero}
	bounded := s.Or(s.ICmp(enum.IPredSLT, most, s.all), s.ICmp(enum.IPredSGT, least, s.forced))
	return lower.Choose(s.Builder, "bounded", bounded, every, func() found {
		n := s.countFrom(smallest)
		want := s.Min(s.Max(n, least), most)
		return lower.Choose(s.Builder, "search", s.ICmp(enum.IPredNE, want, n), every, func() found { return s.search(want) })
	})
}

// countFrom is how many candidates have at least a key; forced ones have.
func (s *selector) countFrom(smallest Value) Value {
	mine := s.eachCandidate("from", func(n, v, i Value) Value {
		key, in := s.key(v, i)
		return s.Select(s.And(in, s.ICmp(enum.IPredSGE, key, smallest)), s.Add(n, lower.I32(1)), n)
	})
	_, n := s.scanUniform(s.WarpAdd(mine), selectScan)
	return n
}

// near is the key of the smallest value that is near the largest one: at least 1, the key of the smallest value with a mass.
func (s *selector) near() Value { return nearKey(s.Builder, s.largest(), s.ofHead("budget")) }

// nearKey is the key of a share, given as a float's bits, of the value with the key largest.
func nearKey(b *lower.Builder, largest, share Value) Value {
	return b.Max(b.AsInt(b.FMul(b.AsFloat(largest), b.AsFloat(share))), lower.I32(1))
}

// largest is the largest key of all candidates.
func (s *selector) largest() Value {
	mine := s.eachCandidate("largest", func(most, v, i Value) Value {
		return s.Max(most, s.Select(s.ICmp(enum.IPredSLT, i, s.n), s.order(v), lower.I32(0)))
	})
	s.leaderStores(s.WarpMax(mine), nearLargest)
	s.Barrier()
	return s.WarpMax(s.Load(types.I32, s.SharedAt(s.word(s.lane), nearLargest), 4))
}

// eachCandidate folds the values that a thread looks at, with the numbers of their candidates, which may be behind the last one. It begins
// with 0.
func (s *selector) eachCandidate(name string, fold func(made, v, i Value) Value) Value {
	return lower.While(s.Builder, name, lower.Fold{At: lower.I32(0), Made: lower.I32(0)}, func(f lower.Fold) Value {
		return s.ICmp(enum.IPredSLT, f.At, s.n)
	}, func(f lower.Fold) lower.Fold {
		s.eachNear(s.Add(f.At, s.Shl(s.tid, 2)), func(v, i Value) { f.Made = fold(f.Made, v, i) })
		return lower.Fold{At: s.Add(f.At, lower.I32(countAtOnce)), Made: f.Made}
	}).Made
}
