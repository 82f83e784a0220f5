package lower

import (
	"github.com/llir/llvm/ir/enum"
	"github.com/llir/llvm/ir/types"
)

// RouteParams let kernels share the heads of a call: each computes the heads that were routed to it and leaves the others
// to other kernels. H is batch times q heads.
//
//	route   i32 [H]: which kernel a head is for; null: this one computes all
//	taken   the value in route of the heads that this kernel computes
var RouteParams = []Param{{Name: "route", Type: "ptr"}, {Name: "taken", Type: "i32"}}

// HeadsParam lets heads take no part in a stage of the index: it is route, RouteElsewhere for these heads; null: all take
// part.
var HeadsParam = Param{Name: "heads", Type: "ptr"}

// The values in route.
const (
	RouteSparse    = 0 // the kernel of the pattern
	RouteDense     = 1 // the kernel of the pattern without sparsity
	RouteElsewhere = 2 // a kernel of another launch
)

// Computes says whether this kernel computes a head (batch*q heads + q head). The warp must be converged, and ask for one
// head: a shuffle tells ptxas that its lanes agree.
func (b *Builder) Computes(head Value) Value {
	return b.ICmp(enum.IPredEQ, b.routeOf("route", head, b.Param("taken")), b.Param("taken"))
}

// TakesPart says whether a head takes part in a stage, under the conditions of Computes.
func (b *Builder) TakesPart(head Value) Value {
	return b.ICmp(enum.IPredNE, b.routeOf(HeadsParam.Name, head, I32(RouteSparse)), I32(RouteElsewhere))
}

// SomeTakePart says whether one of n heads takes part, under the conditions of Computes.
func (b *Builder) SomeTakePart(first, n Value) Value {
	end := b.Add(first, n)
	at := b.While("seek", []Value{first}, func(v []Value) Value {
		inside := b.ICmp(enum.IPredSLT, v[0], end)
		return b.If("seek.head", inside, []Value{Bool(false)}, func() []Value { return []Value{b.Not(b.TakesPart(v[0]))} })[0]
	}, func(v []Value) []Value { return []Value{b.Add(v[0], I32(1))} })[0]
	return b.ICmp(enum.IPredSLT, at, end)
}

// routeOf is a head's entry in an array of routes, or the value that stands for no array.
func (b *Builder) routeOf(array string, head, otherwise Value) Value {
	route := b.Param(array)
	look := b.ICmp(enum.IPredNE, b.Address(route), I64(0))
	return b.If("route", look, []Value{otherwise}, func() []Value {
		return []Value{b.ShuffleFrom(b.Load(types.I32, b.Offset(route, b.Shl(b.ZExt64(head), 2)), 4), I32(0))}
	})[0]
}

// LeaveOthers ends the block if its head is another kernel's. It is for the start of a block, where all threads are together.
func (b *Builder) LeaveOthers(head Value) { b.LeaveUnless(b.Computes(head), nil) }

// LeaveUnless ends the block unless stays holds, which all threads must agree on; last, if any, is what it does before.
func (b *Builder) LeaveUnless(stays Value, last func()) {
	from, leave := b.Block, b.NewBlock("leave")
	b.Enter(leave)
	if last != nil {
		last()
	}
	b.Block.NewRet(nil)
	stay := b.NewBlock("stay")
	from.NewCondBr(stays, stay, leave)
	b.Enter(stay)
}
