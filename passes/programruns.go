package passes

import (
	"fmt"
	"slices"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/ir"
)

// Choices among runs of distances (ir/indexruns.go): the sums over distances become sums over runs, which the kernels that choose take like
// any other values, and the bitmap of chosen runs becomes the bitmap of their distances. All that follows reads distances.

// runBits is the field of a choice's bitmap of runs.
const runBits = "run_bits"

// Names of what belongs to runs of a size: their sums, and the room of a head for them.
func runSum(size int64) string  { return fmt.Sprintf("run%d_sum", size) }
func runPad(size int64) ir.Expr { return ir.Name(fmt.Sprintf("run%d_pad", size)) }

// distances is how many distances, or runs of them, the choice is from.
func (c choice) distances() ir.Expr {
	if c.run == 1 {
		return reach
	}
	return reach.Over(c.run)
}

// mostTiles is how many tiles cover what is chosen, at most.
func (c choice) mostTiles() ir.Expr {
	if c.run == 1 {
		return c.value("most")
	}
	return ir.N(int64(ir.MostTiles(int(c.run)))).Times(c.value("most"))
}

// runSizes are the sizes of runs that are chosen from, by group or not, of one probe or, with nil, of all of them.
func (b *programBuilder) runSizes(of *probe, byGroup bool) (out []int64) {
	for _, c := range b.choices {
		if c.run > 1 && c.ByGroup == byGroup && (of == nil || c.from(*of)) && !slices.Contains(out, c.run) {
			out = append(out, c.run)
		}
	}
	return out
}

// runBytes adds what a head, or a kv head by group, needs for runs to what it needs for sums.
func (b *programBuilder) runBytes(bytes ir.Expr, byGroup bool) ir.Expr {
	for _, size := range b.runSizes(nil, byGroup) {
		pad := runPad(size)
		if !slices.ContainsFunc(b.Values, func(v ir.Value) bool { return v.Name == pad.Name }) {
			b.define(pad.Name, padded(reach.Over(size)))
		}
		bytes = bytes.Plus(ir.N(4).Times(pad))
	}
	for _, c := range b.choices {
		if c.run > 1 && c.ByGroup == byGroup {
			bytes = bytes.Plus(ir.N(4).Times(runPad(c.run).Over(32)))
		}
	}
	return bytes
}

func (b *programBuilder) runBuffers(heads ir.Expr, byGroup bool) {
	for _, c := range b.choices {
		if c.run > 1 && c.ByGroup == byGroup {
			b.buffer(c.byGroup(runSum(c.run)), "f32", true, heads, runPad(c.run))
		}
	}
	for _, c := range b.choices {
		if c.run > 1 && c.ByGroup == byGroup {
			b.buffer(c.name(runBits), "u32", true, heads, runPad(c.run).Over(32))
		}
	}
}

// sumRuns adds up the sums of a probe over distances, or their means by group, once for each size of runs.
func (b *programBuilder) sumRuns(p probe, byGroup bool) (out []ir.Step) {
	of := choice{Select: ir.Select{ByGroup: byGroup}}
	for _, size := range b.runSizes(&p, byGroup) {
		out = append(out, ir.Run{Kernel: abi.RunSums,
			Grid: [3]ir.Expr{runPad(size).Over(abi.RunsPerBlock), sliceLists(byGroup), ir.N(1)},
			Args: append([]ir.Arg{ir.AddressArg("diag_sum", of.byGroup("diag_sum"), ir.N(0)), ir.AddressArg("run_sum", of.byGroup(runSum(size)), ir.N(0))},
				runNumbers(size, byGroup)...)})
	}
	return out
}

// distancesOf writes the bitmaps of the distances of chosen runs.
func distancesOf(made []choice) (out []ir.Step) {
	for _, c := range made {
		if c.run > 1 {
			words := distPad.Over(32)
			out = append(out, ir.Run{Kernel: abi.RunDistances,
				Grid: [3]ir.Expr{words.Over(abi.RunWords), sliceLists(c.ByGroup), ir.N(1)},
				Args: append([]ir.Arg{ir.AddressArg("run_bits", c.name(runBits), ir.N(0)), c.bitsOfSlice("bits", distPad)}, runNumbers(c.run, c.ByGroup)...)})
		}
	}
	return out
}

// runNumbers are what the kernels of runs have in common.
func runNumbers(size int64, byGroup bool) []ir.Arg {
	return append([]ir.Arg{ir.NumberArg("run", ir.N(size)), ir.NumberArg("n", reach),
		ir.NumberArg("stride", distPad), ir.NumberArg("run_stride", runPad(size))}, sliceHeads(byGroup)...)
}
