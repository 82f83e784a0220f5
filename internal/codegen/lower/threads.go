package lower

import (
	"github.com/llir/llvm/ir/types"
)

// Threads, blocks and the grid.

// Special registers.
func (b *Builder) sreg(name string) Value {
	return b.Call("llvm.nvvm.read.ptx.sreg."+name, types.I32)
}

func (b *Builder) ThreadX() Value { return b.sreg("tid.x") }
func (b *Builder) BlockX() Value  { return b.sreg("ctaid.x") }
func (b *Builder) BlockY() Value  { return b.sreg("ctaid.y") }
func (b *Builder) BlockZ() Value  { return b.sreg("ctaid.z") }
func (b *Builder) GridX() Value   { return b.sreg("nctaid.x") }
func (b *Builder) GridY() Value   { return b.sreg("nctaid.y") }
func (b *Builder) GridZ() Value   { return b.sreg("nctaid.z") }

// BlockThreads is the number of threads of the block.
func (b *Builder) BlockThreads() Value { return b.sreg("ntid.x") }

// Barrier waits for all threads of the block.
func (b *Builder) Barrier() { b.Call("llvm.nvvm.barrier0", types.Void) }

// BarrierOf waits for the given number of threads at one of the barriers 1 to 15: a part of the block.
func (b *Builder) BarrierOf(id Value, threads int) {
	b.AsmEffect("bar.sync $0, $1;", "r,r", id, I32(int64(threads)))
}
