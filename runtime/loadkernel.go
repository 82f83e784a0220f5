package runtime

import (
	"errors"
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/ir"
	"github.com/minfc/minfc/runtime/artifact"
	"github.com/minfc/minfc/runtime/device"
)

// LoadedKernel is a kernel of an artifact, compiled for a device. It is safe for concurrent use until Close.
type LoadedKernel struct {
	dev          device.Device
	info         artifact.Kernel
	pattern      *ir.Pattern // as compiled; nil of a dense kernel beside one with lists
	schedule     *ir.Schedule
	program      *ir.Program // nil of a dense kernel
	choices      []choice
	headParams   []string                // launch parameters that may differ by head: budgets and nothing else
	index        map[string]*loadedIndex // the program's kernels beside attention
	modules      *modules                // nil of members of groups, whose groups have them
	scratchBytes int64                   // maxScratchBytes, other numbers in tests
	code                                 // none of members of groups
	lastParams   atomic.Pointer[paramSet]
	prepared     preparedCache
	fallback     *fallback // nil if there is no dense kernel, or nothing to weigh it with
}

// LoadKernel selects a kernel and lets the device's compiler translate its PTX, once, which takes a fraction of a second.
// Errors wrap ErrTarget when the artifact has nothing that the device can run, and ErrManifest when it is inconsistent.
func LoadKernel(dev device.Device, a *artifact.Artifact, sel artifact.Select) (*LoadedKernel, error) {
	if err := a.Verify(); err != nil {
		return nil, err
	}
	if a.IsPlan() {
		return nil, fmt.Errorf("%w: it holds the %d patterns of a head plan, which run together: load it with LoadGroups", artifact.ErrTarget, len(a.Manifest.Members))
	}
	info, err := a.Manifest.Find(dev.Info(), sel)
	if err != nil {
		return nil, err
	}
	k, err := read(dev, info)
	if err != nil {
		return nil, err
	}
	k.modules = newModules(dev, a)
	if err := k.load(a); err != nil {
		return nil, errors.Join(err, k.Close())
	}
	return k, nil
}

// load loads all modules of a pattern and finds its kernels in them.
func (k *LoadedKernel) load(a *artifact.Artifact) (err error) {
	if k.pattern, err = ir.ParsePattern(a.Manifest.Pattern); err != nil {
		return err
	}
	if err := k.readProgram(len(a.Modules)); err != nil {
		return err
	}
	if err := k.readFallback(); err != nil {
		return err
	}
	if err := checkMapper(k.dev, k.info.Params); err != nil {
		return fmt.Errorf("load kernel %s: %w", k.info.Entry, err)
	}
	if err := k.modules.load(k.moduleNumbers(true)...); err != nil {
		return err
	}
	if err := k.resolve(k.modules); err != nil {
		return err
	}
	if k.fallback != nil {
		if err := k.fallback.dense.resolve(k.modules); err != nil {
			return err
		}
	}
	return k.resolveIndex(k.modules)
}

// moduleNumbers are the modules that the pattern needs: of its index kernels, and with attention also of both kernels of attention.
func (k *LoadedKernel) moduleNumbers(attention bool) (out []int) {
	if attention {
		out = append(out, k.info.Module)
	}
	if attention && k.fallback != nil {
		out = append(out, k.fallback.dense.info.Module)
	}
	for _, x := range fitting(&k.info, k.dev.Info()) {
		out = append(out, x.Module)
	}
	return out
}

// read reads what an entry of the manifest says of a kernel.
func read(dev device.Device, info *artifact.Kernel) (k *LoadedKernel, err error) {
	k = &LoadedKernel{dev: dev, info: *info, scratchBytes: maxScratchBytes}
	if k.schedule, err = info.ReadSchedule(); err != nil {
		return nil, fmt.Errorf("%w: %w", artifact.ErrManifest, err)
	}
	return k, nil
}

// readProgram reads what comes before attention.
func (k *LoadedKernel) readProgram(modules int) (err error) {
	if k.program, err = k.info.ReadProgram(k.schedule, modules); err != nil {
		return fmt.Errorf("%w: %w", artifact.ErrManifest, err)
	}
	k.choices, k.headParams = choicesOf(k.schedule), k.schedule.Budgets()
	return nil
}

// code is a kernel on a device.
type code struct {
	function   device.Function
	attributes device.FunctionAttributes
	log        string
}

// checkMapper says whether the device can make the maps among a kernel's parameters.
func checkMapper(dev device.Device, params []artifact.Param) error {
	_, ok := dev.(device.TensorMapper)
	if ok || !slices.ContainsFunc(params, func(p artifact.Param) bool { return p.Type == abi.MapType }) {
		return nil
	}
	return fmt.Errorf("%w: %w: it takes tensor maps, which the driver %s cannot make; use a kernel for sm_80", artifact.ErrTarget, device.ErrUnsupported, dev.Info().Driver)
}

// launchable is what a launch must know of a kernel.
type launchable struct {
	function             device.Function
	params               []artifact.Param
	threads, sharedBytes int
}

// codeOf is a kernel by the name that the program has for it.
func (k *LoadedKernel) codeOf(name string) (launchable, error) {
	of := func(x *LoadedKernel) launchable {
		return launchable{x.function, x.info.Params, x.info.Threads, x.info.SharedBytes}
	}
	switch {
	case name == abi.Attend:
		return of(k), nil
	case name == abi.Dense && k.fallback != nil:
		return of(k.fallback.dense), nil
	}
	x := k.index[name]
	if x == nil {
		return launchable{}, fmt.Errorf("internal: no kernel %s is loaded", name)
	}
	return launchable{x.function, x.Params, x.Threads, x.SharedBytes}, nil
}

// resolve finds an attention kernel in its loaded module.
func (c *code) resolve(m *modules, info *artifact.Kernel) (err error) {
	if c.function, err = m.function(info.Module, info.Entry); err != nil {
		return fmt.Errorf("load kernel %s: %w", info.Entry, err)
	}
	if c.attributes, err = c.function.Attributes(); err != nil {
		return fmt.Errorf("load kernel %s: %w", info.Entry, err)
	}
	c.log = m.log(info.Module)
	if c.attributes.MaxThreads < info.Threads {
		return fmt.Errorf("load kernel %s: %w: it needs %d threads a block, %s can run %d of this kernel",
			info.Entry, artifact.ErrTarget, info.Threads, m.dev.Info().Name, c.attributes.MaxThreads)
	}
	return nil
}

// resolve finds the attention kernel in its loaded module.
func (k *LoadedKernel) resolve(m *modules) error { return k.code.resolve(m, &k.info) }

// Info is the kernel's entry in the manifest.
func (k *LoadedKernel) Info() artifact.Kernel { return k.info }

// Schedule is what the kernel was compiled from. It must not be changed.
func (k *LoadedKernel) Schedule() *ir.Schedule { return k.schedule }

// Attributes are what the device's compiler made of the kernel.
func (k *LoadedKernel) Attributes() device.FunctionAttributes { return k.attributes }

// Log is what the device's compiler said; it may be empty.
func (k *LoadedKernel) Log() string { return k.log }

// Close gives the kernel's modules back. Launches of it must have ended.
func (k *LoadedKernel) Close() error {
	if k.modules == nil {
		return nil
	}
	return k.modules.release()
}
