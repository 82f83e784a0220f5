package index

import (
	"github.com/llir/llvm/ir/enum"
	"github.com/llir/llvm/ir/types"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/internal/codegen/lower"
)

// lengthsKernel is the state of one lowering.
type lengthsKernel struct {
	*blockKernel
	n      Value // the entry
	ragged Value // i1
}

// Lengths writes the records of lengths: see abi.Lengths. Launch: grid (entries/abi.LengthsThreads, rounded up), a thread an entry.
func Lengths() (*lower.Kernel, error) {
	k := &lengthsKernel{blockKernel: newBlockKernel(abi.Lengths, abi.LengthsThreads)}
	k.n = k.Add(k.Mul(k.BlockX(), lower.I32(abi.LengthsThreads)), k.tid)
	k.ragged = k.ICmp(enum.IPredNE, k.Param("ragged"), lower.I32(0))
	k.If("entry", k.ICmp(enum.IPredSLT, k.n, k.Param("batch")), func() {
		k.write()
	})
	k.Block.NewRet(nil)
	return k.finish(0), nil
}

// span is where rows begin, and how many there are.
type span struct{ first, n Value }

func (s *span) Values() []*Value { return []*Value{&s.first, &s.n} }

func (k *lengthsKernel) write() {
	zero := lower.I32(0)
	offset := k.Choose("offsets", k.given("offsets"), k.Param("q_offset"), func() Value {
		return k.between(k.load("offsets", k.n), zero, k.Param("q_offset"))
	})
	startQ, startK := k.start("starts_q", "sq"), k.start("starts_k", "sk")
	roomQ, roomK := k.Sub(k.Param("sq"), startQ), k.Sub(k.Param("sk"), startK)
	q := lower.Choose(k.Builder, "seq_q", k.given("seq_q"), span{startQ, roomQ}, func() span { return k.span("seq_q", "total_q", startQ, roomQ) })
	own := span{startK, k.between(k.Add(offset, q.n), zero, roomK)}
	own = span{k.Select(k.ragged, q.first, own.first), k.Select(k.ragged, k.within(q, roomK, "total_k"), own.n)}
	keys := lower.Choose(k.Builder, "seq_k", k.given("seq_k"), own, func() span { return k.span("seq_k", "total_k", startK, roomK) })
	to := k.Offset(k.Param("lengths"), k.Shl(k.ZExt64(k.n), 5))
	k.Store(k.Pack4(q.n, keys.n, offset, q.first), to, 16)
	k.Store(k.Pack4(keys.first, zero, zero, zero), k.Offset(to, lower.I64(16)), 16)
}

// start is the row of its batch entry at which the sequence begins.
func (k *lengthsKernel) start(name, most string) Value {
	return k.Choose(name, k.given(name), lower.I32(0), func() Value { return k.between(k.load(name, k.n), lower.I32(0), k.Param(most)) })
}

// span reads the rows of the sequence, cut to the most that it has and to the rows that there are. Unless ragged, they begin at start.
func (k *lengthsKernel) span(lengths, total string, start, most Value) span {
	zero, one := lower.I32(0), k.load(lengths, k.n)
	first := k.Select(k.ragged, k.between(one, zero, k.Param(total)), start)
	end := k.Choose("end", k.ragged, k.Max(one, zero), func() Value { return k.load(lengths, k.Add(k.n, lower.I32(1))) })
	from := k.Select(k.ragged, first, zero)
	n := k.Min(k.Sub(k.Max(end, from), from), most)
	return span{first, k.Select(k.ragged, k.within(span{first, n}, most, total), n)}
}

// within is the length of a span, cut to the most of a sequence and to the rows that there are.
func (k *lengthsKernel) within(s span, most Value, total string) Value {
	left := k.Max(k.Sub(k.Param(total), s.first), lower.I32(0))
	return k.Min(k.Min(s.n, most), left)
}

func (k *lengthsKernel) load(name string, i Value) Value {
	return k.Load(types.I32, k.at(k.Param(name), i), 4)
}

// between is x, at least low and at most high.
func (k *lengthsKernel) between(x, low, high Value) Value { return k.Min(k.Max(x, low), high) }
