package plan

import (
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
	return bound(h.Pattern, values, ir.BindConst)
}

// launchSet are the launch parameters that are no budgets.
func (h Head) launchSet(values map[string]int64) map[string]int64 {
	set := bound(h.Pattern, values, ir.BindLaunch)
	for _, name := range h.Pattern.Budgets() {
		delete(set, name)
	}
	return set
}

// bound are the values of the parameters that are known at the same time.
func bound(p *ir.Pattern, values map[string]int64, when ir.Binding) map[string]int64 {
	out := map[string]int64{}
	for _, q := range p.Params {
		if q.Binding == when {
			out[q.Name] = values[q.Name]
		}
	}
	return out
}

// Kernels are the compiled patterns of a head plan on a device; all layers share them. They are safe for concurrent use until Close.
type Kernels struct {
	groups   *runtime.LoadedGroups
	patterns []string // of the members, as text
}

// Load loads the patterns of a head plan, compiled by minfc.CompilePlan. Errors are the errors of runtime.LoadGroups.
func Load(dev device.Device, a *artifact.Artifact, sel artifact.Select) (*Kernels, error) {
	groups, err := runtime.LoadGroups(dev, a, sel)
	if err != nil {
		return nil, err
	}
	k := &Kernels{groups: groups}
	for _, m := range a.Manifest.Members {
		k.patterns = append(k.patterns, m.Pattern)
	}
	return k, nil
}

// Close unloads the kernels. Launches must have ended.
func (k *Kernels) Close() error { return k.groups.Close() }

// member is the number of the pattern that a head runs.
func (k *Kernels) member(h Head, values map[string]int64) (int, error) {
	baked := *h.Pattern
	baked.Params = slices.Clone(baked.Params)
	for i, p := range baked.Params {
		if p.Binding == ir.BindConst {
			baked.Params[i].Default = values[p.Name]
		}
	}
	if i := slices.Index(k.patterns, baked.String()); i >= 0 {
		return i, nil
	}
	return 0, fmt.Errorf("%s is not among the patterns that were compiled; compile the plan again", h)
}

// Launcher runs the heads of a layer. It is safe for concurrent use until its kernels are closed.
type Launcher struct {
	kernels *Kernels
	heads   []*runtime.LoadedKernel // what each runs
	parts   []runtime.Part          // heads that have one index stage, in the order of their first ones
}

// Bind returns what runs the heads of a layer.
func (k *Kernels) Bind(heads []Head) (*Launcher, error) {
	if len(heads) == 0 {
		return nil, fmt.Errorf("there are no heads to run")
	}
	l := &Launcher{kernels: k}
	for h, head := range heads {
		values, err := head.Values()
		if err != nil {
			return nil, fmt.Errorf("head %d: %w", h, err)
		}
		member, err := k.member(head, values)
		if err != nil {
			return nil, fmt.Errorf("head %d: %w", h, err)
		}
		l.add(member, bound(head.Pattern, values, ir.BindLaunch))
	}
	return l, nil
}

// add gives the next head to the part of its member and of its parameters, budgets aside.
func (l *Launcher) add(member int, params map[string]int64) {
	h, kernel := len(l.heads), l.kernels.groups.Members()[member]
	l.heads = append(l.heads, kernel)
	budgets := map[string]int64{}
	for _, name := range kernel.HeadParams() {
		budgets[name] = params[name]
		delete(params, name)
	}
	i := slices.IndexFunc(l.parts, func(p runtime.Part) bool { return p.Member == member && maps.Equal(p.Params, params) })
	if i < 0 {
		i, l.parts = len(l.parts), append(l.parts, runtime.Part{Member: member, Params: params, HeadParams: map[string][]int64{}})
	}
	p := &l.parts[i]
	p.Heads = append(p.Heads, h)
	for name, v := range budgets {
		p.HeadParams[name] = append(p.HeadParams[name], v)
	}
}

// Kernel says what query head h runs: its checks, schedule and cover. It cannot be launched by itself.
func (l *Launcher) Kernel(h int) *runtime.LoadedKernel { return l.heads[h] }

// Info is the entry of the first head's kernel; all heads have its head dim and data type.
func (l *Launcher) Info() artifact.Kernel { return l.heads[0].Info() }

// Parts are the heads that run one pattern with the same parameters, budgets aside. They must not be changed.
func (l *Launcher) Parts() []runtime.Part { return l.parts }

// check checks what the plan was made for; the runtime checks the rest.
func (l *Launcher) check(a runtime.Attention) error {
	if a.QHeads != len(l.heads) {
		return fmt.Errorf("%w: QHeads is %d, the plan was made for %d", device.ErrBadCall, a.QHeads, len(l.heads))
	}
	return nil
}

// Prepare checks a call and computes all that does not depend on its pointers; see runtime.LoadedGroups.Prepare.
func (l *Launcher) Prepare(a runtime.Attention) (*runtime.Prepared, error) {
	if err := l.check(a); err != nil {
		return nil, err
	}
	return l.kernels.groups.Prepare(a, l.parts)
}

// Workspace returns how many bytes of device memory a launch needs beside its tensors; see runtime.LoadedGroups.Workspace.
func (l *Launcher) Workspace(a runtime.Attention) (int64, error) {
	if err := l.check(a); err != nil {
		return 0, err
	}
	return l.kernels.groups.Workspace(a, l.parts)
}

// Check says what Launch would say of the call, and enqueues nothing.
func (l *Launcher) Check(a runtime.Attention) error {
	if err := l.check(a); err != nil {
		return err
	}
	return l.kernels.groups.Check(a, l.parts)
}

// Launches is how many launches the attention of all heads takes, index stages aside: see runtime.LoadedGroups.Launch for when it is
// more than one.
func (l *Launcher) Launches(a runtime.Attention) (int, error) {
	if err := l.check(a); err != nil {
		return 0, err
	}
	return l.kernels.groups.Launches(a, l.parts)
}

// Launch enqueues the index stages of all parts and then the attention of all heads, in one launch if their kernels were compiled for
// one, on a stream (nil: the default stream) and returns, under the conditions of runtime.LoadedKernel.Launch. When the call is at
// fault nothing was enqueued.
func (l *Launcher) Launch(s device.Stream, a runtime.Attention) error {
	if err := l.check(a); err != nil {
		return err
	}
	return l.kernels.groups.Launch(s, a, l.parts)
}

// ReadChosen waits for the stream and reads what the last launch of a chose; see runtime.LoadedGroups.ReadChosen.
func (l *Launcher) ReadChosen(dev device.Device, s device.Stream, a runtime.Attention) ([]runtime.Chosen, error) {
	if err := l.check(a); err != nil {
		return nil, err
	}
	return l.kernels.groups.ReadChosen(dev, s, a, l.parts)
}
