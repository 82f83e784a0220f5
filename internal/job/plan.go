package job

import (
	"fmt"
	"slices"

	"github.com/minfc/minfc/internal/failure"
	"github.com/minfc/minfc/internal/headplan"
	"github.com/minfc/minfc/internal/summary"
	"github.com/minfc/minfc/plan"
	"github.com/minfc/minfc/runtime"
	"github.com/minfc/minfc/runtime/artifact"
)

// layer is a layer of a head plan, ready to run.
type layer struct {
	number int
	first  int      // number in the model of the tensors' head 0
	text   []string // of heads, as the report shows them
	heads  []*head  // [QHeads]
	loaded *plan.LoadedLayer
}

// fillPlan reads the plan; load compiles what the heads of the layer need.
func (j *Job) fillPlan() (load func() error, err error) {
	p, err := headplan.ReadBeside(j.Plan, j.File)
	if err != nil {
		return nil, err
	}
	if err := j.makeInput(); err != nil {
		return nil, err
	}
	number, err := j.layerOf(p)
	if err != nil {
		return nil, err
	}
	if j.First != nil {
		if p, err = p.From(*j.First, j.In.QHeads); err != nil {
			return nil, err
		}
	}
	heads, missing, err := p.Assign(number, j.In.QHeads)
	if err != nil {
		return nil, j.withHint(p, err)
	}
	if len(missing) > 0 {
		j.console.Note("%s: layer %d has no entry for %s: %s as MInference takes it", j.Plan, number, runtime.ListHeads(missing), p.Default)
	}
	l := &layer{number: number, first: p.HeadsFrom}
	for _, h := range heads {
		l.text = append(l.text, h.String())
	}
	return func() error {
		if err := j.loadPlan(l, p, heads); err != nil {
			return err
		}
		j.plan = l
		return nil
	}, nil
}

// withHint is what is wrong with a layer, and what to do where the tensors have fewer heads than the plan is for.
func (j *Job) withHint(p *headplan.File, err error) error {
	if j.First == nil && p.QHeads() > j.In.QHeads {
		return fmt.Errorf("%s: %w; where the tensors hold a part of the heads, say with --heads-from which is the first", j.Plan, err)
	}
	return fmt.Errorf("%s: %w", j.Plan, err)
}

func (j *Job) layerOf(p *headplan.File) (int, error) {
	switch {
	case j.Layer != nil:
		return *j.Layer, nil
	case len(p.Layers) == 1:
		return 0, nil
	}
	return 0, failure.Usagef("%s has %d layers, say which one with --layer", j.Plan, len(p.Layers))
}

// loadPlan compiles what the heads need, unless the file is an artifact already, and loads it.
func (j *Job) loadPlan(l *layer, p *headplan.File, heads []plan.Head) error {
	art, err := j.planArtifact(p, heads)
	if err != nil {
		return err
	}
	sel := j.selection()
	kernels, err := plan.Load(j.dev, art, sel)
	if err != nil {
		return failure.OfKernel(err)
	}
	j.loaded = kernels.Loaded
	if l.loaded, err = kernels.Bind(heads); err != nil {
		return err
	}
	if j.passed == nil {
		j.passed = art.Manifest.Passed(j.dev.Info(), sel)
	}
	j.notePassed(j.loaded.Build().Target)
	for h, x := range heads {
		own := &head{pattern: x.Pattern, kernel: l.loaded.Pattern(h)}
		if err := own.setParams(x.Params, false); err != nil {
			return err
		}
		l.heads = append(l.heads, own)
	}
	return nil
}

func (j *Job) planArtifact(p *headplan.File, heads []plan.Head) (*artifact.Artifact, error) {
	if j.File != nil && j.File.Artifact != nil && j.File.Artifact.IsPlan() {
		return j.File.Artifact, nil
	}
	opts, err := j.options()
	if err != nil {
		return nil, err
	}
	return p.Compile(opts, j.observer(), heads)
}

// summary lists what the heads of the layer run, heads that run the same in one line.
func (l *layer) summary(path string, call *runtime.Prepared) *summary.Plan {
	out := &summary.Plan{Path: path, Layer: l.number, Heads: len(l.heads), HeadsFrom: l.first, Launches: call.Launches()}
	for h, text := range l.text {
		if slices.Index(l.text, text) < h {
			continue
		}
		var same []int
		for other, t := range l.text {
			if t == text {
				same = append(same, other)
			}
		}
		out.Patterns = append(out.Patterns, text+": "+runtime.ListHeads(same))
	}
	return out
}
