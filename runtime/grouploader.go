package runtime

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
)

// LoadedGroups are the kernels of a head plan, compiled for a device: what runs all heads of a layer in one launch. They are safe for
// concurrent use until Close.
type LoadedGroups struct {
	members []*LoadedKernel // without code of their own
	groups  []*loadedGroup  // those with fewer sections first
}

type loadedGroup struct {
	Group
	code
	dev      Device
	params   []kernelParam
	sections []int // that the params are of, -1 for all
}

// LoadGroups selects the groups of a head plan's artifact and lets the device's compiler translate their PTX. Errors are those of
// LoadKernel.
func LoadGroups(dev Device, a *Artifact, sel Select) (*LoadedGroups, error) {
	if err := a.Verify(); err != nil {
		return nil, err
	}
	if !a.IsPlan() {
		return nil, fmt.Errorf("%w: it holds one pattern, not those of a head plan: load it with LoadKernel", ErrTarget)
	}
	var kernels []Kernel
	for i := range a.Manifest.Groups {
		kernels = append(kernels, a.Manifest.Groups[i].asKernel())
	}
	found, err := (&Manifest{Kernels: kernels}).Find(dev.Info(), sel)
	if err != nil {
		return nil, err
	}
	g := &LoadedGroups{}
	if err := g.load(dev, a, Select{found.HeadDim, found.DType, found.Target}); err != nil {
		return nil, errors.Join(err, g.Close())
	}
	return g, nil
}

func (g *LoadedGroups) load(dev Device, a *Artifact, sel Select) error {
	var first *Group
	for i := range a.Manifest.Groups {
		group := &a.Manifest.Groups[i]
		if info := group.asKernel(); info.matches(sel) {
			l, err := loadGroup(dev, &a.Manifest, a, group)
			if err != nil {
				return fmt.Errorf("load kernel %s: %w", group.Entry, err)
			}
			g.groups, first = append(g.groups, l), group
		}
	}
	slices.SortStableFunc(g.groups, func(a, b *loadedGroup) int { return cmp.Compare(len(a.Sections), len(b.Sections)) })
	for i := range a.Manifest.Members {
		k, err := loadMember(dev, a, a.Manifest.Members[i].kernelFor(first))
		if err != nil {
			return err
		}
		g.members = append(g.members, k)
	}
	return nil
}

func loadGroup(dev Device, m *Manifest, a *Artifact, group *Group) (*loadedGroup, error) {
	l := &loadedGroup{Group: *group, dev: dev}
	var err error
	if l.params, l.sections, err = m.bindGroup(group); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrManifest, err)
	}
	info := group.asKernel()
	l.code, err = loadCode(dev, a, &info, l.params)
	return l, err
}

// loadMember loads what comes before attention.
func loadMember(dev Device, a *Artifact, info *Kernel) (*LoadedKernel, error) {
	if info == nil {
		return nil, fmt.Errorf("%w: a member has no kernel for a group's target", ErrManifest)
	}
	k, err := read(dev, info)
	if err != nil {
		return nil, err
	}
	if err = k.loadStages(dev, a); err == nil {
		err = k.loadFallback(dev, a)
	}
	if err != nil {
		return nil, errors.Join(err, k.Close())
	}
	return k, nil
}

// Close unloads the kernels. Launches of them must have ended.
func (g *LoadedGroups) Close() error {
	var errs []error
	for _, l := range g.groups {
		errs = append(errs, l.module.Unload())
	}
	for _, k := range g.members {
		errs = append(errs, k.Close())
	}
	return errors.Join(errs...)
}

// Members are the patterns, in the order of the manifest. Each says of its part of a call what a kernel of its own would: Check, Workspace,
// HeadParams, ReadChosen, Cover; but to launch it takes the group.
func (g *LoadedGroups) Members() []*LoadedKernel { return g.members }
