//go:build gorgonia

package gorgonia

import (
	"fmt"
	goruntime "runtime"
	"sync/atomic"
	"unsafe"

	"github.com/minfc/minfc/runtime"
	"gorgonia.org/cu"
)

// device is a context and what is known of its GPU.
type device struct {
	ctx     cu.CUContext
	info    runtime.DeviceInfo
	release func() error // gives the primary context back; nil when the context is the program's
	owner   cu.Context   // only held: see Wrap
	closed  atomic.Bool
}

// do runs fn with the device's context current, and leaves the thread's own context as it was: a program that has locked
// a goroutine to another context does not notice.
func (d *device) do(call string, fn func() error) error {
	if d.closed.Load() {
		return fmt.Errorf("device %s:%d: %w", Name, d.info.Ordinal, runtime.ErrClosed)
	}
	goruntime.LockOSThread()
	defer goruntime.UnlockOSThread()
	if err := cu.PushCurrentCtx(d.ctx); err != nil {
		return failure("cuCtxPushCurrent", err)
	}
	err := failure(call, fn())
	if _, popErr := cu.PopCurrentCtx(); err == nil {
		err = failure("cuCtxPopCurrent", popErr)
	}
	goruntime.KeepAlive(d.owner)
	return err
}

func (d *device) Info() runtime.DeviceInfo { return d.info }

func (d *device) Alloc(bytes int64) (runtime.DevicePtr, error) {
	if bytes < 0 {
		return 0, fmt.Errorf("%w: allocation of %d bytes", runtime.ErrBadCall, bytes)
	}
	var p cu.DevicePtr
	// CUDA refuses empty allocations; a byte makes a pointer that can be freed like any other.
	err := d.do("cuMemAlloc", func() (err error) { p, err = cu.MemAlloc(max(bytes, 1)); return err })
	if err != nil {
		return 0, fmt.Errorf("allocating %d bytes of device memory: %w", bytes, err)
	}
	return runtime.DevicePtr(p), nil
}

func (d *device) Free(p runtime.DevicePtr) error {
	if p == 0 {
		return nil
	}
	return d.do("cuMemFree", func() error { return cu.MemFree(cu.DevicePtr(p)) })
}

func (d *device) CopyToDevice(dst runtime.DevicePtr, src []byte, s runtime.Stream) error {
	stream, err := d.stream(s)
	if err != nil || len(src) == 0 {
		return err
	}
	// Pageable memory: the driver has staged all of src when the call returns.
	return d.do("cuMemcpyHtoDAsync", func() error {
		return cu.MemcpyHtoDAsync(cu.DevicePtr(dst), unsafe.Pointer(&src[0]), int64(len(src)), stream)
	})
}

func (d *device) CopyToHost(dst []byte, src runtime.DevicePtr, s runtime.Stream) error {
	stream, err := d.stream(s)
	if err != nil {
		return err
	}
	if len(dst) > 0 {
		err = d.do("cuMemcpyDtoHAsync", func() error {
			return cu.MemcpyDtoHAsync(unsafe.Pointer(&dst[0]), cu.DevicePtr(src), int64(len(dst)), stream)
		})
	}
	if err != nil {
		return err
	}
	err = d.do("cuStreamSynchronize", stream.Synchronize)
	goruntime.KeepAlive(dst)
	return err
}

func (d *device) Fill(dst runtime.DevicePtr, value byte, bytes int64, s runtime.Stream) error {
	stream, err := d.stream(s)
	if err != nil || bytes == 0 {
		return err
	}
	if bytes < 0 {
		return fmt.Errorf("%w: fill of %d bytes", runtime.ErrBadCall, bytes)
	}
	return d.do("cuMemsetD8Async", func() error { return cu.MemsetD8Async(cu.DevicePtr(dst), value, bytes, stream) })
}

func (d *device) Synchronize() error { return d.do("cuCtxSynchronize", cu.Synchronize) }

// Close gives the primary context back. A wrapped context is left alone.
func (d *device) Close() error {
	if d.closed.Swap(true) || d.release == nil {
		return nil
	}
	return failure("cuDevicePrimaryCtxRelease", d.release())
}
