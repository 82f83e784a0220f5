// Package sm90 lowers a schedule to a flash-attention forward kernel for sm_90a: TMA, mbarriers and wgmma with specialised warps.
//
// A block computes one row tile of one head or, where tiles are short and their lists have to be read or sequences of any length share
// the launch, one after the other, taking the next from a queue. Of its first warpgroup, one warp walks the schedule's key tiles from the diagonal down and turns
// them into stages: K by TMA into a ring of buffers, and a header that says what the stage is. A second warp follows the headers
// and loads V; where there are chosen columns, a third finds out which of them count, and where the caller gives single keys, a fourth copies
// these. Each other warpgroup is a consumer of 64
// query rows: it multiplies, masks and exponentiates stage after stage until a header says that they are another tile's or that
// there are no more, and knows nothing of the schedule but the bounds that edge stages need.
//
// The online softmax works in base 2 (FlashAttention-2, arXiv 2307.08691, section 3.1); warp specialisation, the overlap of
// softmax and products, and registers that move to the consumers come from FlashAttention-3 (arXiv 2407.08608, section 3).
// docs/sm90.md has the pipeline, the reasons and measurements.
package sm90

import (
	"fmt"
	"slices"

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
	lower.RowTile // a stage has keys/SlotKeys slots
	memberShape
	layout
	headDim int

	queued bool // blocks take tiles from a queue

	shared Value // start of shared memory
	half   Value // of a block of two: which it is
	warp   Value // the warp's number in the block, known to be the same for all its lanes
	group  Value // of a consumer: its number
	pass   Value // of the warp that walks: 0, then 1 for tiles that are computed again
}

// Attention lowers s to a kernel of its own.
func (Backend) Attention(s *ir.Schedule, cfg lower.Config) (*lower.Kernel, error) {
	if err := lower.CheckLists(s); err != nil {
		return nil, err
	}
	sh, slotKeys := shapeFor(s, cfg.HeadDim)
	c := memberShape{blockThreads: sh.threads(), tiles: 1, shape: sh, slotKeys: slotKeys}
	params, blocksPerSM, blockRows := abi.WithLengths(abi.Params(s), cfg.Lengths), 0, 0
	if len(s.Lists()) > 0 {
		blockRows = sh.rows()
	}
	if c.queued(s, cfg.Lengths) {
		params, blocksPerSM = append(params, abi.QueueParams...), sh.minBlocks
	}
	params = withMaps(params, maps(s, sh, slotKeys), readsRows(s))
	b := lower.NewKernel(Entry, params, sh.threads(), sh.minBlocks)
	k := newKernel(b, s, cfg, c)
	k.At = k.BlockWorkTile()
	if !k.queued {
		k.LeaveOthers(k.HeadIndex())
		k.LeaveAbsent()
	}
	k.emit()
	return &lower.Kernel{Module: k.Module, Entry: Entry, Threads: sh.threads(), SharedBytes: k.total,
		BlockRows: blockRows, BlocksPerSM: blocksPerSM, Params: params}, nil
}

// queued says whether blocks take tiles from a queue: where tiles are short and lists are to be read, and where sequences of any length
// share a launch, unless Q stays in shared memory, whose buffer is not free before the next tile has begun. In a group the host knows the
// heads of sections without lists, and their blocks have a tile each.
func (c memberShape) queued(s *ir.Schedule, lengths bool) bool {
	return c.qInRegs && (len(s.Lists()) > 0 || lengths && !c.grouped)
}

// newKernel is a kernel that is to be emitted with b.
func newKernel(b *lower.Builder, s *ir.Schedule, cfg lower.Config, c memberShape) *kernel {
	if s.Skip != nil && c.queued(s, cfg.Lengths) { // registers do not suffice for the stages of two tiles, each with a product before it and without
		c.overlap = false
	}
	k := &kernel{
		RowTile:     lower.RowTile{Builder: b, Schedule: s, Rows: c.rows(), SlotKeys: c.slotKeys, DType: cfg.DType, Scores: cfg.Scores},
		memberShape: c, layout: layoutFor(c.shape, cfg.HeadDim, c.slotKeys, s.Skip != nil), headDim: cfg.HeadDim,
		queued: c.queued(s, cfg.Lengths),
	}
	k.bind()
	return k
}

// bind makes k the kernel that its parts ask.
func (k *kernel) bind() {
	k.Query = func(_, r int) Value { return k.Add(k.First(), k.rowOf(r)) }
	k.RowOf = k.rowOf
}

// consumer is the kernel as the consumer warpgroup with a number sees it.
func (k *kernel) consumer(number Value) *kernel {
	own := *k
	own.group = number
	own.bind()
	return &own
}

// inPass is the kernel as the warp that walks sees it in one pass over the tiles.
func (k *kernel) inPass(pass Value) *kernel {
	own := *k
	own.pass = pass
	own.bind()
	return &own
}

// maps are the tensor maps: boxes of a panel by the rows of a copy, which has one slot or, in staggered stages, several slots that follow
// each other.
func maps(s *ir.Schedule, sh shape, slotKeys int) []lower.Param {
	var out []lower.Param
	tensor := func(name string, slots, rows int) {
		out = append(out, lower.Param{Name: mapOf(name, slots), Type: abi.MapType, Tensor: name, Box: [2]int{panelCols, slots * rows}})
	}
	tensor("q", 1, sh.rows())
	for slots := 1; slots <= sh.mostSlots(); slots++ {
		tensor("k", slots, slotKeys)
		tensor("v", slots, slotKeys)
	}
	for _, l := range s.Lists() {
		if l.Kind == ir.SourceColumns || l.Kind == ir.SourceMeans {
			tensor(ir.ListName(l.Name, "kc"), 1, slotKeys)
			tensor(ir.ListName(l.Name, "vc"), 1, slotKeys)
		}
	}
	return out
}

// withMaps adds the maps to the parameters, and leaves out what they make superfluous: addresses and strides of the tensors they show. rows says
// that the kernel addresses rows of K and V as well.
func withMaps(params, maps []lower.Param, rows bool) []lower.Param {
	shown := func(p lower.Param) bool {
		return slices.ContainsFunc(maps, func(m lower.Param) bool {
			return !(rows && m.Tensor != "q") && (p.Name == m.Tensor || slices.Contains([]string{m.Tensor + "_batch", m.Tensor + "_head", m.Tensor + "_row"}, p.Name))
		})
	}
	return append(slices.DeleteFunc(params, shown), maps...)
}

// mapOf is the kernel parameter with the tensor map of a tensor or a list's copy of one, in boxes of some slots.
func mapOf(tensor string, slots int) string { return fmt.Sprintf("map%d_%s", slots, tensor) }

func (k *kernel) emit() {
	k.locate()
	k.If("init", k.ICmp(enum.IPredEQ, k.thread(), lower.I32(0)), func() {
		k.initBarrier(k.meeting(), warpLanes*len(k.roles())+128*k.groups)
		k.initBarriers()
		k.noneDoubtful()
		k.noSkips()
	})
	k.Barrier()
	if k.tiles > 1 && !k.queued { // the last block may have one tile only
		k.LeaveUnless(k.WhenPresent(k.ICmp(enum.IPredSLT, k.At.Tile(), k.At.Tiles())), nil)
	}
	k.Segs = k.Builder.Segments(lower.NonEmpty(k.Schedule))
	producer, consumer := k.registers()
	first := k.LShr(k.warp, 2)
	if k.idle() > 0 {
		k.LeaveUnless(k.ICmp(enum.IPredSLE, first, lower.I32(int64(k.groups))), func() {
			k.AsmEffect(fmt.Sprintf("setmaxnreg.dec.sync.aligned.u32 %d;", idleRegisters), "~{memory}")
		})
	}
	k.IfElse("producer", k.ICmp(enum.IPredEQ, first, lower.I32(0)), func() {
		k.AsmEffect(fmt.Sprintf("setmaxnreg.dec.sync.aligned.u32 %d;", producer), "~{memory}")
		for i, role := range k.roles() {
			k.If("warp", k.ICmp(enum.IPredEQ, k.warp, lower.I32(int64(i))), func() {
				k.twice(role, i == 0)
			})
		}
	}, func() {
		k.AsmEffect(fmt.Sprintf("setmaxnreg.inc.sync.aligned.u32 %d;", consumer), "~{memory}")
		k.consumer(k.Sub(first, lower.I32(1))).consume()
	})
	k.Block.NewRet(nil)
}

// roles is the work of the warps of the first warpgroup.
func (k *kernel) roles() []func(pass Value) {
	produce := func(pass Value) { k.inPass(pass).produceTiles() }
	switch {
	case k.GivenKeys():
		return []func(Value){produce, k.follow, k.vote, k.gather}
	case k.HasColumns():
		return []func(Value){produce, k.follow, k.vote}
	}
	return []func(Value){produce, k.follow}
}

// locate finds the thread's warp, among the warps that work on its tile. ptxas takes a value that comes from one lane to be the same in
// all: addresses and branches that follow from it then cost no vector registers.
func (k *kernel) locate() {
	k.shared = k.SharedBase()
	tid := k.ThreadX()
	k.Lane = k.And(tid, lower.I32(31))
	k.warp = k.ShuffleFrom(k.LShr(tid, 5), lower.I32(0))
	if k.tiles > 1 {
		k.half = k.UDivBy(k.warp, k.threads()/warpLanes)
		k.warp = k.Sub(k.warp, k.MulBy(k.half, k.threads()/warpLanes))
		k.shared = k.Add(k.shared, k.MulBy(k.half, k.tileBytes(k.total)))
	}
}

// thread is the thread's number among the threads that work on its tile.
func (k *kernel) thread() Value {
	if k.tiles == 1 {
		return k.ThreadX()
	}
	return k.Sub(k.ThreadX(), k.MulBy(k.half, k.threads()))
}

// rowOf is the row within the tile of the thread's row r (0 or 1): a warp has 16 rows of its warpgroup's 64.
func (k *kernel) rowOf(r int) Value {
	warp := k.And(k.warp, lower.I32(3))
	base := k.Add(k.Shl(k.group, 6), k.Add(k.Shl(warp, 4), k.LShr(k.Lane, 2)))
	return k.Add(base, lower.I32(int64(8*r)))
}

// elected runs body in one lane of the converged warp. elect.sync, unlike a comparison of lanes, tells ptxas that there is just
// one, so that a copy is one instruction and no loop over lanes.
func (k *kernel) elected(body func()) {
	pair := types.NewStruct(types.I32, types.I1)
	one := k.AsmResult(pair, "elect.sync $0|$1, 0xffffffff;", "=r,=b")
	k.If("elected", k.Field(one, 1), func() {
		body()
	})
	k.Converge()
}
