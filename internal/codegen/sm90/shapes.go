package sm90

import (
	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/internal/codegen/lower"
	"github.com/minfc/minfc/ir"
)

// shape is how one head dim is cut up. The figures behind the choices are in docs/sm90.md.
type shape struct {
	maxHeadDim int
	groups     int  // consumer warpgroups, 64 query rows each
	keys       int  // keys of a stage that a warpgroup computes
	stagger    bool // a stage has 64 keys more, and the second warpgroup may take its last ones (see stagger.go)
	buffers    int  // K and V tiles in shared memory: of each, or of both together in a ring
	ring       bool // K and V of the stages take turns in one ring of buffers
	minBlocks  int  // blocks an SM
	overlap    bool // softmax of a stage runs under the second product of the one before (see overlap.go)
	qInRegs    bool // Q fragments stay in registers
}

// shapes serve schedules of ranges alone: wide tiles and one block an SM, because K and V feed all its warpgroups.
var shapes = shapesOf(abi.AttentionBodies["sm_90a"].Ranges, []shape{
	{buffers: 3, overlap: true},
	{buffers: 3, overlap: true, qInRegs: true},
	{buffers: 2, overlap: true},
	{buffers: 2, overlap: true},
})

// listShapes serve schedules that walk lists, which belong to 64 rows; their entries are slots of 64 keys anywhere. Two blocks
// an SM keep the matrix units busy in turn, so nothing is overlapped within one.
var listShapes = shapesOf(abi.AttentionBodies["sm_90a"].Lists, []shape{
	{buffers: 6, ring: true, qInRegs: true},
	{buffers: 3, ring: true, qInRegs: true},
	{buffers: 3, ring: true},
	{buffers: 3, overlap: true}, // its accumulators leave no room for two
})

// staggerShapes serve schedules with runs or columns and no lists of row blocks. A run moves by 64 keys from one row block to the
// next, so that two row blocks share half of what they read; 64-row tiles are limited by what the L2 delivers.
var staggerShapes = shapesOf(abi.AttentionBodies["sm_90a"].Runs, []shape{
	{stagger: true, buffers: 4, qInRegs: true},
	{stagger: true, buffers: 2, qInRegs: true},
})

// shapesOf adds to each body how its kernel works inside.
func shapesOf(bodies []abi.Body, own []shape) []shape {
	for i, b := range bodies {
		s := &own[i]
		s.maxHeadDim, s.groups, s.keys, s.minBlocks = b.MaxHeadDim, b.Rows/64, b.Keys, b.BlocksPerSM
		if s.threads() != 32*b.Warps {
			panic("internal: a body has other warps than a producer warpgroup and consumers")
		}
	}
	return own
}

// shapeFor is the shape for a schedule, and the keys of one slot of its stages.
func shapeFor(s *ir.Schedule, headDim int) (sh shape, slotKeys int) {
	lists := s.Lists()
	if len(lists) == 0 {
		own := lower.ShapeFor(shapes, headDim)
		return own, own.keys
	}
	if widest := staggerShapes[len(staggerShapes)-1]; !s.ByRowBlock() && headDim <= widest.maxHeadDim {
		return lower.ShapeFor(staggerShapes, headDim), ir.BlockSize
	}
	return lower.ShapeFor(listShapes, headDim), ir.BlockSize
}

// Most is the largest head dim that the shape is for.
func (s shape) Most() int { return s.maxHeadDim }

func (s shape) rows() int    { return 64 * s.groups }
func (s shape) threads() int { return 128 * (s.groups + 1) }

// stageKeys is what a stage holds.
func (s shape) stageKeys() int {
	if s.stagger {
		return s.keys + ir.BlockSize
	}
	return s.keys
}

// mostSlots is how many slots one copy may take.
func (s shape) mostSlots() int {
	if s.stagger {
		return s.stageKeys() / ir.BlockSize
	}
	return 1
}

// blocks is the number of row blocks that have words of their own for a slot of columns.
func (s shape) blocks() int {
	if s.stagger {
		return s.groups
	}
	return 1
}

// registers are what setmaxnreg gives a producer and a consumer thread; together they are what the launch has. With fewer the
// producer would spill.
func (s shape) registers() (producer, consumer int) {
	switch {
	case s.minBlocks == 2:
		return 32, 224
	case s.groups == 1:
		return 56, 256
	case s.groups == 2:
		return 40, 232
	}
	return 32, 160
}

// Shared memory holds tiles as panels of 64 columns, 128 bytes a row, in the 128-byte swizzle that TMA writes and wgmma reads. A
// head dim that is no multiple of 64 leaves the rest of its last panel zero: TMA fills what lies outside the tensor.
const (
	panelCols  = 64
	panelBytes = 2 * panelCols
	atomBytes  = 8 * panelBytes // eight rows, after which the swizzle repeats
)

// layout is where things lie in shared memory, in bytes from its start.
type layout struct {
	panels     int
	q, k, v    int // of a ring v is k
	qPanel     int // bytes from one panel to the next
	kvPanel    int
	stageBytes int // of one K or V tile
	barriers   int
	meeting    int // the barrier of all warps
	doubts     int // what is to be computed again: see doubt.go
	tally      int // stages that were left out, of kernels that leave some out: see skip.go
	headers    int
	header     headerLayout
	total      int
}

// headerLayout is the header of a stage: start and flags of each slot, then which row tile it belongs to; then what is found out
// about columns: the flags again, without flags of slots that need no mask, and the words of each slot for each row block. It is freed
// with K.
type headerLayout struct{ item, found, words, bytes int }

const (
	barrierBytes = 8
	slotBytes    = 8
	wordsBytes   = 16
	tallyBytes   = 8 // of a warpgroup
)

func layoutFor(s shape, headDim, slotKeys int, skips bool) layout {
	p := (headDim + panelCols - 1) / panelCols
	l := layout{panels: p, qPanel: s.rows() * panelBytes, kvPanel: s.stageKeys() * panelBytes}
	l.stageBytes = p * l.kvPanel
	l.k = p * l.qPanel
	l.v = l.k
	end := l.k + s.buffers*l.stageBytes
	if !s.ring {
		l.v, end = end, end+s.buffers*l.stageBytes
	}
	slots := s.stageKeys() / slotKeys
	l.header.item = (slots*slotBytes + 15) / 16 * 16
	l.header.found = l.header.item + 16
	l.header.words = l.header.found + 16
	l.header.bytes = l.header.words + slots*s.blocks()*wordsBytes
	l.headers = end
	l.barriers = l.headers + s.buffers*l.header.bytes
	l.meeting = l.barriers + s.barrierCount()*barrierBytes
	l.doubts = l.meeting + barrierBytes
	l.tally = l.doubts + doubtBytes*s.groups
	l.total = l.tally
	if skips {
		l.total += tallyBytes * s.groups
	}
	return l
}
