package bench

import (
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/minfc/minfc/ir"
)

// Planted lists have the shapes that published figures of sparse kernels were taken on, where nobody estimates anything:
//
//	distances  the nearest ones that the pattern forces, and clusters of 64 neighbours anywhere; of choices among runs, runs anywhere
//	columns    the first ones that the pattern forces, and others anywhere
//	blocks     the diagonal ones that the pattern forces, and others anywhere (see BlockSharing)
//
// as many as the budgets say.

// clusterSize is the number of neighbouring distances that are planted together.
const clusterSize = 64

// plant makes the lists of every head for n queries and keys. The same seed gives the same lists.
func (s *subject) plant(c Config, n int) []*ir.Selection {
	var out []*ir.Selection
	planterOf := func(seed int) *planter {
		return &planter{rng: rand.New(rand.NewPCG(c.Seed, uint64(seed))), seen: make([]int32, n), sharing: c.PlantedBlocks}
	}
	for head := range c.QHeads {
		own := planterOf(head)
		group := planterOf(c.QHeads + head/(c.QHeads/c.KVHeads)) // the same for all heads that choose together
		sel := &ir.Selection{}
		for _, d := range s.schedule.Index {
			if x, ok := d.Value.(ir.Select); ok {
				kind, _ := ir.IndexType(s.schedule.Index, d.Name)
				chosen, _ := kind.Chosen()
				b := s.budget(x, n)
				b.run = ir.RunSize(s.schedule.Index, d.Name, nil)
				p := own
				if x.ByGroup {
					p = group
				}
				sel.Sets = append(sel.Sets, p.set(d.Name, chosen, b, n))
			}
		}
		out = append(out, sel)
	}
	return out
}

// canPlant refuses choices whose number is not known without data.
func (s *subject) canPlant() error {
	for _, d := range s.schedule.Index {
		if x, ok := d.Value.(ir.Select); ok && x.Rule != ir.Top {
			return fmt.Errorf("%s: data decides how many members %q has, and lists are planted of a number of members; measure it without --planted", s.pattern.Name, d.Name)
		}
	}
	return nil
}

// budget is a Select in numbers, for n keys that count. They count runs of so many distances where run is not 1.
type budget struct{ n, first, last, run int }

func (s *subject) budget(x ir.Select, n int) budget {
	value := func(p ir.Number) int {
		v, err := p.At(s.values, n)
		if err != nil {
			return ir.MaxParam // larger than any length
		}
		return int(min(max(v, 0), ir.MaxParam))
	}
	return budget{value(x.N), value(x.First), value(x.Last), 1}
}

// clamp fits the budget to a number of candidates, as the index stage does.
func (b budget) clamp(candidates int) budget {
	b.first = min(b.first, candidates)
	b.last = min(b.last, candidates-b.first)
	b.n = min(max(b.n, b.first+b.last), candidates)
	return b
}

// planter draws members. seen marks what was drawn with the number of the draw.
type planter struct {
	rng  *rand.Rand
	seen []int32
	draw int32

	sharing BlockSharing
	wide    []int // blocks that the next row block shares, see wideBlocks
}

func (p *planter) set(name string, kind ir.ChosenKind, b budget, n int) ir.Selected {
	s := ir.Selected{Name: name, Kind: kind}
	switch kind {
	case ir.ChosenColumns:
		s.Members = p.anywhere(b.clamp(n), n)
	case ir.ChosenDistances:
		s.Members = p.distances(b, n)
	default:
		s.Blocks = p.blocks(b, n)
	}
	return s
}

// distances draws distances of 0..n-1: clusters of them, or whole runs.
func (p *planter) distances(b budget, n int) []int {
	if b.run == 1 {
		return p.clusters(b.clamp(n), n)
	}
	runs := (n + b.run - 1) / b.run
	return ir.DistancesOf(p.anywhere(b.clamp(runs), runs), b.run, n)
}

// anywhere draws members of 0..n-1 with equal chances: the forced ones, then the rest by R. Floyd's method, which needs one
// draw a member.
func (p *planter) anywhere(b budget, n int) []int {
	p.draw++
	out := p.forced(b, n)
	free := n - b.first - b.last
	for j := free - (b.n - len(out)); j < free; j++ {
		x := b.first + p.rng.IntN(j+1)
		if p.seen[x] == p.draw {
			x = b.first + j
		}
		p.seen[x] = p.draw
		out = append(out, x)
	}
	slices.Sort(out)
	return out
}

func (p *planter) forced(b budget, n int) []int {
	out := make([]int, 0, b.n)
	for i := range b.first {
		out = append(out, i)
	}
	for i := n - b.last; i < n; i++ {
		out = append(out, i)
	}
	for _, x := range out {
		p.seen[x] = p.draw
	}
	return out
}

// clusters draws runs of neighbours that may overlap; the last one is cut off where the budget ends.
func (p *planter) clusters(b budget, n int) []int {
	p.draw++
	out := p.forced(b, n)
	for len(out) < b.n {
		start := p.rng.IntN(max(1, n-clusterSize+1))
		for x := start; x < min(n, start+clusterSize) && len(out) < b.n; x++ {
			if p.seen[x] != p.draw {
				p.seen[x] = p.draw
				out = append(out, x)
			}
		}
	}
	slices.Sort(out)
	return out
}
