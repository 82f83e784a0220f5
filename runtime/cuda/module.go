//go:build linux && (amd64 || arm64)

package cuda

import (
	"bytes"
	"errors"
	"fmt"
	goruntime "runtime"
	"strings"
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/minfc/minfc/internal/ptxparams"
	"github.com/minfc/minfc/runtime/device"
)

type module struct {
	dev    *gpu
	handle uintptr
	log    string
	params map[string][]int // bytes of each parameter, by kernel

	unloaded atomic.Bool
}

// CUjit_option values.
const (
	jitInfoLog      = 3
	jitInfoLogSize  = 4
	jitErrorLog     = 5
	jitErrorLogSize = 6
	jitLogVerbose   = 12
)

const jitLogBytes = 64 << 10

// LoadModule compiles PTX with the driver's compiler. The log of a verbose compilation names registers and spills; it is
// empty when the driver has the result in its cache on disk.
func (d *gpu) LoadModule(ptx []byte) (device.Module, error) {
	if len(bytes.TrimSpace(ptx)) == 0 {
		return nil, fmt.Errorf("%w: the PTX text is empty", device.ErrBadCall)
	}
	image := append(bytes.Clone(ptx), 0) // the driver reads up to a NUL
	infoLog, errorLog := make([]byte, jitLogBytes), make([]byte, jitLogBytes)
	var pins goruntime.Pinner // options hold addresses as plain numbers
	defer pins.Unpin()
	pins.Pin(&infoLog[0])
	pins.Pin(&errorLog[0])
	options := [...]int32{jitInfoLog, jitInfoLogSize, jitErrorLog, jitErrorLogSize, jitLogVerbose}
	values := [...]uintptr{uintptr(unsafe.Pointer(&infoLog[0])), jitLogBytes, uintptr(unsafe.Pointer(&errorLog[0])), jitLogBytes, 1}
	var h uintptr
	err := d.do(func() error {
		return d.lib.call(cuModuleLoadDataEx, uintptr(unsafe.Pointer(&h)), uintptr(unsafe.Pointer(&image[0])),
			uintptr(len(options)), uintptr(unsafe.Pointer(&options)), uintptr(unsafe.Pointer(&values)))
	})
	if err != nil {
		return nil, withLog(err, cString(errorLog))
	}
	log := strings.TrimSpace(cString(infoLog) + "\n" + cString(errorLog)) // the error log also holds warnings
	return &module{dev: d, handle: h, log: log, params: ptxparams.Sizes(ptx)}, nil
}

func withLog(err error, log string) error {
	if e, ok := errors.AsType[*Error](err); ok {
		e.Log = strings.TrimSpace(log)
	}
	return err
}

func (m *module) Log() string { return m.log }

func (m *module) Unload() error {
	if m.unloaded.Swap(true) {
		return nil
	}
	return m.dev.do(func() error { return m.dev.lib.call(cuModuleUnload, m.handle) })
}

// function is a CUfunction. It is valid until its module is unloaded.
type function struct {
	mod    *module
	name   string
	handle uintptr
	params []int // bytes of each parameter; nil when they are not known

	mu     sync.Mutex
	shared int // dynamic shared memory allowed so far
}

func (m *module) Function(name string) (device.Function, error) {
	if m.unloaded.Load() {
		return nil, fmt.Errorf("%w: module of function %q", device.ErrClosed, name)
	}
	f := &function{mod: m, name: name, params: m.params[name], shared: 48 << 10}
	symbol := append([]byte(name), 0)
	var h uintptr
	err := m.dev.do(func() error {
		return m.dev.lib.call(cuModuleGetFunction, uintptr(unsafe.Pointer(&h)), m.handle, uintptr(unsafe.Pointer(&symbol[0])))
	})
	if err != nil {
		return nil, fmt.Errorf("function %q: %w", name, err)
	}
	f.handle = h
	return f, nil
}

// CUfunction_attribute values.
const (
	funcMaxThreads    = 0
	funcSharedBytes   = 1
	funcLocalBytes    = 3
	funcRegisters     = 4
	funcDynamicShared = 8
)

func (f *function) Attributes() (a device.FunctionAttributes, err error) {
	if f.mod.unloaded.Load() {
		return a, fmt.Errorf("%w: module of function %q", device.ErrClosed, f.name)
	}
	err = f.mod.dev.do(func() error {
		for _, q := range []struct {
			attribute uintptr
			to        *int
		}{
			{funcMaxThreads, &a.MaxThreads},
			{funcSharedBytes, &a.SharedBytes},
			{funcLocalBytes, &a.LocalBytes},
			{funcRegisters, &a.Registers},
		} {
			var v int32
			if err := f.mod.dev.lib.call(cuFuncGetAttribute, uintptr(unsafe.Pointer(&v)), q.attribute, f.handle); err != nil {
				return err
			}
			*q.to = int(v)
		}
		return nil
	})
	return a, err
}
