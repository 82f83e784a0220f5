package irtest

import (
	"math/rand/v2"
	"slices"

	"github.com/minfc/minfc/ir"
)

// SkipBySeed is p with a skip for every fifth seed, else p itself: its share is a literal, or a parameter of its own. It draws from a source
// of its own, so that what a seed draws besides stays.
func SkipBySeed(seed uint64, p *ir.Pattern) *ir.Pattern {
	if seed%5 != 1 {
		return p
	}
	rng, out := rand.New(rand.NewPCG(seed, 23)), *p
	share := int64(1) << rng.IntN(20)
	if out.Skip = (&ir.Skip{Share: ir.Int(share)}); rng.IntN(2) == 0 {
		out.Skip.Share = ir.Var("skip_share")
		out.Params = append(slices.Clone(p.Params), ir.Param{Name: "skip_share", Default: share})
		out.Requires = append(slices.Clone(p.Requires), out.Skip.Requires()...)
	}
	return &out
}
