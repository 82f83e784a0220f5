package lower

import (
	llir "github.com/llir/llvm/ir"
	"github.com/llir/llvm/ir/types"
)

// While emits a loop that carries values: it runs body while cond holds for them and returns them as they are after it.
// body returns the values of the next round, in the same order.
func (b *Builder) While(name string, start []Value, cond func(v []Value) Value, body func(v []Value) []Value) []Value {
	from := b.Block
	head := b.NewBlock(name)
	from.NewBr(head)
	b.Enter(head)
	carried := make([]Value, len(start))
	for i, x := range start {
		carried[i] = b.Phi(x, from)
	}
	more, check := cond(carried), b.Block
	run := b.NewBlock(name + ".body")
	b.Enter(run)
	next := body(carried)
	last := b.Block
	last.NewBr(head)
	end := b.NewBlock(name + ".end")
	check.NewCondBr(more, run, end)
	for i, p := range carried {
		AddIncoming(p.(*llir.InstPhi), next[i], last)
	}
	b.Enter(end)
	return carried
}

// GridZ is the number of blocks along z.
func (b *Builder) GridZ() Value { return b.sreg("nctaid.z") }

// BarrierOf waits for the given number of threads at one of the barriers 1 to 15: a part of the block.
func (b *Builder) BarrierOf(id Value, threads int) {
	b.AsmEffect("bar.sync $0, $1;", "r,r", id, I32(int64(threads)))
}

// AnyLane says whether c holds in some lane of the warp.
func (b *Builder) AnyLane(c Value) Value {
	return b.Call("llvm.nvvm.vote.any.sync", types.I1, I32(-1), c)
}
