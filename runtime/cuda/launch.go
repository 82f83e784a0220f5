//go:build linux && (amd64 || arm64)

package cuda

import (
	"fmt"
	goruntime "runtime"
	"sync"
	"unsafe"

	"github.com/minfc/minfc/internal/nvidia"
	"github.com/minfc/minfc/runtime/device"
)

// Launch enqueues one kernel.
func (f *function) Launch(l device.Launch, args [][]byte, s device.Stream) error {
	_, err := f.mod.dev.Enqueue([]device.Command{{Function: f, Launch: l, Args: args}}, s)
	return err
}

// launching is the memory of calls of the driver while commands are enqueued: their arguments, and what these point to.
type launching struct {
	args     [11]uintptr      // of a call of the driver
	pointers []unsafe.Pointer // of a kernel's arguments
	popped   uintptr
}

// launchings are kept, so that an enqueued launch allocates nothing.
var launchings = sync.Pool{New: func() any { return &launching{pointers: make([]unsafe.Pointer, 256)} }}

// call calls a function of the driver with some of the kept arguments.
func (l *launching) call(lib *library, s symbol, args ...uintptr) error {
	return lib.callKept(s, l.args[:copy(l.args[:], args)])
}

// Enqueue makes the context current once for all commands.
func (d *gpu) Enqueue(commands []device.Command, s device.Stream) (n int, err error) {
	for i := range commands {
		if err := d.checkCommand(&commands[i]); err != nil {
			return i, err
		}
	}
	stream, err := d.handleOf(s)
	if err != nil {
		return 0, err
	}
	own := launchings.Get().(*launching)
	defer launchings.Put(own)
	if err := d.begin(); err != nil {
		return 0, err
	}
	defer d.end()
	if err := own.call(d.lib, cuCtxPushCurrent, d.context); err != nil {
		return 0, err
	}
	for n < len(commands) && err == nil {
		if err = d.enqueue(own, &commands[n], stream); err == nil {
			n++
		}
	}
	clear(own.pointers)
	if left := own.call(d.lib, cuCtxPopCurrent, uintptr(unsafe.Pointer(&own.popped))); err == nil {
		err = left
	}
	return n, err
}

// checkCommand checks what the driver would not.
func (d *gpu) checkCommand(c *device.Command) error {
	if c.Function == nil {
		return nvidia.CheckFill(c.Bytes)
	}
	f, ok := c.Function.(*function)
	if !ok || f.mod.dev != d {
		return fmt.Errorf("%w: the function is of another device", device.ErrBadCall)
	}
	if err := f.check(c.Launch, c.Args); err != nil {
		return fmt.Errorf("launch of %q: %w", f.name, err)
	}
	return nil
}

func (d *gpu) enqueue(own *launching, c *device.Command, stream uintptr) error {
	if c.Function == nil {
		if c.Bytes == 0 {
			return nil
		}
		return own.call(d.lib, cuMemsetD8Async, uintptr(c.Clear), 0, uintptr(c.Bytes), stream)
	}
	f, l := c.Function.(*function), &c.Launch
	if len(own.pointers) < len(c.Args)+1 { // one more, so that there is a first one
		own.pointers = make([]unsafe.Pointer, 2*len(c.Args)+1)
	}
	for i, a := range c.Args {
		own.pointers[i] = unsafe.Pointer(unsafe.SliceData(a))
	}
	err := f.allowShared(l.SharedBytes)
	if err == nil {
		err = own.call(d.lib, cuLaunchKernel, f.handle,
			uintptr(l.Grid[0]), uintptr(l.Grid[1]), uintptr(l.Grid[2]),
			uintptr(l.Block[0]), uintptr(l.Block[1]), uintptr(l.Block[2]),
			uintptr(l.SharedBytes), stream, uintptr(unsafe.Pointer(&own.pointers[0])), 0)
	}
	goruntime.KeepAlive(c.Args)
	if err != nil {
		return fmt.Errorf("launch of %q: %w", f.name, err)
	}
	return nil
}

func (f *function) check(l device.Launch, args [][]byte) error {
	if f.mod.unloaded.Load() {
		return fmt.Errorf("%w: its module was unloaded", device.ErrClosed)
	}
	return nvidia.CheckLaunch(&f.mod.dev.info, l, f.params, args)
}

// allowShared raises the function's limit of dynamic shared memory, which is 48 KB unless asked for more.
func (f *function) allowShared(bytes int) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if bytes <= f.shared {
		return nil
	}
	if err := f.mod.dev.lib.call(cuFuncSetAttribute, f.handle, funcDynamicShared, uintptr(bytes)); err != nil {
		return err
	}
	f.shared = bytes
	return nil
}
