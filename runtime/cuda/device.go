//go:build linux && (amd64 || arm64)

package cuda

import (
	"errors"
	"fmt"
	goruntime "runtime"
	"sync"
	"unsafe"

	"github.com/minfc/minfc/internal/nvidia"
	"github.com/minfc/minfc/runtime/device"
)

type gpu struct {
	lib     *library
	info    device.Info
	number  int32   // CUdevice
	context uintptr // CUcontext
	// The GPU may read pageable host memory itself (HMM, ATS), perhaps after an asynchronous copy has returned.
	pageable bool

	mu     sync.RWMutex // held for reading by calls in progress, for writing by Close
	closed bool
}

func openDevice(lib *library, ordinal int) (*gpu, error) {
	d := &gpu{lib: lib}
	var err error
	if d.info, err = lib.info(ordinal); err != nil {
		return nil, err
	}
	if d.number, err = lib.handle(ordinal); err != nil {
		return nil, err
	}
	pageable, err := lib.attribute(d.number, attrPageableAccess)
	if err != nil {
		return nil, err
	}
	d.pageable = pageable != 0
	var context uintptr
	err = lib.call(cuDevicePrimaryCtxRetain, uintptr(unsafe.Pointer(&context)), uintptr(d.number))
	d.context = context
	return d, err
}

// do runs f with the device's context current; the thread's own context, which may be another library's, comes back after.
func (d *gpu) do(f func() error) (err error) {
	if err := d.begin(); err != nil {
		return err
	}
	defer d.end()
	if err := d.lib.call(cuCtxPushCurrent, d.context); err != nil {
		return err
	}
	defer func() {
		var popped uintptr
		err = errors.Join(err, d.lib.call(cuCtxPopCurrent, uintptr(unsafe.Pointer(&popped))))
	}()
	return f()
}

// begin keeps the device open and the goroutine on its thread until end: goroutines move between threads, and a context is current for one.
func (d *gpu) begin() error {
	d.mu.RLock()
	if d.closed {
		d.mu.RUnlock()
		return fmt.Errorf("%w: cuda:%d", device.ErrClosed, d.info.Ordinal)
	}
	goruntime.LockOSThread()
	return nil
}

func (d *gpu) end() {
	goruntime.UnlockOSThread()
	d.mu.RUnlock()
}

func (d *gpu) Info() device.Info { return d.info }

func (d *gpu) Alloc(bytes int64) (device.Ptr, error) {
	if err := nvidia.CheckAlloc(bytes); err != nil {
		return 0, err
	}
	var p uint64
	err := d.do(func() error { return d.lib.call(cuMemAlloc, uintptr(unsafe.Pointer(&p)), uintptr(bytes)) })
	if errors.Is(err, device.ErrOutOfMemory) {
		err = fmt.Errorf("%d bytes on %s: %w", bytes, d.info.Name, err)
	}
	return device.Ptr(p), err
}

func (d *gpu) Free(p device.Ptr) error {
	return d.do(func() error { return d.lib.call(cuMemFree, uintptr(p)) })
}

func (d *gpu) CopyToDevice(dst device.Ptr, src []byte, s device.Stream) error {
	err := d.on(s, func(stream uintptr) error {
		if len(src) == 0 {
			return nil
		}
		err := d.lib.call(cuMemcpyHtoDAsync, uintptr(dst), uintptr(unsafe.Pointer(unsafe.SliceData(src))), uintptr(len(src)), stream)
		if err == nil && d.pageable { // else the driver has staged src before it returned
			err = d.lib.call(cuStreamSynchronize, stream)
		}
		return err
	})
	goruntime.KeepAlive(src)
	return err
}

func (d *gpu) CopyToHost(dst []byte, src device.Ptr, s device.Stream) error {
	err := d.on(s, func(stream uintptr) error {
		if len(dst) == 0 {
			return nil
		}
		err := d.lib.call(cuMemcpyDtoHAsync, uintptr(unsafe.Pointer(unsafe.SliceData(dst))), uintptr(src), uintptr(len(dst)), stream)
		return errors.Join(err, d.lib.call(cuStreamSynchronize, stream))
	})
	goruntime.KeepAlive(dst)
	return err
}

func (d *gpu) Fill(dst device.Ptr, value byte, bytes int64, s device.Stream) error {
	if err := nvidia.CheckFill(bytes); err != nil {
		return err
	}
	return d.on(s, func(stream uintptr) error {
		if bytes == 0 {
			return nil
		}
		return d.lib.call(cuMemsetD8Async, uintptr(dst), uintptr(value), uintptr(bytes), stream)
	})
}

func (d *gpu) Synchronize() error {
	return d.do(func() error { return d.lib.call(cuCtxSynchronize) })
}

// Close waits for calls in progress and releases the primary context; others in the process may still hold it.
func (d *gpu) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil
	}
	d.closed = true
	return d.lib.call(cuDevicePrimaryCtxRelease, uintptr(d.number))
}
