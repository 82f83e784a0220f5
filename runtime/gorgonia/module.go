//go:build gorgonia

package gorgonia

import (
	"bytes"
	"fmt"
	"sync"
	"sync/atomic"

	"gorgonia.org/cu"

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

func (d *gpu) LoadModule(ptx []byte) (device.Module, error) {
	ptx = bytes.TrimRight(ptx, "\x00")
	if len(ptx) == 0 {
		return nil, fmt.Errorf("%w: no PTX to load", device.ErrBadCall)
	}
	info, errors := newJITLog(), newJITLog()
	defer info.free()
	defer errors.free()
	m := &module{dev: d, params: ptxparams.Sizes(ptx)}
	err := d.do("cuModuleLoadDataEx", func() (err error) {
		m.mod, err = cu.LoadDataEx(string(ptx),
			&cu.JITInfoLogBuffer{Buffer: info.bytes}, &cu.JITErrorLogBuffer{Buffer: errors.bytes}, &cu.JITLogVerbose{Enabled: true})
		return err
	})
	if err != nil {
		return nil, loadError(err, errors.text())
	}
	m.log = info.text()
	return m, nil
}

func loadError(err error, log string) error {
	if log == "" {
		return fmt.Errorf("loading PTX: %w", err)
	}
	return fmt.Errorf("loading PTX: %w\n%s", err, log)
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

func (f *function) Launch(l device.Launch, args [][]byte, s device.Stream) error {
	if err := f.launch(l, args, s); err != nil {
		return fmt.Errorf("launch of %q: %w", f.name, err)
	}
	return nil
}

func (f *function) launch(l device.Launch, args [][]byte, s device.Stream) error {
	if err := f.check(l, args); err != nil {
		return err
	}
	stream, err := f.mod.dev.stream(s)
	if err != nil {
		return err
	}
	packed, err := packArguments(args)
	if err != nil {
		return err
	}
	return f.mod.do("cuLaunchKernel", func() error {
		if err := f.allowShared(l.SharedBytes); err != nil {
			return failure("cuFuncSetAttribute", err)
		}
		return launch(f.fn, l, packed, StreamHandle(stream))
	})
}

// check refuses what CUDA would not notice: it reads as many bytes as the kernel has parameters, whatever it was given.
func (f *function) check(l device.Launch, args [][]byte) error {
	if f.mod.unloaded.Load() {
		return fmt.Errorf("%w: its module was unloaded", device.ErrClosed)
	}
	if limit := f.mod.dev.info.MaxSharedBytes; l.SharedBytes < 0 || l.SharedBytes > limit {
		return fmt.Errorf("%w: it asks for %d bytes of shared memory a block, %s has %d",
			device.ErrUnsupported, l.SharedBytes, f.mod.dev.info.Name, limit)
	}
	if f.params == nil {
		return nil
	}
	if len(args) != len(f.params) {
		return fmt.Errorf("%w: %d arguments for %d parameters", device.ErrBadCall, len(args), len(f.params))
	}
	for i, a := range args {
		if len(a) != f.params[i] {
			return fmt.Errorf("%w: argument %d has %d bytes, its parameter has %d", device.ErrBadCall, i, len(a), f.params[i])
		}
	}
	return nil
}

// allowShared raises the function's limit of dynamic shared memory, which is 48 KB unless asked for more.
func (f *function) allowShared(need int) error {
	f.raise.Lock()
	defer f.raise.Unlock()
	if need <= f.allowed {
		return nil
	}
	if err := setMaxDynamicShared(f.fn, need); err != nil {
		return err
	}
	f.allowed = need
	return nil
}
