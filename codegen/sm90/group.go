package sm90

import (
	"slices"

	"github.com/llir/llvm/ir/enum"

	"github.com/minfc/minfc/codegen/lower"
	"github.com/minfc/minfc/ir"
)

// cut is how a kernel's work is laid out over the blocks of its launch. In a group all blocks have as many threads: shapes of which two
// blocks share an SM become one block of two tiles, each with its own half of warps, shared memory and barriers, and warpgroups
// that a shape does not need give their registers up.
type cut struct {
	shape
	slotKeys int
	threads  int  // of a block
	tiles    int  // of a block at a time
	grouped  bool // the kernel is a group's
}

// idle is the number of warpgroups without work.
func (c cut) idle() int { return c.threads/128 - c.tiles*(c.groups+1) }

// idleRegisters is the least that setmaxnreg leaves a thread.
const idleRegisters = 24

// registers are those of shape, or what idle warpgroups and the launch leave of them.
func (c cut) registers() (producer, consumer int) {
	producer, consumer = c.shape.registers()
	if c.idle() == 0 {
		return producer, consumer
	}
	warpgroups := c.threads / 128
	all := 512 / warpgroups / 8 * 8 * warpgroups // 64K registers, by 128 threads
	left := (all - producer - idleRegisters*c.idle()) / c.groups / 8 * 8
	return producer, min(consumer, left)
}

// tileBytes is the distance of the tiles of a block in shared memory.
func (c cut) tileBytes(total int) int { return (total + sharedAlign - 1) / sharedAlign * sharedAlign }

// sharedAlign is that of swizzled tiles.
const sharedAlign = 1024

// cuts are those of the schedules of a group. Its blocks are one an SM.
func cuts(schedules []*ir.Schedule, headDim int) []cut {
	var out []cut
	threads := 0
	for _, s := range schedules {
		sh, slotKeys := shapeFor(s, headDim)
		c := cut{shape: sh, slotKeys: slotKeys, tiles: sh.minBlocks, grouped: true}
		threads = max(threads, c.tiles*sh.threads())
		out = append(out, c)
	}
	for i := range out {
		out[i].threads = threads
	}
	return out
}

// Group lowers schedules, each cut as for Attention, to one kernel with a section for each.
func Group(schedules []*ir.Schedule, cfg lower.Config) (*lower.Kernel, error) {
	all := cuts(schedules, cfg.HeadDim)
	out := &lower.Kernel{Entry: lower.GroupEntry, Threads: all[0].threads}
	for i, s := range schedules {
		section := lower.Section{TileRows: all[i].rows(), Tiles: all[i].tiles}
		if queued(s, all[i].shape) {
			section.BlocksPerSM = 1
		}
		out.Sections = append(out.Sections, section)
	}
	var bodies []lower.Body
	for _, sections := range lower.Alike(schedules) {
		s, c := schedules[sections[0]], all[sections[0]]
		if err := lower.CheckLists(s); err != nil {
			return nil, err
		}
		bodies = append(bodies, lower.Body{Sections: sections, Params: groupParams(s, c), Emit: func(b *lower.Builder) {
			k := newKernel(b, s, cfg, c)
			k.emitSection()
			out.SharedBytes = max(out.SharedBytes, (c.tiles-1)*c.tileBytes(k.total)+k.total)
		}})
	}
	var err error
	out.Module, out.Params, err = lower.NewGroup(out.Entry, bodies, out.Threads, 1)
	return out, err
}

func groupParams(s *ir.Schedule, c cut) []lower.Param {
	params := slices.Concat(lower.GroupParams(s), lower.SectionParams)
	switch {
	case queued(s, c.shape):
		params = append(params, lower.SectionQueueParams...)
	case len(lower.Lists(s)) == 0:
		params = append(params, lower.SectionMaskParams...)
	}
	return withMaps(params, maps(s, c.shape, c.slotKeys))
}

// emitSection emits the kernel as the body of a section.
func (k *kernel) emitSection() {
	k.At = k.SectionPlace()
	if k.queued {
		own := k.And(k.ICmp(enum.IPredSLT, k.sectionBlock(), k.queueBlocks()), k.ICmp(enum.IPredEQ, k.BlockZ(), lower.I32(0)))
		k.LeaveUnless(own, nil)
	} else {
		k.At.Tile = func() Value { return k.ofHalf(k.MulBy(k.BlockX(), k.cut.tiles)) }
		k.LeaveBeyond(k.cut.tiles)
		if !k.HasLists() {
			k.LeaveMasked()
		}
		k.LeaveOthers(k.HeadIndex())
	}
	k.emit()
}

// sectionBlock is the number of the block in its section's rows; a block of two tiles counts as two.
func (k *kernel) sectionBlock() Value {
	n := k.Add(k.Mul(k.GridX(), k.Sub(k.BlockY(), k.Param("row0"))), k.BlockX())
	return k.MulBy(n, k.cut.tiles)
}

// ofHalf is this half's number where the block's is n.
func (k *kernel) ofHalf(n Value) Value {
	if k.cut.tiles == 1 {
		return n
	}
	return k.Add(n, k.half)
}
