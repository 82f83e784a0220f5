package index

import (
	"fmt"
	"math"

	"github.com/llir/llvm/ir/enum"

	"github.com/minfc/minfc/codegen/lower"
)

// SquareScoresEntry is the name of the square_scores kernel.
const SquareScoresEntry = "square_scores"

// SquareScoresParams are the parameters of square_scores. Queries and keys are cut into squares of fold by fold; the score of
// a square is the mean of the logits on its antidiagonal (XAttention, arXiv 2503.16428), rows and keys past the end count
// as 0. A square counts if it begins no later than its last query. Strides are in bytes.
//
//	scores      float32 [H, slab*64/fold, kb_pad]: for a row of squares and a block of 64 keys log2 of the sum of 2^score over
//	            the squares of the block; written where the row's block of 64 queries sees the key block
//	slab_start  first row block of the slab
//	slab        row blocks of the slab
//	fold        a power of 2 from 2 to 64
//	scale       of the sum of products along an antidiagonal: log2(e) * softmax scale / fold
//
// Launch: SquareScoresGrid.
var SquareScoresParams = []lower.Param{
	{Name: "q", Type: "ptr"}, {Name: "k", Type: "ptr"}, {Name: "scores", Type: "ptr"},
	{Name: "q_batch", Type: "i64"}, {Name: "q_head", Type: "i64"}, {Name: "q_row", Type: "i64"},
	{Name: "k_batch", Type: "i64"}, {Name: "k_head", Type: "i64"}, {Name: "k_row", Type: "i64"},
	{Name: "sq", Type: "i32"}, {Name: "sk", Type: "i32"}, {Name: "q_offset", Type: "i32"},
	{Name: "group", Type: "i32"}, {Name: "hq", Type: "i32"},
	{Name: "slab_start", Type: "i32"}, {Name: "slab", Type: "i32"}, {Name: "fold", Type: "i32"}, {Name: "scale", Type: "f32"},
	lower.HeadsParam,
}

// A block of eight warps multiplies 128 rows of squares by 128 columns, each warp 64 by 32. A stage holds 64 elements of the
// head dim of one query and one key of every square.
const (
	squareTile    = 128
	squareThreads = 256
	squareStage   = 2 * squareTile * panelBytes
	squareRows    = squareThreads / 8 // rows that all threads copy at a time
)

// SquareScoresGrid is the launch grid for slab row blocks against sk keys of h heads.
func SquareScoresGrid(sk, slab, fold, h int) [3]uint32 {
	tiles := func(n int) uint32 { return uint32((n + squareTile - 1) / squareTile) }
	return [3]uint32{tiles((sk + fold - 1) / fold), tiles(slab * blockSize / fold), uint32(h)}
}

// squaresKernel is the state of one lowering.
type squaresKernel struct {
	*lower.Builder
	dtype                    lower.DType
	panels, lastChunks       int
	shared, tid, lane        Value
	fold, perBlock           Value // rows of a square, and squares of a block's side
	row0, rows, column0      Value // first row of squares of the tile, and those of the slab; first column
	first                    Value // row of squares of the slab's first
	quad, rowHalf, keyOf     Value // of the warp's part: lane within four, 64 rows, 32 columns
	q, k                     Value // of the head
	qLanes, kLanes           []Value
	copyRow, copyChunk, copy Value
}

// SquareScores sums the products of each square's antidiagonal: one product of queries and keys that are fold apart for each
// of its elements, all in the same accumulators.
func SquareScores(headDim int, dtype lower.DType) (*lower.Kernel, error) {
	if err := lower.CheckHeadDim(headDim); err != nil {
		return nil, err
	}
	if dtype != lower.BF16 && dtype != lower.F16 {
		return nil, fmt.Errorf("data type %q is not supported: want bf16 or f16", dtype)
	}
	s := &squaresKernel{Builder: lower.NewKernel(SquareScoresEntry, SquareScoresParams, squareThreads, 2), dtype: dtype}
	s.panels = (headDim + panelCols - 1) / panelCols
	s.lastChunks = (headDim - (s.panels-1)*panelCols) * 2 / chunkBytes
	s.emit()
	return &lower.Kernel{Module: s.Module, Entry: SquareScoresEntry, Threads: squareThreads, SharedBytes: 2 * squareStage,
		Params: SquareScoresParams}, nil
}

func (s *squaresKernel) emit() {
	s.LeaveUnless(s.TakesPart(s.BlockZ()), nil)
	s.locate()
	lastRow := s.Min(s.Add(s.row0, lower.I32(squareTile)), s.rows)
	some := s.ICmp(enum.IPredSLT, s.Mul(s.column0, s.fold), s.seen(s.Sub(lastRow, lower.I32(1))))
	s.If("tile", s.And(some, s.ICmp(enum.IPredSLT, s.row0, s.rows)), nil, func() []Value {
		s.prepare()
		s.store(s.blocks(s.products()))
		return nil
	})
	s.Block.NewRet(nil)
}

func (s *squaresKernel) locate() {
	s.shared, s.tid = s.SharedBase(), s.ThreadX()
	s.lane = s.And(s.tid, lower.I32(31))
	s.fold = s.Param("fold")
	s.perBlock = s.UDiv(lower.I32(blockSize), s.fold)
	s.first = s.Mul(s.Param("slab_start"), s.perBlock)
	all := s.UDiv(s.Add(s.Param("sq"), s.Sub(s.fold, lower.I32(1))), s.fold)
	s.rows = s.Min(all, s.Add(s.first, s.Mul(s.Param("slab"), s.perBlock)))
	s.row0 = s.Add(s.first, s.Mul(s.BlockY(), lower.I32(squareTile)))
	s.column0 = s.Mul(s.BlockX(), lower.I32(squareTile))
}

// seen is the number of keys up to the last query of a row of squares.
func (s *squaresKernel) seen(row Value) Value {
	end := s.Min(s.Mul(s.Add(row, lower.I32(1)), s.fold), s.Param("sq"))
	return s.Min(s.Add(s.Param("q_offset"), end), s.Param("sk"))
}

// prepare finds the thread's copies and the addresses that ldmatrix reads.
func (s *squaresKernel) prepare() {
	warp := s.LShr(s.tid, 5)
	s.quad = s.And(s.lane, lower.I32(3))
	s.rowHalf, s.keyOf = s.Shl(s.And(warp, lower.I32(1)), 6), s.Shl(s.LShr(warp, 1), 5)
	head := s.Block.NewURem(s.BlockZ(), s.Param("hq"))
	batch := s.ZExt64(s.UDiv(s.BlockZ(), s.Param("hq")))
	tensor := func(name string, head Value) Value {
		p := s.Offset(s.Param(name), s.Mul(batch, s.Param(name+"_batch")))
		return s.Offset(p, s.Mul(s.ZExt64(head), s.Param(name+"_head")))
	}
	s.q, s.k = tensor("q", head), tensor("k", s.UDiv(head, s.Param("group")))
	s.copyRow, s.copyChunk = s.LShr(s.tid, 3), s.And(s.tid, lower.I32(7))
	s.copy = s.swizzled(s.copyRow, s.copyChunk)
	low4, high := s.And(s.lane, lower.I32(15)), s.LShr(s.lane, 4)
	q := s.Add(s.swizzled(low4, high), s.Shl(s.rowHalf, 7))
	key := s.Add(s.And(s.lane, lower.I32(7)), s.Shl(high, 3))
	k := s.Add(s.swizzled(key, s.And(s.LShr(s.lane, 3), lower.I32(1))), s.Add(s.Shl(s.keyOf, 7), lower.I32(squareTile*panelBytes)))
	for i := range 4 {
		s.qLanes, s.kLanes = append(s.qLanes, s.Xor(q, lower.I32(int64(32*i)))), append(s.kLanes, s.Xor(k, lower.I32(int64(32*i))))
	}
}

// swizzled is the shared address of a 16-byte chunk of a row, as in the estimator's panels.
func (s *squaresKernel) swizzled(row, chunk Value) Value {
	lin := s.Add(s.Shl(row, 7), s.Shl(chunk, 4))
	return s.Add(s.Xor(lin, s.And(s.LShr(lin, 3), lower.I32(0x70))), s.shared)
}

// load starts the copies of step n into a stage: element n/panels of the antidiagonals, panel n%panels of the head dim.
func (s *squaresKernel) load(n, stage Value) {
	element := s.UDiv(n, lower.I32(int64(s.panels)))
	panel := s.Sub(n, s.Mul(element, lower.I32(int64(s.panels))))
	last := s.ICmp(enum.IPredEQ, panel, lower.I32(int64(s.panels-1)))
	inPanel := s.Or(s.Not(last), s.ICmp(enum.IPredULT, s.copyChunk, lower.I32(int64(s.lastChunks))))
	column := s.ZExt64(s.Add(s.Shl(panel, 7), s.Shl(s.copyChunk, 4)))
	to := s.Add(s.copy, stage)
	s.copyRows("q", "sq", s.q, s.row0, element, column, inPanel, to)
	opposite := s.Sub(s.Sub(s.fold, lower.I32(1)), element)
	s.copyRows("k", "sk", s.k, s.column0, opposite, column, inPanel, s.Add(to, lower.I32(squareTile*panelBytes)))
	s.CopyCommit()
}

// copyRows copies one element of every square of the tile; what lies past the end becomes zeros.
func (s *squaresKernel) copyRows(name, length string, base, square0, element, column, inPanel, to Value) {
	for i := range squareTile / squareRows {
		square := s.Add(s.Add(square0, s.copyRow), lower.I32(int64(i*squareRows)))
		row := s.Add(s.Mul(square, s.fold), element)
		in := s.And(inPanel, s.ICmp(enum.IPredSLT, row, s.Param(length)))
		from := s.Offset(s.Offset(base, s.Mul(s.ZExt64(row), s.Param(name+"_row"))), column)
		s.Copy16If(s.SharedAt(to, i*squareRows*panelBytes), from, s.Select(in, lower.I32(chunkBytes), lower.I32(0)))
	}
}

// products runs over the elements of the antidiagonals and the head dim, two stages in turn.
func (s *squaresKernel) products() scores {
	steps := s.Mul(s.fold, lower.I32(int64(s.panels)))
	s.load(lower.I32(0), lower.I32(0))
	init := []Value{lower.I32(0), lower.I32(0)}
	for range threadRows * threadCols {
		init = append(init, lower.F32(0))
	}
	out := s.Repeat("steps", init, func(v []Value) ([]Value, Value) {
		s.CopyWaitAll()
		s.Barrier()
		next, other := s.Add(v[0], lower.I32(1)), s.Xor(v[1], lower.I32(squareStage))
		more := s.ICmp(enum.IPredSLT, next, steps)
		s.If("ahead", more, nil, func() []Value {
			s.load(next, other)
			return nil
		})
		sum := s.multiply(unflat(v[2:]), v[1])
		return append([]Value{next, other}, sum.flat()...), more
	})
	return unflat(out[2:])
}

// multiply adds the products of one stage.
func (s *squaresKernel) multiply(acc scores, stage Value) (sum scores) {
	for step := range panelCols / 16 {
		var b [][]Value
		for n := range halfKeys / 16 {
			b = append(b, s.LdMatrix4(s.SharedAt(s.Add(s.kLanes[step], stage), n*16*panelBytes), false))
		}
		for m := range strips {
			a := s.LdMatrix4(s.SharedAt(s.Add(s.qLanes[step], stage), m*16*panelBytes), false)
			for n := range halfKeys / 8 {
				c := append(append([]Value(nil), acc[2*m][2*n:2*n+2]...), acc[2*m+1][2*n:2*n+2]...)
				d := s.MMA(s.dtype, a, b[n/2][2*(n%2):2*(n%2)+2], c)
				sum[2*m], sum[2*m+1] = append(sum[2*m], d[:2]...), append(sum[2*m+1], d[2:]...)
			}
		}
		acc, sum = sum, scores{}
	}
	return acc
}

// row is the row of squares of the thread's row i.
func (s *squaresKernel) row(i int) Value {
	return s.Add(s.Add(s.Add(s.row0, s.rowHalf), s.LShr(s.lane, 2)), lower.I32(int64(8*i)))
}

// column is the thread's column j of squares, within the warp's.
func (s *squaresKernel) column(j int) Value {
	return s.Add(s.Shl(s.quad, 1), lower.I32(int64(8*(j/2)+j%2)))
}

// blocks turns the sums of products into log2-sum-exps over the squares of each key block. Every thread has the value of the
// block that its column lies in.
func (s *squaresKernel) blocks(x scores) scores {
	var tops []Value
	for i, row := range x {
		end := s.Sub(s.seen(s.row(i)), s.Mul(s.Add(s.column0, s.keyOf), s.fold))
		var top Value = lower.F32(lowest)
		for j := range row {
			score := s.FMul(row[j], s.Param("scale"))
			in := s.And(s.ICmp(enum.IPredSLT, s.Mul(s.column(j), s.fold), end), s.FCmp(enum.FPredOLT, score, lower.F32(math.Inf(1))))
			row[j] = s.Select(in, score, lower.NegInf())
			top = s.FMax(top, row[j])
		}
		for _, lanes := range []int64{1, 2} {
			top = s.FMax(top, s.ShuffleXor(top, lanes))
		}
		for j := range row {
			row[j] = s.Exp2(s.FSub(row[j], top))
		}
		tops = append(tops, top)
	}
	x = unflat(s.addSquares(x.flat()))
	for i, row := range x {
		for j := range row {
			row[j] = s.FAdd(tops[i], s.Log2(row[j]))
		}
	}
	return x
}

// addSquares adds up the columns of each block: neighbours in the thread, in the lanes beside it, and eight columns further.
func (s *squaresKernel) addSquares(x []Value) []Value {
	partner := []func(j int) Value{
		func(j int) Value { return x[j^1] },
		func(j int) Value { return s.ShuffleXor(x[j], 1) },
		func(j int) Value { return s.ShuffleXor(x[j], 2) },
		func(j int) Value { return x[j^2] },
		func(j int) Value { return x[j^4] },
	}
	for level, other := range partner {
		together := s.ICmp(enum.IPredSGE, s.perBlock, lower.I32(2<<level))
		x = s.If("together", together, x, func() []Value {
			out := make([]Value, len(x))
			for j := range x {
				out[j] = s.FAdd(x[j], other(j))
			}
			return out
		})
	}
	return x
}

// store writes one value a key block.
func (s *squaresKernel) store(x scores) {
	keyBlocks := blocksOf(s.Builder, s.Param("sk"))
	pad := padTo64(s.Builder, keyBlocks)
	head := s.Mul(s.ZExt64(s.BlockZ()), s.ZExt64(s.Mul(s.Param("slab"), s.perBlock)))
	var blocks, wanted [threadCols]Value
	for j := range blocks {
		column := s.Add(s.Add(s.column0, s.keyOf), s.column(j))
		blocks[j] = s.UDiv(column, s.perBlock)
		leads := s.ICmp(enum.IPredEQ, s.Mul(blocks[j], s.perBlock), column)
		wanted[j] = s.And(leads, s.ICmp(enum.IPredSLT, blocks[j], keyBlocks))
	}
	for i, row := range x {
		at := s.Add(head, s.ZExt64(s.Sub(s.row(i), s.first)))
		line := s.Offset(s.Param("scores"), s.Shl(s.Mul(at, s.ZExt64(pad)), 2))
		there := s.ICmp(enum.IPredSLT, s.row(i), s.rows)
		for j, y := range row {
			s.If("block", s.And(there, wanted[j]), nil, func() []Value {
				s.Store(y, s.Offset(line, s.Shl(s.ZExt64(blocks[j]), 2)), 4)
				return nil
			})
		}
	}
}
