package runtime

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/runtime/artifact"
	"github.com/minfc/minfc/runtime/device"
)

// Loaded is an artifact on a device: its patterns, and the kernels that compute them. It is safe for concurrent use until Close.
type Loaded struct {
	dev      device.Device
	build    artifact.Build
	patterns []*Pattern
	groups   []*loadedGroup // groups with fewer sections first
	modules  *modules
	prepared preparedCache
}

// loadedCode is a kernel on a device.
type loadedCode struct {
	*artifact.Code
	function   device.Function
	attributes device.FunctionAttributes
}

// loadedGroup is a kernel that computes several patterns in one launch.
type loadedGroup struct {
	loadedCode
	dev      device.Device
	params   []artifact.Param // by the names that they have in their section
	sections []int            // that the params are of, -1 for all
}

// Load selects what the device runs and lets the device's compiler translate its PTX, once, which takes a second. Errors wrap ErrTarget when
// the artifact has nothing that the device can run, and ErrManifest when it is inconsistent.
func Load(dev device.Device, a *artifact.Artifact, sel artifact.Select) (*Loaded, error) {
	parts, err := a.ReadParts()
	if err != nil {
		return nil, err
	}
	build, err := a.Manifest.Find(dev.Info(), sel)
	if err != nil {
		return nil, err
	}
	l := &Loaded{dev: dev, build: a.Manifest.Builds[build], modules: newModules(dev, a)}
	if err := l.load(a, build, parts[build]); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

func (l *Loaded) load(a *artifact.Artifact, build int, parts []artifact.Part) error {
	m, codes := &a.Manifest, &codeLoader{Loaded: l}
	for _, n := range l.build.Groups {
		g := &loadedGroup{dev: l.dev}
		codes.add(&g.loadedCode, &m.Codes[n])
		g.params, g.sections = m.Codes[n].Split()
		l.groups = append(l.groups, g)
	}
	slices.SortStableFunc(l.groups, func(a, b *loadedGroup) int { return cmp.Compare(len(a.Sections), len(b.Sections)) })
	for i, part := range parts {
		p, err := newPattern(l, m, build, i, part)
		if err != nil {
			return err
		}
		for _, u := range m.Patterns[i].Lowered[build].Kernels {
			if c := &m.Codes[u.Code]; p.wants(u.Name, c) {
				p.codes[u.Name] = &loadedCode{}
				codes.add(p.codes[u.Name], c)
			}
		}
		l.patterns = append(l.patterns, p)
	}
	if err := codes.load(); err != nil {
		return err
	}
	for _, p := range l.patterns {
		if err := p.checkComplete(); err != nil {
			return err
		}
	}
	for _, c := range l.attention() {
		if err := c.checkThreads(l.dev.Info()); err != nil {
			return err
		}
	}
	return nil
}

// codeLoader loads the modules of kernels side by side, and then finds the kernels in them.
type codeLoader struct {
	*Loaded
	wanted  []*loadedCode
	modules []int
}

func (c *codeLoader) add(to *loadedCode, code *artifact.Code) {
	to.Code = code
	c.wanted, c.modules = append(c.wanted, to), append(c.modules, code.Module)
}

func (c *codeLoader) load() error {
	for _, x := range c.wanted {
		if err := checkMapper(c.dev, x.Code); err != nil {
			return err
		}
	}
	if err := c.Loaded.modules.load(c.modules...); err != nil {
		return err
	}
	for _, x := range c.wanted {
		if err := x.resolve(c.Loaded.modules); err != nil {
			return fmt.Errorf("load kernel %s: %w", x.Entry, err)
		}
	}
	return nil
}

// checkMapper says whether the device can make the maps among a kernel's parameters.
func checkMapper(dev device.Device, c *artifact.Code) error {
	_, ok := dev.(device.TensorMapper)
	if ok || !slices.ContainsFunc(c.Params, func(p artifact.Param) bool { return p.Type == abi.MapType }) {
		return nil
	}
	return fmt.Errorf("load kernel %s: %w: %w: it takes tensor maps, which the driver %s cannot make; use a kernel for sm_80",
		c.Entry, artifact.ErrTarget, device.ErrUnsupported, dev.Info().Driver)
}

// resolve finds the kernel in its loaded module.
func (c *loadedCode) resolve(m *modules) (err error) {
	if c.function, err = m.function(c.Module, c.Entry); err != nil {
		return err
	}
	c.attributes, err = c.function.Attributes()
	return err
}

// checkThreads says whether the device runs as many threads of a kernel of attention as it has.
func (c *loadedCode) checkThreads(dev device.Info) error {
	if c.attributes.MaxThreads >= c.Threads {
		return nil
	}
	return fmt.Errorf("load kernel %s: %w: it needs %d threads a block, %s can run %d of this kernel",
		c.Entry, artifact.ErrTarget, c.Threads, dev.Name, c.attributes.MaxThreads)
}

// Device is where the artifact was loaded.
func (l *Loaded) Device() device.Device { return l.dev }

// Build is the target, data type and head dim of what was loaded.
func (l *Loaded) Build() artifact.Build { return l.build }

// Patterns are the patterns of the artifact, in the order of its manifest: Part.Pattern is a number among them.
func (l *Loaded) Patterns() []*Pattern { return l.patterns }

// Close gives the modules back. Runs must have ended.
func (l *Loaded) Close() error { return l.modules.release() }

// attention are the kernels that compute the attention, sparse ones before dense ones.
func (l *Loaded) attention() (out []*loadedCode) {
	for _, g := range l.groups {
		out = append(out, &g.loadedCode)
	}
	for _, p := range l.patterns {
		for _, name := range []string{abi.Attend, abi.Dense} {
			if c := p.codes[name]; c != nil {
				out = append(out, c)
			}
		}
	}
	return out
}

// Attributes are what the device's compiler made of the first kernel of attention.
func (l *Loaded) Attributes() device.FunctionAttributes { return l.attention()[0].attributes }

// Log is what the device's compiler said of the first kernel of attention; it may be empty.
func (l *Loaded) Log() string { return l.modules.log(l.attention()[0].Module) }
