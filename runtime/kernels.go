package runtime

import (
	"errors"
	"fmt"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/runtime/artifact"
	"github.com/minfc/minfc/runtime/device"
)

// loadedIndex is a kernel of the program on a device.
type loadedIndex struct {
	*artifact.IndexKernel
	function device.Function
}

// indexModules are the modules of index kernels on a device, each loaded once for all patterns that share it.
type indexModules struct {
	dev    device.Device
	art    *artifact.Artifact
	loaded map[int]device.Module
}

func newIndexModules(dev device.Device, a *artifact.Artifact) *indexModules {
	return &indexModules{dev, a, map[int]device.Module{}}
}

func (m *indexModules) module(n int) (device.Module, error) {
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

func (m *indexModules) load(k *artifact.IndexKernel) (*loadedIndex, error) {
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
			artifact.ErrTarget, device.ErrUnsupported, missing, info.MaxSharedBytes, info.Name)
	}
	return nil
}

// parameters are those of the kernels that are loaded.
func (k *LoadedKernel) parameters(name string) ([]artifact.Param, bool) {
	if x := k.index[name]; x != nil {
		return x.Params, true
	}
	if name == abi.Attend || name == abi.Dense {
		return k.info.Parameters(name)
	}
	return nil, false
}
