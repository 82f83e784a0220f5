package index

import (
	"github.com/llir/llvm/ir/constant"
	"github.com/llir/llvm/ir/enum"
	"github.com/llir/llvm/ir/types"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/internal/codegen/lower"
)

// blockKernel is what the kernels share whose blocks of whole warps work on one head together.
type blockKernel struct {
	*lower.Builder
	entry   string
	params  []lower.Param
	threads int

	shared          Value // start of shared memory
	tid, lane, warp Value
}

func newBlockKernel(entry string, threads int) *blockKernel {
	params := abi.IndexParams[entry]
	b := &blockKernel{Builder: lower.NewKernel(entry, params, threads, 1), entry: entry, params: params, threads: threads}
	b.shared = b.SharedBase()
	b.tid = b.ThreadX()
	b.lane, b.warp = b.And(b.tid, lower.I32(31)), b.LShr(b.tid, 5)
	return b
}

// entryOf is the name of a kernel, or of the one that reads lengths from device memory.
func entryOf(kernel string, lengths bool) string {
	if lengths {
		return abi.ByLengths(kernel)
	}
	return kernel
}

// leaveEmpty ends the block if its head takes no part; the length of its list is 0 then.
func (b *blockKernel) leaveEmpty(count string) {
	b.LeaveUnless(b.TakesPart(b.BlockX()), func() {
		b.If("empty", b.ICmp(enum.IPredEQ, b.tid, lower.I32(0)), func() {
			b.Store(lower.I32(0), b.at(b.Param(count), b.BlockX()), 4)
		})
	})
}

func (b *blockKernel) finish(sharedBytes int) *lower.Kernel {
	return &lower.Kernel{Module: b.Module, Entry: b.entry, Threads: b.threads, SharedBytes: sharedBytes, Params: b.params}
}

// given says whether an address is not null.
func (b *blockKernel) given(name string) Value {
	return b.ICmp(enum.IPredNE, b.Address(b.Param(name)), lower.I64(0))
}

// word is the shared address of word i.
func (b *blockKernel) word(i Value) Value { return b.Add(b.shared, b.Shl(i, 2)) }

// scan sums x, i32 or i64, over all threads below this one, and over the whole block. It uses 32 numbers of shared memory
// at offset at and has one barrier; they may be used again after another.
func (b *blockKernel) scan(x Value, at int) (before, total Value) {
	t := x.Type().(*types.IntType)
	upTo := b.WarpScan(x, b.lane)
	b.If("total", b.ICmp(enum.IPredEQ, b.lane, lower.I32(31)), func() {
		b.Store(upTo, b.SharedAt(b.number(t, b.warp), at), int(t.BitSize/8))
	})
	warps, total := b.warpSums(t, at)
	return b.Sub(b.Add(warps, upTo), x), total
}

// scanUniform sums x, equal in all lanes of a warp, over the warps below this one, and over all. Shared memory as for scan.
func (b *blockKernel) scanUniform(x Value, at int) (before, total Value) {
	b.leaderStores(x, at)
	return b.warpSums(types.I32, at)
}

// leaderStores has the first lane of each warp store x in the warp's word at an offset.
func (b *blockKernel) leaderStores(x Value, at int) {
	b.If("leader", b.ICmp(enum.IPredEQ, b.lane, lower.I32(0)), func() {
		b.Store(x, b.SharedAt(b.word(b.warp), at), 4)
	})
}

// row is a parameter's row for this block's head; all rows are of 32-bit words.
func (b *blockKernel) row(name string, length Value) Value { return b.rowOf(name, b.BlockX(), length) }

// rowOf is the row with a number.
func (b *blockKernel) rowOf(name string, n, length Value) Value {
	return b.Offset(b.Param(name), b.Shl(b.Mul(b.ZExt64(n), b.ZExt64(length)), 2))
}

// at is word i of a row.
func (b *blockKernel) at(row, i Value) Value { return b.Offset(row, b.Shl(b.ZExt64(i), 2)) }

// fill writes x to the words from..end-1 of a row, all threads together.
func (b *blockKernel) fill(row, from, end, x Value) {
	b.While("fill", b.Add(from, b.tid), func(i Value) Value {
		return b.ICmp(enum.IPredSLT, i, end)
	}, func(i Value) Value {
		b.Store(x, b.at(row, i), 4)
		return b.Add(i, lower.I32(int64(b.threads)))
	})
}

// number is the shared address of number i of a type.
func (b *blockKernel) number(t *types.IntType, i Value) Value {
	if t.BitSize == 64 {
		return b.Add(b.shared, b.Shl(i, 3))
	}
	return b.word(i)
}

// warpSums reads the sums of a type that the warps left at offset at: the sum over the warps below this one, and over all.
func (b *blockKernel) warpSums(t *types.IntType, at int) (before, total Value) {
	b.Barrier()
	there := b.ICmp(enum.IPredULT, b.lane, lower.I32(int64(b.threads/32)))
	sum := b.Choose("sums", there, constant.NewInt(t, 0), func() Value {
		return b.Load(t, b.SharedAt(b.number(t, b.lane), at), int(t.BitSize/8))
	})
	upTo := b.WarpScan(sum, b.lane)
	below := b.ShuffleFrom(b.Sub(upTo, sum), b.warp)
	return below, b.ShuffleFrom(upTo, lower.I32(31))
}

// span is the part of n items that belongs to this warp, in units of unit: [from, end).
func (b *blockKernel) span(n Value, unit int64) (from, end Value) {
	all := unit * int64(b.threads/32)
	each := b.Mul(b.UDiv(b.Add(n, lower.I32(all-1)), lower.I32(all)), lower.I32(unit))
	from = b.Min(b.Mul(each, b.warp), n)
	return from, b.Min(b.Add(from, each), n)
}
