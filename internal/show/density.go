package show

import (
	"github.com/minfc/minfc/ir"
)

// lengths are the lengths whose density is shown, in tokens.
var lengths = []int{4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20}

// Density is the part of the pairs of dense attention that a head keeps at a length.
type Density struct {
	SeqLen int     `json:"seqlen"`
	Part   float64 `json:"part"`    // 0 to 1: of the pairs with k <= q of a causal pattern, else of all
	AtMost bool    `json:"at_most"` // the data decides, and budgets allow no more than this
	Known  bool    `json:"known"`   // false: the data decides without a budget
}

// densities are the densities at the lengths.
func (s *subject) densities() ([]Density, error) {
	var out []Density
	for _, n := range lengths {
		d, err := s.density(n)
		if err != nil {
			return nil, err
		}
		out = append(out, d)
	}
	return out, nil
}

func (s *subject) density(n int) (Density, error) {
	d := Density{SeqLen: n, AtMost: s.dynamic()}
	dense := s.densePairs(n)
	kept, known, err := s.most(s.pattern.Keep, n)
	if err != nil {
		return d, err
	}
	if known || !d.AtMost {
		d.Part, d.Known = float64(min(kept, dense))/float64(dense), true
	}
	return d, nil
}

// most is the largest number of pairs that a set can keep at a length, exact where no data decides; false where nothing bounds it below
// everything.
func (s *subject) most(set ir.Set, n int) (int64, bool, error) {
	if !chooses(set) {
		kept, err := s.pairs(set, n)
		return kept, true, err
	}
	switch x := set.(type) {
	case ir.Chosen:
		kept, known := s.mostChosen(x, int64(n))
		return kept, known, nil
	case ir.Union:
		total, all := int64(0), true
		for _, m := range x.Sets {
			kept, known, err := s.most(m, n)
			if err != nil {
				return 0, false, err
			}
			total, all = total+kept, all && known
		}
		return total, all, nil
	case ir.Intersect:
		return s.leastOf(x.Sets, n)
	case ir.Minus:
		return s.most(x.Left, n)
	}
	return 0, false, nil
}

// leastOf is the smallest bound of sets that are intersected. Where a choice among them has no bound, one that allows all pairs of dense
// attention says nothing.
func (s *subject) leastOf(sets []ir.Set, n int) (least int64, known bool, err error) {
	least, known = s.densePairs(n), true
	for _, m := range sets {
		kept, bounded, err := s.most(m, n)
		if err != nil {
			return 0, false, err
		}
		if known = known && bounded; bounded {
			least = min(least, kept)
		}
	}
	return least, known || least < s.densePairs(n), nil
}

// mostChosen is how many pairs with k <= q, or of all pairs where the pattern is not causal, a choice can keep at most: its members may be
// the columns that most queries see, the nearest distances, and for each row block any key blocks.
func (s *subject) mostChosen(c ir.Chosen, n int64) (pairs int64, known bool) {
	x, is := s.definition(c.Name).(ir.Select)
	if !is {
		return 0, false
	}
	members, known := s.mostMembers(x, int(n))
	if !known {
		return 0, false
	}
	if of, is := s.definition(x.Of).(ir.Sum); is && of.Over == ir.OverRuns {
		members *= s.value(of.Run)
	}
	if c.Kind == ir.ChosenBlocks {
		rowBlocks := (n + ir.BlockSize - 1) / ir.BlockSize
		seen := min(members, rowBlocks) // row block i sees i+1 key blocks
		return (seen*(seen+1)/2 + (rowBlocks-seen)*seen) * ir.BlockSize * ir.BlockSize, true
	}
	if members = min(members, n); c.Kind == ir.ChosenColumns && !s.causal {
		return members * n, true
	}
	return members*n - members*(members-1)/2, true
}

// mostMembers is how many members a choice can have in a call of so many keys, in what it counts; false where it may be all.
func (s *subject) mostMembers(x ir.Select, keys int) (int64, bool) {
	forced := s.value(x.First) + s.value(x.Last)
	limit, known := s.valueAt(x.N, keys), x.Rule == ir.Top
	if x.Most != nil {
		if most := s.valueAt(x.Most, keys); !known || most < limit {
			limit, known = most, true
		}
	}
	return max(limit, forced), known
}
