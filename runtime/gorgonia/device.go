//go:build gorgonia

package gorgonia

import (
	"fmt"
	goruntime "runtime"
	"sync"
	"unsafe"

	"gorgonia.org/cu"

	"github.com/minfc/minfc/internal/nvidia"
	"github.com/minfc/minfc/runtime/device"
)

// gpu is a context and what is known of its GPU.
type gpu struct {
	ctx     cu.CUContext
	info    device.Info
	release func() error // gives the primary context back; nil when the context is the program's
	owner   cu.Context   // only held: see Wrap

	// pageable: the GPU reads the host's pageable memory itself, so the driver does not stage copies.
	pageable bool

	calls  sync.RWMutex // held for reading by calls in progress; Close waits for them
	closed bool
}

// do runs fn with the device's context current, and leaves the thread's own context as it was: a program that has locked
// a goroutine to another context does not notice.
func (d *gpu) do(call string, fn func() error) error {
	d.calls.RLock()
	defer d.calls.RUnlock()
	if d.closed {
		return fmt.Errorf("device %s:%d: %w", Name, d.info.Ordinal, device.ErrClosed)
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

func (d *gpu) Info() device.Info { return d.info }

var _ device.Locator = (*gpu)(nil)

// Locate asks the driver, which answers without a context.
func (d *gpu) Locate(p device.Ptr) (ordinal int, known bool) {
	ordinal = locate(p)
	return max(ordinal, 0), ordinal >= 0
}

func (d *gpu) Alloc(bytes int64) (device.Ptr, error) {
	if err := nvidia.CheckAlloc(bytes); err != nil {
		return 0, err
	}
	var p cu.DevicePtr
	err := d.do("cuMemAlloc", func() (err error) { p, err = cu.MemAlloc(bytes); return err })
	if err != nil {
		return 0, fmt.Errorf("allocating %d bytes of device memory: %w", bytes, err)
	}
	return device.Ptr(p), nil
}

func (d *gpu) Free(p device.Ptr) error {
	return d.do("cuMemFree", func() error { return cu.MemFree(cu.DevicePtr(p)) })
}

func (d *gpu) CopyToDevice(dst device.Ptr, src []byte, s device.Stream) error {
	stream, err := d.stream(s)
	if err != nil {
		return err
	}
	err = d.do("cuMemcpyHtoDAsync", func() error {
		if len(src) == 0 {
			return nil
		}
		return cu.MemcpyHtoDAsync(cu.DevicePtr(dst), unsafe.Pointer(&src[0]), int64(len(src)), stream)
	})
	if err == nil && d.pageable { // otherwise all of src has been staged by now
		err = d.do("cuStreamSynchronize", stream.Synchronize)
	}
	goruntime.KeepAlive(src)
	return err
}

func (d *gpu) CopyToHost(dst []byte, src device.Ptr, s device.Stream) error {
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

func (d *gpu) Fill(dst device.Ptr, value byte, bytes int64, s device.Stream) error {
	if err := nvidia.CheckFill(bytes); err != nil {
		return err
	}
	stream, err := d.stream(s)
	if err != nil {
		return err
	}
	return d.do("cuMemsetD8Async", func() error {
		if bytes == 0 {
			return nil
		}
		return cu.MemsetD8Async(cu.DevicePtr(dst), value, bytes, stream)
	})
}

func (d *gpu) Synchronize() error { return d.do("cuCtxSynchronize", cu.Synchronize) }

// Close waits for calls in progress and gives the primary context back. A wrapped context is left alone.
func (d *gpu) Close() error {
	d.calls.Lock()
	defer d.calls.Unlock()
	first := !d.closed
	d.closed = true
	if !first || d.release == nil {
		return nil
	}
	return failure("cuDevicePrimaryCtxRelease", d.release())
}
