package lower

import (
	"github.com/llir/llvm/ir/enum"
	"github.com/llir/llvm/ir/types"
)

// RouteParams let two kernels share a launch's heads: each computes the heads that were routed to it and leaves the others
// to the other kernel. H is batch times q heads.
//
//	route   i32 [H]: which kernel a head is for; null: this one computes all
//	taken   the value in route of the heads that this kernel computes
var RouteParams = []Param{{Name: "route", Type: "ptr"}, {Name: "taken", Type: "i32"}}

// The values in route.
const (
	RouteSparse = 0 // the kernel of the pattern
	RouteDense  = 1 // the kernel of the pattern without sparsity
)

// Computes says whether this kernel computes a head (batch*q heads + q head). The warp must be converged, and ask for one
// head: a shuffle tells ptxas that its lanes agree.
func (b *Builder) Computes(head Value) Value {
	route := b.Param("route")
	look := b.ICmp(enum.IPredNE, b.Address(route), I64(0))
	return b.If("route", look, []Value{Bool(true)}, func() []Value {
		to := b.ShuffleFrom(b.Load(types.I32, b.Offset(route, b.Shl(b.ZExt64(head), 2)), 4), I32(0))
		return []Value{b.ICmp(enum.IPredEQ, to, b.Param("taken"))}
	})[0]
}

// LeaveOthers ends the block if its head is another kernel's. It is for the start of a block, where all threads are together.
func (b *Builder) LeaveOthers(head Value) {
	mine := b.Computes(head)
	leave, stay := b.NewBlock("leave"), b.NewBlock("stay")
	b.CondBr(mine, stay, leave)
	b.Enter(leave)
	b.Block.NewRet(nil)
	b.Enter(stay)
}
