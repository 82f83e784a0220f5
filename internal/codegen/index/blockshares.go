package index

import (
	"github.com/llir/llvm/ir/enum"
	"github.com/llir/llvm/ir/types"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/internal/codegen/lower"
)

// The parameters of block_shares.
//
//	scores      float32 [H, slab*64/fold, kb_pad]: of every fold-th query row, 64 for one row a row block
//	sums        null, or what is added to each score when it is scaled; the same shape
//	shares      float32 [H, slab, kb_pad]; scores itself where a row block has one row
//	slab_start  first row block of the slab
//	slab        row blocks of the slab
//	fold        a divisor of 64
//	scale       of the scores, to scores of base 2
//
// Launch: grid (row blocks of the slab, H).

const (
	sharesThreads = 256
	sharesStats   = 8 * sharesThreads / 32    // bytes of the warps' maxima and sums
	sharesShared  = sharesStats + 8*blockSize // and every row's maximum and log2 of its sum
)

// sharesKernel is the state of one lowering.
type sharesKernel struct {
	*blockKernel
	candidates, pad Value
	rows            Value // score rows of the row block
	scores, sums    Value // of the row block
	summed          Value // i1: sums are there
	shares          Value // of the row block
	rowBytes        Value // i64, of a row of scores
}

// BlockShares turns scores into shares of a whole: each row's softmax over the key blocks that the row block sees, and of
// these the mean over the rows. A score that is NaN or +inf counts as masked; a row with no other score has no shares.
// Every sum has a fixed order.
func BlockShares(lengths bool) (*lower.Kernel, error) {
	s := &sharesKernel{blockKernel: newBlockKernel(entryOf(abi.BlockShares, lengths), sharesThreads)}
	s.LeaveUnless(s.TakesPart(s.BlockY()), nil)
	s.Entry = func() Value { return s.UDiv(s.BlockY(), s.Param("hq")) }
	leaveAbsent(s.Builder, s.Add(s.Param("slab_start"), s.BlockX()), nil)
	s.locate()
	s.While("row", lower.I32(0), func(row Value) Value {
		return s.ICmp(enum.IPredSLT, row, s.rows)
	}, func(row Value) Value {
		s.normalise(row)
		return s.Add(row, lower.I32(1))
	})
	s.Barrier()
	s.write()
	s.Block.NewRet(nil)
	return s.finish(sharesShared), nil
}

func (s *sharesKernel) locate() {
	t := s.Add(s.Param("slab_start"), s.BlockX())
	keyBlocks := blocksOf(s.Builder, s.Param("sk"))
	s.pad = padTo64(s.Builder, keyBlocks)
	s.candidates = candidates(s.Builder, t, keyBlocksOf(s.Builder, keyBlocks))
	fold := s.Param("fold")
	queries := s.Min(lower.I32(blockSize), s.Sub(s.Length("sq"), s.Shl(t, blockLog)))
	s.rows = s.UDiv(s.Add(queries, s.Sub(fold, lower.I32(1))), fold)
	block := s.Add(s.Mul(s.ZExt64(s.BlockY()), s.ZExt64(s.Param("slab"))), s.ZExt64(s.BlockX()))
	s.rowBytes = s.Shl(s.ZExt64(s.pad), 2)
	s.shares = s.Offset(s.Param("shares"), s.Mul(block, s.rowBytes))
	first := s.Mul(block, s.ZExt64(s.UDiv(lower.I32(blockSize), fold)))
	s.scores, s.sums = s.Offset(s.Param("scores"), s.Mul(first, s.rowBytes)), s.Offset(s.Param("sums"), s.Mul(first, s.rowBytes))
	s.summed = s.ICmp(enum.IPredNE, s.Address(s.Param("sums")), lower.I64(0))
}

// score is a row's score of key block b, -inf where it says nothing, and what is added to it when it is scaled.
func (s *sharesKernel) score(row, b Value) (x, sum Value) {
	line := s.Mul(s.ZExt64(row), s.rowBytes)
	x = s.Load(types.Float, s.at(s.Offset(s.scores, line), b), 4)
	sum = s.Choose("summed", s.summed, lower.F32(0), func() Value {
		return s.Load(types.Float, s.at(s.Offset(s.sums, line), b), 4)
	})
	return s.Select(s.FCmp(enum.FPredOLT, x, infinity), x, lower.NegInf()), sum
}

func (s *sharesKernel) join(x, y stat) stat { return joinStats(s.Builder, s.Param("scale"), x, y) }

// normalise leaves a row's maximum and log2 of its sum in shared memory, 0 and +inf for one that sees nothing.
func (s *sharesKernel) normalise(row Value) {
	stats := lower.While(s.Builder, "score", lower.Walking(s.tid, noStat), func(b statWalk) Value {
		return s.ICmp(enum.IPredSLT, b.At, s.candidates)
	}, func(b statWalk) statWalk {
		x, sum := s.score(row, b.At)
		joined := s.join(b.Of, stat{x, s.Exp2(sum)})
		return lower.Walking(s.Add(b.At, lower.I32(sharesThreads)), joined)
	}).Of
	for lanes := int64(1); lanes < 32; lanes *= 2 {
		stats = s.join(stats, stat{s.ShuffleXor(stats.m, lanes), s.ShuffleXor(stats.l, lanes)})
	}
	mine := s.Add(s.shared, s.Shl(s.warp, 3))
	s.Barrier() // the warps' numbers of the row before are read
	s.If("leader", s.ICmp(enum.IPredEQ, s.lane, lower.I32(0)), func() {
		s.Store(stats.m, s.SharedAt(mine, 0), 4)
		s.Store(stats.l, s.SharedAt(mine, 4), 4)
	})
	s.Barrier()
	s.If("join", s.ICmp(enum.IPredEQ, s.tid, lower.I32(0)), func() {
		for w := 1; w < sharesThreads/32; w++ {
			m := s.Load(types.Float, s.SharedAt(s.shared, 8*w), 4)
			stats = s.join(stats, stat{m, s.Load(types.Float, s.SharedAt(s.shared, 8*w+4), 4)})
		}
		some := s.FCmp(enum.FPredOGT, stats.l, lower.F32(0))
		at := s.Add(s.shared, s.Shl(row, 3))
		s.Store(s.Select(some, stats.m, lower.F32(0)), s.SharedAt(at, sharesStats), 4)
		s.Store(s.Select(some, s.Log2(stats.l), infinity), s.SharedAt(at, sharesStats+4), 4)
	})
}

// write adds a key block's shares of all rows up.
func (s *sharesKernel) write() {
	part := s.Rcp(s.Block.NewSIToFP(s.rows, types.Float))
	s.While("share", s.tid, func(b Value) Value {
		return s.ICmp(enum.IPredSLT, b, s.candidates)
	}, func(b Value) Value {
		start := lower.Fold{At: lower.I32(0), Made: lower.F32(0)}
		sum := lower.While(s.Builder, "of_row", start, func(row lower.Fold) Value {
			return s.ICmp(enum.IPredSLT, row.At, s.rows)
		}, func(row lower.Fold) lower.Fold {
			at := s.Add(s.shared, s.Shl(row.At, 3))
			top := s.Load(types.Float, s.SharedAt(at, sharesStats), 4)
			log := s.Load(types.Float, s.SharedAt(at, sharesStats+4), 4)
			x, sum := s.score(row.At, b)
			share := s.Exp2(s.FMA(s.FSub(x, top), s.Param("scale"), s.FSub(sum, log)))
			return lower.Fold{At: s.Add(row.At, lower.I32(1)), Made: s.FAdd(row.Made, share)}
		}).Made
		s.Store(s.FMul(sum, part), s.at(s.shares, b), 4)
		return s.Add(b, lower.I32(sharesThreads))
	})
}
