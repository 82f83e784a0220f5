package runtime

import (
	"maps"
	"slices"

	"github.com/minfc/minfc/ir"
	"github.com/minfc/minfc/runtime/device"
)

// choice is a chosen set of a pattern.
type choice struct {
	ir.Select
	source ir.Source
	run    int // neighbouring distances that are one candidate; 1 of anything else
}

// choicesOf lists the chosen sets of a schedule, in the order of their definitions.
func choicesOf(s *ir.Schedule) (out []choice) {
	for _, d := range s.Index {
		if of, ok := d.Value.(ir.Select); ok {
			kind, _ := ir.IndexType(s.Index, d.Name)
			set, _ := kind.Chosen()
			out = append(out, choice{of, ir.Chosen{Name: d.Name, Kind: set}.Source(), ir.RunSize(s.Index, d.Name, nil)})
		}
	}
	return out
}

// choiceCall is a chosen set in the numbers of a call; they count candidates, which are runs of distances where those are chosen.
type choiceCall struct {
	choice
	numbers     []int // [QHeads]: how many, which share or which threshold
	limits      []int // [QHeads]: how many at most; of a number, the number itself
	leasts      []int // [QHeads]: how many at least, where the rule says no number
	most        int   // members that the head with the largest number gets, at most
	first, last int   // forced, at either end
}

// listHeads is how many heads the lists of a choice are of: of all batch entries the q heads or, by group, the kv heads.
func (x *boundCall) listHeads(n choiceCall) int {
	if n.ByGroup {
		return x.Batch * x.KVHeads
	}
	return x.heads()
}

// listOf is the list that a head has of a choice.
func (x *boundCall) listOf(n choiceCall, head int) int {
	if n.ByGroup {
		return head / (x.QHeads / x.KVHeads)
	}
	return head
}

// checkGroups refuses budgets that are not the same for the heads of a group which make a choice together.
func (x *boundCall) checkGroups(n choiceCall) error {
	if !n.ByGroup {
		return nil
	}
	first := map[int]int{} // head that takes part, by kv head
	for h := range x.QHeads {
		if !x.takesPart(h) {
			continue
		}
		f, others := first[x.listOf(n, h)]
		if !others {
			first[x.listOf(n, h)] = h
			continue
		}
		for _, of := range [][]int{n.numbers, n.limits, n.leasts} {
			if of[h] != of[f] {
				return device.BadCall("heads %d and %d choose %s together, by group, and have the budgets %d and %d of it; give all heads of a kv head one budget",
					x.head0+f, x.head0+h, n.source.Name, of[f], of[h])
			}
		}
	}
	return nil
}

// list names one field of the lists of the choice.
func (n choiceCall) list(field string) string { return ir.ListName(n.source.Name, field) }

// headValues are the values of all parameters for each head; one for all if no head has its own.
func (k *Pattern) headValues(c *call) ([]map[string]int64, error) {
	for _, name := range slices.Sorted(maps.Keys(c.headParams)) {
		switch got := len(c.headParams[name]); {
		case !slices.Contains(k.headParams, name):
			return nil, device.BadCall("HeadParams has %q, want parameters that are budgets of the index stage and nothing else: %q", name, k.headParams)
		case got != c.QHeads:
			return nil, device.BadCall("HeadParams has %d values of %s, want one for each of %d query heads", got, name, c.QHeads)
		}
	}
	if len(c.headParams) == 0 {
		return []map[string]int64{c.values}, nil
	}
	out := make([]map[string]int64, c.QHeads)
	for h := range out {
		if !c.takesPart(h) {
			continue
		}
		given := maps.Clone(c.params)
		if given == nil {
			given = map[string]int64{}
		}
		for name, values := range c.headParams {
			given[name] = values[h]
		}
		var err error
		if out[h], err = ir.CheckLaunch(k.schedule.Params, k.schedule.Requires, given); err != nil {
			return nil, device.BadCall("head %d: %w", c.head0+h, err)
		}
	}
	return out, nil
}

// clipped is a number of members in a call with so many keys that count; one that is too large for any is larger than any length.
func clipped(n ir.Number, values map[string]int64, keys int) int {
	v, err := n.At(values, keys)
	if err != nil {
		return ir.MaxParam
	}
	return int(min(max(v, 0), ir.MaxParam))
}

// number evaluates the polynomials of a choice.
func (x *boundCall) number(of choice, values []map[string]int64) choiceCall {
	n := choiceCall{choice: of, first: clipped(of.First, x.values, 0), last: clipped(of.Last, x.values, 0)}
	most, keys := n.first+n.last, x.columns()
	for h := range x.QHeads {
		if !x.takesPart(h) {
			n.numbers, n.limits, n.leasts = append(n.numbers, 0), append(n.limits, 0), append(n.leasts, 0)
			continue
		}
		own := values[h%len(values)]
		number, limit, least := clipped(of.N, own, keys), ir.MaxParam, 0
		if of.Most != nil {
			limit = clipped(of.Most, own, keys)
		}
		if of.Least != nil {
			least = clipped(of.Least, own, keys)
		}
		if of.Rule == ir.Top {
			limit = min(number, limit)
			number = limit
		}
		n.numbers, n.limits, n.leasts = append(n.numbers, number), append(n.limits, limit), append(n.leasts, least)
		most = max(most, limit)
	}
	n.most = min(most, x.candidates(of))
	return n
}

// candidates is how many there are for a choice.
func (x *boundCall) candidates(of choice) int {
	switch of.source.Kind {
	case ir.SourceRuns:
		return ceilDiv(x.reach(), of.run)
	case ir.SourceBlocks:
		return blocksOf(x.columns())
	default:
		return x.columns()
	}
}

// reach is how many positions queries and what they may see have, columns how many keys some query may see.
func (x *boundCall) reach() int     { return max(x.QOffset+x.SeqQ, x.Reach) }
func (x *boundCall) columns() int   { return min(x.SeqK, x.reach()) }
func (c *call) rowBlocks() int      { return blocksOf(c.SeqQ) }
func (x *boundCall) keyBlocks() int { return blocksOf(x.SeqK) }

func blocksOf(n int) int { return ceilDiv(n, ir.BlockSize) }

func ceilDiv(n, by int) int { return (n + by - 1) / by }
