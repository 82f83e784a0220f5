package runtime

import (
	"cmp"
	"fmt"
	"math"
	"slices"
)

// Part is what one member computes of a call on all heads of a layer.
type Part struct {
	Member int
	Head0  int       // the head of the layer that is head 0 of Call
	Call   Attention // its heads and its own parameters; tensors are those of these heads, the workspace is the layer's
	Label  string    // what errors call it: "heads 0-2, 5"
}

// sectionPlace is where a section lies in the grid of a launch, and which of its heads it computes.
type sectionPlace struct {
	row0, rows, head0, blocks int
	mask                      [maskWords]uint64 // a bit a head
}

const maskWords = 2

// partCall is a part that was checked and planned.
type partCall struct {
	Part
	number int // of the part
	*call
	x       *indexCall // nil where no data decides and nothing is stored
	stores  bool       // something comes before attention, and has memory in the workspace
	verdict verdict
}

// Launch enqueues the attention of all parts: the index stage of each, then all heads in one launch. a is the call of the whole layer,
// without parameters. The conditions are those of LoadedKernel.Launch; when a part is at fault nothing was enqueued. It takes more
// launches if parts of one member, whose parameters differ, are more than the group has sections for.
func (g *LoadedGroups) Launch(s Stream, a Attention, parts []Part) error {
	layer, calls, err := g.check(a, parts)
	if err != nil {
		return err
	}
	rounds, err := g.rounds(calls)
	if err != nil {
		return err
	}
	for _, c := range calls {
		if !c.stores {
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

// Check says what Launch would say of the call, and enqueues nothing.
func (g *LoadedGroups) Check(a Attention, parts []Part) error {
	_, _, err := g.check(a, parts)
	return err
}

// Launches says how many launches the attention of all parts takes, index stages aside. Of the calls only shapes, parameters and
// heads count.
func (g *LoadedGroups) Launches(parts []Part) (int, error) {
	calls, err := g.plan(parts, (*LoadedKernel).checkShape)
	if err != nil {
		return 0, err
	}
	rounds, err := g.rounds(calls)
	return len(rounds), err
}

// Workspace returns how many bytes of device memory a launch of the parts needs beside its tensors; of them only shapes, parameters
// and heads count. Parts have memory of their own for what attention reads; what their index stages compute on the way there they use in
// turn. The workspace of the largest call serves all smaller ones, so parts count as well that would run dense.
func (g *LoadedGroups) Workspace(parts []Part) (int64, error) {
	calls, err := g.plan(parts, (*LoadedKernel).checkShape)
	if err != nil {
		return 0, err
	}
	kept, passing := workspaceOf(calls, func(c *partCall) bool { return c.x != nil })
	return kept + passing, nil
}

// ReadChosen waits for the stream and reads what the last launch of the parts chose: for each part what LoadedKernel.ReadChosen returns.
func (g *LoadedGroups) ReadChosen(dev Device, s Stream, a Attention, parts []Part) ([][]Chosen, error) {
	_, calls, err := g.check(a, parts)
	if err != nil {
		return nil, err
	}
	out := make([][]Chosen, len(parts))
	for _, c := range calls {
		k := g.members[c.Member]
		if len(k.plan.choices) == 0 {
			continue
		}
		if out[c.number], err = k.readChosen(dev, s, c.x, c.verdict); err != nil {
			return nil, c.wrap(err)
		}
	}
	return out, nil
}

// plan checks and plans the parts that have something to compute.
func (g *LoadedGroups) plan(parts []Part, check func(*LoadedKernel, Attention) (*call, error)) (calls []*partCall, err error) {
	for i, p := range parts {
		if p.Member < 0 || p.Member >= len(g.members) {
			return nil, p.wrap(badCall("Member is %d, want one of %d", p.Member, len(g.members)))
		}
		k, own := g.members[p.Member], &partCall{Part: p, number: i}
		if own.call, err = check(k, p.Call); err == nil && !own.idle() {
			err = own.planFor(k)
		}
		if err != nil {
			return nil, p.wrap(err)
		}
		if !own.idle() {
			calls = append(calls, own)
		}
	}
	return calls, nil
}

// planFor plans what comes before attention, if anything does: not where no data decides, or dense attention is known to be faster, and
// a mask says which heads are the part's.
func (c *partCall) planFor(k *LoadedKernel) (err error) {
	masked := c.setMask()
	if len(k.plan.choices) == 0 && masked {
		return nil
	}
	c.x, c.verdict, err = k.planned(c.call)
	c.stores = !masked || c.verdict.routing != allDense
	return err
}

// setMask says in bits which heads take part, if there are enough of them; else all may, and words tell them apart.
func (c *partCall) setMask() bool {
	c.place.mask = [maskWords]uint64{math.MaxUint64, math.MaxUint64}
	if !c.shared() {
		return true
	}
	if c.QHeads > 64*maskWords {
		return false
	}
	for h, takes := range c.Heads {
		if !takes {
			c.place.mask[h/64] &^= 1 << (h % 64)
		}
	}
	return true
}

// check checks a whole call and gives each part its place in the workspace.
func (g *LoadedGroups) check(a Attention, parts []Part) (layer *call, calls []*partCall, err error) {
	if layer, err = g.members[0].checkLayer(a); err != nil {
		return nil, nil, err
	}
	if calls, err = g.plan(parts, (*LoadedKernel).check); err != nil {
		return nil, nil, err
	}
	kept, passing := workspaceOf(calls, func(c *partCall) bool { return c.stores })
	if err := checkWorkspace(a, kept+passing); err != nil {
		return nil, nil, err
	}
	at := a.Workspace
	for _, c := range calls {
		if c.stores {
			c.Workspace, c.passing = at, a.Workspace+DevicePtr(kept)
			c.x.fillLists()
			at += DevicePtr(aligned(c.x.kept))
		}
	}
	return layer, calls, nil
}

// workspaceOf adds up what some parts keep, and takes the most that one of them needs besides.
func workspaceOf(calls []*partCall, counts func(*partCall) bool) (kept, passing int64) {
	for _, c := range calls {
		if counts(c) {
			kept, passing = kept+aligned(c.x.kept), max(passing, c.x.bytes-c.x.kept)
		}
	}
	return kept, passing
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
		if c.stores && (c.shared() || c.verdict.routing == byHead) {
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
