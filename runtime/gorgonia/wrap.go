//go:build gorgonia

package gorgonia

import (
	"fmt"
	"unsafe"

	"gorgonia.org/cu"

	"github.com/minfc/minfc/runtime/device"
)

// Wrap makes a device.Device of a context that the program already has (*cu.Ctx, *cu.BatchedContext, a gorgonia machine's).
// The context stays the program's: closing the device leaves it alone. The device keeps ctx reachable, because cu destroys
// a *cu.Ctx that nobody refers to.
//
// Device pointers pass either way as plain numbers: device.Ptr(p) for a cu.DevicePtr p. Calls go straight to the
// CUDA driver on the calling goroutine's thread, so work still queued inside a *cu.BatchedContext has not happened yet:
// let it do its work first.
func Wrap(ctx cu.Context, dev cu.Device) (device.Device, error) {
	if ctx == nil {
		return nil, fmt.Errorf("%w: the context to wrap is nil", device.ErrBadCall)
	}
	return wrap(ctx.CUDAContext(), dev, ctx)
}

// WrapCUContext is Wrap for a bare context, such as cu.Device.MakeContext returns.
func WrapCUContext(ctx cu.CUContext, dev cu.Device) (device.Device, error) {
	return wrap(ctx, dev, nil)
}

// wrap asks the driver about dev, so that a wrong device fails here and not at the first launch.
func wrap(ctx cu.CUContext, dev cu.Device, owner cu.Context) (device.Device, error) {
	if ctx == (cu.CUContext{}) {
		return nil, fmt.Errorf("%w: the context to wrap is empty or already destroyed", device.ErrBadCall)
	}
	info, err := infoOf(dev, int(dev))
	if err != nil {
		return nil, err
	}
	pageable, err := readsPageable(dev)
	if err != nil {
		return nil, err
	}
	d := &gpu{ctx: ctx, info: info, pageable: pageable, owner: owner}
	if err := d.do("cuCtxGetDevice", func() error { return sameDevice(dev) }); err != nil {
		return nil, err
	}
	return d, nil
}

func sameDevice(want cu.Device) error {
	got, err := cu.CurrentDevice()
	if err == nil && got != want {
		err = fmt.Errorf("%w: the context is of device %d, not of device %d as said", device.ErrBadCall, int(got), int(want))
	}
	return err
}

// StreamHandle returns the CUstream of a cu.Stream, for device.Device.WrapStream.
func StreamHandle(s cu.Stream) uintptr { return *(*uintptr)(unsafe.Pointer(&s)) }

// cu keeps its handles in unexported fields. Each of these structs is that one handle; the arrays fail to compile if not.
var (
	_ [unsafe.Sizeof(uintptr(0)) - unsafe.Sizeof(cu.Stream{})]struct{}
	_ [unsafe.Sizeof(cu.Stream{}) - unsafe.Sizeof(uintptr(0))]struct{}
	_ [unsafe.Sizeof(uintptr(0)) - unsafe.Sizeof(cu.Function{})]struct{}
	_ [unsafe.Sizeof(cu.Function{}) - unsafe.Sizeof(uintptr(0))]struct{}
)

func cuStream(handle uintptr) cu.Stream { return *(*cu.Stream)(unsafe.Pointer(&handle)) }

func functionHandle(f cu.Function) uintptr { return *(*uintptr)(unsafe.Pointer(&f)) }
