package irtest

import (
	"math/rand/v2"

	"github.com/minfc/minfc/ir"
)

// RandomMeans returns a pattern that passes Verify and has means for what it drops: of bands beside each other, and, if blocks says so, of
// blocks that the data chooses. Bands without steps are what kernels have means beside; one in ten patterns has a step all the same.
func RandomMeans(rng *rand.Rand, blocks bool) *ir.Pattern {
	for {
		if p := randomMeans(rng, blocks); withinLimits(p, defaults(p)) {
			return p
		}
	}
}

func randomMeans(rng *rand.Rand, blocks bool) *ir.Pattern {
	p := RandomPattern(rng)
	x := &choosing{generator: &generator{rng: rng, params: p.Params}}
	var sets []ir.Set
	if blocks {
		x.chosen = append(x.chosen, x.choose(ir.ChosenBlocks))
		sets = append(sets, x.cut(x.chosen[0]))
	}
	for range 1 - len(sets) + rng.IntN(3) {
		sets = append(sets, x.band())
	}
	if rng.IntN(10) == 0 {
		sets = append(sets, x.primitive())
	}
	p.Keep, p.Pool = ir.Union{Sets: sets}, pickOne(rng, []int{64, 64, 128, 128, 256, 256, 512})
	if rng.IntN(4) > 0 {
		p.Keep = ir.Intersect{Sets: []ir.Set{ir.Causal{}, p.Keep}}
	}
	p.Index, p.Params = x.defs, append(p.Params, x.budgets...)
	return p
}
