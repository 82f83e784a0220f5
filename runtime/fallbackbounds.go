package runtime

import (
	"slices"

	"github.com/minfc/minfc/ir"
)

// How cheap and how dear the lists of a head can come out, from its budgets alone. Cheap lists are clustered and far away,
// where few row blocks reach them; dear ones are scattered and near.

// bounds are nanoseconds of a multiprocessor for the lists of a query head.
func (f *fallback) bounds(x *boundCall, shapes []listShape, head int) (cheap, dear float64) {
	for _, s := range shapes {
		n, price := x.choices[s.choice], f.lists.Slot
		var low, high int
		switch s.source.Kind {
		case ir.SourceRuns:
			low, high = x.runBounds(s, n, head)
		case ir.SourceBlocks:
			low, high = x.blockBounds(n, head)
		default:
			low, high = x.columnBounds(s, n, head)
			price = f.lists.Column
		}
		cheap, dear = cheap+price*float64(low), dear+price*float64(high)
	}
	return cheap, dear
}

// sameBudgets says whether two query heads get the same numbers of members.
func (x *boundCall) sameBudgets(a, b int) bool {
	return !slices.ContainsFunc(x.choices, func(n choiceCall) bool {
		return n.numbers[a] != n.numbers[b] || n.limits[a] != n.limits[b] || n.leasts[a] != n.leasts[b]
	})
}

// members are the least and the most of its candidates that a head can get, and how many of them are forced at the start.
// Choices by mass or threshold may keep no more than they must, or all that their limit allows.
func (n choiceCall) members(head, candidates int) (least, most, first int) {
	forced := min(n.first+n.last, candidates)
	first = min(n.first, candidates)
	if n.Rule == ir.Top {
		all := min(max(n.numbers[head], forced), candidates)
		return all, all, first
	}
	most = min(max(n.limits[head], forced), candidates)
	return min(max(n.leasts[head], forced), most), most, first
}

// clustered is how many tiles cover n neighbouring distances (ir.CoverTiles).
func clustered(n int) int {
	if n == 0 {
		return 0
	}
	return 1 + ceilDiv(n-1, ir.BlockSize)
}

// fewest is how many distances so many candidates have at least: the last run may have one only.
func (n choiceCall) fewest(candidates int) int { return max(0, (candidates-1)*n.run+1) }

func (x *boundCall) runBounds(s listShape, n choiceCall, head int) (low, high int) {
	least, most, first := n.members(head, x.candidates(n.choice))
	near := clustered(first * n.run)
	for i := range near {
		low += x.rowsOfRun(s, i*ir.BlockSize)
	}
	for i := range clustered(n.fewest(least)) - near {
		low += x.rowsOfRun(s, x.reach()+ir.BlockSize-1-i*ir.BlockSize)
	}
	for i := range min(most*ir.MostTiles(n.run), int(x.Number(n.list("run_cap")))) {
		high += x.rowsOfRun(s, i*ir.BlockSize)
	}
	return min(low, high), high
}

func (x *boundCall) columnBounds(s listShape, n choiceCall, head int) (low, high int) {
	least, most, first := n.members(head, x.columns())
	for i := 0; i < least; i += ir.BlockSize {
		if i < first {
			low += x.rowsOfSlot(s, i)
		} else {
			low += x.rowsOfSlot(s, x.columns()-least+i)
		}
	}
	for i := 0; i < most; i += ir.BlockSize {
		high += x.rowsOfSlot(s, i)
	}
	return low, high
}

// blockBounds are the bounds of a choice of blocks, whose candidates grow with the row block. Where the budget is a number both are equal.
func (x *boundCall) blockBounds(n choiceCall, head int) (low, high int) {
	for t := range x.rowBlocks() {
		last := x.QOffset + min((t+1)*ir.BlockSize, x.SeqQ) - 1
		least, most, _ := n.members(head, min(x.keyBlocks(), last/ir.BlockSize+1))
		low, high = low+least, high+most
	}
	return low, high
}
