//go:build gorgonia

package gorgonia

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"

	"gorgonia.org/cu"

	"github.com/minfc/minfc/internal/nvidia"
	"github.com/minfc/minfc/internal/ptxparams"
	"github.com/minfc/minfc/runtime/device"
)

type module struct {
	dev      *gpu
	mod      cu.Module
	log      string
	params   map[string][]int // bytes of each parameter, by kernel
	unloaded atomic.Bool
}

// LoadModule compiles PTX, or takes the cubin that the cache has (internal/nvidia), which the driver cuda may have put there. The log is
// empty then.
func (d *gpu) LoadModule(ptx []byte) (device.Module, error) {
	if err := nvidia.CheckPTX(ptx); err != nil {
		return nil, err
	}
	m, log := &module{dev: d, params: ptxparams.Sizes(ptx)}, newJITLog()
	err := d.do("", func() (err error) {
		m.mod, err = nvidia.Module(d.info, ptx, nvidia.Driver[cu.Module]{
			Link: func() ([]byte, error) {
				cubin, err := link(nvidia.Ended(ptx), log)
				return cubin, nvidia.WithLog(err, text(log.errors)) // here, as others may wait for the error
			},
			Load:    loadCubin,
			Compile: func() (cu.Module, error) { return compile(ptx, log) },
		})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("loading PTX: %w", err)
	}
	m.log = strings.TrimSpace(text(log.infos) + "\n" + text(log.errors)) // the error log also holds warnings
	return m, nil
}

// compile makes a module of PTX, without a cubin that could be kept.
func compile(ptx []byte, log jitLog) (cu.Module, error) {
	m, err := cu.LoadDataEx(string(ptx), &cu.JITInfoLogBuffer{Buffer: log.infos}, &cu.JITErrorLogBuffer{Buffer: log.errors},
		&cu.JITLogVerbose{Enabled: true})
	return m, nvidia.WithLog(failure("cuModuleLoadDataEx", err), text(log.errors))
}

func loadCubin(cubin []byte) (cu.Module, error) {
	m, err := cu.LoadData(string(cubin))
	return m, failure("cuModuleLoadData", err)
}

func (m *module) Log() string { return m.log }

func (m *module) do(call string, fn func() error) error {
	if m.unloaded.Load() {
		return fmt.Errorf("module: %w", device.ErrClosed)
	}
	return m.dev.do(call, fn)
}

func (m *module) Function(name string) (device.Function, error) {
	f := &function{mod: m, name: name, params: m.params[name]}
	err := m.do("cuModuleGetFunction", func() (err error) {
		f.fn, err = m.mod.Function(name)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("kernel %q: %w", name, err)
	}
	return f, nil
}

func (m *module) Unload() error {
	if m.unloaded.Swap(true) {
		return nil
	}
	return m.dev.do("cuModuleUnload", m.mod.Unload)
}

type function struct {
	mod    *module
	name   string
	fn     cu.Function
	params []int // bytes of each parameter; nil when they are not known

	raise   sync.Mutex
	allowed int // bytes of dynamic shared memory that were asked for so far
}

func (f *function) Attributes() (device.FunctionAttributes, error) {
	var a device.FunctionAttributes
	err := f.mod.do("cuFuncGetAttribute", func() (err error) {
		for _, want := range []struct {
			attribute cu.FunctionAttribute
			into      *int
		}{
			{cu.NumRegs, &a.Registers},
			{cu.LocalSizeBytes, &a.LocalBytes},
			{cu.SharedSizeBytes, &a.SharedBytes},
			{cu.FnMaxThreadsPerBlock, &a.MaxThreads},
		} {
			if *want.into, err = f.fn.Attribute(want.attribute); err != nil {
				return err
			}
		}
		return nil
	})
	return a, err
}
