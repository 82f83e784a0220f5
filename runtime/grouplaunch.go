package runtime

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/ir"
	"github.com/minfc/minfc/runtime/artifact"
)

// The launches of a group's kernel: which sections take part, where in the grid, with which arguments.

// sectionGrid is where a section lies in the grid of a launch, and in rowHeads.
type sectionGrid struct {
	row0, rows, blocks int
	headsAt            int // what to add to a row to get its place in rowHeads
}

// sectionCall is what one section of a launch computes.
type sectionCall struct {
	*boundCall
	grid     sectionGrid
	rowTiles int
	number   int // of the pattern
	dense    bool
	routed   ir.Routed
	words    bool // the words of heads say which of them the section has
	schedule *ir.Schedule
	heads    []int // of the layer that it computes; nil with lists, whose heads words on the device name
	rest     bool  // a launch before this one has others of its heads
}

// items is the number of row tiles of the section's heads.
func (s *sectionCall) items() int { return s.rowTiles * s.QHeads * s.Batch }

// sections are the sections that a part needs: its pattern's, sparse and dense, each for the heads that it takes.
func (p *preparedPart) sections() (out []sectionCall) {
	add := func(dense bool) {
		s := sectionCall{boundCall: p.bound, number: p.number, dense: dense, routed: p.bound.routed(dense), schedule: p.pattern.schedule,
			words: p.readies && (p.bound.shared() || p.bound.routing == byHead)}
		if dense {
			s.schedule = p.pattern.dense
		}
		if len(s.schedule.Lists()) == 0 {
			s.heads = p.heads
		}
		out = append(out, s)
	}
	if p.bound.routing != allDense {
		add(false)
	}
	if p.bound.routing != allSparse {
		add(true)
	}
	return out
}

// groupLaunch is one launch of a group, and the calls of its sections, nil for sections that have no part in it.
type groupLaunch struct {
	*loadedGroup
	calls    []*sectionCall
	taken    int // sections that have a part in it
	rows     int // of the grid, at most
	heads    int // in rowHeads, of all sections
	rowHeads []byte
	grid     [3]int64
}

// share shares the sections of all parts out among launches: one, unless a group has no room for all of them.
func (l *Loaded) share(parts []*preparedPart) (launches []groupLaunch, err error) {
	var wanted []sectionCall
	for _, p := range parts {
		if p.bound != nil && !p.pattern.ownAttention() {
			wanted = append(wanted, p.sections()...)
		}
	}
	for len(wanted) > 0 {
		best, left := groupLaunch{}, wanted
		for _, group := range l.groups { // the first of the groups that take most
			if r, rest := group.take(wanted); r.taken > best.taken {
				best, left = r, rest
			}
		}
		if best.taken == 0 {
			return nil, fmt.Errorf("internal: no group has a section for pattern %d", wanted[0].number)
		}
		launches, wanted = append(launches, best), left
	}
	return launches, nil
}

// take gives the group's sections the calls that they are for, as many as there is room for, or some heads of one.
func (g *loadedGroup) take(wanted []sectionCall) (r groupLaunch, left []sectionCall) {
	r = groupLaunch{loadedGroup: g, calls: make([]*sectionCall, len(g.Sections))}
	for _, w := range wanted {
		i, room := r.sectionFor(w), abi.RowHeadsMost-r.heads
		if i < 0 || r.rows+g.mostRows(i, w) > maxGridYZ || len(w.heads) > 0 && room == 0 {
			left = append(left, w)
			continue
		}
		if len(w.heads) > room {
			rest := w
			w.heads, rest.heads, rest.rest = w.heads[:room], w.heads[room:], true
			left = append(left, rest)
		}
		w.rowTiles = ceilDiv(w.SeqQ, g.Sections[i].TileRows) // another group may cut it to other tiles
		r.calls[i], r.taken, r.rows, r.heads = &w, r.taken+1, r.rows+g.mostRows(i, w), r.heads+len(w.heads)
	}
	return r, left
}

// sectionFor is a section for the call that has none yet, or -1.
func (r *groupLaunch) sectionFor(w sectionCall) int {
	for i, s := range r.Sections {
		if s.Pattern == w.number && s.Dense == w.dense && r.calls[i] == nil {
			return i
		}
	}
	return -1
}

// mostRows is how many rows of the grid a section takes at most.
func (g *loadedGroup) mostRows(section int, w sectionCall) int {
	if s := g.Sections[section]; s.BlocksPerSM > 0 {
		return s.BlocksPerSM * g.dev.Info().Multiprocessors
	}
	if w.heads != nil {
		return min(len(w.heads), abi.RowHeadsMost)
	}
	return w.QHeads
}

// record notes the launch of the group's kernel on all heads of the layer.
func (r *groupLaunch) record(to *recorder, layer *call) error {
	r.layOut(layer)
	for i, c := range r.calls {
		if c != nil && c.schedule.Skip != nil && !c.rest {
			to.clear(c.at("skips"), c.Extent("skips").Bytes)
		}
		if c != nil && r.Sections[i].BlocksPerSM > 0 {
			to.clear(c.at("queue"), abi.QueueBytes)
		}
	}
	whole := &boundCall{call: layer, floats: map[string]float32{"scale_log2": layer.scaleLog2}}
	var err error
	if whole.BoundProgram, err = new(ir.Program).Bind(ir.ProgramLaunch{Numbers: layer.numbers(), Heads: []ir.Env{{}}}); err != nil {
		return wrapInternal(err)
	}
	a := ir.Action{Kernel: r.Entry, Grid: r.grid}
	calls := make([]*boundCall, len(r.params))
	for i, p := range r.params {
		arg, of, err := r.argument(r.sections[i], p, whole)
		if err != nil {
			return fmt.Errorf("launch %s: parameter %s: %w", r.Entry, p.Name, err)
		}
		a.Args, calls[i] = append(a.Args, arg), of
	}
	return to.launch(&r.loadedCode, r.params, func(i int) *boundCall { return calls[i] }, a, r.rowHeads)
}

// argument is the value of a parameter of all sections (-1) or of one, and whose call it is. Sections without a part in the launch have no
// rows, nor do they read what else they get.
func (r *groupLaunch) argument(section int, p artifact.Param, layer *boundCall) (ir.ActionArg, *boundCall, error) {
	if section < 0 {
		a, err := layer.Argument(p, nil, ir.Routed{})
		return a, layer, err
	}
	s := r.calls[section]
	switch {
	case s == nil:
		return ir.ActionArg{}, nil, nil
	case p.Type == abi.MapType:
		return ir.ActionArg{}, s.boundCall, nil
	case p.Name == "route" && !s.words:
		return ir.ActionArg{Kind: ir.ArgNull}, s.boundCall, nil
	}
	a, err := s.Argument(p, s.numbers(), s.routed)
	if bytes := headBytes[p.Name]; bytes > 0 && len(s.schedule.Lists()) == 0 && a.Address.Base != "" {
		a.Address.Bytes -= bytes * int64(s.head0) // heads are counted as the layer does
	}
	return a, s.boundCall, err
}

// numbers are what a section has beside the call.
func (s *sectionCall) numbers() ir.Env {
	return ir.Env{"row0": int64(s.grid.row0), "rows": int64(s.grid.rows), "head0": int64(s.head0), "heads_at": int64(s.grid.headsAt),
		"blocks": int64(s.grid.blocks), "row_tiles": int64(s.rowTiles), "items": int64(s.items())}
}

// wordBytes is the size of a head's word.
const wordBytes = 4

// headBytes are, of the parameters that point to memory by heads, the bytes of a head there.
var headBytes = map[string]int64{"route": wordBytes, "skips": abi.SkipBytes}

// layOut gives every section its rows of the grid.
func (r *groupLaunch) layOut(layer *call) {
	width, order := 1, r.order()
	for _, i := range order {
		if r.Sections[i].BlocksPerSM == 0 {
			width = max(width, ceilDiv(r.calls[i].rowTiles, r.Sections[i].Tiles))
		}
	}
	rows := 0
	for _, i := range order {
		s, c := r.Sections[i], r.calls[i]
		c.grid.row0, c.grid.rows = rows, c.QHeads
		switch {
		case c.heads != nil:
			c.grid.rows, c.grid.headsAt = len(c.heads), len(r.rowHeads)/abi.RowHeadBytes-rows
			for _, h := range c.heads {
				r.rowHeads = binary.LittleEndian.AppendUint16(r.rowHeads, uint16(h))
			}
		case s.BlocksPerSM > 0:
			c.grid.blocks = min(c.items(), s.BlocksPerSM*r.dev.Info().Multiprocessors*s.Tiles)
			c.grid.rows = ceilDiv(ceilDiv(c.grid.blocks, s.Tiles), width)
		}
		rows += c.grid.rows
	}
	r.rowHeads = append(r.rowHeads, make([]byte, abi.RowHeadBytes*abi.RowHeadsMost-len(r.rowHeads))...)
	r.grid = [3]int64{int64(width), int64(rows), int64(layer.Batch)}
}

// The turns in which sections begin. Long tiles come early, because what begins late ends late. Blocks that take one tile after another
// come last: they fill in as others end, and even the end out.
const (
	wideRanges = iota // more than half of the keys
	someLists
	narrowRanges
	queues
)

// order lists the sections that take part, in the order of their rows.
func (r *groupLaunch) order() (order []int) {
	turn, keys := make([]int, len(r.calls)), make([]int64, len(r.calls))
	for i, c := range r.calls {
		if c == nil {
			continue
		}
		order = append(order, i)
		keys[i] = c.lastRow()
		switch {
		case r.Sections[i].BlocksPerSM > 0:
			turn[i] = queues
		case len(c.schedule.Lists()) > 0:
			turn[i] = someLists
		case 2*keys[i] <= int64(c.SeqK):
			turn[i] = narrowRanges
		}
	}
	slices.SortStableFunc(order, func(a, b int) int {
		return cmp.Or(cmp.Compare(turn[a], turn[b]), cmp.Compare(keys[b], keys[a]))
	})
	return order
}

// lastRow is how many keys the ranges of the last query have.
func (c *sectionCall) lastRow() (sum int64) {
	last := int64(c.QOffset + c.SeqQ - 1)
	at := func(bounds []ir.Bound, start int64, pick func(x, y int64) int64) int64 {
		for _, b := range bounds {
			off, err := b.Eval(c.values)
			if err != nil { // beyond all numbers
				continue
			}
			if b.Row {
				off += last
			}
			start = pick(start, off)
		}
		return start
	}
	for _, g := range c.schedule.Segments {
		if g.From.Kind != ir.SourceRange || !g.HasRow(c.values, int(last), int(last)+1) {
			continue
		}
		low := at(g.Lo, 0, func(x, y int64) int64 { return max(x, y) })
		high := at(g.Hi, int64(c.SeqK), func(x, y int64) int64 { return min(x, y) })
		sum += max(0, high-low)
	}
	return sum
}
