package sm90

import (
	"github.com/llir/llvm/ir/enum"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/internal/codegen/lower"
	"github.com/minfc/minfc/ir"
)

// memberShape is how a kernel's work is laid out over the blocks of its launch. In a group all blocks have as many threads: shapes of which two
// blocks share an SM become one block of two tiles, each with its own half of warps, shared memory and barriers, and warpgroups
// that a shape does not need give their registers up.
type memberShape struct {
	shape
	slotKeys     int
	blockThreads int
	tiles        int  // of a block at a time
	grouped      bool // the kernel is a group's
}

// idle is the number of warpgroups without work.
func (c memberShape) idle() int { return c.blockThreads/128 - c.tiles*(c.groups+1) }

// idleRegisters is the least that setmaxnreg leaves a thread.
const idleRegisters = 24

// registers are those of shape, or what idle warpgroups and the launch leave of them.
func (c memberShape) registers() (producer, consumer int) {
	producer, consumer = c.shape.registers()
	if c.idle() == 0 {
		return producer, consumer
	}
	warpgroups := c.blockThreads / 128
	all := 512 / warpgroups / 8 * 8 * warpgroups // 64K registers, by 128 threads
	left := (all - producer - idleRegisters*c.idle()) / c.groups / 8 * 8
	return producer, min(consumer, left)
}

// tileBytes is the distance of the tiles of a block in shared memory.
func (c memberShape) tileBytes(total int) int {
	return (total + sharedAlign - 1) / sharedAlign * sharedAlign
}

// sharedAlign is that of swizzled tiles.
const sharedAlign = 1024

// memberShapes are the shapes of the schedules of a group, in their order. Its blocks are one an SM.
func memberShapes(schedules []*ir.Schedule, headDim int) []memberShape {
	var out []memberShape
	threads := 0
	for _, s := range schedules {
		sh, slotKeys := shapeFor(s, headDim)
		c := memberShape{shape: sh, slotKeys: slotKeys, tiles: sh.minBlocks, grouped: true}
		threads = max(threads, c.tiles*sh.threads())
		out = append(out, c)
	}
	for i := range out {
		out[i].blockThreads = threads
	}
	return out
}

// Backend makes attention for sm_90a GPUs; codegen.Backend says what its methods are for.
type Backend struct{}

// Tile is the tile of the schedule's own kernel.
func (Backend) Tile(s *ir.Schedule, headDim int) ir.Tile {
	if len(s.Lists()) > 0 {
		return lower.ListTile
	}
	sh, _ := shapeFor(s, headDim)
	return ir.Tile{Rows: sh.rows(), Keys: sh.keys}
}

// Groups puts all schedules into one kernel, each cut as in its own: a block serves whatever its section needs.
func (b Backend) Groups(schedules []*ir.Schedule, headDim int) []lower.Grouping {
	var all lower.Grouping
	for i, s := range schedules {
		all.Schedules, all.Tiles = append(all.Schedules, i), append(all.Tiles, b.Tile(s, headDim))
		all.Lists = all.Lists || len(s.Lists()) > 0
	}
	return []lower.Grouping{all}
}

// Group lowers schedules to one kernel with a section for each.
func (Backend) Group(schedules []*ir.Schedule, _ bool, cfg lower.Config) (*lower.Kernel, error) {
	all, shared := memberShapes(schedules, cfg.HeadDim), 0
	out, err := lower.NewGroup(schedules, all[0].blockThreads, 1, func(n int) lower.Body {
		s, c := schedules[n], all[n]
		return lower.Body{Params: bodyParams(s, c, cfg.Lengths), Emit: func(b *lower.Builder) {
			k := newKernel(b, s, cfg, c)
			k.emitSection()
			shared = max(shared, (c.tiles-1)*c.tileBytes(k.total)+k.total)
		}}
	})
	if err != nil {
		return nil, err
	}
	out.SharedBytes = shared
	for i, s := range schedules {
		section := lower.Section{TileRows: all[i].rows(), Tiles: all[i].tiles}
		if all[i].queued(s, cfg.Lengths) {
			section.BlocksPerSM = 1
		}
		out.Sections = append(out.Sections, section)
	}
	return out, nil
}

func bodyParams(s *ir.Schedule, c memberShape, lengths bool) []lower.Param {
	params := abi.WithLengths(abi.SectionAsked(s), lengths)
	if c.queued(s, lengths) {
		params = append(params, abi.SectionQueueParams...)
	}
	return withMaps(params, maps(s, c.shape, c.slotKeys), readsRows(s))
}

// emitSection emits the kernel as the body of a section.
func (k *kernel) emitSection() {
	k.At = k.SectionWorkTile()
	if k.queued {
		own := k.And(k.ICmp(enum.IPredSLT, k.sectionBlock(), k.queueBlocks()), k.ICmp(enum.IPredEQ, k.BlockZ(), lower.I32(0)))
		k.LeaveUnless(own, nil)
	} else {
		k.At.Tile = func() Value { return k.ofHalf(k.MulBy(k.BlockX(), k.tiles)) }
		k.LeaveSection(k.tiles)
	}
	k.emit()
}

// sectionBlock is the number of the block in its section's rows; a block of two tiles counts as two.
func (k *kernel) sectionBlock() Value {
	n := k.Add(k.Mul(k.GridX(), k.Sub(k.BlockY(), k.Param("row0"))), k.BlockX())
	return k.MulBy(n, k.tiles)
}

// ofHalf is this half's number where the block's is n.
func (k *kernel) ofHalf(n Value) Value {
	if k.tiles == 1 {
		return n
	}
	return k.Add(n, k.half)
}
