package index

import (
	"github.com/llir/llvm/ir/enum"
	"github.com/llir/llvm/ir/types"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/internal/codegen/lower"
)

// The parameters of means. Strides are in bytes; rows lie on 16 bytes.
//
//	k v      [batch, kv heads, sk, head dim] of the 16-bit type
//	kc vc    [batch, q heads, col_cap, head dim] of the same type: the means of pools, zeros where there is no whole pool
//	pool     keys of a pool, a multiple of 64
//	group    q heads of one kv head: each has a copy, as it has of chosen columns
//
// Launch: grid (col_cap, kv heads, batch).

// meansKernel is the state of one lowering.
type meansKernel struct {
	*blockKernel
	headDim      int
	dtype        abi.DType
	group, chunk Value // of the thread: which rows it adds up, and which 16 bytes of them
	row0, rows   Value // of the block's pool; no rows where it is not whole
}

// Means reduces pools of K and V to their means. Sums run in float32 over 1/pool of each row, which no finite rows make infinite, rows
// t, t+8, ... first, then the eight partial sums in order; the mean is rounded once. A NaN makes its mean a NaN.
func Means(headDim int, dtype abi.DType) (*lower.Kernel, error) {
	if err := abi.CheckHeadDim(headDim); err != nil {
		return nil, err
	}
	if err := dtype.Check(); err != nil {
		return nil, err
	}
	m := &meansKernel{blockKernel: newBlockKernel(abi.Means, headDim/chunkElems*poolGroups), headDim: headDim, dtype: dtype}
	chunks := int64(headDim / chunkElems)
	m.group = m.UDiv(m.tid, lower.I32(chunks))
	m.chunk = m.Sub(m.tid, m.Mul(m.group, lower.I32(chunks)))
	m.row0 = m.Mul(m.BlockX(), m.Param("pool"))
	whole := m.ICmp(enum.IPredSLE, m.Add(m.row0, m.Param("pool")), m.Param("sk"))
	m.rows = m.Select(whole, m.Param("pool"), lower.I32(0))
	for _, tensor := range []string{"k", "v"} {
		m.stage(m.partial(tensor))
		m.Barrier()
		m.finishRow(tensor + "c")
		m.Barrier()
	}
	m.Block.NewRet(nil)
	return m.finish(4 * headDim * poolGroups), nil
}

// partial adds up the rows group, group+8, ... of the thread's chunk, 64 rows a round.
func (m *meansKernel) partial(tensor string) []Value {
	rows := m.RowsOf(tensor, m.BlockY, m.BlockZ).Start().From(m.row0)
	rows = rows.Shift(m.ZExt64(m.Shl(m.chunk, 4)))
	part := m.FDiv(lower.F32(1), m.Block.NewSIToFP(m.Param("pool"), types.Float))
	acc := lower.Vectors{make([]Value, chunkElems)}
	for i := range acc[0] {
		acc[0][i] = lower.F32(0)
	}
	type walk = lower.Walk[lower.Vectors, *lower.Vectors]
	end := lower.While(m.Builder, "rows", walk{At: m.group, Of: acc}, func(w walk) Value {
		return m.ICmp(enum.IPredSLT, w.At, m.rows)
	}, func(w walk) walk {
		sums, loads := w.Of.Clone(), make([]Value, blockSize/poolGroups)
		for i := range loads {
			loads[i] = m.Load(lower.Vec4, rows.At(m.Add(w.At, lower.I32(int64(i*poolGroups)))), 16)
		}
		for _, v := range loads {
			for j := range 4 {
				lo, hi := m.Widen(m.dtype, m.Lane4(v, j))
				sums[0][2*j], sums[0][2*j+1] = m.FMA(lo, part, sums[0][2*j]), m.FMA(hi, part, sums[0][2*j+1])
			}
		}
		return walk{At: m.Add(w.At, lower.I32(blockSize)), Of: sums}
	})
	return end.Of[0]
}

// stage writes a thread's partial sums to shared memory, [group][head dim].
func (m *meansKernel) stage(acc []Value) {
	at := m.Add(m.Add(m.Mul(m.group, lower.I32(int64(4*m.headDim))), m.Shl(m.chunk, 5)), m.shared)
	for half := range 2 {
		var words []Value
		for _, x := range acc[4*half : 4*half+4] {
			words = append(words, m.AsInt(x))
		}
		m.Store(m.Pack4(words...), m.SharedAt(at, 16*half), 16)
	}
}

// finishRow adds up the groups and stores the row for all q heads of the kv head: thread t makes elements 2t and 2t+1.
func (m *meansKernel) finishRow(to string) {
	m.If("pair", m.ICmp(enum.IPredSLT, m.tid, lower.I32(int64(m.headDim/2))), func() {
		at := m.Add(m.shared, m.Shl(m.tid, 3))
		var sums [2]Value
		for i := range sums {
			sums[i] = lower.F32(0)
			for g := range poolGroups {
				sums[i] = m.FAdd(sums[i], m.Load(types.Float, m.SharedAt(at, 4*g*m.headDim+4*i), 4))
			}
		}
		pair, rowBytes := m.Pack(m.dtype, sums[0], sums[1]), int64(2*m.headDim)
		first := m.Mul(m.Add(m.Mul(m.BlockZ(), m.GridY()), m.BlockY()), m.Param("group"))
		row := m.Add(m.Mul(m.ZExt64(first), m.ZExt64(m.Param("col_cap"))), m.ZExt64(m.BlockX()))
		out := m.Offset(m.Offset(m.Param(to), m.Mul(row, lower.I64(rowBytes))), m.ZExt64(m.Shl(m.tid, 2)))
		step := m.Mul(m.ZExt64(m.Param("col_cap")), lower.I64(rowBytes))
		m.While("head", lower.I32(0), func(head Value) Value {
			return m.ICmp(enum.IPredSLT, head, m.Param("group"))
		}, func(head Value) Value {
			m.Store(pair, m.Offset(out, m.Mul(m.ZExt64(head), step)), 4)
			return m.Add(head, lower.I32(1))
		})
	})
}
