package sm90

import "github.com/minfc/minfc/ir"

// shape is how one head dim is cut up. The figures behind the choices are in docs/sm90.md.
type shape struct {
	maxHeadDim int
	groups     int  // consumer warpgroups, 64 query rows each
	keys       int  // keys of a stage
	buffers    int  // K and V tiles in shared memory: of each, or of both together in a ring
	ring       bool // K and V of the stages take turns in one ring of buffers
	minBlocks  int  // blocks an SM
	overlap    bool // softmax of a stage runs under the second product of the one before (see consume.go)
	qInRegs    bool // Q fragments stay in registers
}

// shapes serve schedules of ranges alone: wide tiles and one block an SM, because K and V feed all its warpgroups.
var shapes = []shape{
	{maxHeadDim: 64, groups: 3, keys: 128, buffers: 3, minBlocks: 1, overlap: true},
	{maxHeadDim: 128, groups: 2, keys: 128, buffers: 3, minBlocks: 1, overlap: true, qInRegs: true},
	{maxHeadDim: 192, groups: 2, keys: 96, buffers: 2, minBlocks: 1, overlap: true},
	{maxHeadDim: 256, groups: 2, keys: 80, buffers: 2, minBlocks: 1, overlap: true},
}

// listShapes serve schedules that walk lists, which belong to 64 rows; their entries are slots of 64 keys anywhere. Two blocks
// an SM keep the matrix units busy in turn, so nothing is overlapped within one.
var listShapes = []shape{
	{maxHeadDim: 64, groups: 1, keys: 128, buffers: 6, ring: true, minBlocks: 2, qInRegs: true},
	{maxHeadDim: 128, groups: 1, keys: 128, buffers: 3, ring: true, minBlocks: 2, qInRegs: true},
	{maxHeadDim: 192, groups: 1, keys: 64, buffers: 3, ring: true, minBlocks: 2},
	{maxHeadDim: 256, groups: 1, keys: 64, buffers: 3, minBlocks: 1, overlap: true}, // its accumulators leave no room for two
}

func choose(from []shape, headDim int) shape {
	for _, s := range from {
		if headDim <= s.maxHeadDim {
			return s
		}
	}
	return from[len(from)-1]
}

func (s shape) rows() int    { return 64 * s.groups }
func (s shape) threads() int { return 128 * (s.groups + 1) }

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

// TileFor is the tile of a head dim from 16 to 256, for schedules of ranges alone.
func TileFor(headDim int) ir.Tile {
	s := choose(shapes, headDim)
	return ir.Tile{Rows: s.rows(), Keys: s.keys}
}

// ListTileFor is the tile of schedules with lists: a row block by a slot.
func ListTileFor(int) ir.Tile { return ir.Tile{Rows: ir.BlockSize, Keys: ir.BlockSize} }

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
	headers    int
	total      int
}

const (
	barrierBytes = 8
	headerBytes  = 64
)

func layoutFor(s shape, headDim int) layout {
	p := (headDim + panelCols - 1) / panelCols
	l := layout{panels: p, qPanel: s.rows() * panelBytes, kvPanel: s.keys * panelBytes}
	l.stageBytes = p * l.kvPanel
	l.k = p * l.qPanel
	l.v = l.k
	end := l.k + s.buffers*l.stageBytes
	if !s.ring {
		l.v, end = end, end+s.buffers*l.stageBytes
	}
	l.headers = end
	l.barriers = l.headers + s.buffers*headerBytes
	l.total = l.barriers + s.barrierCount()*barrierBytes
	return l
}
