package passes

import (
	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/ir"
)

// Means that stand for what is dropped (ir/means.go): the index stage makes K and V of them, and bits of the key blocks that were chosen.

func dropped(field string) string { return ir.ListName(ir.DroppedName, field) }

// meanBuffers are what attention reads of means. Every q head has a copy of the means of its kv head, as it has of chosen columns: it is small
// beside K and V, and kernels find both alike. Words of bits are there for all pools of a slot.
func (b *programBuilder) meanBuffers() {
	g, has := b.schedule.Means()
	if !has {
		return
	}
	pool := int64(g.Pool)
	slots := ir.Call(ir.OpMax, ir.N(1), ir.Call(ir.OpFloorDiv, sk, ir.N(pool)).Over(ir.BlockSize))
	rows := b.define(dropped("col_cap"), ir.N(ir.BlockSize).Times(slots))
	b.buffer(dropped("kc"), "elem", false, allHeads, rows, headDim)
	b.buffer(dropped("vc"), "elem", false, allHeads, rows, headDim)
	b.Limits = append(b.Limits, ir.Limit{Value: allHeads.Times(rows), Most: 1<<31 - 1,
		What: "the number of means in all heads; split the batch or take means of more keys"})
	if _, has := b.keptBlocks(); !has { // kernels do not read them
		b.define(dropped("kept_words"), ir.N(0))
		b.buffer(dropped("kept"), "u32", false, ir.N(1))
		return
	}
	words := b.define(dropped("kept_words"), rows.Times(ir.N(pool/ir.BlockSize)).Over(32))
	b.buffer(dropped("kept"), "u32", false, allHeads, rowBlocks, words)
}

// keptBlocks is the choice of blocks beside the means, if there is one. Kernels have no other choice there.
func (b *programBuilder) keptBlocks() (choice, bool) {
	for _, c := range b.choices {
		if c.source.Kind == ir.SourceBlocks {
			return c, true
		}
	}
	return choice{}, false
}

// means makes them. Their work is what they read: K and V once, and the lists.
func (b *programBuilder) means() (out []ir.Step) {
	g, has := b.schedule.Means()
	if !has {
		return nil
	}
	rows := ir.Name(dropped("col_cap"))
	out = []ir.Step{ir.Run{Kernel: abi.Means, Grid: [3]ir.Expr{rows, kvHeads, batch}, Args: []ir.Arg{
		ir.AddressArg("kc", dropped("kc"), ir.N(0)), ir.AddressArg("vc", dropped("vc"), ir.N(0)),
		ir.NumberArg("pool", ir.N(int64(g.Pool))), ir.NumberArg("col_cap", rows)}}}
	b.Work = append(b.Work, ir.Work{Unit: ir.WorkPooled, Amount: ir.N(4).Times(kvHeads).Times(sk).Times(headDim)})
	c, has := b.keptBlocks()
	if !has {
		return append(out, ir.Zero{Buffer: dropped("kept")})
	}
	words := ir.Name(dropped("kept_words"))
	b.Work = append(b.Work, ir.Work{Unit: ir.WorkPooled,
		Amount: ir.N(4).Times(ir.Name("present")).Times(rowBlocks).Times(c.value("block_cap").Plus(words))})
	return append(out, ir.Run{Kernel: abi.KeptBlocks, Grid: [3]ir.Expr{rowBlocks, allHeads, ir.N(1)},
		Args: append(c.same("blocks", "block_count"), ir.AddressArg("kept", dropped("kept"), ir.N(0)),
			ir.NumberArg("block_cap", c.value("block_cap")), ir.NumberArg("kept_words", words))})
}
