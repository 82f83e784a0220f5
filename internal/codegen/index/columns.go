package index

import (
	"github.com/llir/llvm/ir/enum"
	"github.com/llir/llvm/ir/types"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/internal/codegen/lower"
)

// The parameters of columns. Launch: grid (H). A head with more columns than col_cap loses the last.
//
//	col_bits   u32 [H, words]: the chosen columns
//	cols       i32 [H, col_cap]: the columns, ascending, then NoColumn
//	col_count  i32 [H], 0 for heads that take no part

// NoColumn fills the list behind the last column: it comes after every query.
const NoColumn = 0x7fffffff

const columnsThreads = 1024

// columnsKernel is the state of one lowering.
type columnsKernel struct {
	*blockKernel
	bits, cols Value // of this head
	from, end  Value // words of this warp
}

// Columns turns the bitmap of each head into a sorted list. Every warp counts its part of the bitmap, then writes it behind the
// columns of the warps before.
func Columns() (*lower.Kernel, error) {
	c := &columnsKernel{blockKernel: newBlockKernel(abi.Columns, columnsThreads)}
	c.leaveEmpty("col_count")
	words := c.Param("words")
	c.bits, c.cols = c.row("col_bits", words), c.row("cols", c.Param("col_cap"))
	c.from, c.end = c.span(words, 32)
	before, total := c.scanUniform(c.count(), 0)
	count := c.Min(total, c.Param("col_cap"))
	c.write(before)
	c.fill(c.cols, count, c.Param("col_cap"), lower.I32(NoColumn))
	c.If("count", c.ICmp(enum.IPredEQ, c.tid, lower.I32(0)), func() {
		c.Store(count, c.at(c.Param("col_count"), c.BlockX()), 4)
	})
	c.Block.NewRet(nil)
	return c.finish(4 * columnsThreads / 32), nil
}

// eachWord walks this warp's words, one a lane at a time.
func (c *columnsKernel) eachWord(name string, start Value, body func(carry, index, word Value) Value) Value {
	return lower.While(c.Builder, name, lower.Fold{At: c.from, Made: start}, func(w lower.Fold) Value {
		return c.ICmp(enum.IPredSLT, w.At, c.end)
	}, func(w lower.Fold) lower.Fold {
		i := c.Add(w.At, c.lane)
		word := c.Choose("load", c.ICmp(enum.IPredSLT, i, c.end), lower.I32(0), func() Value {
			return c.Load(types.I32, c.at(c.bits, i), 4)
		})
		return lower.Fold{At: c.Add(w.At, lower.I32(32)), Made: body(w.Made, w.At, word)}
	}).Made
}

func (c *columnsKernel) count() Value {
	mine := c.eachWord("count", lower.I32(0), func(sum, _, word Value) Value { return c.Add(sum, c.Popc(word)) })
	return c.WarpAdd(mine)
}

// write lists the columns of this warp's words from place next on. Each lane takes its word's bits one by one.
func (c *columnsKernel) write(next Value) {
	c.eachWord("list", next, func(next, index, word Value) Value {
		some := c.Popc(word)
		upTo := c.Add(next, c.WarpScan(some, c.lane))
		first := c.Shl(c.Add(index, c.lane), 5)
		lower.While(c.Builder, "bit", wordBits{word, c.Sub(upTo, some)}, func(w wordBits) Value {
			return c.ICmp(enum.IPredNE, w.left, lower.I32(0))
		}, func(w wordBits) wordBits {
			c.If("column", c.ICmp(enum.IPredSLT, w.entry, c.Param("col_cap")), func() {
				c.Store(c.Add(first, c.LowBit(w.left)), c.at(c.cols, w.entry), 4)
			})
			return wordBits{c.And(w.left, c.Sub(w.left, lower.I32(1))), c.Add(w.entry, lower.I32(1))}
		})
		return c.ShuffleFrom(upTo, lower.I32(31))
	})
}
