package sm90

import (
	"fmt"

	"github.com/llir/llvm/ir/enum"
	"github.com/llir/llvm/ir/types"

	"github.com/minfc/minfc/internal/codegen/lower"
)

// Barriers of the pipeline. A full barrier completes when the bytes of a tile have landed, an empty one when every consumer
// warp has let go of it and so has the warp that loads V: of K's buffer with the header, of V's when its copies are under way. A
// posted barrier completes when a header is written. Where there may be columns, a full barrier of K also waits for what is found
// out about them. In a ring, K and V share the barriers of their buffers.
type barrier int

const (
	fullK barrier = iota
	emptyK
	posted
	fullV
	emptyV
	kinds
)

// barrierCount is two for Q and, for each kind, one a buffer.
func (s shape) barrierCount() int { return 2 + int(kinds)*s.buffers }

const warpLanes = 32

// arrivals is how many threads arrive in a phase: all threads of the warps that read the buffer or its header, or one for what a single
// thread does.
func (k *kernel) arrivals(b barrier) int {
	switch {
	case b == emptyK || b == emptyV:
		return (4*k.groups + 1) * warpLanes // the consumers and the warp that loads V
	case b == fullK && k.GivenKeys():
		return 1 + 2*warpLanes // and the warps that vote and gather
	case b == fullK && k.HasColumns():
		return 1 + warpLanes // and the warp that votes
	case b == fullV && k.GivenKeys():
		return 1 + warpLanes // and the warp that gathers
	}
	return 1
}

// barrierAt is the shared address of a barrier of a buffer.
func (k *kernel) barrierAt(b barrier, buffer Value) Value {
	if k.ring && b >= fullV {
		b -= fullV
	}
	at := k.Add(k.shared, k.Shl(buffer, 3))
	return k.Add(at, lower.I32(int64(k.layout.barriers+barrierBytes*(2+int(b)*k.buffers))))
}

func (k *kernel) fullQ() Value { return k.Add(k.shared, lower.I32(int64(k.layout.barriers))) }
func (k *kernel) emptyQ() Value {
	return k.Add(k.shared, lower.I32(int64(k.layout.barriers+barrierBytes)))
}

// initBarriers is for one thread, and for the barriers of the pipeline.
func (k *kernel) initBarriers() {
	k.eachBarrier(k.initBarrier)
	k.AsmEffect("fence.mbarrier_init.release.cluster;", "~{memory}")
}

func (k *kernel) initBarrier(at Value, arrivals int) {
	k.AsmEffect(fmt.Sprintf("mbarrier.init.shared::cta.b64 [$0], %d;", arrivals), "r", at)
}

// eachBarrier calls one for every barrier of the pipeline, with the arrivals of its phases.
func (k *kernel) eachBarrier(one func(at Value, arrivals int)) {
	one(k.fullQ(), 1)
	one(k.emptyQ(), 4*k.groups*warpLanes)
	for i := range k.buffers {
		for b := fullK; b < kinds; b++ {
			if k.ring && b >= fullV {
				break
			}
			one(k.barrierAt(b, lower.I32(int64(i))), k.arrivals(b))
		}
	}
}

// await spins until the phase of the given parity is complete.
func (k *kernel) await(at, parity Value) {
	from, loop := k.Block, k.NewBlock("wait")
	from.NewBr(loop)
	k.Enter(loop)
	done := k.AsmResult(types.I1, "mbarrier.try_wait.parity.shared::cta.b64 $0, [$1], $2;", "=b,r,r", at, parity)
	out := k.NewBlock("waited")
	loop.NewCondBr(done, out, loop)
	k.Enter(out)
}

// expect announces the bytes of the copies that follow and is the one arrival of a full barrier.
func (k *kernel) expect(at Value, bytes int) {
	k.AsmEffect(fmt.Sprintf("mbarrier.arrive.expect_tx.shared::cta.b64 _, [$0], %d;", bytes), "r", at)
}

func (k *kernel) arrive(at Value) {
	k.AsmEffect("mbarrier.arrive.shared::cta.b64 _, [$0];", "r", at)
}

// letGo lets go of what this warp's lanes have read: each of them arrives, because an arrival speaks for its own thread alone (PTX ISA,
// "Memory Consistency Model").
func (k *kernel) letGo(b barrier, buffer Value) { k.arrive(k.barrierAt(b, buffer)) }

// release lets go of what products alone have read: the first lane arrives for the warp.
func (k *kernel) release(b barrier, buffer Value) {
	k.Converge()
	k.If("release", k.ICmp(enum.IPredEQ, k.Lane, lower.I32(0)), func() {
		k.arriveForWarp(b, buffer)
	})
}

// arriveForWarp is the arrival of one lane for all of its warp.
func (k *kernel) arriveForWarp(b barrier, buffer Value) {
	k.AsmEffect(fmt.Sprintf("mbarrier.arrive.shared::cta.b64 _, [$0], %d;", warpLanes), "r", k.barrierAt(b, buffer))
}

// pipelineSlot is a buffer in the pipeline and the parity of its phase. A consumer starts with parity 0, the producer with 1: waiting
// for the phase before the first passes at once.
type pipelineSlot struct{ buffer, parity Value }

func (p *pipelineSlot) Values() []*Value { return []*Value{&p.buffer, &p.parity} }

func (k *kernel) nextPipelineSlot(p pipelineSlot) pipelineSlot {
	n := k.Add(p.buffer, lower.I32(1))
	wrapped := k.ICmp(enum.IPredEQ, n, lower.I32(int64(k.buffers)))
	return pipelineSlot{
		k.Select(wrapped, lower.I32(0), n),
		k.Xor(p.parity, k.Select(wrapped, lower.I32(1), lower.I32(0))),
	}
}

// pipelineSlotOfV is where V of the stage lies whose K is at p.
func (k *kernel) pipelineSlotOfV(p pipelineSlot) pipelineSlot {
	if k.ring {
		return k.nextPipelineSlot(p)
	}
	return p
}
