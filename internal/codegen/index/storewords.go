package index

import (
	"fmt"

	"github.com/llir/llvm/ir/enum"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/internal/codegen/lower"
)

// The parameters of store_words: to, on 8 bytes, and the words, two in each i64, the first one low.
// Launch: one block.

// StoreWords writes numbers that the host knows to device memory. Unlike a copy it holds them in the launch itself, so that
// a CUDA graph replays them and no host memory has to stay.
func StoreWords() (*lower.Kernel, error) {
	const threads = abi.StoreWordsCount / 2
	b := lower.NewKernel(abi.StoreWords, abi.IndexParams[abi.StoreWords], threads, 1)
	tid := b.ThreadX()
	word := b.Param("w0")
	for i := 1; i < threads; i++ {
		word = b.Select(b.ICmp(enum.IPredEQ, tid, lower.I32(int64(i))), b.Param(fmt.Sprintf("w%d", i)), word)
	}
	b.Store(word, b.Offset(b.Param("to"), b.Shl(b.ZExt64(tid), 3)), 8)
	b.Block.NewRet(nil)
	return &lower.Kernel{Module: b.Module, Entry: abi.StoreWords, Threads: threads, Params: abi.IndexParams[abi.StoreWords]}, nil
}
