package passes

import (
	"fmt"
	"slices"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/ir"
)

// Choices of columns and distances start from the sums of a probe. The sums are 8 bytes a key and head, and done with when their choices
// are made: so the heads are cut into slices whose sums fit the scratch memory, and the slices follow one another.

// probe is a probe whose sums decide: of the last rows, or of every stride-th.
type probe struct {
	name         string
	last, stride *ir.Poly
	number       int
	packed       int64 // rows of each head in a tile, see packProbes; 0: a tile has the rows of one head
}

// readSums finds the probe behind a sum over queries or diagonals. Choices from one probe share its sums.
func (b *programBuilder) readSums(of string, c *choice) bool {
	sum, _ := defined[ir.Sum](b, of)
	soft, _ := defined[ir.Softmax](b, sum.Of)
	p, ok := defined[ir.Probe](b, soft.Of)
	if !ok {
		return false
	}
	c.probe = slices.IndexFunc(b.probes, func(x probe) bool { return x.name == soft.Of })
	if c.probe < 0 {
		c.probe = len(b.probes)
		b.probes = append(b.probes, probe{name: soft.Of, last: p.Last, stride: p.Stride, number: c.probe})
	}
	return true
}

// spread says whether the probe is not known to be the last rows of one launch, for which there are faster kernels.
func (p probe) spread() bool {
	if p.last == nil || p.packed > 0 {
		return p.packed == 0
	}
	n, constant := p.last.Const()
	return !constant || n != abi.ProbeRows
}

func (p probe) kernel(name string) string {
	switch {
	case p.packed > 0:
		return abi.Packed(name, p.packed)
	case p.spread():
		return abi.Spread(name)
	}
	return name
}

// variant names the number of q heads, or packs, that a block of the probe takes.
func (p probe) variant() string {
	switch {
	case p.packed > 0:
		return fmt.Sprintf("packed%d_heads", p.packed)
	case p.spread():
		return "spread_heads"
	}
	return "probe_heads"
}

func (p probe) value(field string) ir.Expr { return ir.Name(p.named(field)) }
func (p probe) named(field string) string  { return fmt.Sprintf("probe%d_%s", p.number, field) }

// maxStep keeps the keys of a tile that is partly beyond the last one below 2^31.
const maxStep = 1 << 23

// chooseSums computes the sums of every probe and chooses from them, one slice of the heads after the other.
func (b *programBuilder) chooseSums() []ir.Step {
	if len(b.probes) == 0 {
		return nil
	}
	room := ir.N(0)
	for _, p := range b.probes {
		b.rowsOf(p)
		if chunks := p.room(); room.Op == ir.OpConst {
			room = chunks
		} else {
			room = ir.Call(ir.OpMax, room, chunks)
		}
	}
	b.slices(room)
	inner := []ir.Step{
		ir.Let{Name: "slice_kv", Expr: ir.Call(ir.OpMin, ir.Name("slice_step"), kvHeads.Minus(ir.Name("kv")))},
		ir.Let{Name: "slice_q", Expr: ir.Name("slice_kv").Times(group)},
		ir.Let{Name: "slice_heads", Expr: ir.Name("slice_batch").Times(ir.Name("slice_q"))},
		ir.Let{Name: "first_head", Expr: ir.Name("entry").Times(qHeads).Plus(ir.Name("kv").Times(group))},
		ir.Heads{First: ir.Name("first_head"), N: ir.Name("slice_heads")},
	}
	if b.someByGroup(choice.fromSums) {
		inner = append(inner,
			ir.Let{Name: "slice_groups", Expr: ir.Name("slice_batch").Times(ir.Name("slice_kv"))},
			ir.Let{Name: "first_group", Expr: ir.Name("entry").Times(kvHeads).Plus(ir.Name("kv"))})
	}
	for _, p := range b.probes {
		inner = append(append(append(inner, p.steps()...), b.meanSums(p)...), b.selectSums(p)...)
	}
	return []ir.Step{ir.For{Var: "entry", End: batch, By: ir.Name("slice_batch"), Steps: []ir.Step{
		ir.For{Var: "kv", End: kvHeads, By: ir.Name("slice_step"), Steps: inner}}}}
}

// rowsOf defines which rows a probe has: rows of them from row0 on, step apart.
func (b *programBuilder) rowsOf(p probe) {
	if !slices.ContainsFunc(b.Variants, func(v ir.Variant) bool { return v.Name == p.variant() }) {
		b.Variants = append(b.Variants, ir.Variant{Name: p.variant(), Of: p.sizes(), For: p.sharers()})
	}
	switch {
	case p.last != nil:
		b.define(p.named("rows"), ir.Call(ir.OpMin, ir.Call(ir.OpMax, ir.N(1), clipped(*p.last)), sq))
		b.define(p.named("row0"), sq.Minus(p.value("rows")))
		b.define(p.named("step"), ir.N(1))
		if p.packed > 0 {
			b.define(p.named("packs"), p.sharers())
		}
	default:
		n := b.define(p.named("stride"), ir.Call(ir.OpMax, ir.N(1), clipped(*p.stride)))
		b.define(p.named("rows"), ir.Call(ir.OpCeilDiv, sq, n))
		b.define(p.named("row0"), ir.N(0))
		b.define(p.named("step"), ir.Call(ir.OpPick, ir.Call(ir.OpAtLeast, ir.N(1), p.value("rows")), ir.N(1), n)) // of one row there is no next
		b.Limits = append(b.Limits, ir.Limit{Value: p.value("step"), Most: maxStep,
			What: "the step from query to query of a probe; probe more of them"})
	}
	heads := ir.Name("present")
	if p.packed > 0 {
		heads = ir.Call(ir.OpMin, heads, kvHeads).Times(p.each())
	}
	b.Work = append(b.Work, ir.Work{Unit: ir.WorkProbed, Amount: heads.Times(sk).Times(p.value("rows").Over(abi.ProbeRows))})
}

// Chunks of a probe: tiles of 64 keys that a block takes. Few blocks leave a device idle, many partial sums cost time to join.
const (
	longestChunk  = 16
	shortestChunk = 2
	fullGrid      = 256 // blocks
)

// gridRows is how many rows the grid of a probe has for one batch entry.
func (p probe) gridRows(kv ir.Expr) ir.Expr {
	return kv.Times(ir.Call(ir.OpCeilDiv, p.each(), ir.Name(p.variant())))
}

// chunkTiles is the longest chunk that makes a full grid, if one does. It looks at the shape of one batch entry, whatever is launched at a
// time, so that every batch adds in one order.
func (p probe) chunkTiles(tiles ir.Expr) ir.Expr {
	sum := ir.N(shortestChunk)
	for n := int64(2 * shortestChunk); n <= longestChunk; n *= 2 {
		full := ir.Call(ir.OpAtLeast, tiles.Over(n).Times(p.gridRows(kvHeads)), ir.N(fullGrid))
		sum = sum.Plus(ir.N(n / 2).Times(full)) // a longer chunk makes a full grid only where all shorter ones do
	}
	return sum
}

// room is for as many chunks as the longest launch and all shorter ones have. A shorter chunk is taken where twice its length makes less
// than a full grid, so there are fewer than two full grids.
func (p probe) room() ir.Expr {
	tiles := sk.Over(ir.BlockSize)
	if p.spread() {
		class := ir.Call(ir.OpMax, ir.N(1), ir.Call(ir.OpCeilDiv, sk, p.value("step")).Over(ir.BlockSize)).Plus(ir.N(1))
		tiles = class.Times(ir.Call(ir.OpMin, p.value("step"), sk))
	}
	tiles = ir.Call(ir.OpMax, ir.N(1), tiles)
	few := ir.Call(ir.OpMin, tiles.Over(shortestChunk), ir.Call(ir.OpCeilDiv, ir.N(2*fullGrid), p.gridRows(kvHeads)))
	return ir.Call(ir.OpMax, tiles.Over(longestChunk), few)
}

// slices cuts the heads so that the sums of a slice fit the scratch memory, or into single kv heads. Where there are several, they have all
// of the scratch, so that no shorter call needs more.
func (b *programBuilder) slices(chunks ir.Expr) {
	const stat = 8 * abi.ProbeRows // bytes of a maximum and a sum for every row
	room := b.define("chunk_room", chunks)
	each, sums := b.sumsEach()
	head := b.define("sum_bytes", b.runBytes(ir.N(stat).Times(room.Plus(ir.N(1))).Plus(sums), false))
	kvBytes, all := each.Times(head), allHeads.Times(head)
	if b.allPacked() {
		all = allGroups.Times(kvBytes)
	}
	byGroup := b.someByGroup(choice.fromSums)
	if byGroup {
		means := b.define("group_bytes", b.groupBytes())
		kvBytes, all = kvBytes.Plus(means), all.Plus(allGroups.Times(means))
	}
	kv := b.define("kv_bytes", kvBytes)
	whole := b.define("sums_fit", ir.Call(ir.OpAtLeast, scratch, all))
	most := ir.Call(ir.OpMin, kvHeads, ir.Call(ir.OpMax, ir.N(1), ir.Call(ir.OpFloorDiv, scratch, kv)))
	slices := b.define("slices", ir.Call(ir.OpPick, whole, ir.N(1), ir.Call(ir.OpCeilDiv, kvHeads, most)))
	b.define("slice_batch", ir.Call(ir.OpPick, whole, batch, ir.N(1)))
	step := b.define("slice_step", ir.Call(ir.OpCeilDiv, kvHeads, slices)) // slices of about equal size
	heads := b.define("sum_heads", ir.Name("slice_batch").Times(step).Times(each))
	b.buffer("probe_stats", "f32", true, heads, room, ir.N(abi.ProbeRows), ir.N(2))
	b.buffer("probe_lse", "f32", true, heads, ir.N(abi.ProbeRows), ir.N(2))
	if !b.allPacked() {
		b.buffer("col_sum", "f32", true, heads, keysPad)
		b.buffer("diag_sum", "f32", true, heads, distPad)
	}
	b.runBuffers(heads, false)
	used := heads.Times(head)
	if byGroup {
		groups := b.define("sum_groups", ir.Name("slice_batch").Times(step))
		b.groupBuffers(groups)
		used = used.Plus(groups.Times(ir.Name("group_bytes")))
	}
	spare := ir.Call(ir.OpMax, ir.N(0), scratch.Minus(used))
	b.buffer("spare", "f32", true, ir.Call(ir.OpPick, whole, ir.N(0), ir.Call(ir.OpFloorDiv, spare, ir.N(4))))
	for _, p := range b.probes {
		again := ir.N(3).Times(p.value("rows").Over(abi.ProbeRows).Times(ir.Name("slices")).Minus(ir.N(1)))
		if p.packed > 0 { // the means of packs are launched where there are several
			again = again.Plus(severalPacks(p.each()).Minus(ir.N(1)))
		}
		b.Work = append(b.Work, ir.Work{Unit: ir.WorkLaunches, Amount: again})
	}
}

// steps compute what the rows of a probe give to every key and distance.
func (p probe) steps() (out []ir.Step) {
	if !p.spread() {
		return p.pass(sk.Over(ir.BlockSize))
	}
	for _, sum := range []struct {
		name string
		each ir.Expr
	}{{"col_sum", keysPad}, {"diag_sum", distPad}} {
		vectors := ir.Name("slice_heads").Times(sum.each).Over(4)
		blocks := ir.Call(ir.OpMin, ir.N(4096), vectors.Over(abi.ClearThreads))
		out = append(out, ir.Run{Kernel: abi.Clear, Grid: [3]ir.Expr{blocks, ir.N(1), ir.N(1)},
			Args: []ir.Arg{ir.AddressArg("to", sum.name, ir.N(0)), ir.NumberArg("n", vectors)}})
	}
	from, step := ir.Name("from"), p.value("step")
	q0 := qOffset.Plus(ir.Name("row0"))
	keys, class := ir.Name("keys"), ir.Name("class")
	return append(out, ir.For{Var: "from", End: p.value("rows"), By: ir.N(abi.ProbeRows), Steps: append([]ir.Step{
		ir.Let{Name: "row0", Expr: p.value("row0").Plus(from.Times(step))},
		ir.Let{Name: "probe_rows", Expr: ir.Call(ir.OpMin, ir.N(abi.ProbeRows), p.value("rows").Minus(from))},
		ir.Let{Name: "step", Expr: step},
		ir.Let{Name: "keys", Expr: ir.Call(ir.OpMin, sk, q0.Plus(ir.Name("probe_rows").Minus(ir.N(1)).Times(step)).Plus(ir.N(1)))},
		ir.Let{Name: "class", Expr: ir.Call(ir.OpMax, ir.N(1), ir.Call(ir.OpCeilDiv, keys, step).Over(ir.BlockSize))},
		// A class gets one more where its distances reach beyond its keys: see internal/codegen/index/spread.go.
		ir.Let{Name: "class_tiles", Expr: class.Plus(
			ir.Call(ir.OpAtLeast, q0.Minus(ir.N(abi.ProbeRows).Times(step).Times(class.Minus(ir.N(1)))), step))},
		ir.Let{Name: "tiles", Expr: ir.Name("class_tiles").Times(ir.Call(ir.OpMin, step, keys))},
	}, p.pass(ir.Name("tiles"))...)})
}

// pass looks at tiles of keys twice: once for the softmax of the rows, once for the sums.
func (p probe) pass(tiles ir.Expr) []ir.Step {
	stats, grid, args := p.stats(p.kernel(abi.ProbeStats), tiles)
	return append(stats, ir.Run{Kernel: p.kernel(abi.ProbeSums), Variant: p.variant(), Grid: grid, Args: append(args, p.packedSums()...)})
}

// stats looks at tiles of keys once, with a kernel, for the softmax of the rows. A second look has the same grid and arguments.
func (p probe) stats(kernel string, tiles ir.Expr) (steps []ir.Step, grid [3]ir.Expr, args []ir.Arg) {
	tiles = ir.Call(ir.OpMax, ir.N(1), tiles)
	all, chunk, chunks := p.value("tiles"), p.value("chunk_tiles"), p.value("chunks")
	grid = [3]ir.Expr{chunks, p.gridRows(ir.Name("slice_kv")), ir.Name("slice_batch")}
	entry, kv := ir.Name("entry"), ir.Name("kv")
	rows := p.rowsInSlice()
	heads := []ir.Arg{ir.NumberArg("hq", rows), ir.AddressArg("heads", "heads", ir.N(4).Times(ir.Name("first_head")))}
	args = append([]ir.Arg{ir.NumberArg("chunk_tiles", chunk),
		ir.AddressArg("q", "q", entry.Times(ir.Name("q_batch")).Plus(kv.Times(group).Times(ir.Name("q_head")))),
		ir.AddressArg("k", "k", entry.Times(ir.Name("k_batch")).Plus(kv.Times(ir.Name("k_head")))),
	}, heads...)
	combine := ir.Run{Kernel: abi.ProbeCombine, Grid: [3]ir.Expr{ir.N(1), rows, ir.Name("slice_batch")},
		Args: append([]ir.Arg{ir.NumberArg("chunks", chunks)}, heads...)}
	if p.packed > 0 {
		args = append(args, ir.NumberArg("group", p.each()), ir.NumberArg("q_group", group), ir.NumberArg("probe_rows", p.value("rows")))
		combine = p.combinePacked(combine)
	}
	steps = []ir.Step{
		ir.Let{Name: p.named("tiles"), Expr: tiles},
		ir.Let{Name: p.named("chunk_tiles"), Expr: p.chunkTiles(all)},
		ir.Let{Name: p.named("chunks"), Expr: ir.Call(ir.OpCeilDiv, all, chunk)},
		ir.Run{Kernel: kernel, Variant: p.variant(), Grid: grid, Args: args},
		combine,
	}
	return steps, grid, args
}

// selectSums turns the sums of a probe into bitmaps, two choices of one rule at a time: they run side by side.
func (b *programBuilder) selectSums(p probe) []ir.Step {
	out := append(b.sumRuns(p, false), b.sumRuns(p, true)...)
	for rule, kernel := range abi.SelectKernels {
		for _, byGroup := range []bool{false, true} {
			var jobs []choice
			for _, c := range b.choices {
				if c.from(p) && int(c.Rule) == rule && c.ByGroup == byGroup {
					jobs = append(jobs, c)
				}
			}
			for pair := range slices.Chunk(jobs, 2) {
				args := append(pair[0].job("a_", p), pair[len(pair)-1].job("b_", p)...)
				out = append(out, ir.Run{Kernel: kernel, Grid: [3]ir.Expr{sliceLists(byGroup), ir.N(int64(len(pair))), ir.N(1)},
					Args: append(args, sliceHeads(byGroup)...)})
				out = append(out, distancesOf(pair)...)
			}
		}
	}
	return out
}

// from says whether the choice is made from the sums of a probe.
func (c choice) from(p probe) bool { return c.fromSums() && c.probe == p.number }

// fromSums says whether the choice is made from the sums of some probe.
func (c choice) fromSums() bool { return c.source.Kind != ir.SourceBlocks }

// bitsOfSlice is where the bitmaps of a slice begin, of stride bits a head.
func (c choice) bitsOfSlice(param string, stride ir.Expr) ir.Arg {
	return ir.AddressArg(param, c.name("bits"), ir.N(4).Times(firstList(c.ByGroup)).Times(stride.Over(32)))
}

// firstList and sliceLists say which lists a slice makes, of q heads or by group: the first of them, and how many.
func firstList(byGroup bool) ir.Expr {
	return map[bool]ir.Expr{false: ir.Name("first_head"), true: ir.Name("first_group")}[byGroup]
}

func sliceLists(byGroup bool) ir.Expr {
	return map[bool]ir.Expr{false: ir.Name("slice_heads"), true: ir.Name("slice_groups")}[byGroup]
}

// sliceHeads are the arguments that say which heads, or kv heads, a launch of a slice is for.
func sliceHeads(byGroup bool) []ir.Arg {
	hq, words := ir.Name("slice_q"), "heads"
	if byGroup {
		hq, words = ir.Name("slice_kv"), "groups"
	}
	return []ir.Arg{ir.NumberArg("hq", hq), ir.AddressArg("heads", words, ir.N(4).Times(firstList(byGroup)))}
}

// job are the arguments of one of the choices that a launch makes.
func (c choice) job(job string, p probe) []ir.Arg {
	values, stride, n := "diag_sum", distPad, reach
	bits := c.bitsOfSlice(job+"bits", stride)
	switch {
	case c.source.Kind == ir.SourceColumns:
		values, stride, n = "col_sum", keysPad, columns
		bits = c.bitsOfSlice(job+"bits", stride)
	case c.run > 1:
		values, stride, n = runSum(c.run), runPad(c.run), c.distances()
		bits = ir.AddressArg(job+"bits", c.name(runBits), ir.N(0))
	}
	number := func(name string, row int) ir.Arg {
		return c.numberOf(job+name, row, ir.Name("kv").Times(group), ir.Name("kv")) // of the batch entry
	}
	args := []ir.Arg{
		ir.AddressArg(job+"values", c.byGroup(values), ir.N(0)),
		bits,
		number("budget", c.row),
		ir.NumberArg(job+"first", clipped(c.First)), ir.NumberArg(job+"last", clipped(c.Last)),
		ir.NumberArg(job+"n", n), ir.NumberArg(job+"stride", stride),
	}
	if c.Rule != ir.Top {
		args = append(args, number("most", c.row+1), ir.NullArg(job+"least"))
	}
	if c.Least != nil {
		args[len(args)-1] = number("least", c.row+2)
	}
	if c.Rule == ir.TopP { // the sums of a probe hold at most 1 for each of its rows, and some rounding
		rows := ir.Call(ir.OpMax, p.value("rows"), ir.N(1))
		args = append(args, ir.NumberArg(job+"unit", ir.N(51).Minus(ir.Call(ir.OpBitLen, rows))))
	}
	return args
}
