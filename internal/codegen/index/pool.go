package index

import (
	"fmt"
	"math/bits"
	"slices"

	"github.com/llir/llvm/ir/enum"
	"github.com/llir/llvm/ir/types"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/internal/codegen/lower"
	"github.com/minfc/minfc/ir"
)

// poolEntry is the PTX name of the kernel, whatever it reduces with.
const poolEntry = "pool"

// PoolConfig selects a pool kernel.
type PoolConfig struct {
	HeadDim int
	DType   abi.DType
	With    ir.Reduction
	Rows    int // that become one: 64, or 128, whose two blocks get the same row
	Lengths bool
}

// The parameters of pool. Strides are in bytes; rows lie on 16 bytes.
//
//	x    [batch, heads, n, head dim] of the 16-bit type: q or k
//	out  float32 [batch, heads, blocks of n, head dim]
//	q_heads  of each head of x: a head of k is pooled if one of the q heads that share it takes part
//
// Launch: grid (n/Rows, rounded up; heads, batch). A part of the rows is pooled by moving x to its first block and n to its length.

const (
	blockSize = ir.BlockSize
	blockLog  = 6 // its log2

	// poolGroups threads share one 16-byte chunk of the head dim, each with every poolGroups-th row: eight or sixteen
	// loads a thread in flight, and as many threads as head dims for the sum over the groups.
	poolGroups = 8
	chunkElems = 8
)

// poolKernel is the state of one lowering.
type poolKernel struct {
	*lower.Builder
	cfg    PoolConfig
	shared lower.Value
	rows   lower.Value // that the block reduces: cfg.Rows, fewer in the last one
}

// Pool reduces 64 or 128 rows to one: their mean, or their maximum without NaNs. Sums run in float32 over 1/64 (1/128) of each row, which
// no finite rows make infinite, rows t, t+8, ... first, then the eight partial sums in order; a NaN makes its mean a NaN.
// Equal rows have equal means, the last ones, which may be fewer, too.
func Pool(cfg PoolConfig) (*lower.Kernel, error) {
	if err := abi.CheckHeadDim(cfg.HeadDim); err != nil {
		return nil, err
	}
	if err := cfg.DType.Check(); err != nil {
		return nil, err
	}
	if cfg.With != ir.ReduceMean && cfg.With != ir.ReduceMax {
		return nil, fmt.Errorf("internal: unknown reduction %d", cfg.With)
	}
	if !slices.Contains(ir.PoolRows, cfg.Rows) {
		return nil, fmt.Errorf("internal: a pool over %d rows, want %v", cfg.Rows, ir.PoolRows)
	}
	threads := cfg.HeadDim / chunkElems * poolGroups
	params := abi.IndexParams[entryOf(abi.PoolMean, cfg.Lengths)]
	k := &poolKernel{Builder: lower.NewKernel(poolEntry, params, threads, 1), cfg: cfg}
	k.emit()
	return &lower.Kernel{Module: k.Module, Entry: poolEntry, Threads: threads,
		SharedBytes: 4 * cfg.HeadDim * poolGroups, Params: params}, nil
}

func (k *poolKernel) emit() {
	head := k.Add(k.Mul(k.BlockZ(), k.GridY()), k.BlockY())
	k.LeaveUnless(k.SomeTakePart(k.Mul(head, k.Param("q_heads")), k.Param("q_heads")), nil)
	k.shared = k.SharedBase()
	tid, row0 := k.ThreadX(), k.Shl(k.BlockX(), int64(bits.TrailingZeros(uint(k.cfg.Rows))))
	k.rows = k.Min(lower.I32(int64(k.cfg.Rows)), k.Sub(k.number(), row0))
	chunks := int64(k.cfg.HeadDim / chunkElems)
	group := k.UDiv(tid, lower.I32(chunks))
	chunk := k.Sub(tid, k.Mul(group, lower.I32(chunks)))
	rows := k.tensor().Start().From(row0)
	rows = rows.Shift(k.ZExt64(k.Shl(chunk, 4)))
	k.stage(k.partial(rows, group), group, chunk)
	k.Barrier()
	k.finish(tid)
	k.Block.NewRet(nil)
}

// number is how many rows there are.
func (k *poolKernel) number() lower.Value {
	if !k.ReadsLengths() {
		return k.Param("n")
	}
	k.Entry = k.BlockZ
	return k.LengthOf(k.Param("of"))
}

// tensor are the rows of x. A block that has none of them leaves.
func (k *poolKernel) tensor() lower.Rows {
	rows := k.RowsOf("x", k.BlockY, k.BlockZ)
	if !k.ReadsLengths() {
		return rows
	}
	k.LeaveUnless(k.ICmp(enum.IPredSGT, k.rows, lower.I32(0)), nil)
	return rows.Which(k.Param("of"))
}

// partial reduces the rows group, group+8, ... of one chunk. A row past the end is read as the last one and left out.
func (k *poolKernel) partial(rows lower.Rows, group lower.Value) []lower.Value {
	loads := make([]lower.Value, k.cfg.Rows/poolGroups)
	valid := make([]lower.Value, len(loads))
	for i := range loads {
		row := k.Add(group, lower.I32(int64(i*poolGroups)))
		valid[i] = k.ICmp(enum.IPredSLT, row, k.rows)
		row = k.Min(row, k.Sub(k.rows, lower.I32(1)))
		loads[i] = k.Load(lower.Vec4, rows.At(row), 16)
	}
	acc := make([]lower.Value, chunkElems)
	for i, v := range loads {
		for j := range 4 {
			lo, hi := k.Widen(k.cfg.DType, k.Lane4(v, j))
			k.accumulate(&acc[2*j], lo, valid[i])
			k.accumulate(&acc[2*j+1], hi, valid[i])
		}
	}
	return acc
}

func (k *poolKernel) accumulate(acc *lower.Value, x, valid lower.Value) {
	x = k.Select(valid, x, k.identity())
	if *acc == nil {
		*acc = k.identity()
	}
	if k.cfg.With == ir.ReduceMean {
		*acc = k.FMA(x, lower.F32(1/float64(k.cfg.Rows)), *acc)
		return
	}
	*acc = k.reduce(*acc, x)
}

func (k *poolKernel) identity() lower.Value {
	if k.cfg.With == ir.ReduceMax {
		return lower.NegInf()
	}
	return lower.F32(0)
}

func (k *poolKernel) reduce(x, y lower.Value) lower.Value {
	if k.cfg.With == ir.ReduceMax {
		return k.FMax(x, y)
	}
	return k.FAdd(x, y)
}

// stage writes a thread's partial results to shared memory, [group][head dim].
func (k *poolKernel) stage(acc []lower.Value, group, chunk lower.Value) {
	at := k.Add(k.Mul(group, lower.I32(int64(4*k.cfg.HeadDim))), k.Shl(chunk, 5))
	at = k.Add(at, k.shared)
	for half := range 2 {
		var words []lower.Value
		for _, x := range acc[4*half : 4*half+4] {
			words = append(words, k.AsInt(x))
		}
		k.Store(k.Pack4(words...), k.SharedAt(at, 16*half), 16)
	}
}

// finish reduces the groups: thread t makes element t of the row.
func (k *poolKernel) finish(tid lower.Value) {
	at := k.Add(k.shared, k.Shl(tid, 2))
	sum := k.identity()
	for g := range poolGroups {
		x := k.Load(types.Float, k.SharedAt(at, 4*g*k.cfg.HeadDim), 4)
		sum = k.reduce(sum, x)
	}
	if k.cfg.With == ir.ReduceMean {
		sum = k.mean(sum)
	}
	k.store(tid, sum)
}

// store writes element t of the pooled row, for every block of 64 rows that has it.
func (k *poolKernel) store(tid, x lower.Value) {
	head := k.Add(k.Mul(k.BlockZ(), k.GridY()), k.BlockY())
	first := k.Mul(k.ZExt64(head), k.ZExt64(blocksOf(k.Builder, k.Param("n"))))
	per, block := k.cfg.Rows/blockSize, k.BlockX()
	if per > 1 {
		block = k.Mul(block, lower.I32(int64(per)))
	}
	row := k.Add(first, k.ZExt64(block))
	out := k.Offset(k.Param("out"), k.Mul(row, lower.I64(int64(4*k.cfg.HeadDim))))
	out = k.Offset(out, k.ZExt64(k.Shl(tid, 2)))
	k.Store(x, out, 4)
	for i := 1; i < per; i++ {
		k.If("block", k.ICmp(enum.IPredSLT, lower.I32(int64(i*blockSize)), k.rows), func() {
			k.Store(x, k.Offset(out, lower.I64(int64(4*k.cfg.HeadDim*i))), 4)
		})
	}
}

// mean is the mean of rows, given the sum of 1/cfg.Rows of each. The division is rounded once: n equal rows have themselves as mean.
func (k *poolKernel) mean(sum lower.Value) lower.Value {
	short := k.ICmp(enum.IPredSLT, k.rows, lower.I32(int64(k.cfg.Rows)))
	return k.Choose("short", short, sum, func() lower.Value {
		rows := k.Block.NewSIToFP(k.rows, types.Float)
		return k.FMul(k.FDiv(sum, rows), lower.F32(float64(k.cfg.Rows)))
	})
}

// blocksOf is the number of blocks of n rows.
func blocksOf(b *lower.Builder, n lower.Value) lower.Value {
	return b.LShr(b.Add(n, lower.I32(blockSize-1)), blockLog)
}
