//go:build gorgonia

package gorgonia

import (
	"bytes"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/minfc/minfc/runtime"
	"gorgonia.org/cu"
)

type module struct {
	dev      *device
	mod      cu.Module
	log      string
	unloaded atomic.Bool
}

func (d *device) LoadModule(ptx []byte) (runtime.Module, error) {
	info, errors := newJITLog(), newJITLog()
	defer info.free()
	defer errors.free()
	m := &module{dev: d}
	err := d.do("cuModuleLoadDataEx", func() (err error) {
		m.mod, err = cu.LoadDataEx(string(bytes.TrimRight(ptx, "\x00")),
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
		return fmt.Errorf("module: %w", runtime.ErrClosed)
	}
	return m.dev.do(call, fn)
}

func (m *module) Function(name string) (runtime.Function, error) {
	f := &function{mod: m, name: name}
	err := m.do("cuModuleGetFunction", func() (err error) { f.fn, err = m.mod.Function(name); return err })
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
	mod  *module
	name string
	fn   cu.Function

	raise sync.Mutex
	limit int // dynamic shared memory the function was last allowed, in bytes; 0 is CUDA's own limit
}

func (f *function) Attributes() (runtime.FunctionAttributes, error) {
	var a runtime.FunctionAttributes
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

// defaultSharedBytes is the shared memory, static and dynamic together, that a block gets without asking.
const defaultSharedBytes = 48 << 10

func (f *function) Launch(l runtime.Launch, args [][]byte, s runtime.Stream) error {
	stream, err := f.mod.dev.stream(s)
	if err != nil {
		return fmt.Errorf("kernel %q: %w", f.name, err)
	}
	packed, err := packArguments(args)
	if err != nil {
		return fmt.Errorf("kernel %q: %w", f.name, err)
	}
	err = f.mod.do("cuLaunchKernel", func() error {
		if err := f.allowShared(l.SharedBytes); err != nil {
			return err
		}
		return launch(f.fn, l, packed, StreamHandle(stream))
	})
	if err != nil {
		return fmt.Errorf("kernel %q, grid %v, block %v, %d bytes of dynamic shared memory: %w", f.name, l.Grid, l.Block, l.SharedBytes, err)
	}
	return nil
}

// allowShared raises the function's limit of dynamic shared memory, once for each new maximum.
func (f *function) allowShared(need int) error {
	f.raise.Lock()
	defer f.raise.Unlock()
	if need <= f.limit {
		return nil
	}
	static, err := f.fn.Attribute(cu.SharedSizeBytes)
	if err != nil {
		return failure("cuFuncGetAttribute", err)
	}
	if static+need > defaultSharedBytes {
		if err := setMaxDynamicShared(f.fn, need); err != nil {
			return failure("cuFuncSetAttribute", err)
		}
	}
	f.limit = need
	return nil
}
