package sm80

import (
	"slices"

	"github.com/minfc/minfc/codegen/lower"
	"github.com/minfc/minfc/ir"
)

// Group lowers schedules to one kernel with a section for each. They are cut to ListTileFor if they have lists, else to TileFor. With
// cfg.BesideLists blocks are those of kernels with lists, and ranges are cut to BesideLists: their row tiles are as short then, which
// costs them a few percent (docs/design-plans.md). A block of two lists' tiles would cost the lists more.
func Group(schedules []*ir.Schedule, cfg lower.Config) (*lower.Kernel, error) {
	lists := func(s *ir.Schedule) bool { return len(lower.Lists(s)) > 0 }
	sh := shapeFor(cfg.HeadDim, cfg.BesideLists)
	out := &lower.Kernel{Entry: lower.GroupEntry, Threads: sh.threads()}
	var bodies []lower.Body
	for _, sections := range lower.Alike(schedules) {
		s := schedules[sections[0]]
		if err := lower.CheckLists(s); err != nil {
			return nil, err
		}
		params := slices.Concat(lower.GroupParams(s), lower.SectionParams)
		if !lists(s) {
			params = append(params, lower.SectionMaskParams...)
		}
		bodies = append(bodies, lower.Body{Sections: sections, Params: params, Emit: func(b *lower.Builder) {
			k := newKernel(b, s, cfg, sh)
			k.At = k.SectionPlace()
			k.LeaveBeyond(1)
			if !lists(s) {
				k.LeaveMasked()
			}
			k.LeaveOthers(k.HeadIndex())
			k.emit()
			out.SharedBytes = max(out.SharedBytes, k.total)
		}})
	}
	for range schedules {
		out.Sections = append(out.Sections, lower.Section{TileRows: sh.rows, Tiles: 1})
	}
	var err error
	out.Module, out.Params, err = lower.NewGroup(out.Entry, bodies, sh.threads(), sh.minBlocks)
	return out, err
}
