package index

import (
	"fmt"

	"github.com/llir/llvm/ir/enum"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/internal/codegen/lower"
)

// The Vertical-Slash estimator: how much attention the last queries of each head give to every key and to every distance.
//
// The probe rows of a head are its last min(64, sq) queries; row r of them stands at position q0+r. K is streamed twice, and
// no scores are stored:
//
//	probe_stats     per chunk of keys: maximum and sum of each probe row's softmax
//	probe_combine   the chunks of a row become its maximum and the log2 of its sum
//	probe_sums      P = 2^((scores - maximum) * scale) / sum again; its sums over the rows (columns) and along diagonals (distances)
//
// A logit that is NaN or +inf counts as masked: it adds nothing to any sum, and its row is normalised without it.
// Every sum has a fixed order, the same for all columns and for all distances: terms that are equal row by row give equal
// sums, and equal inputs equal bits. Maxima are products as they come out of q and k, without the scale: a product scaled and rounded
// would be off by more than 1 where it is beyond 2^24.

const (
	tileKeys   = 64           // keys of one tile
	halfKeys   = tileKeys / 2 // keys of one warp: two warps share a tile
	strips     = abi.ProbeRows / 16
	threadRows = 2 * strips // of the 64 rows, a thread holds 8: lane/4 + 8i
)

// EstimateConfig selects the estimator kernels. HeadsPerBlock is how many q heads of one kv head a block takes, sharing the K
// tile: 1, 2 or 4. Any group works with any of them; see HeadsPerBlock.
//
// Spread kernels take any 64 rows that lie a step apart; see spread.go. Kernels with Lengths, of which none are spread, read lengths from
// device memory.
type EstimateConfig struct {
	HeadDim       int
	DType         abi.DType
	HeadsPerBlock int
	Spread        bool
	Packed        int // rows of each head, 16 or 32; see packed.go. 0: a tile has the rows of one head
	Lengths       bool

	anyRows bool // as RecallStats takes them: up to 64 rows that lie a step apart, and keys in their order
}

func (c EstimateConfig) check() error {
	if err := abi.CheckHeadDim(c.HeadDim); err != nil {
		return err
	}
	if err := c.DType.Check(); err != nil {
		return err
	}
	if c.HeadsPerBlock != 1 && c.HeadsPerBlock != 2 && c.HeadsPerBlock != 4 {
		return fmt.Errorf("internal: estimator for %d heads a block, want 1, 2 or 4", c.HeadsPerBlock)
	}
	return nil
}

// HeadsPerBlock is the number of heads a block should take: as many of the group as there are and as fit into a block's
// shared memory (bytes). It is 0 if not even one fits.
func HeadsPerBlock(headDim, group, sharedBytes int) int {
	heads := 0
	for _, n := range []int{1, 2, 4} {
		fits := layoutOf(EstimateConfig{HeadDim: headDim, HeadsPerBlock: n}).sums <= sharedBytes
		if fits && (heads == 0 || n < 2*group) {
			heads = n
		}
	}
	return heads
}

// blocksPerSM bounds the registers: more blocks hide more, more registers need no spills, and more blocks than shared
// memory holds are no use.
func (c EstimateConfig) blocksPerSM() int {
	const sharedOfSM, reserved = 228 << 10, 1 << 10
	fit := sharedOfSM / (layoutOf(c).sums + reserved)
	return max(1, min(fit, map[int]int{1: 6, 2: 3, 4: 2}[c.HeadsPerBlock]))
}

// Shared memory: Q of every head, two tiles of K, then the exchange between warps. Q and K lie in panels of 64 columns,
// 128 bytes a row, the 16-byte chunk index XORed with the row modulo 8, so that ldmatrix meets no bank twice.
const (
	panelCols  = 64
	panelBytes = 2 * panelCols
	chunkBytes = 16
	panel      = 64 * panelBytes // bytes of the panel of 64 rows
)

type estimateLayout struct {
	panels      int
	lastChunks  int // 16-byte chunks of the last panel that hold columns
	k, exchange int // bytes from the start
	flags, kept int // of probe_stats: a word a warp, and another one
	minus       int // of probe_sums: a number for each row, by warp
	stats, sums int // bytes in all, by kernel
}

func layoutOf(c EstimateConfig) estimateLayout {
	l := estimateLayout{panels: (c.HeadDim + panelCols - 1) / panelCols}
	l.lastChunks = (c.HeadDim - (l.panels-1)*panelCols) * 2 / chunkBytes
	l.k = c.HeadsPerBlock * l.panels * panel
	l.exchange = l.k + 2*l.panels*panel
	l.flags = l.exchange + c.HeadsPerBlock*abi.ProbeRows*statBytes
	l.kept = l.flags + 2*c.HeadsPerBlock*flagBytes
	l.stats = l.kept + 2*c.HeadsPerBlock*flagBytes
	l.minus = l.exchange + 2*c.HeadsPerBlock*regionBytes
	l.sums = l.minus + 2*c.HeadsPerBlock*minusBytes
	return l
}

// estimator is the state of one lowering of probe_stats or probe_sums. A block has two warps a head ("slot"): each takes
// all 64 rows and 32 of the 64 keys that are in shared memory, so that a column's sum stays in one warp.
type estimator struct {
	*lower.Builder
	EstimateConfig
	estimateLayout

	shared, lane, quad, row Value // quad: lane within the four that share rows; row: first of the thread's rows
	slot, half              Value // of the warp
	kvHead, part            Value
	hb                      Value // b*hq + h of the warp's head
	valid                   Value // the warp's head exists and takes part: the last block of a group may have slots to spare
	row0, rows, q0          Value // the first probe row, how many there are, position of the first
	step                    Value // from row to row and from key to key of a tile; nil for 1
	rowStep                 Value // from row to row, where keys are not apart; nil: step
	tiles                   Value // tiles with keys that some row sees
	first, end              Value // tiles of this chunk
	pieces, flush           Value // of probe_sums: pieces of all tiles, and how many more diagonals need
	copies                  copyLane
	qLane, kLane            Value // where the lane reads Q and K
}

// Value is an LLVM value.
type Value = lower.Value

func (c EstimateConfig) newEstimator(entry string, params []lower.Param) *estimator {
	threads := 64 * c.HeadsPerBlock
	e := &estimator{EstimateConfig: c, estimateLayout: layoutOf(c)}
	e.Builder = lower.NewKernel(entry, params, threads, c.blocksPerSM())
	e.locate()
	return e
}

func (e *estimator) locate() {
	e.shared = e.SharedBase()
	tid := e.ThreadX()
	e.lane = e.And(tid, lower.I32(31))
	e.quad, e.row = e.And(e.lane, lower.I32(3)), e.LShr(e.lane, 2)
	e.slot, e.half = e.LShr(tid, 6), e.And(e.LShr(tid, 5), lower.I32(1))
	group := e.Param("group")
	parts := e.UDiv(e.Add(group, lower.I32(int64(e.HeadsPerBlock-1))), lower.I32(int64(e.HeadsPerBlock)))
	e.kvHead = e.UDiv(e.BlockY(), parts)
	e.part = e.Sub(e.BlockY(), e.Mul(e.kvHead, parts))
	e.valid = e.ICmp(enum.IPredSLT, e.Add(e.Mul(e.part, lower.I32(int64(e.HeadsPerBlock))), e.slot), group)
	e.hb = e.Add(e.Mul(e.BlockZ(), e.Param("hq")), e.headOf(e.slot))
	e.leaveAbsent()
	e.Entry = e.BlockZ
	switch {
	case e.Spread:
		e.locateSpread()
	case e.anyRows:
		e.locateRows()
	default:
		e.locateLast()
	}
	e.first = e.Mul(e.BlockX(), e.Param("chunk_tiles"))
	e.end = e.Min(e.Add(e.first, e.Param("chunk_tiles")), e.tiles)
	e.copies = e.newCopyLane()
	e.newLanes()
}

// leaveAbsent ends the block if none of its heads takes part. Where some do, the others are computed beside them and not
// stored.
func (e *estimator) leaveAbsent() {
	if e.Packed > 0 {
		e.LeaveUnless(e.SomeTakePart(e.firstOfGroup(), e.Param("q_group")), nil)
		return
	}
	in := e.Mul(e.part, lower.I32(int64(e.HeadsPerBlock)))
	first := e.Add(e.Mul(e.BlockZ(), e.Param("hq")), e.Add(e.Mul(e.kvHead, e.Param("group")), in))
	n := e.Min(lower.I32(int64(e.HeadsPerBlock)), e.Sub(e.Param("group"), in))
	e.LeaveUnless(e.SomeTakePart(first, n), nil)
	e.valid = e.And(e.valid, e.TakesPart(e.hb))
}

// locateLast takes the last rows.
func (e *estimator) locateLast() {
	e.rows = e.Min(e.mostRows(), e.Length("sq"))
	last := e.Add(e.Length("q_offset"), e.Length("sq"))
	e.q0 = e.Sub(last, e.rows)
	e.tiles = e.tilesOf(e.Min(e.Length("sk"), last))
}

// headOf is the q head of a slot. Slots to spare repeat the last head of the group and store nothing.
func (e *estimator) headOf(slot Value) Value {
	in := e.Add(e.Mul(e.part, lower.I32(int64(e.HeadsPerBlock))), slot)
	in = e.Min(in, e.Sub(e.Param("group"), lower.I32(1)))
	return e.Add(e.Mul(e.kvHead, e.Param("group")), in)
}

// warpWord is the address of the warp's word in the array at an offset of shared memory.
func (e *estimator) warpWord(at int) Value {
	warp := e.Add(e.Shl(e.slot, 1), e.half)
	return e.SharedAt(e.Add(e.shared, e.Shl(warp, 2)), at)
}

func (e *estimator) tilesOf(keys Value) Value {
	return e.LShr(e.Add(keys, lower.I32(tileKeys-1)), 6)
}

// probeRow is row i of the thread's eight, among the rows of its head.
func (e *estimator) probeRow(i int) Value { return e.Add(e.row, lower.I32(int64(8*(i%e.headRows())))) }

// element is the address of element i (i64) of an array of 4-byte elements.
func (e *estimator) element(array string, i Value) Value {
	return e.Offset(e.Param(array), e.Shl(i, 2))
}

// kernel ends the lowering.
func (e *estimator) kernel(entry string, params []lower.Param, shared int) *lower.Kernel {
	e.Block.NewRet(nil)
	return &lower.Kernel{Module: e.Module, Entry: entry, Threads: 64 * e.HeadsPerBlock, SharedBytes: shared, Params: params}
}

// tileLoop runs body for every tile of the chunk that some row sees, with the scores of the warp's half. K of the next tile
// arrives while one is computed. body takes state on.
func tileLoop[T any, P lower.State[T]](e *estimator, state T, body func(s scores, state T) T) T {
	return tileLoopOf[T, P](e, state, func(tile Value) scores {
		return e.maskEdge(e.scores(e.bufferOf(tile), nil), e.halfKey(tile, e.half))
	}, body)
}

// tileLoopOf is tileLoop with other scores of a tile.
func tileLoopOf[T any, P lower.State[T]](e *estimator, state T, scoresOf func(tile Value) scores, body func(s scores, state T) T) T {
	halves := func(tile Value) func(half int) Value {
		return func(half int) Value { return e.halfKey(tile, lower.I32(int64(half))) }
	}
	e.If("load_first", e.ICmp(enum.IPredSLT, e.first, e.end), func() {
		e.loadQ()
		e.loadK(halves(e.first), e.bufferOf(e.first))
	})
	e.CopyCommit()
	type walk = lower.Walk[T, P]
	return lower.While(e.Builder, "tile", lower.Walking[T, P](e.first, state),
		func(tile walk) Value { return e.ICmp(enum.IPredSLT, tile.At, e.end) },
		func(tile walk) walk {
			e.CopyWaitAll()
			e.Barrier()
			next := e.Add(tile.At, lower.I32(1))
			e.If("load_next", e.ICmp(enum.IPredSLT, next, e.end), func() {
				e.loadK(halves(next), e.bufferOf(next))
			})
			e.CopyCommit()
			return lower.Walking[T, P](next, body(scoresOf(tile.At), tile.Of))
		}).Of
}

// bufferOf is which of the two buffers of K the tile or step with a number uses.
func (e *estimator) bufferOf(n Value) Value { return e.And(n, lower.I32(1)) }

// halfKey is the first key of a half of a tile.
func (e *estimator) halfKey(tile, half Value) Value {
	return e.Add(e.firstKey(tile), e.apart(e.Shl(half, 5)))
}
