package runtime

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/minfc/minfc/ir"
)

// The launches of a group's kernel: which sections take part, where in the grid, with which arguments.

// sectionPlace is where a section lies in the grid of a launch, and in rowHeads.
type sectionPlace struct {
	row0, rows, head0, blocks int
	headsAt                   int // what to add to a row to get its place in rowHeads
}

// sectionCall is the call of one section of a launch.
type sectionCall struct {
	*call
	member   int
	dense    bool
	schedule *ir.Schedule
	heads    []int // of the layer that it computes; nil with lists, where words on the device say that
}

// sections are those that a part needs: its member's, sparse and dense, each for the heads that it takes.
func (p *partCall) sections(k *LoadedKernel) (out []sectionCall) {
	add := func(dense bool, taken uint64) {
		own, schedule := *p.call, k.schedule
		own.taken = taken
		if p.stores && (p.shared() || p.verdict.routing == byHead) {
			own.route = p.x.at("route")
		}
		if dense {
			schedule = k.fallback.dense.schedule
		}
		s := sectionCall{call: &own, member: p.Member, dense: dense, schedule: schedule}
		if len(schedule.Index) == 0 {
			s.heads = p.Part.Heads
			if own.route != 0 {
				own.route -= uint64(wordBytes * p.section.head0) // heads are counted as the layer does
			}
		}
		out = append(out, s)
	}
	switch p.verdict.routing {
	case allDense:
		add(true, takeSparse)
	case byHead:
		add(false, takeSparse)
		add(true, takeDense)
	default:
		add(false, takeSparse)
	}
	return out
}

// round is one launch: a group, and the calls of its sections, nil for those that have no part in it.
type round struct {
	*loadedGroup
	calls    []*sectionCall
	taken    int // sections that have a part in it
	rows     int // of the grid, at most
	heads    int // that have a place in rowHeads
	rowHeads []byte
	grid     [3]uint32
	args     [][]byte
}

// share shares the sections of all parts out among rounds: one, unless a group has no room for all of them.
func (c *groupCall) share() error {
	var wanted []sectionCall
	for _, p := range c.parts {
		wanted = append(wanted, p.sections(c.members[p.Member])...)
	}
	for len(wanted) > 0 {
		best, left := round{}, wanted
		for _, group := range c.groups { // the first of those that take most
			if r, rest := group.take(wanted); r.taken > best.taken {
				best, left = r, rest
			}
		}
		if best.taken == 0 {
			return fmt.Errorf("internal: no group has a section for member %d", wanted[0].member)
		}
		c.rounds, wanted = append(c.rounds, best), left
	}
	return nil
}

// take gives the group's sections the calls that they are for, as many as there is room for, or some heads of one.
func (g *loadedGroup) take(wanted []sectionCall) (r round, left []sectionCall) {
	r = round{loadedGroup: g, calls: make([]*sectionCall, len(g.Sections))}
	for _, w := range wanted {
		i, room := r.sectionFor(w), rowHeadsMost-r.heads
		if i < 0 || r.rows+g.mostRows(i, w) > maxGridYZ || len(w.heads) > 0 && room == 0 {
			left = append(left, w)
			continue
		}
		if len(w.heads) > room {
			rest := w
			w.heads, rest.heads = w.heads[:room], w.heads[room:]
			left = append(left, rest)
		}
		own := *w.call // another group may cut it to other tiles
		own.rowTiles = ceilDiv(own.SeqQ, g.Sections[i].TileRows)
		w.call = &own
		r.calls[i], r.taken, r.rows, r.heads = &w, r.taken+1, r.rows+g.mostRows(i, w), r.heads+len(w.heads)
	}
	return r, left
}

// sectionFor is a section for the call that has none yet, or -1.
func (r *round) sectionFor(w sectionCall) int {
	for i, s := range r.Sections {
		if s.Member == w.member && s.Dense == w.dense && r.calls[i] == nil {
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
		return min(len(w.heads), rowHeadsMost)
	}
	return w.QHeads
}

// prepare does what can fail of a launch, so that nothing is enqueued if it does.
func (r *round) prepare(layer *call) (err error) {
	r.layOut(layer)
	r.args, err = r.arguments(layer)
	return err
}

// launch enqueues the group's kernel on all heads of the layer.
func (r *round) launch(s Stream) error {
	for i, c := range r.calls {
		if c != nil && r.Sections[i].BlocksPerSM > 0 {
			if err := r.dev.Fill(DevicePtr(c.queue), 0, queueBytes, s); err != nil {
				return err
			}
		}
	}
	return r.function.Launch(Launch{Grid: r.grid, Block: [3]uint32{uint32(r.Threads), 1, 1}, SharedBytes: r.SharedBytes}, r.args, s)
}

// layOut gives every section its rows of the grid.
func (r *round) layOut(layer *call) {
	width, order := 1, r.order()
	for _, i := range order {
		if r.Sections[i].BlocksPerSM == 0 {
			width = max(width, ceilDiv(r.calls[i].rowTiles, r.Sections[i].Tiles))
		}
	}
	rows := 0
	for _, i := range order {
		s, c := r.Sections[i], r.calls[i]
		c.section.row0, c.section.rows = rows, c.QHeads
		switch {
		case c.heads != nil:
			c.section.rows, c.section.headsAt = len(c.heads), len(r.rowHeads)/rowHeadBytes-rows
			for _, h := range c.heads {
				r.rowHeads = binary.LittleEndian.AppendUint16(r.rowHeads, uint16(h))
			}
		case s.BlocksPerSM > 0:
			c.section.blocks = min(c.items(), s.BlocksPerSM*r.dev.Info().Multiprocessors*s.Tiles)
			c.section.rows = ceilDiv(ceilDiv(c.section.blocks, s.Tiles), width)
		}
		rows += c.section.rows
	}
	r.rowHeads = append(r.rowHeads, make([]byte, rowHeadBytes*rowHeadsMost-len(r.rowHeads))...)
	r.grid = [3]uint32{uint32(width), uint32(rows), uint32(layer.Batch)}
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
func (r *round) order() (order []int) {
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
		case len(c.schedule.Index) > 0:
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
		if g.From.Kind != ir.SourceRange {
			continue
		}
		low := at(g.Lo, 0, func(x, y int64) int64 { return max(x, y) })
		high := at(g.Hi, int64(c.SeqK), func(x, y int64) int64 { return min(x, y) })
		sum += max(0, high-low)
	}
	return sum
}

// arguments packs the values of the layer's call and those of the sections. Sections without a part in the launch have no rows, nor do they
// read what else they get.
func (r *round) arguments(layer *call) ([][]byte, error) {
	own := *layer
	own.rowHeads, layer = r.rowHeads, &own
	none := &call{Attention: layer.Attention, headDim: layer.headDim}
	return packCall(r.params, r.mapper, r.DType, func(i int) *call {
		switch n := r.sections[i]; {
		case n < 0:
			return layer
		case r.calls[n] == nil:
			return none
		default:
			return r.calls[n].call
		}
	})
}
