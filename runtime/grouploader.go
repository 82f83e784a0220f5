package runtime

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/minfc/minfc/ir"
	"github.com/minfc/minfc/runtime/artifact"
	"github.com/minfc/minfc/runtime/device"
)

// LoadedGroups are the kernels of a head plan, compiled for a device: what runs all heads of a layer in one launch. They are safe for
// concurrent use until Close.
type LoadedGroups struct {
	members  []*LoadedKernel // without code of their own
	groups   []*loadedGroup  // groups with fewer sections first
	modules  *modules
	dev      device.Device
	prepared preparedCache
}

type loadedGroup struct {
	artifact.Group
	code
	dev      device.Device
	params   []artifact.Param // by the names that they have in their section
	sections []int            // that the params are of, -1 for all
}

// LoadGroups selects the groups of a head plan's artifact and lets the device's compiler translate their PTX. Errors are the errors
// of LoadKernel.
func LoadGroups(dev device.Device, a *artifact.Artifact, sel artifact.Select) (*LoadedGroups, error) {
	if err := a.Verify(); err != nil {
		return nil, err
	}
	if !a.IsPlan() {
		return nil, fmt.Errorf("%w: it holds one pattern, not those of a head plan: load it with LoadKernel", artifact.ErrTarget)
	}
	found, err := a.Manifest.Find(dev.Info(), sel)
	if err != nil {
		return nil, err
	}
	g := &LoadedGroups{dev: dev, modules: newModules(dev, a)}
	if err := g.load(dev, a, artifact.Select{HeadDim: found.HeadDim, DType: found.DType, Target: found.Target}); err != nil {
		return nil, errors.Join(err, g.Close())
	}
	return g, nil
}

func (g *LoadedGroups) load(dev device.Device, a *artifact.Artifact, sel artifact.Select) error {
	var numbers []int
	for i := range a.Manifest.Groups {
		group := &a.Manifest.Groups[i]
		if group.Select() != sel {
			continue
		}
		if err := checkMapper(dev, group.Params); err != nil {
			return fmt.Errorf("load kernel %s: %w", group.Entry, err)
		}
		l := &loadedGroup{Group: *group, dev: dev}
		l.params, l.sections = group.Split()
		g.groups, numbers = append(g.groups, l), append(numbers, group.Module)
	}
	slices.SortStableFunc(g.groups, func(a, b *loadedGroup) int { return cmp.Compare(len(a.Sections), len(b.Sections)) })
	for i := range a.Manifest.Members {
		m := &a.Manifest.Members[i]
		k, err := readMember(dev, a, m.KernelFor(sel), m.Pattern)
		if err != nil {
			return err
		}
		g.members, numbers = append(g.members, k), append(numbers, k.moduleNumbers(false)...)
	}
	if err := g.modules.load(numbers...); err != nil {
		return err
	}
	return g.resolve()
}

// resolve finds all kernels in their loaded modules.
func (g *LoadedGroups) resolve() error {
	for _, l := range g.groups {
		info := l.AsKernel()
		if err := l.code.resolve(g.modules, &info); err != nil {
			return err
		}
	}
	for _, k := range g.members {
		if err := k.resolveIndex(g.modules); err != nil {
			return err
		}
	}
	return nil
}

// readMember reads what comes before attention.
func readMember(dev device.Device, a *artifact.Artifact, info *artifact.Kernel, pattern string) (*LoadedKernel, error) {
	k, err := read(dev, info)
	if err != nil {
		return nil, err
	}
	if k.pattern, err = ir.ParsePattern(pattern); err != nil {
		return nil, err
	}
	if err := k.readProgram(len(a.Modules)); err != nil {
		return nil, err
	}
	return k, k.readFallback()
}

// Close gives the modules back. Launches of them must have ended.
func (g *LoadedGroups) Close() error { return g.modules.release() }

// Members are the patterns, in the order of the manifest. Each answers for calls of its own (HeadParams, Check, Cover, CoverChosen and the
// like), but to launch it takes the group.
func (g *LoadedGroups) Members() []*LoadedKernel { return g.members }
