package sm80

import (
	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/internal/codegen/lower"
	"github.com/minfc/minfc/ir"
)

// Group lowers schedules to one kernel with a section for each. They are cut to ListTileFor if they have lists, else to TileFor. With
// cfg.BesideLists blocks are those of kernels with lists, and ranges are cut to BesideLists: their row tiles are as short then, which
// costs them a few percent (docs/design-plans.md). A block of two lists' tiles would cost the lists more.
func Group(schedules []*ir.Schedule, cfg lower.Config) (*lower.Kernel, error) {
	sh, shared := shapeFor(cfg.HeadDim, cfg.BesideLists), 0
	out, err := lower.NewGroup(schedules, sh.threads(), sh.minBlocks, func(n int) lower.Body {
		s := schedules[n]
		return lower.Body{Params: abi.SectionAsked(s), Emit: func(b *lower.Builder) {
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
