package passes

import (
	"slices"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/ir"
)

// Choices by group (ir/indexgroup.go). What single heads would choose from becomes means of the heads of a kv head, which lie one behind the
// other by kv head. The kernels that choose, list and copy take them as values of as many heads as there are kv heads: no kernel but the
// means, the one that decides and attention knows of groups. Which kv heads take part say the words of groups, which stand behind
// the words of heads.

// someByGroup says whether a choice by group has a property.
func (b *programBuilder) someByGroup(is func(c choice) bool) bool {
	return slices.ContainsFunc(b.choices, func(c choice) bool { return c.ByGroup && is(c) })
}

// byGroup is the name of what belongs to kv heads, if the choice is by group.
func (c choice) byGroup(name string) string {
	if c.ByGroup {
		return "group_" + name
	}
	return name
}

// takingPart is the argument that says which heads take part, for launches on all of them, where it is not what programs have by that name.
func (c choice) takingPart() []ir.Arg {
	if !c.ByGroup {
		return nil
	}
	return []ir.Arg{ir.AddressArg("heads", "groups", ir.N(0))}
}

// numberOf is the argument for a row of numbers, from a q head on or from its kv head.
func (c choice) numberOf(param string, row int, head, kv ir.Expr) ir.Arg {
	from := head
	if c.ByGroup {
		from = kv
	}
	return ir.AddressArg(param, "numbers", ir.N(4).Times(ir.N(int64(row)).Times(qHeads).Plus(from)))
}

// pooledMeans are the means of pooled queries of the kv heads of a slice. A product with their mean is the mean of the products of all heads,
// for a group-th of the work.
func (b *programBuilder) pooledMeans(pooled string) []ir.Step {
	if b.shaped["group_"+pooled] {
		return nil
	}
	b.buffer("group_"+pooled, "f32", true, ir.Name("scored_groups"), rowBlocks, headDim)
	n := rowBlocks.Times(headDim)
	return []ir.Step{groupMean(pooled, n, n, ir.Name("score_kv"), ir.Name("score_groups"), ir.Name("first_scored"))}
}

// meanShares makes means of shares of blocks, for the row blocks of a slab.
func meanShares(shares string) (step ir.Step, values string) {
	values = "group_shares"
	return ir.Run{Kernel: abi.GroupShares, Grid: [3]ir.Expr{ir.Name("rows"), ir.Name("score_groups"), ir.N(1)}, Args: append(scoredHeads(false), slabArg,
		ir.AddressArg("shares", shares, ir.N(0)), ir.AddressArg("mean", values, ir.N(0)), ir.NumberArg("hq", ir.Name("score_kv")))}, values
}

// probeSums are the sums of a probe: of which kind of choice, how many there are and for how many a head has room.
var probeSums = []struct {
	name   string
	of     ir.SourceKind
	n, pad ir.Expr
}{
	{"col_sum", ir.SourceColumns, columns, keysPad},
	{"diag_sum", ir.SourceRuns, reach, distPad},
}

// groupBytes is what the means of a kv head take in the memory that sums are in.
func (b *programBuilder) groupBytes() ir.Expr {
	pads := ir.N(0)
	for _, s := range probeSums {
		if b.someMeans(s.of) {
			pads = pads.Plus(s.pad)
		}
	}
	return b.runBytes(ir.N(4).Times(pads).Times(b.meanRows()), true)
}

// groupBuffers are the means of the kv heads of a slice.
func (b *programBuilder) groupBuffers(groups ir.Expr) {
	for _, s := range probeSums {
		if b.someMeans(s.of) {
			b.buffer("group_"+s.name, "f32", true, groups.Times(b.meanRows()), s.pad)
		}
	}
	b.runBuffers(groups, true)
}

// someMeans says whether there are means of a kind: packed probes always have both.
func (b *programBuilder) someMeans(of ir.SourceKind) bool {
	packed := slices.ContainsFunc(b.probes, func(p probe) bool { return p.packed > 0 })
	return packed || b.someByGroup(func(c choice) bool { return c.source.Kind == of })
}

// meanSums are the steps that make means of the sums of a probe.
func (b *programBuilder) meanSums(p probe) (out []ir.Step) {
	for _, s := range probeSums {
		if !b.someByGroup(func(c choice) bool { return c.from(p) && c.source.Kind == s.of }) {
			continue
		}
		if p.packed > 0 {
			out = append(out, p.meanPacks(s.name, s.n, s.pad))
		} else {
			out = append(out, groupMean(s.name, s.n, s.pad, ir.Name("slice_kv"), ir.Name("slice_groups"), ir.Name("first_head")))
		}
	}
	return out
}

// groupMean makes means of n values a head over the heads of each kv head: of so many kv heads, kv of them of a batch entry, from the head
// first on.
func groupMean(values string, n, stride, kv, groups, first ir.Expr) ir.Step {
	return ir.Run{Kernel: abi.GroupMean, Grid: [3]ir.Expr{stride.Over(abi.MeanElements), groups, ir.N(1)}, Args: []ir.Arg{
		ir.AddressArg("values", values, ir.N(0)), ir.AddressArg("mean", "group_"+values, ir.N(0)), ir.NumberArg("n", n),
		ir.NumberArg("stride", stride), ir.NumberArg("per", ir.N(1)), ir.NumberArg("hq", kv),
		ir.AddressArg("heads", "heads", ir.N(4).Times(first))}}
}
