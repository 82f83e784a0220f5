package runtime

// groupCall is a call on all heads of a layer that was checked and planned.
type groupCall struct {
	*LoadedGroups
	layer  *call
	parts  []*partCall // that have something to compute
	rounds []round     // launches of attention
}

// partCall is a part that was checked and planned.
type partCall struct {
	Part
	*call
	x       *indexCall // nil where no data decides
	stores  bool       // something comes before attention, and has memory in the workspace
	verdict verdict
}

// Launch enqueues the attention of all heads of a layer: the index stage of each part, then all parts in one launch. a is the call of the
// whole layer; parameters and heads are those of the parts, and heads that no part has are not touched. The conditions are those of
// LoadedKernel.Launch; when the call is at fault nothing was enqueued. It takes more launches where parts of one member are more than its
// sections in the artifact, where the artifact has several groups because they had no room in one, and beyond 128 heads without lists
// or 65535 rows of the grid.
func (g *LoadedGroups) Launch(s Stream, a Attention, parts []Part) error {
	c, err := g.prepare(a, parts)
	if err != nil {
		return err
	}
	for _, p := range c.parts {
		if !p.stores {
			continue
		}
		if err := g.members[p.Member].launchIndex(s, p.x, p.verdict); err != nil {
			return p.wrap(err)
		}
	}
	for _, r := range c.rounds {
		if err := r.launch(s); err != nil {
			return err
		}
	}
	return nil
}

// Check says what Launch would say of the call, and enqueues nothing.
func (g *LoadedGroups) Check(a Attention, parts []Part) error {
	_, err := g.prepare(a, parts)
	return err
}

// Launches says how many launches the attention of all parts takes, index stages aside. Of the call only its shape and NoFallback count.
func (g *LoadedGroups) Launches(a Attention, parts []Part) (int, error) {
	c, err := g.planShape(a, parts)
	if err != nil {
		return 0, err
	}
	err = c.share()
	return len(c.rounds), err
}

// Workspace returns how many bytes of device memory a launch needs beside its tensors; of the call only its shape counts. Parts have
// memory of their own for what attention reads; what their index stages compute on the way there they use in turn. The workspace of the
// largest call serves all smaller ones, so parts count as well that would run dense.
func (g *LoadedGroups) Workspace(a Attention, parts []Part) (int64, error) {
	c, err := g.planShape(a, parts)
	if err != nil {
		return 0, err
	}
	kept, passing := c.workspace(func(p *partCall) bool { return p.x != nil })
	return kept + passing, nil
}

// ReadChosen waits for the stream and reads what the last launch of the call chose, [Batch * QHeads]; nil if no head depends on data. The
// workspace must not have served another launch since. The choices of heads that do not depend on data have no sets.
func (g *LoadedGroups) ReadChosen(dev Device, s Stream, a Attention, parts []Part) ([]Chosen, error) {
	c, err := g.prepare(a, parts)
	if err != nil {
		return nil, err
	}
	var out []Chosen
	for _, p := range c.parts {
		k := g.members[p.Member]
		if len(k.plan.choices) == 0 {
			continue
		}
		chosen, err := k.readChosen(dev, s, p.x, p.verdict)
		if err != nil {
			return nil, p.wrap(err)
		}
		if out == nil {
			out = nothingChosen(a.Batch*a.QHeads, a.QOffset)
		}
		for batch := range a.Batch {
			for _, h := range p.Heads {
				out[batch*a.QHeads+h] = chosen[batch*p.QHeads+h-p.section.head0]
			}
		}
	}
	return out, nil
}

// planShape checks and plans a call of which only the shape counts.
func (g *LoadedGroups) planShape(a Attention, parts []Part) (*groupCall, error) {
	if err := CheckSizes(a); err != nil {
		return nil, err
	}
	c := &groupCall{LoadedGroups: g, layer: &call{Attention: a}}
	return c, c.plan(parts, (*LoadedKernel).checkShape)
}

// prepare checks a whole call and does all for it that comes before the first launch.
func (g *LoadedGroups) prepare(a Attention, parts []Part) (*groupCall, error) {
	layer, err := g.members[0].checkLayer(a)
	if err != nil {
		return nil, err
	}
	c := &groupCall{LoadedGroups: g, layer: layer}
	if err := c.plan(parts, (*LoadedKernel).checkPart); err != nil {
		return nil, err
	}
	if err := c.place(); err != nil {
		return nil, err
	}
	if err := c.share(); err != nil {
		return nil, err
	}
	for i := range c.rounds {
		if err := c.rounds[i].prepare(layer); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// checkLayer checks the call of a layer by itself.
func (k *LoadedKernel) checkLayer(a Attention) (*call, error) {
	if err := CheckSizes(a); err != nil {
		return nil, err
	}
	if len(a.Params) > 0 || len(a.HeadParams) > 0 || len(a.Heads) > 0 {
		return nil, badCall("Params, HeadParams or Heads are set, but each part has its own")
	}
	c := &call{Attention: a, headDim: k.info.HeadDim}
	if err := c.fillData(); err != nil {
		return nil, err
	}
	return c, c.checkOverlap()
}

// plan checks and plans the parts.
func (c *groupCall) plan(parts []Part, check func(*LoadedKernel, Attention) (*call, error)) error {
	if err := c.checkParts(c.layer.Attention, parts); err != nil {
		return err
	}
	for _, p := range parts {
		k, own := c.members[p.Member], &partCall{Part: p}
		a, first := p.Call(c.layer.Attention)
		var err error
		if own.call, err = check(k, a); err == nil && !own.idle() {
			own.section.head0 = first
			err = own.planFor(k)
			c.parts = append(c.parts, own)
		}
		if err != nil {
			return p.wrap(err)
		}
	}
	return nil
}

// planFor plans what comes before attention, if anything does: not where no data decides, or dense attention is known to be faster.
func (p *partCall) planFor(k *LoadedKernel) (err error) {
	if len(k.plan.choices) == 0 {
		return nil
	}
	p.x, p.verdict, err = k.planned(p.call)
	p.stores = p.verdict.routing != allDense
	return err
}

// place gives each part its place in the workspace.
func (c *groupCall) place() error {
	a := c.layer.Attention
	kept, passing := c.workspace(func(p *partCall) bool { return p.stores })
	if err := c.layer.checkWorkspace(kept + passing); err != nil {
		return err
	}
	at := a.Workspace
	for _, p := range c.parts {
		if p.stores {
			p.Workspace, p.passing = at, a.Workspace+DevicePtr(kept)
			p.x.fillLists()
			at += DevicePtr(aligned(p.x.kept))
		}
	}
	return nil
}

// workspace adds up what some parts keep, and takes the most that one of them needs besides.
func (c *groupCall) workspace(counts func(*partCall) bool) (kept, passing int64) {
	for _, p := range c.parts {
		if counts(p) {
			kept, passing = kept+aligned(p.x.kept), max(passing, p.x.bytes-p.x.kept)
		}
	}
	return kept, passing
}
