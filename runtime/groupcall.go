package runtime

import "github.com/minfc/minfc/runtime/device"

// Prepare checks a call on all heads of a layer and computes all that does not depend on its pointers, which it does not look at: the index
// stage of each part, then all parts in one launch. a is the call of the whole layer, but parameters and heads are taken from the parts;
// heads that no part has are not touched. Calls of one shape and the same parts are prepared once and then remembered. Errors wrap
// ErrBadCall when the call is at fault. Attention takes more launches where parts of one member are more than its sections in the artifact,
// where the artifact has several groups because they had no room in one, and beyond 128 heads without lists or 65535 rows of the grid.
func (g *LoadedGroups) Prepare(a Attention, parts []Part) (*Prepared, error) {
	return g.prepared.find(&a, parts, func() (*Prepared, error) {
		layer, err := g.members[0].checkLayer(shapeOf(a))
		if err != nil {
			return nil, err
		}
		c := &groupCall{LoadedGroups: g, Prepared: &Prepared{call: layer, dev: g.dev}}
		if err := c.bind(parts); err != nil {
			return nil, err
		}
		if layer.SeqQ == 0 {
			return c.Prepared, nil
		}
		return c.Prepared, c.prepare()
	})
}

// groupCall is a call on all heads of a layer while it is prepared.
type groupCall struct {
	*LoadedGroups
	*Prepared
}

// Launch enqueues the attention of all heads of a layer: it is Prepare and Run. It has the conditions of LoadedKernel.Launch; when the call
// is at fault nothing was enqueued.
func (g *LoadedGroups) Launch(s device.Stream, a Attention, parts []Part) error {
	p, err := g.Prepare(a, parts)
	if err != nil {
		return err
	}
	return p.Run(s, pointersOf(a))
}

// Check says what Launch would say of the call, and enqueues nothing.
func (g *LoadedGroups) Check(a Attention, parts []Part) error {
	p, err := g.Prepare(a, parts)
	if err != nil {
		return err
	}
	return p.check(pointersOf(a))
}

// prepareShape prepares a call of contiguous tensors that is like a.
func (g *LoadedGroups) prepareShape(a Attention, parts []Part) (*Prepared, error) {
	return g.Prepare(withoutStrides(a), parts)
}

// Launches says how many launches the attention of all parts takes, index stages aside. Of the call only its shape and NoFallback count.
func (g *LoadedGroups) Launches(a Attention, parts []Part) (int, error) {
	p, err := g.prepareShape(a, parts)
	if err != nil {
		return 0, err
	}
	return p.launches, nil
}

// Workspace returns how many bytes of device memory a launch needs beside its tensors; of the call only its shape counts. Parts have
// memory of their own for what attention reads; what their index stages compute on the way there they use in turn. The workspace of the
// largest call serves all smaller ones, so parts count as well that would run dense.
func (g *LoadedGroups) Workspace(a Attention, parts []Part) (int64, error) {
	p, err := g.prepareShape(a, parts)
	if err != nil {
		return 0, err
	}
	return p.Workspace(), nil
}

// ReadChosen waits for the stream and reads what the last launch of the call chose; see Prepared.ReadChosen.
func (g *LoadedGroups) ReadChosen(dev device.Device, s device.Stream, a Attention, parts []Part) ([]Chosen, error) {
	p, err := g.Prepare(a, parts)
	if err != nil {
		return nil, err
	}
	return p.ReadChosen(s, pointersOf(a))
}

// checkLayer checks the call of a layer by itself.
func (k *LoadedKernel) checkLayer(a Attention) (*call, error) {
	if err := CheckSizes(a); err != nil {
		return nil, err
	}
	if len(a.Params) > 0 || len(a.HeadParams) > 0 || len(a.Heads) > 0 {
		return nil, device.BadCall("Params, HeadParams or Heads are set, but each part has its own")
	}
	c := &call{Attention: a, headDim: k.info.HeadDim, dtype: k.info.DType}
	if err := c.fillHeads(); err != nil {
		return nil, err
	}
	return c, c.fillData()
}

// bind checks the parts and puts numbers to their programs.
func (c *groupCall) bind(parts []Part) error {
	if err := c.checkParts(c.call.Attention, parts); err != nil {
		return err
	}
	for _, p := range cloneParts(parts) {
		k := c.members[p.Member]
		a, first := p.Call(c.call.Attention)
		own, err := k.check(a)
		if err == nil && !own.idle() {
			own.head0 = first
			err = c.add(k, p, own)
		}
		if err != nil {
			return p.wrap(err)
		}
	}
	return nil
}

// add binds a part that has something to compute. Nothing comes before attention where no data decides, or where dense attention is known
// to be faster.
func (c *groupCall) add(k *LoadedKernel, p Part, own *call) error {
	x, err := k.bind(own)
	if err != nil {
		return err
	}
	x.bases = bases{q: int64(own.Q.Ptr), k: int64(own.K.Ptr), v: int64(own.V.Ptr), o: int64(own.O.Ptr),
		lse: lseBytes * own.LSEHeadStride * int64(own.head0)}
	c.parts = append(c.parts, &preparedPart{kernel: k, member: p.Member, bound: x, heads: p.Heads,
		stores: len(k.choices) > 0 && x.routing != allDense})
	return nil
}

// prepare lays the workspace out and records the launches.
func (c *groupCall) prepare() error {
	c.layOut()
	r := &recorder{dev: c.dev()}
	for _, p := range c.parts {
		if !p.stores {
			continue
		}
		actions, err := p.bound.indexActions()
		if err != nil {
			return p.wrap(wrapInternal(err))
		}
		if err := r.add(p.kernel, p.bound, actions); err != nil {
			return p.wrap(err)
		}
	}
	c.index = len(r.records)
	launches, err := c.share()
	if err != nil {
		return err
	}
	c.launches = len(launches)
	for i := range launches {
		if err := launches[i].record(r, c.call); err != nil {
			return err
		}
	}
	c.records = r.finish()
	return nil
}

func (c *groupCall) dev() device.Device { return c.LoadedGroups.dev }

// layOut gives each part its room in the workspace: memory of its own for what attention reads, and behind it memory that all parts use
// in turn.
func (c *groupCall) layOut() {
	kept, passing := c.memory(func(p *preparedPart) bool { return p.stores })
	c.workspace = kept + passing
	at := int64(0)
	for _, p := range c.parts {
		if p.stores {
			p.bound.bases.kept, p.bound.bases.passing = at, kept
			at += p.bound.Kept
		}
	}
	all, most := c.memory(func(p *preparedPart) bool { return len(p.kernel.choices) > 0 })
	c.most = all + most
}

// memory adds up the kept memory of some parts, and takes the most passing memory that one of them needs.
func (c *groupCall) memory(counts func(*preparedPart) bool) (kept, passing int64) {
	for _, p := range c.parts {
		if counts(p) {
			kept, passing = kept+p.bound.Kept, max(passing, p.bound.Passing)
		}
	}
	return kept, passing
}
