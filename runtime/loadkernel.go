package runtime

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/ir"
)

// Select chooses a kernel of an artifact. A zero field takes any; Target "" takes the newest that the device runs.
type Select struct {
	HeadDim int
	DType   string // "bf16" or "f16"
	Target  string // "sm_80"
}

// LoadedKernel is a kernel of an artifact, compiled for a device. It is safe for concurrent use until Close.
type LoadedKernel struct {
	dev          Device
	info         Kernel
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
func LoadKernel(dev Device, a *Artifact, sel Select) (*LoadedKernel, error) {
	if err := a.Verify(); err != nil {
		return nil, err
	}
	if a.IsPlan() {
		return nil, fmt.Errorf("%w: it holds the %d patterns of a head plan, which run together: load it with LoadGroups", ErrTarget, len(a.Manifest.Members))
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
func read(dev Device, info *Kernel) (k *LoadedKernel, err error) {
	k = &LoadedKernel{dev: dev, info: *info, scratchBytes: maxScratchBytes}
	if k.schedule, err = info.parseSchedule(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrManifest, err)
	}
	return k, nil
}

// readProgram reads what comes before attention.
func (k *LoadedKernel) readProgram(modules int) (err error) {
	if k.program, err = k.info.parseProgram(k.schedule, modules); err != nil {
		return fmt.Errorf("%w: %w", ErrManifest, err)
	}
	k.choices, k.headParams = choicesOf(k.schedule), k.schedule.Budgets()
	return nil
}

// load loads one attention kernel.
func load(dev Device, a *Artifact, info *Kernel) (*LoadedKernel, error) {
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
	module     Module
	function   Function
	attributes FunctionAttributes
}

func loadCode(dev Device, a *Artifact, info *Kernel) (c code, err error) {
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
func checkMapper(dev Device, params []KernelParam) error {
	_, ok := dev.(TensorMapper)
	if ok || !slices.ContainsFunc(params, func(p KernelParam) bool { return p.Type == abi.MapType }) {
		return nil
	}
	return fmt.Errorf("%w: %w: it takes tensor maps, which the driver %s cannot make; use a kernel for sm_80", ErrTarget, ErrUnsupported, dev.Info().Driver)
}

// launchable is what a launch must know of a kernel.
type launchable struct {
	function             Function
	params               []KernelParam
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

func (c *code) resolve(dev DeviceInfo, info *Kernel) (err error) {
	if c.function, err = c.module.Function(info.Entry); err != nil {
		return err
	}
	if c.attributes, err = c.function.Attributes(); err != nil {
		return err
	}
	if c.attributes.MaxThreads < info.Threads {
		return fmt.Errorf("%w: it needs %d threads a block, %s can run %d of this kernel", ErrTarget, info.Threads, dev.Name, c.attributes.MaxThreads)
	}
	return nil
}

// Info is the kernel's entry in the manifest.
func (k *LoadedKernel) Info() Kernel { return k.info }

// Schedule is what the kernel was compiled from. It must not be changed.
func (k *LoadedKernel) Schedule() *ir.Schedule { return k.schedule }

// Attributes are what the device's compiler made of the kernel.
func (k *LoadedKernel) Attributes() FunctionAttributes { return k.attributes }

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

// Find returns the kernel that sel means on a device: of those that fit, the one with the newest target that the device runs with its
// driver. Passed says whether a newer one was passed over.
func (m *Manifest) Find(dev DeviceInfo, sel Select) (*Kernel, error) {
	fits := m.fitting(sel)
	if len(fits) == 0 {
		return nil, fmt.Errorf("%w: want %s, it has %s; compile the pattern for that", ErrTarget, sel, m.list())
	}
	runs := slices.DeleteFunc(slices.Clone(fits), func(k *Kernel) bool { return k.runsOn(dev) != nil })
	if len(runs) == 0 {
		return nil, fmt.Errorf("%w: %w", ErrTarget, fits[0].runsOn(dev))
	}
	best := newestOf(runs)
	for _, k := range runs {
		if k.HeadDim != best.HeadDim || k.DType != best.DType {
			return nil, fmt.Errorf("%w: %s fits several kernels, name the head dim and data type; it has %s", ErrTarget, sel, m.list())
		}
	}
	return best, nil
}

// Passed is why the device does not run the newest kernel that sel means and its GPU is made for: an old driver, most often. It is nil if
// Find returns that kernel, or none.
func (m *Manifest) Passed(dev DeviceInfo, sel Select) error {
	made := slices.DeleteFunc(m.fitting(sel), func(k *Kernel) bool { return !TargetRuns(k.Target, dev.Major, dev.Minor) })
	if len(made) == 0 {
		return nil
	}
	if _, err := m.Find(dev, sel); err != nil {
		return nil
	}
	return newestOf(made).runsOn(dev)
}

// fitting are the kernels that sel means on some device. The groups of a plan for one target are loaded together, so they count as one kernel
// with the needs of all.
func (m *Manifest) fitting(sel Select) (fits []*Kernel) {
	for i := range m.Kernels {
		if m.Kernels[i].matches(sel) {
			fits = append(fits, &m.Kernels[i])
		}
	}
	for i := range m.Groups {
		k := m.Groups[i].asKernel()
		same := slices.IndexFunc(fits, func(f *Kernel) bool { return f.matches(m.Groups[i].sel()) })
		switch {
		case !k.matches(sel):
		case same < 0:
			fits = append(fits, &k)
		default:
			fits[same].SharedBytes = max(fits[same].SharedBytes, k.SharedBytes)
		}
	}
	return fits
}

// newestOf is the first of the kernels with the newest target.
func newestOf(kernels []*Kernel) *Kernel {
	return slices.MaxFunc(kernels, func(a, b *Kernel) int {
		return targetOf(a.Target).capability - targetOf(b.Target).capability
	})
}

func (k *Kernel) matches(s Select) bool {
	return (s.HeadDim == 0 || s.HeadDim == k.HeadDim) && (s.DType == "" || s.DType == k.DType) && (s.Target == "" || s.Target == k.Target)
}

// String says what is wanted: "head dim 128, bf16, sm_80".
func (s Select) String() string {
	var parts []string
	if s.HeadDim != 0 {
		parts = append(parts, fmt.Sprintf("head dim %d", s.HeadDim))
	}
	for _, p := range []string{s.DType, s.Target} {
		if p != "" {
			parts = append(parts, p)
		}
	}
	if len(parts) == 0 {
		return "any kernel"
	}
	return strings.Join(parts, ", ")
}

// list names what Find chooses from.
func (m *Manifest) list() string {
	var kernels []string
	for _, k := range m.fitting(Select{}) {
		kernels = append(kernels, "("+Select{k.HeadDim, k.DType, k.Target}.String()+")")
	}
	return strings.Join(kernels, " ")
}

// runsOn returns nil, or why the device cannot run k.
func (k *Kernel) runsOn(dev DeviceInfo) error {
	if err := dev.CheckTarget(k.Target, k.PTXVersion); err != nil {
		return err
	}
	if k.SharedBytes > dev.MaxSharedBytes {
		return unsupported("the kernel needs %d bytes of shared memory a block, %s has %d", k.SharedBytes, dev.Name, dev.MaxSharedBytes)
	}
	return nil
}
