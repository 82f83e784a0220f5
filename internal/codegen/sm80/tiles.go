package sm80

import (
	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/internal/codegen/lower"
	"github.com/minfc/minfc/ir"
)

// shape is how one head dim is cut up. Two 16-row strips a warp (rows = 32*warps) let every K and V fragment feed two
// mma; 255 registers is the limit for two blocks of 128 threads an SM, and what the O and S accumulators leave decides
// the key tile (the figures are in docs/sm80.md).
type shape struct {
	maxHeadDim int
	rows, keys int
	warps      int
	minBlocks  int // blocks an SM
}

// Head dims above 96 up to 112 have 64 rows: their half-used panel costs the registers that 128 rows need.
var shapes = shapesOf(abi.AttentionBodies["sm_80"].Ranges)

// listShapes serve schedules that walk lists. Lists belong to 64 rows, and their entries are slots of 64 keys anywhere. Two
// warps of two strips read shared memory as seldom as a 128-row tile does, which is worth more than wider steps
// (docs/vertical-slash.md).
var listShapes = shapesOf(abi.AttentionBodies["sm_80"].Lists)

func shapesOf(bodies []abi.Body) (out []shape) {
	for _, b := range bodies {
		out = append(out, shape{b.MaxHeadDim, b.Rows, b.Keys, b.Warps, b.BlocksPerSM})
	}
	return out
}

// Most is the largest head dim that the shape is for.
func (s shape) Most() int { return s.maxHeadDim }

// shapeFor is the shape of kernels with lists, or of kernels without. A group's blocks are all alike: with lists if any member has some.
func shapeFor(headDim int, lists bool) shape {
	if lists {
		return lower.ShapeFor(listShapes, headDim)
	}
	return lower.ShapeFor(shapes, headDim)
}

func (s shape) threads() int { return 32 * s.warps }

// tile is what a schedule is cut to in blocks of the shape.
func (s shape) tile(schedule *ir.Schedule) ir.Tile {
	if len(schedule.Lists()) > 0 {
		return lower.ListTile
	}
	return ir.Tile{Rows: s.rows, Keys: s.keys}
}

// Shared memory holds tiles as panels of 64 columns, 128 bytes a row, the 16-byte chunk index XORed with the row modulo
// 8: ldmatrix then meets no bank twice. A head dim that is no multiple of 64 leaves its last panel partly unused.
const (
	panelCols  = 64
	panelBytes = 2 * panelCols
	chunkBytes = 16
	chunks     = panelBytes / chunkBytes
	swizzle    = 0x70 // address bits 4..6 are XORed with bits 7..9
)

// layout is where things lie in shared memory, in bytes from its start.
type layout struct {
	panels          int
	q, k, v, table  int
	queue, slots    int // of kernels with lists: see queue.go
	words           int
	doubt           int // see exact.go
	listHead        int // where there are lists by group: which head's lists are the block's; else 0
	qPanel, kvPanel int // bytes from one panel to the next
	lastPanelChunks int // 16-byte chunks of the last panel that hold columns
	total, entries  int
}

// pieceBytes is the size of one entry of the piece table (walk.go). It holds up to three pieces a segment, and one entry at
// each end.
const pieceBytes = 32

// withListHead has room for the number of the block's lists: a quotient, which is dearer in the loop than a word of shared memory, and registers
// are short there.
func (l layout) withListHead() layout {
	l.listHead = l.total
	l.total += 16
	return l
}

func layoutFor(s shape, headDim, segments int, lists bool) layout {
	p := (headDim + panelCols - 1) / panelCols
	l := layout{panels: p, qPanel: s.rows * panelBytes, kvPanel: s.keys * panelBytes, entries: 3*segments + 2}
	l.lastPanelChunks = (headDim - (p-1)*panelCols) * 2 / chunkBytes
	l.k = l.q + p*l.qPanel
	l.v = l.k + p*l.kvPanel
	l.table = l.v + p*l.kvPanel
	l.queue = l.table + l.entries*pieceBytes
	l.slots = l.queue
	if lists {
		l.slots += 32 * s.warps * slotBytes
		l.words = l.slots + 16
		l.doubt = l.words + (s.keys/ir.BlockSize)*wordsBytes
	} else {
		l.doubt = l.queue
	}
	l.total = l.doubt + 16
	return l
}
