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

	"github.com/minfc/minfc/internal/nvidia"
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
// empty when the result was in the driver's cache on disk, or in ours (package cache), which is asked first.
//
// Most modules go through a linker of one input: in that way several are compiled at a time, while cuModuleLoadDataEx compiles one after the
// other. nvidia.Module says which modules must not, and why.
func (d *gpu) LoadModule(ptx []byte) (device.Module, error) {
	if err := nvidia.CheckPTX(ptx); err != nil {
		return nil, err
	}
	log := newJITLog()
	defer log.pins.Unpin()
	var h uintptr
	err := d.do(func() (err error) {
		h, err = nvidia.Module(d.info, ptx, d.driver(ptx, log))
		return err
	})
	if err != nil {
		return nil, err
	}
	said := strings.TrimSpace(cString(log.infos) + "\n" + cString(log.errors)) // the error log also holds warnings
	return &module{dev: d, handle: h, log: said, params: ptxparams.Sizes(ptx)}, nil
}

// jitLog is the memory that the driver's compiler writes to, and the options that say so. The linker keeps the addresses until it is
// destroyed.
type jitLog struct {
	infos, errors []byte
	options       [5]int32
	values        [5]uintptr
	pins          goruntime.Pinner // options hold addresses as plain numbers
}

func newJITLog() *jitLog {
	l := &jitLog{infos: make([]byte, jitLogBytes), errors: make([]byte, jitLogBytes),
		options: [5]int32{jitInfoLog, jitInfoLogSize, jitErrorLog, jitErrorLogSize, jitLogVerbose}}
	l.pins.Pin(l)
	l.pins.Pin(&l.infos[0])
	l.pins.Pin(&l.errors[0])
	l.values = [5]uintptr{uintptr(unsafe.Pointer(&l.infos[0])), jitLogBytes, uintptr(unsafe.Pointer(&l.errors[0])), jitLogBytes, 1}
	return l
}

// driver is what the driver can do with PTX.
func (d *gpu) driver(ptx []byte, log *jitLog) nvidia.Driver[uintptr] {
	by := nvidia.Driver[uintptr]{Load: d.loadCubin, Compile: func() (uintptr, error) { return d.compile(ptx, log) }}
	if d.lib.address[cuLinkCreate] != 0 {
		by.Link = func() ([]byte, error) {
			cubin, err := d.link(ptx, log)
			return cubin, nvidia.WithLog(err, cString(log.errors)) // here, as others may wait for the error
		}
	}
	return by
}

func (d *gpu) loadCubin(cubin []byte) (h uintptr, err error) {
	var loaded uintptr
	err = d.lib.call(cuModuleLoadData, uintptr(unsafe.Pointer(&loaded)), uintptr(unsafe.Pointer(unsafe.SliceData(cubin))))
	return loaded, err
}

// link makes a cubin of one input of a linker.
func (d *gpu) link(ptx []byte, log *jitLog) (cubin []byte, err error) {
	var linker, size uintptr
	var code *byte // the linker's own memory
	image := nvidia.Ended(ptx)
	if err := d.lib.call(cuLinkCreate, uintptr(len(log.options)), uintptr(unsafe.Pointer(&log.options)), uintptr(unsafe.Pointer(&log.values)),
		uintptr(unsafe.Pointer(&linker))); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, d.lib.call(cuLinkDestroy, linker)) }()
	if err := d.lib.call(cuLinkAddData, linker, linkPTX, uintptr(unsafe.Pointer(&image[0])), uintptr(len(image)), 0, 0, 0, 0); err != nil {
		return nil, err
	}
	if err := d.lib.call(cuLinkComplete, linker, uintptr(unsafe.Pointer(&code)), uintptr(unsafe.Pointer(&size))); err != nil {
		return nil, err
	}
	return bytes.Clone(unsafe.Slice(code, size)), nil
}

// compile makes a module of PTX, without a cubin that could be kept.
func (d *gpu) compile(ptx []byte, log *jitLog) (h uintptr, err error) {
	image := nvidia.Ended(ptx)
	err = d.lib.call(cuModuleLoadDataEx, uintptr(unsafe.Pointer(&h)), uintptr(unsafe.Pointer(&image[0])),
		uintptr(len(log.options)), uintptr(unsafe.Pointer(&log.options)), uintptr(unsafe.Pointer(&log.values)))
	return h, nvidia.WithLog(err, cString(log.errors))
}

// linkPTX is the CUjitInputType of PTX text.
const linkPTX = 1

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
