package plan

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/minfc/minfc/ir"
	"github.com/minfc/minfc/runtime"
	"github.com/minfc/minfc/runtime/artifact"
	"github.com/minfc/minfc/runtime/device"
)

// Use is a pattern that heads of a model need, compiled with values of its const parameters.
type Use struct {
	Pattern *ir.Pattern
	Consts  map[string]int64 // values of all const parameters
	Copies  int              // the most sets of launch parameters, budgets aside, that heads of one layer have, up to some
}

// Sets of parameters of one pattern that a launch is made for; a layer with more takes more launches. Patterns that the data decides
// have code of their own for each, others some bytes of parameters.
const (
	maxCopies     = 8
	maxListCopies = 2
)

// Uses lists the patterns that the heads of some layers need, in the order of their first heads. One launch
// runs all patterns of a layer.
func Uses(layers ...[]Head) ([]Use, error) {
	var out []Use
	for _, heads := range layers {
		sets := map[int][]map[string]int64{} // of each use, in this layer
		for h, head := range heads {
			values, err := head.Values()
			if err != nil {
				return nil, fmt.Errorf("head %d: %w", h, err)
			}
			i := slices.IndexFunc(out, func(u Use) bool { return u.Pattern == head.Pattern && maps.Equal(u.Consts, head.consts(values)) })
			if i < 0 {
				i, out = len(out), append(out, Use{head.Pattern, head.consts(values), 1})
			}
			set := head.launchSet(values)
			if !slices.ContainsFunc(sets[i], func(x map[string]int64) bool { return maps.Equal(x, set) }) {
				sets[i] = append(sets[i], set)
			}
			out[i].Copies = max(out[i].Copies, min(len(sets[i]), most(head.Pattern)))
		}
	}
	return out, nil
}

func most(p *ir.Pattern) int {
	if len(p.Index) > 0 {
		return maxListCopies
	}
	return maxCopies
}

func (h Head) consts(values map[string]int64) map[string]int64 {
	return h.Pattern.ValuesAt(ir.BindConst, values)
}

// launchSet are the launch parameters that are no budgets.
func (h Head) launchSet(values map[string]int64) map[string]int64 {
	set := h.Pattern.ValuesAt(ir.BindLaunch, values)
	for _, name := range h.Pattern.Budgets() {
		delete(set, name)
	}
	return set
}

// Kernels are the compiled patterns of a head plan on a device; all layers share them. They are safe for concurrent use until Close.
type Kernels struct {
	*runtime.Loaded
	patterns []string // as text
}

// Load loads the patterns of a head plan, compiled by compile.Plan. Errors are the errors of runtime.Load.
func Load(dev device.Device, a *artifact.Artifact, sel artifact.Select) (*Kernels, error) {
	loaded, err := runtime.Load(dev, a, sel)
	if err != nil {
		return nil, err
	}
	k := &Kernels{Loaded: loaded}
	for _, p := range a.Manifest.Patterns {
		k.patterns = append(k.patterns, p.Text)
	}
	return k, nil
}

// number is the number of the pattern that a head runs.
func (k *Kernels) number(h Head, values map[string]int64) (int, error) {
	baked := h.Pattern.WithDefaults(h.consts(values))
	if i := slices.Index(k.patterns, baked.String()); i >= 0 {
		return i, nil
	}
	return 0, fmt.Errorf("%s is not among the patterns that were compiled; compile the plan again", h)
}

// LoadedLayer is a layer of a model: which heads run which pattern. It is safe for concurrent use until its kernels are closed.
type LoadedLayer struct {
	kernels *Kernels
	heads   []*runtime.Pattern // what each runs
	parts   []runtime.Part     // heads that have one index stage, in the order of their first ones
}

// Bind returns what runs the heads of a layer.
func (k *Kernels) Bind(heads []Head) (*LoadedLayer, error) {
	if len(heads) == 0 {
		return nil, fmt.Errorf("there are no heads to run")
	}
	l := &LoadedLayer{kernels: k}
	for h, head := range heads {
		values, err := head.Values()
		if err != nil {
			return nil, fmt.Errorf("head %d: %w", h, err)
		}
		number, err := k.number(head, values)
		if err != nil {
			return nil, fmt.Errorf("head %d: %w", h, err)
		}
		l.add(number, head.Pattern.ValuesAt(ir.BindLaunch, values))
	}
	return l, nil
}

// add gives the next head to the part of its pattern and of its parameters, budgets aside.
func (l *LoadedLayer) add(number int, params map[string]int64) {
	h, pattern := len(l.heads), l.kernels.Patterns()[number]
	l.heads = append(l.heads, pattern)
	budgets := map[string]int64{}
	for _, name := range pattern.HeadParams() {
		budgets[name] = params[name]
		delete(params, name)
	}
	i := slices.IndexFunc(l.parts, func(p runtime.Part) bool { return p.Pattern == number && maps.Equal(p.Params, params) })
	if i < 0 {
		i, l.parts = len(l.parts), append(l.parts, runtime.Part{Pattern: number, Params: params, HeadParams: map[string][]int64{}})
	}
	p := &l.parts[i]
	p.Heads = append(p.Heads, h)
	for name, v := range budgets {
		p.HeadParams[name] = append(p.HeadParams[name], v)
	}
}

// Kernels are what the layer runs with; all layers of the plan share them.
func (l *LoadedLayer) Kernels() *Kernels { return l.kernels }

// Pattern is what query head h runs.
func (l *LoadedLayer) Pattern(h int) *runtime.Pattern { return l.heads[h] }

// Parts are the heads that run one pattern with the same parameters, budgets aside. They must not be changed.
func (l *LoadedLayer) Parts() []runtime.Part { return l.parts }

// Prepare checks a call and computes all that does not depend on its pointers; see runtime.Loaded.Prepare.
func (l *LoadedLayer) Prepare(s runtime.Shape) (*runtime.Prepared, error) {
	if s.QHeads != len(l.heads) {
		return nil, fmt.Errorf("%w: QHeads is %d, the plan was made for %d", device.ErrBadCall, s.QHeads, len(l.heads))
	}
	return l.kernels.Prepare(s, l.parts...)
}

// RunHost runs a call whose tensors are in the host's memory; see runtime.Loaded.RunHost. The call's parts are the layer's.
func (l *LoadedLayer) RunHost(ctx context.Context, h runtime.HostCall) (runtime.HostResult, error) {
	if _, err := l.Prepare(h.Shape); err != nil {
		return runtime.HostResult{}, err
	}
	h.Parts = l.parts
	return l.kernels.RunHost(ctx, h)
}
