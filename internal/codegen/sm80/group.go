package sm80

import (
	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/internal/codegen/lower"
	"github.com/minfc/minfc/ir"
)

// Backend makes attention for sm_80 and later GPUs; codegen.Backend says what its methods are for.
type Backend struct{}

// Tile is the tile of the schedule's own kernel.
func (Backend) Tile(s *ir.Schedule, headDim int) ir.Tile {
	return shapeFor(headDim, len(s.Lists()) > 0).tile(s)
}

// Groups puts all schedules into one kernel. Where one of them reads lists all blocks are the ones of kernels with lists: the row tiles of
// ranges are as short then, which costs them a few percent (docs/design-plans.md), while a block of two lists' tiles would cost the lists
// more. So schedules of ranges have a kernel without lists as well, for launches that need no other, unless its blocks would be the same.
func (Backend) Groups(schedules []*ir.Schedule, headDim int) []lower.Grouping {
	var ranges []int
	for i, s := range schedules {
		if len(s.Lists()) == 0 {
			ranges = append(ranges, i)
		}
	}
	lists := len(ranges) < len(schedules)
	own, beside := shapeFor(headDim, false), shapeFor(headDim, lists)
	all := lower.Grouping{Lists: lists}
	for i, s := range schedules {
		all.Schedules, all.Tiles = append(all.Schedules, i), append(all.Tiles, beside.tile(s))
	}
	own.maxHeadDim = beside.maxHeadDim
	if own == beside || len(ranges) == 0 {
		return []lower.Grouping{all}
	}
	alone := lower.Grouping{Schedules: ranges}
	for _, i := range ranges {
		alone.Tiles = append(alone.Tiles, own.tile(schedules[i]))
	}
	return []lower.Grouping{all, alone}
}

// Group lowers schedules to one kernel with a section for each.
func (Backend) Group(schedules []*ir.Schedule, lists bool, cfg lower.Config) (*lower.Kernel, error) {
	sh, shared := shapeFor(cfg.HeadDim, lists), 0
	out, err := lower.NewGroup(schedules, sh.threads(), sh.minBlocks, func(n int) lower.Body {
		s := schedules[n]
		return lower.Body{Params: abi.WithLengths(abi.SectionAsked(s), cfg.Lengths), Emit: func(b *lower.Builder) {
			k := newKernel(b, s, cfg, sh)
			k.At = k.SectionWorkTile()
			k.LeaveSection(1)
			k.emit()
			shared = max(shared, k.total)
		}}
	})
	if err != nil {
		return nil, err
	}
	out.SharedBytes = shared
	for range schedules {
		out.Sections = append(out.Sections, lower.Section{TileRows: sh.rows, Tiles: 1})
	}
	return out, nil
}
