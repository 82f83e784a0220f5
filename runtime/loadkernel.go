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
	modules      *indexModules           // of these; nil of members of groups, whose groups have them
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
	k, err := load(dev, a, info)
	if err != nil {
		return nil, err
	}
	k.modules = newIndexModules(dev, a)
	if k.pattern, err = ir.ParsePattern(a.Manifest.Pattern); err == nil {
		err = k.readProgram(len(a.Modules))
	}
	if err == nil {
		err = k.loadIndex(k.modules)
	}
	if err == nil {
		err = k.loadFallback(dev, a)
	}
	if err != nil {
		k.Close()
		return nil, err
	}
	return k, nil
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

// load loads one attention kernel.
func load(dev device.Device, a *artifact.Artifact, info *artifact.Kernel) (*LoadedKernel, error) {
	k, err := read(dev, info)
	if err != nil {
		return nil, err
	}
	if k.code, err = loadCode(dev, a, info); err != nil {
		return nil, fmt.Errorf("load kernel %s: %w", info.Entry, err)
	}
	return k, nil
}

// code is a kernel on a device.
type code struct {
	module     device.Module
	function   device.Function
	attributes device.FunctionAttributes
}

func loadCode(dev device.Device, a *artifact.Artifact, info *artifact.Kernel) (c code, err error) {
	if err := checkMapper(dev, info.Params); err != nil {
		return c, err
	}
	if c.module, err = dev.LoadModule(a.Modules[info.Module]); err != nil {
		return c, err
	}
	if err := c.resolve(dev.Info(), info); err != nil {
		c.module.Unload()
		return c, err
	}
	return c, nil
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

func (c *code) resolve(dev device.Info, info *artifact.Kernel) (err error) {
	if c.function, err = c.module.Function(info.Entry); err != nil {
		return err
	}
	if c.attributes, err = c.function.Attributes(); err != nil {
		return err
	}
	if c.attributes.MaxThreads < info.Threads {
		return fmt.Errorf("%w: it needs %d threads a block, %s can run %d of this kernel", artifact.ErrTarget, info.Threads, dev.Name, c.attributes.MaxThreads)
	}
	return nil
}

// Info is the kernel's entry in the manifest.
func (k *LoadedKernel) Info() artifact.Kernel { return k.info }

// Schedule is what the kernel was compiled from. It must not be changed.
func (k *LoadedKernel) Schedule() *ir.Schedule { return k.schedule }

// Attributes are what the device's compiler made of the kernel.
func (k *LoadedKernel) Attributes() device.FunctionAttributes { return k.attributes }

// Log is what the device's compiler said; it may be empty.
func (k *LoadedKernel) Log() string {
	if k.module == nil {
		return ""
	}
	return k.module.Log()
}

// Close unloads the kernel. Launches of it must have ended.
func (k *LoadedKernel) Close() error {
	var errs []error
	if k.module != nil {
		errs = append(errs, k.module.Unload())
	}
	if k.modules != nil {
		errs = append(errs, k.modules.unload())
	}
	if k.fallback != nil {
		errs = append(errs, k.fallback.dense.Close())
	}
	return errors.Join(errs...)
}
