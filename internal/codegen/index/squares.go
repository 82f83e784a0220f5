package index

import (
	"fmt"
	"slices"

	"github.com/llir/llvm/ir/enum"
	"github.com/llir/llvm/ir/types"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/internal/codegen/lower"
)

// The parameters of square_scores. Queries and keys are cut into squares of fold by fold; the score of
// a square is the mean of the logits on its antidiagonal (XAttention, arXiv 2503.16428), rows and keys past the end count
// as 0. A square counts if it begins no later than its last query. Strides are in bytes.
//
//	scores      float32 [H, slab*64/fold, kb_pad]: for a row of squares and a block of 64 keys the largest sum of products along an
//	            antidiagonal of the block's squares, -inf if none counts; written where the row's block of 64 queries sees the
//	            key block
//	sums        float32, the same shape: log2 of the sum of 2^((sum of products - largest one)*scale) over the squares of the block
//	slab_start  first row block of the slab
//	slab        row blocks of the slab
//	fold        a power of 2 from 2 to 64
//	scale       of the sum of products along an antidiagonal: log2(e) * softmax scale / fold
//
// Launch: grid (columns of squares/squareTile, rows of squares of the slab/squareTile, both rounded up; H).

// A block of eight warps multiplies 128 rows of squares by 128 columns, each warp 64 by 32. A stage holds 64 elements of the
// head dim of one query and one key of every square.
const (
	squareTile    = abi.SquareTile
	squareThreads = 256
	squareStage   = 2 * squareTile * panelBytes
	squareRows    = squareThreads / 8 // rows that all threads copy at a time
	squarePitch   = squareTile + 1    // floats of a row of the products: threads that look at a row each meet no bank twice
	squareShared  = max(2*squareStage, 4*squareTile*squarePitch)
)

// squaresKernel is the state of one lowering.
type squaresKernel struct {
	*lower.Builder
	dtype                    abi.DType
	panels, lastChunks       int
	shared, tid              Value
	fold, perBlock           Value // rows of a square, and squares of a block's side
	row0, rows, column0      Value // first row of squares of the tile, and rows of the slab; first column
	first                    Value // row of squares of the slab's first
	q, k                     lower.Rows
	qLane, kLane             Value
	copyRow, copyChunk, copy Value
}

// SquareScores sums the products of each square's antidiagonal: one product of queries and keys that are fold apart for each
// of its elements, all in the same accumulators.
func SquareScores(headDim int, dtype abi.DType, lengths bool) (*lower.Kernel, error) {
	if err := abi.CheckHeadDim(headDim); err != nil {
		return nil, err
	}
	if dtype != abi.BF16 && dtype != abi.F16 {
		return nil, fmt.Errorf("data type %q is not supported: want bf16 or f16", dtype)
	}
	entry := entryOf(abi.SquareScores, lengths)
	s := &squaresKernel{Builder: lower.NewKernel(entry, abi.IndexParams[entry], squareThreads, 2), dtype: dtype}
	s.panels = (headDim + panelCols - 1) / panelCols
	s.lastChunks = (headDim - (s.panels-1)*panelCols) * 2 / chunkBytes
	s.emit()
	return &lower.Kernel{Module: s.Module, Entry: entry, Threads: squareThreads, SharedBytes: squareShared,
		Params: abi.IndexParams[entry]}, nil
}

func (s *squaresKernel) emit() {
	s.LeaveUnless(s.TakesPart(s.BlockZ()), nil)
	s.Entry = func() Value { return s.UDiv(s.BlockZ(), s.Param("hq")) }
	s.locate()
	lastRow := s.Min(s.Add(s.row0, lower.I32(squareTile)), s.rows)
	some := s.ICmp(enum.IPredSLT, s.Mul(s.column0, s.fold), s.seen(s.Sub(lastRow, lower.I32(1))))
	s.If("tile", s.And(some, s.ICmp(enum.IPredSLT, s.row0, s.rows)), func() {
		s.prepare()
		s.putProducts(s.products())
		s.blocks()
	})
	s.Block.NewRet(nil)
}

func (s *squaresKernel) locate() {
	s.shared, s.tid = s.SharedBase(), s.ThreadX()
	s.fold = s.Param("fold")
	s.perBlock = s.UDiv(lower.I32(blockSize), s.fold)
	s.first = s.Mul(s.Param("slab_start"), s.perBlock)
	all := s.UDiv(s.Add(s.Length("sq"), s.Sub(s.fold, lower.I32(1))), s.fold)
	s.rows = s.Min(all, s.Add(s.first, s.Mul(s.Param("slab"), s.perBlock)))
	s.row0 = s.Add(s.first, s.Mul(s.BlockY(), lower.I32(squareTile)))
	s.column0 = s.Mul(s.BlockX(), lower.I32(squareTile))
}

// seen is the number of keys up to the last query of a row of squares.
func (s *squaresKernel) seen(row Value) Value {
	end := s.Min(s.Mul(s.Add(row, lower.I32(1)), s.fold), s.Length("sq"))
	return s.Min(s.Add(s.Length("q_offset"), end), s.Length("sk"))
}

// prepare finds the thread's copies and the addresses that ldmatrix reads.
func (s *squaresKernel) prepare() {
	head := s.Block.NewURem(s.BlockZ(), s.Param("hq"))
	batch := lower.Is(s.ZExt64(s.UDiv(s.BlockZ(), s.Param("hq"))))
	s.q = s.RowsOf("q", lower.Is(head), batch).Start()
	s.k = s.RowsOf("k", lower.Is(s.UDiv(head, s.Param("group"))), batch).Start()
	s.copyRow, s.copyChunk = s.LShr(s.tid, 3), s.And(s.tid, lower.I32(7))
	s.copy = s.swizzled(s.copyRow, s.copyChunk)
	lane, rowHalf, keyOf := s.lanePart()
	low4, high := s.And(lane, lower.I32(15)), s.LShr(lane, 4)
	s.qLane = s.Add(s.swizzled(low4, high), s.Shl(rowHalf, 7))
	key := s.Add(s.And(lane, lower.I32(7)), s.Shl(high, 3))
	s.kLane = s.Add(s.swizzled(key, s.And(s.LShr(lane, 3), lower.I32(1))), s.Add(s.Shl(keyOf, 7), lower.I32(squareTile*panelBytes)))
}

// lanePart is the thread's number in its warp and the warp's part of the tile: where its 64 rows and its 32 columns begin. They are
// computed again where they are needed, so that they do not live through the loop.
func (s *squaresKernel) lanePart() (lane, rowHalf, keyOf Value) {
	tid := s.ThreadX()
	warp := s.LShr(tid, 5)
	return s.And(tid, lower.I32(31)), s.Shl(s.And(warp, lower.I32(1)), 6), s.Shl(s.LShr(warp, 1), 5)
}

// swizzled is the shared address of a 16-byte chunk of a row, as in the estimator's panels.
func (s *squaresKernel) swizzled(row, chunk Value) Value {
	lin := s.Add(s.Shl(row, 7), s.Shl(chunk, 4))
	return s.Add(s.Xor(lin, s.And(s.LShr(lin, 3), lower.I32(0x70))), s.shared)
}

// load starts the copies of step n into a stage: element n/panels of the antidiagonals, panel n%panels of the head dim.
func (s *squaresKernel) load(n, stage Value) {
	element := s.UDivBy(n, s.panels)
	panel := s.Sub(n, s.MulBy(element, s.panels))
	last := s.ICmp(enum.IPredEQ, panel, lower.I32(int64(s.panels-1)))
	inPanel := s.Or(s.Not(last), s.ICmp(enum.IPredULT, s.copyChunk, lower.I32(int64(s.lastChunks))))
	column := s.ZExt64(s.Add(s.Shl(panel, 7), s.Shl(s.copyChunk, 4)))
	to := s.Add(s.copy, stage)
	s.copyRows("sq", s.q, s.row0, element, column, inPanel, to)
	opposite := s.Sub(s.Sub(s.fold, lower.I32(1)), element)
	s.copyRows("sk", s.k, s.column0, opposite, column, inPanel, s.Add(to, lower.I32(squareTile*panelBytes)))
	s.CopyCommit()
}

// copyRows copies one element of every square of the tile; what lies past the end becomes zeros.
func (s *squaresKernel) copyRows(length string, rows lower.Rows, square0, element, column, inPanel, to Value) {
	for i := range squareTile / squareRows {
		square := s.Add(s.Add(square0, s.copyRow), lower.I32(int64(i*squareRows)))
		row := s.Add(s.Mul(square, s.fold), element)
		in := s.And(inPanel, s.ICmp(enum.IPredSLT, row, s.Length(length)))
		from := s.Offset(rows.At(row), column)
		s.Copy16If(s.SharedAt(to, i*squareRows*panelBytes), from, s.Select(in, lower.I32(chunkBytes), lower.I32(0)))
	}
}

// products runs over the elements of the antidiagonals and the head dim, two stages in turn.
func (s *squaresKernel) products() scores {
	steps := s.Mul(s.fold, lower.I32(int64(s.panels)))
	s.load(lower.I32(0), lower.I32(0))
	var whole scores
	for i := range whole {
		whole[i] = slices.Repeat([]Value{lower.F32(0)}, threadCols)
	}
	stage := func(n Value) Value { return s.Mul(s.And(n, lower.I32(1)), lower.I32(squareStage)) }
	type walk = lower.Walk[scores, *scores]
	return lower.Repeat(s.Builder, "steps", lower.Walking(lower.I32(0), whole), func(step walk) (walk, Value) {
		s.CopyWaitAll()
		s.Barrier()
		next := s.Add(step.At, lower.I32(1))
		more := s.ICmp(enum.IPredSLT, next, steps)
		s.If("ahead", more, func() {
			s.load(next, stage(next))
		})
		return lower.Walking(next, s.multiply(step.Of, stage(step.At))), more
	}).Of
}

// multiply adds the products of one stage. The k-steps of 16 columns differ by an XOR, which is as good after the stage is added as
// before: one address of each operand lives through the loop, not four.
func (s *squaresKernel) multiply(acc scores, stage Value) (sum scores) {
	qStage, kStage := s.Add(s.qLane, stage), s.Add(s.kLane, stage)
	for step := range panelCols / 16 {
		q, k := s.Xor(qStage, lower.I32(int64(32*step))), s.Xor(kStage, lower.I32(int64(32*step)))
		var b [][]Value
		for n := range halfKeys / 16 {
			b = append(b, s.LdMatrix4(s.SharedAt(k, n*16*panelBytes), false))
		}
		for m := range strips {
			a := s.LdMatrix4(s.SharedAt(q, m*16*panelBytes), false)
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

// putProducts leaves the tile in shared memory, where the stages were.
func (s *squaresKernel) putProducts(x scores) {
	s.Barrier()
	lane, rowHalf, keyOf := s.lanePart()
	row, quad := s.Add(rowHalf, s.LShr(lane, 2)), s.And(lane, lower.I32(3))
	at := s.Add(s.shared, s.Shl(s.Add(s.Mul(row, lower.I32(squarePitch)), s.Add(keyOf, s.Shl(quad, 1))), 2))
	x.each(func(i, j int, y Value) Value {
		s.Store(y, s.SharedAt(at, 4*(8*i*squarePitch+8*(j/2)+j%2)), 4)
		return nil
	})
	s.Barrier()
}

// squareLine is what a thread looks at: one row of squares of the tile, and every second one of its blocks.
type squareLine struct {
	at    Value // shared address of the row
	limit Value // columns of the tile from here on do not count
	to    Value // i64, byte of the row's first block in scores and sums
	last  Value // the number of the last block that is there, relative to the tile's first one
}

func (s *squaresKernel) line(row Value) squareLine {
	keyBlocks := blocksOf(s.Builder, s.Param("sk"))
	first := s.UDiv(s.column0, s.perBlock)
	seen := s.UDiv(s.Add(s.seen(s.Add(s.row0, row)), s.Sub(s.fold, lower.I32(1))), s.fold)
	head := s.Mul(s.ZExt64(s.BlockZ()), s.ZExt64(s.Mul(s.Param("slab"), s.perBlock)))
	at := s.Add(head, s.ZExt64(s.Sub(s.Add(s.row0, row), s.first)))
	return squareLine{
		at:    s.Add(s.shared, s.Mul(row, lower.I32(4*squarePitch))),
		limit: s.Sub(seen, s.column0),
		to:    s.Shl(s.Add(s.Mul(at, s.ZExt64(padTo64(s.Builder, keyBlocks))), s.ZExt64(first)), 2),
		last:  s.Sub(s.Sub(keyBlocksOf(s.Builder, keyBlocks), lower.I32(1)), first),
	}
}

// blocks turns the sums of products into the maxima of key blocks and the log2 of their sums. They depend on nothing outside of the
// block and are taken in order of the columns, so that equal blocks have equal ones.
func (s *squaresKernel) blocks() {
	row := s.And(s.tid, lower.I32(squareTile-1))
	l := s.line(row)
	number := s.UDiv(lower.I32(squareTile), s.perBlock)
	there := s.ICmp(enum.IPredSLT, s.Add(s.row0, row), s.rows)
	end := s.Select(there, s.Min(number, s.Add(l.last, lower.I32(1))), lower.I32(0))
	s.While("block", s.LShr(s.tid, 7), func(block Value) Value {
		return s.ICmp(enum.IPredSLT, block, end)
	}, func(block Value) Value {
		column := s.Mul(block, s.perBlock)
		top := s.foldSquares(l, column, lower.NegInf(), s.FMax)
		finite := s.FMax(top, lower.F32(lowest))
		sum := s.foldSquares(l, column, lower.F32(0), func(sum, x Value) Value {
			return s.FAdd(sum, powerOf(s.Builder, x, finite, s.Param("scale")))
		})
		log := s.Select(s.FCmp(enum.FPredOGT, sum, lower.F32(0)), s.Log2(sum), lower.F32(0))
		to := s.Add(l.to, s.Shl(s.ZExt64(block), 2))
		s.Store(top, s.Offset(s.Param("scores"), to), 4)
		s.Store(log, s.Offset(s.Param("sums"), to), 4)
		return s.Add(block, lower.I32(squareThreads/squareTile))
	})
}

// foldSquares folds the squares of a block, a few at a time; squares that do not count are -inf.
func (s *squaresKernel) foldSquares(l squareLine, column, start Value, fold func(x, y Value) Value) Value {
	const atOnce = 4
	return lower.While(s.Builder, "square", lower.Fold{At: lower.I32(0), Made: start}, func(square lower.Fold) Value {
		return s.ICmp(enum.IPredSLT, square.At, s.perBlock)
	}, func(square lower.Fold) lower.Fold {
		out, room := square.Made, s.Min(l.limit, s.Add(column, s.perBlock))
		for i := range atOnce {
			at := s.Add(s.Add(column, square.At), lower.I32(int64(i)))
			x := s.Load(types.Float, s.SharedAt(s.Add(l.at, s.Shl(s.Min(at, lower.I32(squareTile-1)), 2)), 0), 4)
			in := s.And(s.ICmp(enum.IPredSLT, at, room), s.FCmp(enum.FPredOLT, x, infinity))
			out = fold(out, s.Select(in, x, lower.NegInf()))
		}
		return lower.Fold{At: s.Add(square.At, lower.I32(atOnce)), Made: out}
	}).Made
}
