package index

import (
	"github.com/llir/llvm/ir/enum"
	"github.com/llir/llvm/ir/types"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/internal/codegen/lower"
)

// The parameters of compact. Strides are in bytes; rows lie on 16 bytes. Launch: grid
// (col_cap/abi.CompactRows rounded up, H).
//
//	k v        [batch, kv heads, sk, head dim] of a 16-bit type
//	cols       i32 [H, col_cap], col_count i32 [H]: the chosen columns
//	kc vc      [H, col_cap, head dim]: their rows; rows from col_count up to the next multiple of 64 become zeros, as far
//	           as col_cap reaches, and the rest stays as it is
//	group      q heads of one kv head; hq q heads of one batch

const compactThreads = 256

// compactKernel is the state of one lowering.
type compactKernel struct {
	*blockKernel
	chunks  int // 16-byte chunks of a row
	batch   Value
	kvHead  Value
	first   Value // column number of the block's first row
	count   Value
	columns Value // the head's list
}

// Compact copies the rows of K and V at the chosen columns of each q head next to each other. The type of K and V does not
// matter, as long as it has 16 bits.
func Compact(headDim int, lengths bool) (*lower.Kernel, error) {
	if err := abi.CheckHeadDim(headDim); err != nil {
		return nil, err
	}
	c := &compactKernel{blockKernel: newBlockKernel(entryOf(abi.Compact, lengths), compactThreads), chunks: headDim / 8}
	head := c.BlockY()
	c.first = c.Mul(c.BlockX(), lower.I32(abi.CompactRows))
	c.count = c.Load(types.I32, c.at(c.Param("col_count"), head), 4)
	c.If("some", c.ICmp(enum.IPredSLT, c.first, c.count), func() {
		c.gather(head)
	})
	c.Block.NewRet(nil)
	return c.finish(0), nil
}

// gather copies the block's rows: all loads of a thread, then all its stores.
func (c *compactKernel) gather(head Value) {
	c.batch = c.UDiv(head, c.Param("hq"))
	c.kvHead = c.UDiv(c.Sub(head, c.Mul(c.batch, c.Param("hq"))), c.Param("group"))
	rows := c.Shl(c.Mul(c.ZExt64(head), c.ZExt64(c.Param("col_cap"))), 2)
	c.columns = c.Offset(c.Param("cols"), rows)
	var parts []lanePart
	for i := 0; i < abi.CompactRows*c.chunks; i += c.threads {
		parts = append(parts, c.lanePart(i))
	}
	at := make([]Value, len(parts))
	for i, p := range parts {
		at[i] = c.Mul(c.Add(c.Mul(c.ZExt64(head), c.ZExt64(c.Param("col_cap"))), c.ZExt64(p.slot)), lower.I64(int64(16*c.chunks)))
	}
	k, v := make([]Value, len(parts)), make([]Value, len(parts))
	for i, p := range parts {
		k[i] = c.fetch("k", p)
	}
	for i, p := range parts {
		v[i] = c.fetch("v", p)
	}
	for i, p := range parts {
		c.If("store", p.writes, func() {
			c.Store(k[i], c.Offset(c.Offset(c.Param("kc"), at[i]), p.chunk), 16)
			c.Store(v[i], c.Offset(c.Offset(c.Param("vc"), at[i]), p.chunk), 16)
		})
	}
}

// lanePart is one chunk of one row.
type lanePart struct {
	slot   Value // row of kc and vc
	chunk  Value // byte offset within the row, i64
	column Value // row of k and v
	reads  Value // i1: it is a chosen column
	writes Value // i1: there is such a row
}

// lanePart is the chunk number i of the block, plus the thread's number.
func (c *compactKernel) lanePart(i int) lanePart {
	n := c.Add(c.tid, lower.I32(int64(i)))
	row := c.UDiv(n, lower.I32(int64(c.chunks)))
	p := lanePart{slot: c.Add(c.first, row)}
	p.chunk = c.ZExt64(c.Shl(c.Sub(n, c.Mul(row, lower.I32(int64(c.chunks)))), 4))
	inside := c.ICmp(enum.IPredSLT, row, lower.I32(abi.CompactRows))
	p.writes = c.And(inside, c.ICmp(enum.IPredSLT, p.slot, c.Param("col_cap")))
	p.reads = c.And(inside, c.ICmp(enum.IPredSLT, p.slot, c.count))
	safe := c.Select(p.reads, p.slot, lower.I32(0))
	p.column = c.Load(types.I32, c.at(c.columns, safe), 4)
	return p
}

// fetch loads the chunk from k or v, or zeros behind the last column.
func (c *compactKernel) fetch(tensor string, p lanePart) Value {
	from := c.RowsOf(tensor, lower.Is(c.kvHead), lower.Is(c.batch)).Start().At(p.column)
	got := c.Load(lower.Vec4, c.Offset(from, p.chunk), 16)
	words := make([]Value, 4)
	for i := range words {
		words[i] = c.Select(p.reads, c.Lane4(got, i), lower.I32(0))
	}
	return c.Pack4(words...)
}
