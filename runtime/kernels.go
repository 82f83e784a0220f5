package runtime

import (
	"errors"
	"fmt"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/ir"
)

// IndexKernel is a kernel that a program runs beside attention, by the name that the program calls it by.
type IndexKernel struct {
	Name        string        `json:"name"`
	Entry       string        `json:"entry"`
	Threads     int           `json:"threads"` // threads of one block, or the most it can have
	SharedBytes int           `json:"shared_bytes"`
	Module      int           `json:"module"` // index in Artifact.Modules
	Params      []KernelParam `json:"params"` // in the order of the PTX entry
}

func (k *IndexKernel) verify(modules int) error {
	for _, c := range []check{
		{k.Name != "" && k.Name != abi.Attend && k.Name != abi.Dense, "name", fmt.Sprintf("%q", k.Name), "one of its own"},
		{entryName.MatchString(k.Entry), "entry", fmt.Sprintf("%q", k.Entry), "a PTX name"},
		{multiple(k.Threads, 1, 1, 1024), "threads", fmt.Sprint(k.Threads), "1 to 1024"},
		{multiple(k.SharedBytes, 1, 0, 1<<20), "shared_bytes", fmt.Sprint(k.SharedBytes), "at most 1 MB"},
		{k.Module >= 0 && k.Module < modules, "module", fmt.Sprint(k.Module), fmt.Sprintf("one of the file's %d", modules)},
	} {
		if err := c.err(); err != nil {
			return err
		}
	}
	return verifyParams(k.Params)
}

// parameters are those of the kernels that a program may run.
func (k *Kernel) parameters(name string) ([]KernelParam, bool) {
	switch {
	case name == abi.Attend:
		return k.Params, true
	case name == abi.Dense && k.Dense != nil:
		return k.Dense.Params, true
	}
	for i := range k.Index {
		if k.Index[i].Name == name {
			return k.Index[i].Params, true
		}
	}
	return nil, false
}

// parseProgram reads the program, and checks it against the kernels.
func (k *Kernel) parseProgram(s *ir.Schedule, modules int) (*ir.Program, error) {
	for i := range k.Index {
		if err := k.Index[i].verify(modules); err != nil {
			return nil, fmt.Errorf("index kernel %d (%s): %w", i, k.Index[i].Name, err)
		}
	}
	p, err := ir.ParseProgram(k.Program)
	if err != nil {
		return nil, fmt.Errorf("program: %w", err)
	}
	return p, p.Verify(s.Params, k.parameters)
}

// loadedIndex is a kernel of the program on a device.
type loadedIndex struct {
	*IndexKernel
	function Function
}

// indexModules are the modules of index kernels on a device, each loaded once for all patterns that share it.
type indexModules struct {
	dev    Device
	art    *Artifact
	loaded map[int]Module
}

func newIndexModules(dev Device, a *Artifact) *indexModules {
	return &indexModules{dev, a, map[int]Module{}}
}

func (m *indexModules) module(n int) (Module, error) {
	if m.loaded[n] == nil {
		module, err := m.dev.LoadModule(m.art.Modules[n])
		if err != nil {
			return nil, err
		}
		m.loaded[n] = module
	}
	return m.loaded[n], nil
}

func (m *indexModules) unload() error {
	var errs []error
	for _, module := range m.loaded {
		errs = append(errs, module.Unload())
	}
	return errors.Join(errs...)
}

func (m *indexModules) load(k *IndexKernel) (*loadedIndex, error) {
	module, err := m.module(k.Module)
	if err != nil {
		return nil, err
	}
	f, err := module.Function(k.Entry)
	return &loadedIndex{k, f}, err
}

// loadIndex loads the kernels of the program that have room on the device. Of those that come in several sizes one must have.
func (k *LoadedKernel) loadIndex(modules *indexModules) error {
	info := modules.dev.Info()
	k.index = map[string]*loadedIndex{}
	for i := range k.info.Index {
		x := &k.info.Index[i]
		if x.SharedBytes > info.MaxSharedBytes {
			continue
		}
		l, err := modules.load(x)
		if err != nil {
			return fmt.Errorf("load kernel %s: %w", x.Entry, err)
		}
		k.index[x.Name] = l
	}
	if missing := k.program.Missing(k.parameters); missing != "" {
		return fmt.Errorf("%w: %w: the kernel %s needs more shared memory a block than the %d bytes of %s",
			ErrTarget, ErrUnsupported, missing, info.MaxSharedBytes, info.Name)
	}
	return nil
}

// parameters are those of the kernels that are loaded.
func (k *LoadedKernel) parameters(name string) ([]KernelParam, bool) {
	if x := k.index[name]; x != nil {
		return x.Params, true
	}
	if name == abi.Attend || name == abi.Dense {
		return k.info.parameters(name)
	}
	return nil, false
}
