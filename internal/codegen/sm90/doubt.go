package sm90

import (
	"github.com/llir/llvm/ir/enum"
	"github.com/llir/llvm/ir/types"

	"github.com/minfc/minfc/internal/codegen/lower"
)

// Tiles that must be computed again (lower/outputs.go says why). The consumers note them as they store their outputs. When a block has
// no tiles left, all its warps meet; if there are notes, barriers start anew, the warps that load do their work for the noted
// tiles once more, and the consumers compute them with care (exact.go).
//
// A block with one tile needs one word for that. Where tiles come from a queue there may be any number of notes: each consumer warpgroup
// has a chain of tiles, the last one in shared memory, every other in the output of the one noted after it, whose first words in a
// row of the noting warp are free until it is computed again.

// The words of a warpgroup's doubts. Of a block without a queue the first counts notes.
const (
	wordChain  = 0 // 1 + 4*tile + the noting warp's number in its warpgroup; 0: none
	wordNoted  = 4 // 1 + the tile that was noted last: the other warps of the warpgroup leave it at that
	doubtBytes = 8
)

// doubtAt is the shared address of a word of a warpgroup's doubts.
func (k *kernel) doubtAt(group Value, word int) Value {
	return k.Add(k.shared, k.Add(k.MulBy(group, doubtBytes), lower.I32(int64(k.layout.doubts+word))))
}

// noneDoubtful is for one thread.
func (k *kernel) noneDoubtful() {
	for g := range k.groups {
		for w := 0; w < doubtBytes; w += 4 {
			k.Store(lower.I32(0), k.SharedAt(k.doubtAt(lower.I32(int64(g)), w), 0), 4)
		}
	}
}

// note notes the row tile if one of the warp's lanes doubts it.
func (k *kernel) note(doubt Value) {
	some := k.AnyLane(doubt)
	k.If("note", k.And(some, k.ICmp(enum.IPredEQ, k.Lane, lower.I32(0))), func() {
		if !k.queued {
			k.SharedAdd(k.doubtAt(lower.I32(0), wordChain), lower.I32(1))
			return
		}
		item := k.itemNumber()
		mark := k.Add(item, lower.I32(1))
		was := k.exchange(k.doubtAt(k.group, wordNoted), mark)
		k.If("chain", k.ICmp(enum.IPredNE, was, mark), func() {
			warp := k.And(k.warp, lower.I32(3))
			before := k.exchange(k.doubtAt(k.group, wordChain), k.Add(k.Or(k.Shl(item, 2), warp), lower.I32(1)))
			k.Store(before, k.outputRow(k.chainRow(k.group, warp)), 4)
		})
	})
}

// chainRow is the row whose first word in the output links a chain: the noting warp's first one.
func (k *kernel) chainRow(group, warp Value) Value {
	return k.Add(k.Row0(), k.Add(k.Shl(group, 6), k.Shl(warp, 4)))
}

// itemNumber is the number of the row tile k.At among the row tiles of the launch: the inverse of workTile.
func (k *kernel) itemNumber() Value {
	row := k.Add(k.Mul(k.At.Batch(), k.Param("q_heads")), k.At.Head())
	return k.Add(k.Mul(row, k.Param("row_tiles")), k.At.Tile())
}

func (k *kernel) exchange(at, x Value) Value {
	return k.AsmResult(types.I32, "atom.shared.exch.b32 $0, [$1], $2;", "=r,r,r", at, x)
}

// twice runs a role of the loading warps, and again if there are notes.
func (k *kernel) twice(role func(pass Value), walks bool) {
	k.Repeat("round", lower.I32(0), func(pass Value) (Value, Value) {
		role(pass)
		first := k.ICmp(enum.IPredEQ, pass, lower.I32(0))
		again := k.Choose("first", first, lower.Bool(false), func() Value {
			some := k.verdict()
			k.If("restart", some, func() {
				k.restart(walks)
			})
			return some
		})
		return k.Add(pass, lower.I32(1)), again
	})
}

// verdict waits until all warps of the tile are done and says whether there are notes.
func (k *kernel) verdict() Value {
	k.meet(0)
	some := Value(lower.I32(0))
	for g := range k.groups {
		some = k.Or(some, k.chain(lower.I32(int64(g))))
	}
	return k.ICmp(enum.IPredNE, k.ShuffleFrom(some, lower.I32(0)), lower.I32(0))
}

// chain reads the head of a warpgroup's chain.
func (k *kernel) chain(group Value) Value {
	head := k.Load(types.I32, k.SharedAt(k.doubtAt(group, wordChain), 0), 4)
	k.Converge()
	return head
}

// meet waits for all warps that work on the block's tile: the first time (0) for the verdict, the second (1) for the new barriers. What
// any lane wrote before, to shared or global memory, all see after it. Each role comes from code of its own, which a named barrier
// (bar.sync) allows, but compute-sanitizer's synccheck does not.
func (k *kernel) meet(time int64) {
	k.arrive(k.meeting())
	k.await(k.meeting(), lower.I32(time))
}

// meeting is the shared address of the barrier where they meet. It is none of eachBarrier's: the warps wait at it while the barriers of
// the pipeline are made new.
func (k *kernel) meeting() Value { return k.Add(k.shared, lower.I32(int64(k.layout.meeting))) }

// restart makes the barriers of the pipeline new; one of the warps does it, the others wait.
func (k *kernel) restart(mine bool) {
	if mine {
		k.elected(func() {
			k.eachBarrier(func(at Value, _ int) {
				k.AsmEffect("mbarrier.inval.shared::cta.b64 [$0];", "r", at)
			})
			k.initBarriers()
		})
	}
	k.meet(1)
}

// produceChains produces the noted tiles of one warpgroup after the other.
func (k *kernel) produceChains(p pipelineSlot) pipelineSlot {
	return lower.While(k.Builder, "chains", lower.Walking(lower.I32(0), feed{p, lower.I32(1)}),
		func(group feedWalk) Value { return k.ICmp(enum.IPredSLT, group.At, lower.I32(int64(k.groups))) },
		func(group feedWalk) feedWalk {
			next := k.Add(group.At, lower.I32(1))
			return lower.Walking(next, k.produceChain(group.At, group.Of))
		}).Of.pipelineSlot
}

// produceChain produces the noted tiles of a warpgroup, each with a last stage that says so.
func (k *kernel) produceChain(group Value, f feed) feed {
	flags := k.Or(lower.I32(flagFirst), k.MulBy(group, flagSecond)) // of two groups at most
	return lower.While(k.Builder, "chain", lower.Walking(k.ShuffleFrom(k.chain(group), lower.I32(0)), f),
		func(code feedWalk) Value { return k.ICmp(enum.IPredNE, code.At, lower.I32(0)) },
		func(code feedWalk) (next feedWalk) {
			number := k.Sub(code.At, lower.I32(1))
			k.In(k.fixed(k.workTile(k.LShr(number, 2))), func() {
				link := k.Load(types.I32, k.outputRow(k.chainRow(group, k.And(number, lower.I32(3)))), 4)
				next.At = k.ShuffleFrom(link, lower.I32(0))
				heads := k.entries(k.lengths())
				k.In(k.At.Loading(k.KVHead()), func() {
					last := k.produceItem(code.Of, flags, heads, func() {})
					next.Of.pipelineSlot = k.stage(cursor{last, lower.I32(flagSecond)}, k.noSlots()).pipelineSlot
				})
			})
			next.Of.q = k.Xor(code.Of.q, lower.I32(1))
			return next
		}).Of
}
