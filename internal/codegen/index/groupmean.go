package index

import (
	"slices"

	"github.com/llir/llvm/ir/enum"
	"github.com/llir/llvm/ir/types"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/internal/codegen/lower"
)

// The parameters of group_mean and group_shares, which make means over the q heads of a kv head that take part. G is the number of kv heads of
// the launch, in all its batch entries; the q heads of kv head g are group*g .. group*g+group-1.
//
//	values      float32 [G*group, stride]: n values of each head, up to a multiple of 4 anything but unwritten
//	shares      float32 [G*group, slab, kb_pad]: of block_shares
//	mean        float32 [G, stride] or [G, slab, kb_pad]: as many; what lies behind is not written, nor anything of a kv head without part
//	stride      from head to head, a multiple of 4
//	group       q heads of a kv head, or whatever else the values are of: packs (packed.go)
//	per         of how many of these heads says whether they take part: 1, or group for words of kv heads
//	hq          kv heads of a batch entry in the launch, for lengths in device memory
//	slab_start  first row block of the slab
//	slab        row blocks of the slab
//	heads       of the q heads
//
// Launch: group_mean grid (stride/abi.MeanElements rounded up, G), group_shares grid (row blocks of the slab, G).

const meanThreads = abi.MeanElements / 4

// groupKernel is the state of one lowering.
type groupKernel struct {
	*blockKernel
	first Value // q head of the kv head
	per   Value // q heads a word; nil: one
}

// newGroupKernel leaves if no head of the group takes part.
func newGroupKernel(entry string, lengths bool) *groupKernel {
	g := &groupKernel{blockKernel: newBlockKernel(entryOf(entry, lengths), meanThreads)}
	g.first = g.Mul(g.BlockY(), g.Param("group"))
	if entry == abi.GroupMean {
		g.per = g.Param("per")
		g.LeaveUnless(g.SomeTakePart(g.UDiv(g.first, g.per), g.UDiv(g.Param("group"), g.per)), nil)
	} else {
		g.LeaveUnless(g.SomeTakePart(g.first, g.Param("group")), nil)
	}
	g.Entry = func() Value { return g.UDiv(g.BlockY(), g.Param("hq")) }
	return g
}

// GroupMean makes means of values that lie one head behind the other. Heads are added in their order, so that values which are equal in every
// head have equal means.
func GroupMean(lengths bool) (*lower.Kernel, error) {
	g := newGroupKernel(abi.GroupMean, lengths)
	n, first := g.number(), g.Mul(g.BlockX(), lower.I32(abi.MeanElements))
	g.LeaveUnless(g.ICmp(enum.IPredSLT, first, n), nil)
	at, stride := g.Add(first, g.Shl(g.tid, 2)), g.ZExt64(g.Param("stride"))
	last := g.And(g.Sub(n, lower.I32(1)), lower.I32(-4)) // for threads behind the end, which stay with their warp
	means := g.mean(4, func(head Value) []Value {
		row := g.Offset(g.Param("values"), g.Shl(g.Mul(g.ZExt64(head), stride), 2))
		v := g.Load(lower.Vec4, g.at(row, g.Min(at, last)), 16)
		var out []Value
		for i := range 4 {
			out = append(out, g.AsFloat(g.Lane4(v, i)))
		}
		return out
	})
	g.If("store", g.ICmp(enum.IPredSLT, at, n), func() {
		for i, x := range means {
			means[i] = g.AsInt(x)
		}
		row := g.Offset(g.Param("mean"), g.Shl(g.Mul(g.ZExt64(g.BlockY()), stride), 2))
		g.Store(g.Pack4(means...), g.at(row, at), 16)
	})
	g.Block.NewRet(nil)
	return g.finish(0), nil
}

// number is how many values a head has.
func (g *groupKernel) number() Value {
	if !g.ReadsLengths() {
		return g.Param("n")
	}
	of, sq := g.Param("of"), g.Length("sq")
	reach := g.Add(g.Length("q_offset"), sq)
	keys := g.Max(g.Min(g.Length("sk"), reach), lower.I32(1)) // who chooses looks at the first column of a sequence without keys, too
	pooled := g.Mul(blocksOf(g.Builder, sq), of)
	n := g.Select(g.ICmp(enum.IPredEQ, of, lower.I32(1)), g.Max(reach, lower.I32(1)), pooled)
	return g.Select(g.ICmp(enum.IPredEQ, of, lower.I32(0)), keys, n)
}

// GroupShares makes means of shares of blocks, of the candidates of each row block.
func GroupShares(lengths bool) (*lower.Kernel, error) {
	g := newGroupKernel(abi.GroupShares, lengths)
	t := g.Add(g.Param("slab_start"), g.BlockX())
	leaveAbsent(g.Builder, t, nil)
	keyBlocks := blocksOf(g.Builder, g.Param("sk"))
	end := candidates(g.Builder, t, keyBlocksOf(g.Builder, keyBlocks))
	rowOf := func(array string, head Value) Value {
		row := g.Add(g.Mul(g.ZExt64(head), g.ZExt64(g.Param("slab"))), g.ZExt64(g.BlockX()))
		return g.Offset(g.Param(array), g.Shl(g.Mul(row, g.ZExt64(padTo64(g.Builder, keyBlocks))), 2))
	}
	to := rowOf("mean", g.BlockY())
	g.While("blocks", lower.I32(0), func(first Value) Value {
		return g.ICmp(enum.IPredSLT, first, end)
	}, func(first Value) Value {
		b := g.Add(first, g.tid)
		mean := g.mean(1, func(head Value) []Value {
			return []Value{g.Load(types.Float, g.at(rowOf("shares", head), g.Min(b, g.Sub(end, lower.I32(1)))), 4)}
		})
		g.If("store", g.ICmp(enum.IPredSLT, b, end), func() {
			g.Store(mean[0], g.at(to, b), 4)
		})
		return g.Add(first, lower.I32(meanThreads))
	})
	g.Block.NewRet(nil)
	return g.finish(0), nil
}

// meanWalk is a head, how many heads before it take part, and the sums of their values.
type meanWalk struct {
	head, n Value
	sums    []Value
}

func (w *meanWalk) Values() []*Value {
	return append([]*Value{&w.head, &w.n}, lower.Pointers(w.sums)...)
}

func (w meanWalk) Clone() meanWalk { return meanWalk{w.head, w.n, slices.Clone(w.sums)} }

// takes says whether a head takes part.
func (g *groupKernel) takes(head Value) Value {
	if g.per == nil {
		return g.TakesPart(head)
	}
	return g.TakesPart(g.UDiv(head, g.per))
}

// mean is the mean of some values over the heads of the group that take part. Whole warps ask for it together.
func (g *groupKernel) mean(values int, of func(head Value) []Value) []Value {
	end := g.Add(g.first, g.Param("group"))
	start := meanWalk{head: g.first, n: lower.I32(0)}
	for range values {
		start.sums = append(start.sums, lower.F32(0))
	}
	all := lower.While(g.Builder, "member", start, func(w meanWalk) Value {
		return g.ICmp(enum.IPredSLT, w.head, end)
	}, func(w meanWalk) meanWalk {
		next := lower.Choose(g.Builder, "taking", g.takes(w.head), w, func() meanWalk {
			own := meanWalk{w.head, g.Add(w.n, lower.I32(1)), nil}
			for i, x := range of(w.head) {
				own.sums = append(own.sums, g.FAdd(w.sums[i], x))
			}
			return own
		})
		next.head = g.Add(w.head, lower.I32(1))
		return next
	})
	heads := g.Block.NewSIToFP(all.n, types.Float)
	for i := range all.sums {
		all.sums[i] = g.FDiv(all.sums[i], heads)
	}
	return all.sums
}
