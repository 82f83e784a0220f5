//go:build linux && (amd64 || arm64)

package cuda

import (
	"errors"
	"fmt"
	goruntime "runtime"
	"sync"
	"unsafe"

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

// do runs f with the device's context current.
func (d *gpu) do(f func() error) (err error) {
	if err := d.enter(); err != nil {
		return err
	}
	var popped uintptr
	defer func() { err = errors.Join(err, d.leave(&popped)) }()
	return f()
}

// enter makes the device's context current. Goroutines move between OS threads and a context is current for one thread, so the goroutine stays on
// its thread until leave; the thread's own context, which may be another library's, comes back then.
func (d *gpu) enter() error {
	d.mu.RLock()
	if d.closed {
		d.mu.RUnlock()
		return fmt.Errorf("%w: cuda:%d", device.ErrClosed, d.info.Ordinal)
	}
	goruntime.LockOSThread()
	if err := d.lib.call(cuCtxPushCurrent, d.context); err != nil {
		goruntime.UnlockOSThread()
		d.mu.RUnlock()
		return err
	}
	return nil
}

// leave is the end of what enter began; popped is where the driver writes the context.
func (d *gpu) leave(popped *uintptr) error {
	defer d.mu.RUnlock()
	defer goruntime.UnlockOSThread()
	return d.lib.call(cuCtxPopCurrent, uintptr(unsafe.Pointer(popped)))
}

func (d *gpu) Info() device.Info { return d.info }

func (d *gpu) Alloc(bytes int64) (device.Ptr, error) {
	if bytes <= 0 {
		return 0, fmt.Errorf("%w: allocation of %d bytes, want at least 1", device.ErrBadCall, bytes)
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

func checkFill(bytes int64) error {
	if bytes < 0 {
		return fmt.Errorf("%w: fill of %d bytes", device.ErrBadCall, bytes)
	}
	return nil
}

func (d *gpu) Fill(dst device.Ptr, value byte, bytes int64, s device.Stream) error {
	if err := checkFill(bytes); err != nil {
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
