// Package lower holds what all backends share: the description of a kernel, a builder for LLVM IR in NVVM style, and the
// lowering of a schedule's bounds. It knows the schedule, not the language.
package lower

import (
	llir "github.com/llir/llvm/ir"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/ir"
)

// Config selects one kernel of a schedule.
type Config struct {
	HeadDim int
	DType   abi.DType
	Target  string
	Lengths bool    // they are read from device memory: see abi/lengths.go
	Scores  *Scores // what scores are between product and mask; nil: products as they are
}

// ListTile is the tile of every schedule that reads lists: a row block by a slot.
var ListTile = ir.Tile{Rows: ir.BlockSize, Keys: ir.BlockSize}

// Grouping says how some schedules of a layer become one kernel.
type Grouping struct {
	Schedules []int     // by their places among the schedules of the layer
	Tiles     []ir.Tile // what each of these is cut to in the group
	Lists     bool      // blocks are the ones of kernels with lists
}

// ShapeFor is the first of some shapes, by rising head dim, that is for a head dim; the last one is for all that remain.
func ShapeFor[S interface{ Most() int }](shapes []S, headDim int) S {
	for _, s := range shapes {
		if headDim <= s.Most() {
			return s
		}
	}
	return shapes[len(shapes)-1]
}

// Kernel is one compiled-to-be kernel: its LLVM IR and what a runtime must know to launch it.
type Kernel struct {
	Module      *llir.Module
	Entry       string
	Threads     int // of a block
	SharedBytes int // dynamic shared memory of a block
	BlockRows   int // query rows that a block takes at a time; 0: a tile of the schedule
	BlocksPerSM int // of kernels with QueueParams, which are launched with as many blocks as run at once; else 0
	Params      []Param
	Sections    []Section // of a group
}

// Section is what a runtime must know of a group's section to launch it.
type Section struct {
	TileRows    int // query rows of a row tile
	Tiles       int // row tiles that a block takes at a time, neighbours along x; with a queue each is a block of its own to it
	BlocksPerSM int // of sections with QueueParams, as many blocks of which take part as run at once; else 0
}

// Param is one kernel parameter.
type Param = abi.Param
