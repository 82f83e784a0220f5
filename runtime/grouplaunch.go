package runtime

import (
	"cmp"
	"fmt"
	"slices"
)

// Part is what one member computes of a call on all heads of a layer.
type Part struct {
	Member int
	Head0  int       // the head of the layer that is head 0 of Call
	Call   Attention // its heads, its own parameters and workspace; tensors are those of these heads
	Label  string    // what errors call it: "heads 0-2, 5"
}

// sectionPlace is where a section lies in the grid of a launch.
type sectionPlace struct{ row0, rows, head0, blocks int }

// partCall is a part that was checked and planned.
type partCall struct {
	Part
	*call
	x       *indexCall // nil without workspace
	verdict verdict
}

// Launch enqueues the attention of all parts: the index stage of each, then all heads in one launch. a is the call of the whole layer,
// without parameters. The conditions are those of LoadedKernel.Launch; when a part is at fault nothing was enqueued. It takes more
// launches if parts of one member, whose parameters differ, are more than the group has sections for.
func (g *LoadedGroups) Launch(s Stream, a Attention, parts []Part) error {
	return g.launch(s, a, parts, true)
}

// Check says what Launch would say of the call, and enqueues nothing.
func (g *LoadedGroups) Check(a Attention, parts []Part) error { return g.launch(nil, a, parts, false) }

// Launches says how many launches the attention of all parts takes, index stages aside. Of the calls only shapes, parameters and
// heads count.
func (g *LoadedGroups) Launches(parts []Part) (int, error) {
	var calls []*partCall
	for _, p := range parts {
		c, err := g.members[p.Member].checkShape(p.Call)
		if err == nil {
			calls, err = g.plan(calls, p, c, (*LoadedKernel).planned)
		}
		if err != nil {
			return 0, p.wrap(err)
		}
	}
	rounds, err := g.rounds(calls)
	return len(rounds), err
}

func (g *LoadedGroups) launch(s Stream, a Attention, parts []Part, enqueue bool) error {
	layer, err := g.members[0].checkLayer(a)
	if err != nil {
		return err
	}
	var calls []*partCall
	for _, p := range parts {
		c, err := g.members[p.Member].check(p.Call)
		if err == nil {
			calls, err = g.plan(calls, p, c, (*LoadedKernel).prepare)
		}
		if err != nil {
			return p.wrap(err)
		}
	}
	rounds, err := g.rounds(calls)
	if err != nil || !enqueue {
		return err
	}
	for _, c := range calls {
		if c.x == nil {
			continue
		}
		if err := g.members[c.Member].launchIndex(s, c.x, c.verdict); err != nil {
			return c.wrap(err)
		}
	}
	for _, r := range rounds {
		if err := r.launch(s, layer); err != nil {
			return err
		}
	}
	return nil
}

// plan appends the part's checked call to those that have something to compute.
func (g *LoadedGroups) plan(calls []*partCall, p Part, c *call, with func(*LoadedKernel, *call) (*indexCall, verdict, error)) ([]*partCall, error) {
	if c.idle() {
		return calls, nil
	}
	out := &partCall{Part: p, call: c}
	if k := g.members[p.Member]; k.needsWorkspace(c) {
		var err error
		if out.x, out.verdict, err = with(k, c); err != nil {
			return nil, err
		}
	}
	return append(calls, out), nil
}

// wrap says whose error it is.
func (p Part) wrap(err error) error {
	if p.Label == "" {
		return err
	}
	return fmt.Errorf("%s: %w", p.Label, err)
}

// checkLayer checks the tensors of a call on all heads.
func (k *LoadedKernel) checkLayer(a Attention) (*call, error) {
	if err := checkLengths(a); err != nil {
		return nil, err
	}
	if err := checkHeads(a); err != nil {
		return nil, err
	}
	c := &call{Attention: a, headDim: k.info.HeadDim}
	var err error
	if c.scaleLog2, err = scaleLog2(a.Scale, k.info.HeadDim); err != nil {
		return nil, err
	}
	if err := c.fillTensors(); err != nil {
		return nil, err
	}
	return c, c.fillLSE()
}

// sectionCall is the call of one section of a launch.
type sectionCall struct {
	*call
	member int
	dense  bool
}

// sections are those that a part needs: its member's, sparse and dense, each for the heads that it takes.
func (c *partCall) sections() (out []sectionCall) {
	add := func(dense bool, taken uint64) {
		own := *c.call
		own.place.head0, own.taken = c.Head0, taken
		if c.x != nil && (c.shared() || c.verdict.routing == byHead) {
			own.route = c.x.at("route")
		}
		out = append(out, sectionCall{&own, c.Member, dense})
	}
	switch c.verdict.routing {
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
	calls []*call
}

// rounds shares the sections of all parts out among launches: one, unless parts of a member are more than a group's sections of it.
func (g *LoadedGroups) rounds(parts []*partCall) ([]round, error) {
	var wanted []sectionCall
	for _, p := range parts {
		wanted = append(wanted, p.sections()...)
	}
	var out []round
	for len(wanted) > 0 {
		best, left := round{}, wanted
		for _, group := range g.groups { // the first of those that take most
			if r, rest := group.take(wanted); len(rest) < len(left) {
				best, left = r, rest
			}
		}
		if len(left) == len(wanted) {
			return nil, fmt.Errorf("internal: no group has a section for member %d", wanted[0].member)
		}
		out, wanted = append(out, best), left
	}
	return out, nil
}

// take gives the group's sections the calls that they are for, as many as there is room for.
func (g *loadedGroup) take(wanted []sectionCall) (r round, left []sectionCall) {
	r = round{g, make([]*call, len(g.Sections))}
	for _, w := range wanted {
		i := -1
		for n, s := range g.Sections {
			if s.Member == w.member && s.Dense == w.dense && r.calls[n] == nil {
				i = n
				break
			}
		}
		if i < 0 {
			left = append(left, w)
			continue
		}
		own := *w.call // another group may cut it to other tiles
		own.rowTiles = ceilDiv(own.SeqQ, g.Sections[i].TileRows)
		r.calls[i] = &own
	}
	return r, left
}

// launch enqueues the group's kernel on all heads of the layer.
func (r round) launch(s Stream, layer *call) error {
	grid, err := r.layOut(layer)
	if err != nil {
		return err
	}
	args, err := r.arguments(layer)
	if err != nil {
		return err
	}
	for i, c := range r.calls {
		if c != nil && r.Sections[i].BlocksPerSM > 0 {
			if err := r.dev.Fill(DevicePtr(c.queue), 0, queueBytes, s); err != nil {
				return err
			}
		}
	}
	return r.function.Launch(Launch{Grid: grid, Block: [3]uint32{uint32(r.Threads), 1, 1}, SharedBytes: r.SharedBytes}, args, s)
}

// layOut gives every section its rows of the grid. Those whose blocks take one tile after another come last: they even out what the others
// leave idle at the end. Of the others the dense ones, whose tiles are longest, come first.
func (r round) layOut(layer *call) ([3]uint32, error) {
	order := make([]int, 0, len(r.calls))
	width := 1
	for i, c := range r.calls {
		if c == nil {
			continue
		}
		order = append(order, i)
		if r.Sections[i].BlocksPerSM == 0 {
			width = max(width, ceilDiv(c.rowTiles, r.Sections[i].Tiles))
		}
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(r.turn(a), r.turn(b)) })
	rows := 0
	for _, i := range order {
		s, c := r.Sections[i], r.calls[i]
		c.place.row0, c.place.rows = rows, c.QHeads
		if s.BlocksPerSM > 0 {
			c.place.blocks = min(c.items(), s.BlocksPerSM*r.dev.Info().Multiprocessors*s.Tiles)
			c.place.rows = ceilDiv(ceilDiv(c.place.blocks, s.Tiles), width)
		}
		rows += c.place.rows
	}
	if rows > maxGridYZ {
		return [3]uint32{}, badCall("the heads of all parts are %d, want at most %d; split larger calls", rows, maxGridYZ)
	}
	return [3]uint32{uint32(width), uint32(rows), uint32(layer.Batch)}, nil
}

// turn is when the rows of a section come.
func (r round) turn(section int) int {
	switch s := r.Sections[section]; {
	case s.BlocksPerSM > 0:
		return 2
	case s.Dense:
		return 0
	}
	return 1
}

// arguments packs the values of the layer's call and those of the sections. Sections without a part in the launch have no rows, nor do they
// read what else they get.
func (r round) arguments(layer *call) ([][]byte, error) {
	none := &call{Attention: layer.Attention, headDim: layer.headDim}
	return packCall(r.params, r.mapper, r.DType, func(i int) *call {
		switch n := r.sections[i]; {
		case n < 0:
			return layer
		case r.calls[n] == nil:
			return none
		default:
			return r.calls[n]
		}
	})
}
