package runtime

import (
	"fmt"
	"slices"

	"github.com/minfc/minfc/internal/cost"
	"github.com/minfc/minfc/ir"
	"github.com/minfc/minfc/runtime/device"
)

// Prices of lists that are there: what decide computes on the device, on the host and for any machine that runs the target of what was loaded.

// IndexMillis is how long the index stages of the call take on a machine, in milliseconds; 0 for patterns that no data decides.
func (p *Prepared) IndexMillis(m cost.Machine) (sum float64, err error) {
	for _, part := range p.parts {
		if part.bound == nil || len(part.pattern.choices) == 0 {
			continue
		}
		w, err := part.pattern.indexWork(part.bound)
		if err != nil {
			return 0, part.wrap(err)
		}
		sum += float64(p.call.Batch) * m.IndexMillis(w, part.bound.headDim)
	}
	return sum, nil
}

// HeadMillis is how long the attention of each head takes on a machine with the device to itself, in milliseconds, [Batch * QHeads]; 0 for
// heads that no part has. Heads of patterns that the data decides are priced over their lists, chosen[head].Kept, as ReadChosen returns
// them: the lists of a shorter call are priced as if the longer one had chosen the same columns and distances, and as many blocks as its
// budgets say. Where the caller gives the lists there is no price.
func (p *Prepared) HeadMillis(m cost.Machine, chosen []Chosen) ([]float64, error) {
	out := make([]float64, p.call.Batch*p.call.QHeads)
	for _, part := range p.parts {
		if part.bound == nil {
			continue
		}
		price, err := part.pricer(m)
		if err != nil {
			return nil, part.wrap(err)
		}
		x := part.bound
		for h := range x.heads() {
			if !x.takesPart(h) {
				continue
			}
			at := h/x.QHeads*p.call.QHeads + x.head0 + h%x.QHeads
			var of *Chosen
			if at < len(chosen) {
				of = &chosen[at]
			}
			nanos, err := price(h, of)
			if err != nil {
				return nil, part.wrap(err)
			}
			out[at] = nanos * millis(m.Multiprocessors)
		}
	}
	return out, nil
}

// pricer gives the nanoseconds of a multiprocessor that a head takes.
func (p *preparedPart) pricer(m cost.Machine) (func(head int, chosen *Chosen) (float64, error), error) {
	k, x := p.pattern, p.bound
	if k.given {
		return nil, device.BadCall("%s reads lists that the caller gives: they have no price beforehand", k.schedule.Name)
	}
	if len(k.choices) == 0 {
		c, err := x.count(k.schedule)
		if err != nil {
			return nil, err
		}
		nanos, err := m.HeadNanos(c)
		return func(int, *Chosen) (float64, error) { return nanos, nil }, err
	}
	prices, err := m.ListPrices(x.headDim, k.schedule.ByRowBlock())
	if err != nil {
		return nil, err
	}
	ranges, err := x.count(rangesOf(k.schedule))
	if err != nil {
		return nil, err
	}
	shapes, err := k.listShapes(x)
	if err != nil {
		return nil, err
	}
	fixed := prices.RangeNanos(ranges)
	return func(head int, chosen *Chosen) (float64, error) {
		if chosen == nil || chosen.Kept == nil {
			return 0, device.BadCall("what %s keeps depends on data and differs by head: give what ReadChosen returns", k.schedule.Name)
		}
		lists, err := x.listNanos(prices, shapes, head, chosen.Kept)
		return fixed + lists, err
	}, nil
}

// count counts the tiles of one head of a schedule without lists.
func (x *boundCall) count(s *ir.Schedule) (*cost.Counts, error) {
	return cost.Count(cost.Work{HeadDim: x.headDim, DType: x.dtype, Batch: 1, QHeads: 1, KVHeads: 1, SeqQ: x.SeqQ, SeqK: x.SeqK, QOffset: x.QOffset,
		Params: x.params, Schedule: s, RowTile: s.Tile.Rows, KeyTile: s.Tile.Keys})
}

// listNanos is the price of the lists of a query head.
func (x *boundCall) listNanos(prices cost.ListPrices, shapes []listShape, head int, kept *ir.Selection) (sum float64, err error) {
	for _, s := range shapes {
		n := x.choices[s.choice]
		set, err := kept.Find(n.source.Name)
		if err != nil {
			return 0, fmt.Errorf("%w: %w", device.ErrBadCall, err)
		}
		slots, price := 0, prices.Slot
		switch s.source.Kind {
		case ir.SourceRuns:
			for _, l := range set.Members {
				slots += x.rowsOfRun(s, l)
			}
		case ir.SourceBlocks:
			slots = x.blockSlots(n, head%x.QHeads, set.Blocks)
		default:
			price = prices.Column
			for first := range slices.Chunk(set.Members, ir.BlockSize) {
				slots += x.rowsOfSlot(s, first[0])
			}
		}
		sum += price * float64(slots)
	}
	return sum, nil
}

// blockSlots counts chosen blocks. Lists of a call of another length say nothing of the row blocks here: the budget does.
func (x *boundCall) blockSlots(n choiceCall, head int, lists [][]int) (slots int) {
	if len(lists) != x.rowBlocks() {
		low, high := x.blockBounds(n, head)
		return (low + high) / 2
	}
	for _, list := range lists {
		slots += len(list)
	}
	return slots
}
