package index

import (
	"github.com/llir/llvm/ir/enum"
	"github.com/llir/llvm/ir/types"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/internal/codegen/lower"
)

// The parameters of kept_blocks. Launch: grid (row blocks, H).
//
//	blocks       i32 [H, row blocks, block_cap], block_count i32 [H, row blocks]: chosen key blocks
//	kept         u32 [H, row blocks, kept_words]: a bit for each of them; blocks beyond the last word, which are in no whole pool, have none
//	kept_words   at most abi.MaxKeyBlocks/32

const keptThreads = 64

// KeptBlocks turns the list of each row block into bits. A bitmap is what tells, of any key block, whether it was chosen.
func KeptBlocks() (*lower.Kernel, error) {
	b := newBlockKernel(abi.KeptBlocks, keptThreads)
	b.LeaveUnless(b.TakesPart(b.BlockY()), nil)
	list := b.Add(b.Mul(b.BlockY(), b.GridX()), b.BlockX())
	words, blocks := b.row2("kept", list, b.Param("kept_words")), b.row2("blocks", list, b.Param("block_cap"))
	each := func(name string, n Value, body func(i Value)) {
		b.While(name, b.tid, func(i Value) Value { return b.ICmp(enum.IPredSLT, i, n) }, func(i Value) Value {
			body(i)
			return b.Add(i, lower.I32(keptThreads))
		})
		b.Barrier()
	}
	each("clear", b.Param("kept_words"), func(i Value) { b.Store(lower.I32(0), b.SharedAt(b.word(i), 0), 4) })
	count := b.Load(types.I32, b.at(b.Param("block_count"), list), 4)
	each("block", count, func(i Value) {
		block := b.Load(types.I32, b.at(blocks, i), 4)
		bit := b.ShlClamp(lower.I32(1), b.And(block, lower.I32(31)))
		word := b.LShr(block, 5)
		b.If("room", b.ICmp(enum.IPredSLT, word, b.Param("kept_words")), func() {
			b.SharedAdd(b.word(word), bit) // no block is listed twice
		})
	})
	each("word", b.Param("kept_words"), func(i Value) { b.Store(b.Load(types.I32, b.SharedAt(b.word(i), 0), 4), b.at(words, i), 4) })
	b.Block.NewRet(nil)
	return b.finish(abi.MaxKeyBlocks / 8), nil
}

// row2 is where row n of a buffer of i32 begins, so many of them each.
func (b *blockKernel) row2(name string, n, each Value) Value {
	return b.Offset(b.Param(name), b.Shl(b.Mul(b.ZExt64(n), b.ZExt64(each)), 2))
}
