package runtime

import (
	"github.com/minfc/minfc/ir"
	"github.com/minfc/minfc/runtime/device"
)

// Prepare checks a call and computes all that does not depend on its pointers: the index stage of each part, then the attention of all of
// them, in one launch where the artifact was compiled for that. Without parts, the artifact's only pattern computes all heads; heads that no
// part has are not touched, so that several artifacts can share the tensors of a layer. Calls of one shape and the same parts are prepared
// once and then remembered. Errors wrap ErrBadCall when the call is at fault.
//
// Attention of an artifact of several patterns takes more launches where parts of one pattern are more than its sections in the artifact,
// where the artifact has several groups because they had no room in one, and beyond 128 heads without lists or 65535 rows of the grid.
func (l *Loaded) Prepare(s Shape, parts ...Part) (*Prepared, error) {
	return l.prepared.find(s, parts, func() (*Prepared, error) { return l.prepare(s, cloneParts(parts)) })
}

func (l *Loaded) prepare(s Shape, parts []Part) (*Prepared, error) {
	layer, err := l.check(s)
	if err != nil {
		return nil, err
	}
	if parts, err = l.checkParts(s, parts); err != nil {
		return nil, err
	}
	if err := l.checkGiven(layer, parts); err != nil {
		return nil, err
	}
	p := &Prepared{call: layer, dev: l.dev}
	for _, part := range parts {
		own, err := l.preparePart(layer, part)
		if err != nil {
			return nil, part.wrap(err)
		}
		p.parts = append(p.parts, own)
	}
	if p.idle() {
		return p, nil
	}
	p.layOut()
	return p, p.record(l)
}

// check checks the call of a layer by itself.
func (l *Loaded) check(s Shape) (*call, error) {
	if err := CheckSizes(s); err != nil {
		return nil, err
	}
	if err := l.checkBuild(s); err != nil {
		return nil, err
	}
	c := &call{Shape: s, headDim: l.build.HeadDim, dtype: l.build.DType, group: s.QHeads / s.KVHeads}
	c.countHeads()
	return c, c.fillData()
}

// preparePart checks a part and, if it has something to compute, puts numbers to its program.
func (l *Loaded) preparePart(layer *call, part Part) (_ *preparedPart, err error) {
	k := l.patterns[part.Pattern]
	p := &preparedPart{pattern: k, number: part.Pattern, call: part.call(layer), heads: part.Heads}
	if p.call.values, err = k.checkParams(part.Params); err != nil {
		return nil, err
	}
	if len(part.HeadParams) > 0 && len(k.choices) == 0 {
		return nil, device.BadCall("HeadParams is set, but no data decides what %s keeps: all heads keep the same", k.schedule.Name)
	}
	p.call.countHeads()
	if p.call.idle() {
		return p, nil
	}
	if p.bound, err = k.bind(p.call); err != nil {
		return nil, err
	}
	p.stores, p.readies = p.keeps(p.bound.routing != allDense), p.comesBefore(p.bound.routing != allDense)
	return p, nil
}

// keeps says whether a part has something in the workspace: what comes before attention writes, or numbers of tiles that are left out.
func (p *preparedPart) keeps(chooses bool) bool {
	return p.comesBefore(chooses) || p.pattern.schedule.Skip != nil && chooses
}

// comesBefore says whether something comes before a part's attention, and has memory in the workspace: lists, if it chooses, means, words of
// heads for a kernel of its own that leaves some heads out, and the queue of a kernel that has one. Lists that the caller gives are not there. Groups are
// told the heads of a part without lists in another way, and groups do without an index stage before heads that all are dense.
func (p *preparedPart) comesBefore(chooses bool) bool {
	return p.pattern.given || p.pattern.prepares() && chooses || p.pattern.ownAttention() && p.call.shared() || p.pattern.queues(chooses)
}

// layOut gives each part its room in the workspace: memory of its own for what attention reads, and behind it memory that all parts use
// in turn.
func (p *Prepared) layOut() {
	kept, passing := p.memory(func(p *preparedPart) bool { return p.stores })
	at := p.call.lengthsBytes()
	kept += at
	p.workspace, p.kept = kept+passing, kept
	for _, x := range p.parts {
		if x.stores {
			x.bound.bases.kept, x.bound.bases.passing = at, kept
			at += x.bound.Kept
		}
	}
	all, most := p.memory(func(p *preparedPart) bool { return p.keeps(true) })
	p.most = p.call.lengthsBytes() + all + most
}

// memory adds up the kept memory of some parts, and takes the most passing memory that one of them needs.
func (p *Prepared) memory(counts func(*preparedPart) bool) (kept, passing int64) {
	for _, x := range p.parts {
		if x.bound != nil && counts(x) {
			kept, passing = kept+x.bound.Kept, max(passing, x.bound.Passing)
		}
	}
	return kept, passing
}

// record makes the records of a run: the index stage of each part, and then attention.
func (p *Prepared) record(l *Loaded) error {
	r := &recorder{dev: l.dev}
	if err := p.recordLengths(r); err != nil {
		return err
	}
	for _, x := range p.parts {
		if x.readies {
			if err := p.recordIndex(r, x); err != nil {
				return err
			}
		}
	}
	first := len(r.records)
	for _, x := range p.parts {
		if x.bound != nil && x.pattern.ownAttention() {
			if err := x.record(r, (*boundCall).attentionActions); err != nil {
				return err
			}
			p.launches += x.bound.attentionLaunches()
		}
	}
	launches, err := l.share(p.parts)
	if err != nil {
		return err
	}
	p.launches += len(launches)
	for i := range launches {
		if err := launches[i].record(r, p.call); err != nil {
			return err
		}
	}
	p.stages = append(p.stages, stageRecords{StageAttend, first, len(r.records)})
	p.records = r.finish()
	return nil
}

// recordIndex makes the records of a part's index stage.
func (p *Prepared) recordIndex(r *recorder, x *preparedPart) error {
	for _, stage := range indexStages {
		first := len(r.records)
		err := x.record(r, func(x *boundCall) ([]ir.Action, error) { return x.actions(x.indexParts(stage)...) })
		if err != nil {
			return err
		}
		p.stages = append(p.stages, stageRecords{stage, first, len(r.records)})
	}
	return nil
}

// recordLengths makes the record of what comes first where lengths are in device memory: once for all parts.
func (p *Prepared) recordLengths(r *recorder) error {
	for _, x := range p.parts {
		if p.call.Lengths == InShape || x.bound == nil {
			continue
		}
		if err := x.record(r, func(x *boundCall) ([]ir.Action, error) { return x.actions(ir.PartLengths) }); err != nil {
			return err
		}
		p.stages = append(p.stages, stageRecords{stageNumbers, 0, len(r.records)})
		return nil
	}
	return nil
}

func (p *preparedPart) record(r *recorder, actionsOf func(*boundCall) ([]ir.Action, error)) error {
	actions, err := actionsOf(p.bound)
	if err != nil {
		return p.wrap(wrapInternal(err))
	}
	if err := r.add(p.pattern.codes, p.bound, actions); err != nil {
		return p.wrap(err)
	}
	return nil
}

// Commands is how many commands a run enqueues: launches, and clearings of memory.
func (p *Prepared) Commands() int {
	if p.records == nil {
		return 0
	}
	return len(p.records.records)
}
