package passes

import (
	"slices"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/ir"
)

// Packed probes: rows of several heads in one tile (internal/codegen/index/packed.go). They make means of a kv head where its heads are one
// pack. Where it has several, the sums of packs lie behind the means, and their means are made in a step of their own.

// packProbes packs the probes of few last rows that only choices by group are made from.
func (b *programBuilder) packProbes() {
	for i, p := range b.probes {
		single := func(c choice) bool { return c.from(p) && !c.ByGroup }
		if p.last == nil || slices.ContainsFunc(b.choices, single) {
			continue
		}
		n, constant := p.last.Const()
		fits := slices.IndexFunc(abi.PackedRows, func(rows int64) bool { return constant && n <= rows })
		if fits >= 0 {
			b.probes[i].packed = abi.PackedRows[fits]
		}
	}
}

// allPacked says whether no probe has sums of single heads.
func (b *programBuilder) allPacked() bool {
	return !slices.ContainsFunc(b.probes, func(p probe) bool { return p.packed == 0 })
}

// sumsEach is how many heads or packs of a kv head have statistics, and how many bytes the sums of each of them take.
func (b *programBuilder) sumsEach() (each, sums ir.Expr) {
	if !b.allPacked() {
		return group, ir.N(4).Times(keysPad.Plus(distPad))
	}
	return b.mostPacks(), ir.N(0)
}

// mostPacks is how many packs a kv head has, of the probe with most of them.
func (b *programBuilder) mostPacks() ir.Expr {
	most := ir.N(0)
	for _, p := range b.probes {
		switch {
		case p.packed == 0:
		case most.Op == ir.OpConst:
			most = p.each()
		default:
			most = ir.Call(ir.OpMax, most, p.each())
		}
	}
	return most
}

// severalPacks is 1 where there are several packs, else 0.
func severalPacks(packs ir.Expr) ir.Expr { return ir.Call(ir.OpAtLeast, packs, ir.N(2)) }

// meanRows is how many rows of means, and of sums of packs, a kv head has.
func (b *programBuilder) meanRows() ir.Expr {
	most := b.mostPacks()
	if most.Op == ir.OpConst {
		return ir.N(1)
	}
	return ir.N(1).Plus(most.Times(severalPacks(most)))
}

// each is how many heads, or packs, a kv head has.
func (p probe) each() ir.Expr {
	if p.packed > 0 {
		return p.value("packs")
	}
	return group
}

// sharers is how many heads, or packs, a block can share the keys among.
func (p probe) sharers() ir.Expr {
	if p.packed > 0 {
		return ir.Call(ir.OpCeilDiv, group, ir.N(abi.ProbeRows/p.packed))
	}
	return ir.Name("sharers")
}

// sizes are the sizes in which the probe's kernels come.
func (p probe) sizes() []int64 {
	if p.packed > 0 {
		return abi.PacksPerBlock
	}
	return abi.ProbeHeadsPerBlock
}

// rowsInSlice is how many heads, or packs, of a batch entry a slice has.
func (p probe) rowsInSlice() ir.Expr {
	if p.packed > 0 {
		return ir.Name("slice_kv").Times(p.each())
	}
	return ir.Name("slice_q")
}

// combinePacked is the kernel that joins chunks, for packs.
func (p probe) combinePacked(r ir.Run) ir.Run {
	r.Kernel = abi.CombinePacked
	r.Args = []ir.Arg{r.Args[0], r.Args[1], ir.NumberArg("packs", p.each()), ir.AddressArg("heads", "groups", ir.N(4).Times(firstList(true)))}
	return r
}

// packedSums are the arguments that say where packs write their sums.
func (p probe) packedSums() (out []ir.Arg) {
	if p.packed == 0 {
		return nil
	}
	for _, s := range probeSums {
		out = append(out, ir.AddressArg(s.name, "group_"+s.name, p.behindMeans(s.pad)))
	}
	return out
}

// behindMeans is where the sums of packs begin, in bytes: behind the means if there are several of them.
func (p probe) behindMeans(pad ir.Expr) ir.Expr {
	return ir.N(4).Times(pad).Times(ir.Name("sum_groups")).Times(severalPacks(p.each()))
}

// meanPacks makes means of the sums of packs, where there are several.
func (p probe) meanPacks(sums string, n, pad ir.Expr) ir.Step {
	grid := [3]ir.Expr{pad.Over(abi.MeanElements).Times(severalPacks(p.each())), ir.Name("slice_groups"), ir.N(1)}
	return ir.Run{Kernel: abi.GroupMean, Grid: grid, Args: []ir.Arg{
		ir.AddressArg("values", "group_"+sums, p.behindMeans(pad)), ir.AddressArg("mean", "group_"+sums, ir.N(0)), ir.NumberArg("n", n),
		ir.NumberArg("stride", pad), ir.NumberArg("group", p.each()), ir.NumberArg("per", p.each()), ir.NumberArg("hq", ir.Name("slice_kv")),
		ir.AddressArg("heads", "groups", ir.N(4).Times(firstList(true)))}}
}
