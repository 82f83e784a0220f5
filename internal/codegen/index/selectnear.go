package index

import (
	"github.com/llir/llvm/ir/enum"
	"github.com/llir/llvm/ir/types"

	"github.com/minfc/minfc/internal/codegen/lower"
	"github.com/minfc/minfc/ir"
)

// Shared memory of select_near, behind the shared memory that select_top has too: the largest key of each warp.
const (
	nearLargest = selectShared
	nearShared  = nearLargest + 4*32
)

// SelectNear chooses the values that are at least a share of the largest value of their head, forced candidates included, and if these
// are too many the largest of them. Negative values and NaN count as 0, and what is 0 is chosen only by force.
func SelectNear(lengths bool) (*lower.Kernel, error) {
	s := newSelector(ir.NearMax, lengths)
	s.emit(func() found { return s.searchFrom(s.near) })
	return s.finish(nearShared), nil
}

// near is the key of the smallest value that is near the largest one: at least 1, the key of the smallest value with a mass.
func (s *selector) near() Value { return nearKey(s.Builder, s.largest(), s.ofHead("budget")) }

// nearKey is the key of a share, given as a float's bits, of the value with the key largest.
func nearKey(b *lower.Builder, largest, share Value) Value {
	return b.Max(b.AsInt(b.FMul(b.AsFloat(largest), b.AsFloat(share))), lower.I32(1))
}

// largest is the largest key of all candidates. Each warp looks at every 32nd vector of 4 candidates.
func (s *selector) largest() Value {
	last := s.And(s.Sub(s.n, lower.I32(1)), lower.I32(-4))
	all := lower.While(s.Builder, "largest", lower.Fold{At: lower.I32(0), Made: lower.I32(0)}, func(f lower.Fold) Value {
		return s.ICmp(enum.IPredSLT, f.At, s.n)
	}, func(f lower.Fold) lower.Fold {
		at := s.Add(f.At, s.Shl(s.tid, 2))
		from := s.Shl(s.ZExt64(s.Min(at, last)), 2)
		for e, v := range s.vectors(from, []Value{lower.I64(0)}) {
			there := s.ICmp(enum.IPredSLT, s.Add(at, lower.I32(int64(e))), s.n)
			f.Made = s.Max(f.Made, s.Select(there, s.order(v), lower.I32(0)))
		}
		return lower.Fold{At: s.Add(f.At, lower.I32(vectorStep)), Made: f.Made}
	}).Made
	s.leaderStores(s.WarpMax(all), nearLargest)
	s.Barrier()
	return s.WarpMax(s.Load(types.I32, s.SharedAt(s.word(s.lane), nearLargest), 4))
}
