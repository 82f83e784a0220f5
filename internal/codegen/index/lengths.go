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
	q := lower.Choose(k.Builder, "seq_q", k.given("seq_q"), span{zero, k.Param("sq")}, func() span { return k.span("seq_q", "sq", "total_q") })
	own := k.between(k.Add(offset, q.n), zero, k.Param("sk"))
	own = k.Select(k.ragged, k.within(q, "sk", "total_k"), own)
	keys := lower.Choose(k.Builder, "seq_k", k.given("seq_k"), span{q.first, own}, func() span { return k.span("seq_k", "sk", "total_k") })
	to := k.Offset(k.Param("lengths"), k.Shl(k.ZExt64(k.n), 5))
	k.Store(k.Pack4(q.n, keys.n, offset, q.first), to, 16)
	k.Store(k.Pack4(keys.first, zero, zero, zero), k.Offset(to, lower.I64(16)), 16)
}

// span reads the rows of the entry, cut to the most that an entry has and to the rows that there are.
func (k *lengthsKernel) span(lengths, most, total string) span {
	zero, one := lower.I32(0), k.load(lengths, k.n)
	first := k.Select(k.ragged, k.between(one, zero, k.Param(total)), zero)
	end := k.Choose("end", k.ragged, one, func() Value { return k.load(lengths, k.Add(k.n, lower.I32(1))) })
	n := k.Min(k.Sub(k.Max(end, first), first), k.Param(most))
	return span{first, k.Select(k.ragged, k.within(span{first, n}, most, total), n)}
}

// within is the length of a span, cut to the most of an entry and to the rows that there are.
func (k *lengthsKernel) within(s span, most, total string) Value {
	left := k.Max(k.Sub(k.Param(total), s.first), lower.I32(0))
	return k.Min(k.Min(s.n, k.Param(most)), left)
}

// given says whether an address is not null.
func (k *lengthsKernel) given(name string) Value {
	return k.ICmp(enum.IPredNE, k.Address(k.Param(name)), lower.I64(0))
}

func (k *lengthsKernel) load(name string, i Value) Value {
	return k.Load(types.I32, k.at(k.Param(name), i), 4)
}

// between is x, at least low and at most high.
func (k *lengthsKernel) between(x, low, high Value) Value { return k.Min(k.Max(x, low), high) }
