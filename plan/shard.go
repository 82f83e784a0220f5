package plan

import "fmt"

// maxHeads is above the number of every head that a plan may name.
const maxHeads = 1 << 16

// Shard is the plan of one rank under tensor parallelism, where each of world ranks computes an equal range of a model's query heads:
// rank r has the heads from r*heads/world on, as vLLM and transformers split them. The rank's head 0 is the first of them. heads is how many
// query heads the model has; 0 stands for what the plan says of itself, or else for the heads up to the last one that it names.
//
// The kv heads that go with these query heads are the ones from r*kv/world on, kv/world of them. Where a model has fewer kv heads than
// there are ranks, world/kv ranks each hold a copy of one kv head. Heads that do not divide are an error.
func (p *Plan) Shard(rank, world, heads int) (*Plan, error) {
	if world < 1 || rank < 0 || rank >= world {
		return nil, fmt.Errorf("there is no rank %d of %d, want a rank from 0 up to the number of ranks less one", rank, world)
	}
	if heads == 0 {
		heads = p.QHeads()
	}
	if heads == 0 {
		return nil, fmt.Errorf("no layer of the plan has an entry, say how many query heads the model has")
	}
	if p.Heads != 0 && p.Heads != heads {
		return nil, p.otherHeads(heads)
	}
	if heads < 0 || heads%world != 0 {
		return nil, fmt.Errorf("%d query heads do not divide among %d ranks", heads, world)
	}
	for i := range p.Layers {
		if err := p.checkLayer(i, heads); err != nil {
			return nil, err
		}
	}
	own := heads / world
	return p.From(rank*own, own)
}

// From is the plan of n query heads from the head first on, which is head 0 of the result: what a process runs that holds these heads
// alone. Entries of other heads are left out. A range beyond what the plan says of the model's heads is an error.
func (p *Plan) From(first, n int) (*Plan, error) {
	switch {
	case first < 0 || first >= maxHeads || n < 1 || n > maxHeads:
		return nil, fmt.Errorf("%d heads from head %d on are no range of query heads, want one or more from 0 on, and %d at most", n, first, maxHeads)
	case p.Heads != 0 && first+n > p.Heads:
		return nil, fmt.Errorf("there are no heads %d to %d, the plan is for %d query heads, counted from 0", first, first+n-1, p.Heads)
	}
	out := &Plan{Model: p.Model, Heads: n, HeadsFrom: p.HeadsFrom + first, Default: p.Default}
	for _, layer := range p.Layers {
		own := Layer{}
		for h, head := range layer {
			if h >= first && h < first+n {
				own[h-first] = head
			}
		}
		out.Layers = append(out.Layers, own)
	}
	return out, nil
}

// QHeads is how many query heads the plan is for: what it says, or else the heads up to the last one that it names; 0 where it names none.
func (p *Plan) QHeads() int {
	if p.Heads != 0 {
		return p.Heads
	}
	named := 0
	for _, layer := range p.Layers {
		for h := range layer {
			named = max(named, h+1)
		}
	}
	return named
}

// otherHeads says that a plan which knows the number of its heads is used with another.
func (p *Plan) otherHeads(heads int) error {
	return fmt.Errorf("the plan is for %d query heads, here are %d", p.Heads, heads)
}
