package irtest

import (
	"math/rand/v2"
	"slices"

	"github.com/minfc/minfc/ir"
)

// GroupsBySeed makes some choices of p choices by group, for two seeds of five. It draws from a source of its own, so that what a seed draws
// besides stays. p itself is left as it is.
func GroupsBySeed(seed uint64, p *ir.Pattern) *ir.Pattern {
	if seed%5 > 1 {
		return p
	}
	rng, out := rand.New(rand.NewPCG(seed, 19)), *p
	out.Index = slices.Clone(p.Index)
	for i, d := range out.Index {
		if s, chooses := d.Value.(ir.Select); chooses && rng.IntN(3) > 0 {
			s.ByGroup = true
			out.Index[i].Value = s
		}
	}
	return &out
}

// OneBudgetAGroup gives all heads of a kv head the budgets of its first head, of choices by group: [parameter][heads], so many of them to
// a kv head.
func OneBudgetAGroup(p *ir.Pattern, byHead map[string][]int64, group int) {
	for _, d := range p.Index {
		s, chooses := d.Value.(ir.Select)
		if !chooses || !s.ByGroup {
			continue
		}
		for _, name := range s.BudgetNames() {
			for h := range byHead[name] {
				byHead[name][h] = byHead[name][h/group*group]
			}
		}
	}
}
