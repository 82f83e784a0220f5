package lower

import (
	"github.com/llir/llvm/ir/enum"
	"github.com/llir/llvm/ir/types"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/ir"
)

// Computes says whether this kernel computes a head (batch*q heads + q head). The warp must be converged, and ask for one
// head: a shuffle tells ptxas that its lanes agree.
func (b *Builder) Computes(head Value) Value {
	return b.ICmp(enum.IPredEQ, b.routeOf("route", head, b.Param("taken")), b.Param("taken"))
}

// TakesPart says whether a head takes part in a stage, under the conditions of Computes.
func (b *Builder) TakesPart(head Value) Value {
	return b.ICmp(enum.IPredNE, b.routeOf(abi.HeadsParam.Name, head, I32(ir.RouteSparse)), I32(ir.RouteElsewhere))
}

// SomeTakePart says whether one of n heads takes part, under the conditions of Computes.
func (b *Builder) SomeTakePart(first, n Value) Value {
	end := b.Add(first, n)
	at := b.While("seek", first, func(head Value) Value {
		inside := b.ICmp(enum.IPredSLT, head, end)
		return b.Choose("seek.head", inside, Bool(false), func() Value { return b.Not(b.TakesPart(head)) })
	}, func(head Value) Value { return b.Add(head, I32(1)) })
	return b.ICmp(enum.IPredSLT, at, end)
}

// routeOf is a head's entry in an array of routes, or the value that stands for no array.
func (b *Builder) routeOf(array string, head, otherwise Value) Value {
	route := b.Param(array)
	look := b.ICmp(enum.IPredNE, b.Address(route), I64(0))
	return b.Choose("route", look, otherwise, func() Value {
		return b.ShuffleFrom(b.Load(types.I32, b.Offset(route, b.Shl(b.ZExt64(head), 2)), 4), I32(0))
	})
}

// LeaveOthers ends the block if its head is another kernel's. It is for the start of a block, where all threads are together.
func (b *Builder) LeaveOthers(head Value) { b.LeaveUnless(b.Computes(head), nil) }
