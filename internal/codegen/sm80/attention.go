// Package sm80 lowers a schedule to a flash-attention forward kernel for sm_80 and later: ldmatrix, mma.sync, cp.async.
//
// One block computes one row tile of one head. It walks the schedule's key tiles from the diagonal down; while a tile's
// scores are computed its V arrives, and while its softmax and second product run the next K arrives:
//
//	wait K | start V | S = Q K^T | mask, if the tile is an edge | wait V | start next K | softmax, O += P V
//
// The online softmax works in base 2 (FlashAttention-2, arXiv 2307.08691, section 3.1). A schedule of ranges walks pieces
// (walk.go), one with lists a queue of slots (queue.go); all else is the same. docs/sm80.md and docs/vertical-slash.md have
// the reasons and measurements.
package sm80

import (
	"github.com/llir/llvm/ir/enum"
	"github.com/llir/llvm/ir/types"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/internal/codegen/lower"
	"github.com/minfc/minfc/ir"
)

// Entry is the name of the kernel.
const Entry = "attention"

// Value is an LLVM value.
type Value = lower.Value

// kernel is the state of one lowering. Names follow the literature: rows are queries, m the running row maximum of scores
// (scaled, in the log2 domain), l the running row sum of this thread's columns, o the unnormalised output.
type kernel struct {
	lower.RowTile // a step computes keys/SlotKeys slots
	shape
	layout
	headDim int

	strips int   // 16-row strips of a warp that are computed at a time
	before Value // rows of the tile before theirs, nil for none

	shared Value // start of shared memory
	warp   Value // the warp's number in the block
	walk   tileWalk
	exact  bool // the tile is computed with care (see lower/exact.go); m are raw maxima then
}

// Attention lowers s to a kernel of its own.
func (Backend) Attention(s *ir.Schedule, cfg lower.Config) (*lower.Kernel, error) {
	if err := lower.CheckLists(s); err != nil {
		return nil, err
	}
	sh := shapeFor(cfg.HeadDim, len(s.Lists()) > 0)
	params := abi.WithLengths(abi.Params(s), cfg.Lengths)
	k := newKernel(lower.NewKernel(Entry, params, sh.threads(), sh.minBlocks), s, cfg, sh)
	k.At = k.BlockWorkTile()
	k.LeaveOthers(k.HeadIndex())
	k.LeaveAbsent()
	k.emit()
	return &lower.Kernel{Module: k.Module, Entry: Entry, Threads: sh.threads(), SharedBytes: k.total, Params: params}, nil
}

// newKernel is a kernel that is to be emitted with b, in blocks of shape sh.
func newKernel(b *lower.Builder, s *ir.Schedule, cfg lower.Config, sh shape) *kernel {
	lists, slotKeys := len(s.Lists()) > 0, sh.keys
	if lists {
		slotKeys = ir.BlockSize
	}
	k := &kernel{
		RowTile: lower.RowTile{Builder: b, Schedule: s, Rows: sh.rows, SlotKeys: slotKeys, DType: cfg.DType, Scores: cfg.Scores},
		shape:   sh, layout: layoutFor(sh, cfg.HeadDim, max(1, len(s.Segments)), lists),
		headDim: cfg.HeadDim, strips: sh.rows / (16 * sh.warps),
	}
	if s.SomeByGroup() {
		k.layout = k.withListHead()
	}
	k.bind()
	return k
}

// bind makes k the kernel that its parts ask.
func (k *kernel) bind() {
	k.Query = func(strip, r int) Value { return k.Add(k.First(), k.rowOf(strip, r)) }
	k.RowOf = func(i int) Value { return k.rowOf(i/2, i%2) }
	k.walk = pieces{k}
	if k.HasLists() {
		k.walk = &queue{k: k}
	}
}

func (k *kernel) emit() {
	k.locate()
	k.HoldLengths("sq", "sk", "q_offset")
	k.holdListHead()
	k.Segs = k.Builder.Segments(lower.NonEmpty(k.Schedule))
	k.noDoubt()
	k.epilogue(k.tile())
	k.reportSkips()
	k.If("again", k.doubtful(), func() {
		k.again()
	})
	k.Block.NewRet(nil)
}

// holdListHead keeps the number of the block's lists by group in shared memory.
func (k *kernel) holdListHead() {
	if k.listHead == 0 {
		return
	}
	at := k.SharedAt(k.shared, k.listHead)
	k.If("list_head", k.ICmp(enum.IPredEQ, k.ThreadX(), lower.I32(0)), func() {
		k.Store(k.GroupListHead(), at, 4)
	})
	k.Barrier()
	k.HoldListHead(func() Value { return k.Load(types.I32, k.SharedAt(k.shared, k.listHead), 4) })
}

// tile computes the block's tile.
func (k *kernel) tile() rowState {
	work := &tileWork{kernel: k, load: k.newLoader()}
	work.load.q()
	work.lanes = k.newLaneAddresses()
	start, initial := k.walk.start(), k.initial()
	none := k.ICmp(enum.IPredEQ, start.done, lower.I32(1))
	entry := k.Block
	prologue, loop := k.NewBlock("prologue"), k.NewBlock("loop")
	k.Enter(prologue)
	if k.HasLists() { // a group of Q's own
		k.CopyCommit()
	}
	work.load.kv(work.load.k, k.walk.slots(start))
	k.CopyCommit()
	if k.HasLists() {
		work.loadQ()
		look, vote := k.columnWordsOf(start)
		look()
		vote()
	}
	k.Br(loop)
	from := k.Block

	k.Enter(loop)
	carried := lower.Open(k.Builder, state{start, initial}, from)
	end := work.iteration(carried.State)
	more := k.ICmp(enum.IPredEQ, end.at.done, lower.I32(0))
	latch := k.Block
	exit := k.NewBlock("exit")
	latch.NewCondBr(more, loop, exit)
	carried.Close(end, latch)

	// A tile that keeps nothing still has its Q copies in flight, and the epilogue writes over Q.
	empty := k.NewBlock("empty")
	epilogue := k.NewBlock("epilogue")
	entry.NewCondBr(none, empty, prologue)
	exit.NewBr(epilogue)
	k.Enter(empty)
	k.CopyCommit()
	k.CopyWaitAll()
	k.Barrier()
	k.Br(epilogue)
	k.Enter(epilogue)
	return lower.Join(k.Builder, state{rowState: end.rowState}, exit, state{rowState: initial}, empty).rowState
}

// tileWork is what all steps of a tile share.
type tileWork struct {
	*kernel
	load  loader
	lanes laneAddresses
	q     [][]Value // fragments of Q of every k-step where they fit registers, else nil
}

// locate finds the thread and the block's tile.
func (k *kernel) locate() {
	k.shared = k.SharedBase()
	tid := k.ThreadX()
	k.Lane = k.And(tid, lower.I32(31))
	k.warp = k.LShr(tid, 5)
}

// iteration computes one key tile and returns the state for the next.
func (k *tileWork) iteration(st state) state {
	k.CopyWaitAll()
	k.Barrier()
	k.load.kv(k.load.v, k.walk.slots(st.at))
	k.CopyCommit()
	s, slots := k.scores(), k.walk.slots(st.at)
	s = k.maskSlots(k.modifySlots(s, slots), slots)
	k.CopyWaitAll()
	k.Barrier()
	next := k.walk.next(st.at)
	k.If("next_k", k.ICmp(enum.IPredEQ, next.done, lower.I32(0)), func() {
		k.load.kv(k.load.k, k.walk.slots(next))
		k.CopyCommit()
	})
	return state{next, k.addStep(st.rowState, s, next)}
}

// addStep takes the scores of a step into the rows, and finds the words of the next step's columns meanwhile.
func (k *tileWork) addStep(st rowState, s [][]Value, next position) rowState {
	look, vote := k.columnWordsOf(next)
	if k.Skips() && !k.exact {
		look()
		out := k.addUnlessNegligible(st, s)
		vote()
		return out
	}
	out := k.raise(st, s)
	k.accumulate(&out, s, look)
	vote()
	return out
}

// scores is S = Q K^T for the tile: a list a strip, in accumulator order (four values per eight keys).
func (k *tileWork) scores() [][]Value {
	s := make([][]Value, k.strips)
	for m := range s {
		for range k.keys / 2 {
			s[m] = append(s[m], lower.F32(0))
		}
	}
	for step := range k.headDim / 16 {
		a := make([][]Value, k.strips)
		for m := range a {
			a[m] = k.qFragment(step, m)
		}
		for n := range k.keys / 16 {
			b := k.LdMatrix4(k.lanes.kAt(k.kernel, step, n), false)
			for m := range s {
				k.mmaPair(s[m][8*n:8*n+8], a[m], b)
			}
		}
	}
	return s
}

// qFragment is the A operand of a k-step.
func (k *tileWork) qFragment(step, strip int) []Value {
	if k.q != nil {
		return k.q[step]
	}
	return k.LdMatrix4(k.lanes.qAt(k.kernel, step, strip), false)
}

// loadQ keeps Q in registers where one strip of rows leaves room for it: a strip alone reads shared memory twice as often
// for each mma, and that is what limits it. It waits for the copies of Q, which were committed before the copies of K.
func (k *tileWork) loadQ() {
	if k.strips > 1 || k.headDim > 128 {
		return
	}
	k.CopyWait(1)
	k.Barrier()
	for step := range k.headDim / 16 {
		k.q = append(k.q, k.LdMatrix4(k.lanes.qAt(k.kernel, step, 0), false))
	}
}

// mmaPair updates eight accumulators, two 8-column tiles, in place.
func (k *kernel) mmaPair(acc, a, b []Value) {
	copy(acc[:4], k.MMA(k.DType, a, b[:2], acc[:4]))
	copy(acc[4:], k.MMA(k.DType, a, b[2:], acc[4:]))
}

// rowOf is the row within the tile of the thread's row r (0 or 1) of a strip.
func (k *kernel) rowOf(strip, r int) Value {
	base := k.Add(k.Shl(k.warp, 4), k.LShr(k.Lane, 2))
	return k.after(k.before, k.Add(base, lower.I32(int64(strip*k.stripRows()+8*r))))
}

// stripRows is how many rows one strip of all warps has. Strip after strip they make the tile.
func (k *kernel) stripRows() int { return 16 * k.warps }

// after is the number of a row that so many others stand before, nil for none.
func (k *kernel) after(before, row Value) Value {
	if before == nil {
		return row
	}
	return k.Add(before, row)
}
