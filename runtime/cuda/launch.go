//go:build linux && (amd64 || arm64)

package cuda

import (
	"fmt"
	goruntime "runtime"
	"unsafe"

	"github.com/minfc/minfc/runtime/device"
)

// Launch checks what the driver would not: it reads as many bytes as the kernel has parameters, whatever it was given.
func (f *function) Launch(l device.Launch, args [][]byte, s device.Stream) error {
	if err := f.check(l, args); err != nil {
		return fmt.Errorf("launch of %q: %w", f.name, err)
	}
	pointers := make([]unsafe.Pointer, len(args)+1) // one more, so that there is a first one
	for i, a := range args {
		pointers[i] = unsafe.Pointer(unsafe.SliceData(a))
	}
	err := f.mod.dev.on(s, func(stream uintptr) error {
		if err := f.allowShared(l.SharedBytes); err != nil {
			return err
		}
		return f.mod.dev.lib.call(cuLaunchKernel, f.handle,
			uintptr(l.Grid[0]), uintptr(l.Grid[1]), uintptr(l.Grid[2]),
			uintptr(l.Block[0]), uintptr(l.Block[1]), uintptr(l.Block[2]),
			uintptr(l.SharedBytes), stream, uintptr(unsafe.Pointer(&pointers[0])), 0)
	})
	goruntime.KeepAlive(args)
	if err != nil {
		return fmt.Errorf("launch of %q: %w", f.name, err)
	}
	return nil
}

func (f *function) check(l device.Launch, args [][]byte) error {
	if f.mod.unloaded.Load() {
		return fmt.Errorf("%w: its module was unloaded", device.ErrClosed)
	}
	if limit := f.mod.dev.info.MaxSharedBytes; l.SharedBytes < 0 || l.SharedBytes > limit {
		return fmt.Errorf("%w: it asks for %d bytes of shared memory a block, %s has %d",
			device.ErrUnsupported, l.SharedBytes, f.mod.dev.info.Name, limit)
	}
	if f.params != nil && len(args) != len(f.params) {
		return fmt.Errorf("%w: %d arguments for %d parameters", device.ErrBadCall, len(args), len(f.params))
	}
	for i, a := range args {
		if len(a) == 0 || f.params != nil && len(a) != f.params[i] {
			return fmt.Errorf("%w: argument %d has %d bytes, not the size of its parameter", device.ErrBadCall, i, len(a))
		}
	}
	return nil
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
