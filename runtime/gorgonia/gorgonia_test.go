//go:build gorgonia

// Without the driver's library cu ends the process in its init: these tests run on a GPU, and where they compute nothing on the stand-in of
// standin_test.go.
package gorgonia_test

import (
	"bytes"
	"encoding/binary"
	"path/filepath"
	goruntime "runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorgonia.org/cu"

	"github.com/minfc/minfc/internal/cache"
	"github.com/minfc/minfc/runtime/device"
	"github.com/minfc/minfc/runtime/gorgonia"
	"github.com/minfc/minfc/runtime/runtimetest"
)

func TestConformance(t *testing.T) {
	needsGPU(t)
	runtimetest.Conformance(t, func() device.Device {
		dev, err := device.Open(gorgonia.Name, 0)
		require.NoError(t, err)
		return dev
	})
}

// ownContext makes a context the way a gorgonia program does, current on no thread.
func ownContext(t *testing.T) (cu.CUContext, cu.Device) { return contextOn(t, 0) }

func contextOn(t *testing.T, number int) (cu.CUContext, cu.Device) {
	goruntime.LockOSThread()
	defer goruntime.UnlockOSThread()
	gpu, err := cu.GetDevice(number)
	require.NoError(t, err)
	ctx, err := gpu.MakeContext(cu.SchedAuto)
	require.NoError(t, err)
	_, err = cu.PopCurrentCtx()
	require.NoError(t, err)
	return ctx, gpu
}

// destroy fails when a device's Close took the program's context with it.
func destroy(t *testing.T, ctx cu.CUContext) { require.NoError(t, ctx.Destroy()) }

// With a cache, all devices but the first take the modules from it.
func TestConformanceOfAWrappedContext(t *testing.T) {
	needsGPU(t)
	dir := t.TempDir()
	t.Setenv(cache.FolderVariable, dir)
	defer func() {
		kept, err := filepath.Glob(filepath.Join(dir, "cubin-*"))
		require.NoError(t, err)
		require.NotEmpty(t, kept)
	}()
	ctx, gpu := ownContext(t)
	defer destroy(t, ctx)
	runtimetest.Conformance(t, func() device.Device {
		dev, err := gorgonia.WrapCUContext(ctx, gpu)
		require.NoError(t, err)
		return dev
	})
}

// A program's own memory and stream go through a kernel of ours, and its thread keeps its own context.
func TestMemoryAndStreamOfTheProgram(t *testing.T) {
	needsGPU(t)
	ctx, gpu := ownContext(t)
	defer destroy(t, ctx)
	dev, err := gorgonia.WrapCUContext(ctx, gpu)
	require.NoError(t, err)
	m, err := dev.LoadModule(runtimetest.PTX)
	require.NoError(t, err)
	step, err := m.Function("step")
	require.NoError(t, err)

	require.NoError(t, ctx.Lock())
	const words = 512
	data, err := cu.MemAlloc(4 * words)
	require.NoError(t, err)
	stream, err := cu.MakeStream(cu.NonBlocking)
	require.NoError(t, err)
	require.NoError(t, cu.MemsetD32Async(data, 5, words, stream))
	launch := device.Launch{Grid: [3]uint32{4, 1, 1}, Block: [3]uint32{128, 1, 1}}
	args := [][]byte{
		binary.LittleEndian.AppendUint64(nil, uint64(data)),
		binary.LittleEndian.AppendUint32(nil, 3),
		binary.LittleEndian.AppendUint32(nil, 4),
	}
	require.NoError(t, step.Launch(launch, args, dev.WrapStream(gorgonia.StreamHandle(stream))))
	now, err := cu.CurrentContext()
	require.NoError(t, err)
	require.Equal(t, ctx, now, "the thread's context is as it was")

	got := make([]byte, 4*words)
	require.NoError(t, dev.CopyToHost(got, device.Ptr(data), dev.WrapStream(gorgonia.StreamHandle(stream))))
	for i := range words {
		require.Equal(t, uint32(3*5+4), binary.LittleEndian.Uint32(got[4*i:]), "word %d", i)
	}
	require.NoError(t, stream.Destroy())
	require.NoError(t, cu.MemFree(data))
	require.NoError(t, cu.SetCurrentContext(cu.CUContext{}))
	goruntime.UnlockOSThread()
	require.NoError(t, m.Unload())
	require.NoError(t, dev.Close())
}

func TestLaunchRefusesArgumentsOfTheWrongSize(t *testing.T) {
	dev, err := device.Open(gorgonia.Name, 0)
	require.NoError(t, err)
	defer dev.Close()
	m, err := dev.LoadModule(runtimetest.PTX)
	require.NoError(t, err)
	f, err := m.Function("copy")
	require.NoError(t, err)
	one := device.Launch{Grid: [3]uint32{1, 1, 1}, Block: [3]uint32{1, 1, 1}}
	pointer, word := make([]byte, 8), make([]byte, 4)
	require.ErrorIs(t, f.Launch(one, [][]byte{pointer, pointer}, nil), device.ErrBadCall)
	require.ErrorIs(t, f.Launch(one, [][]byte{pointer, pointer, pointer}, nil), device.ErrBadCall)
	require.NoError(t, f.Launch(one, [][]byte{pointer, pointer, word}, nil), "no words to copy")
	require.NoError(t, dev.Synchronize())
}

func TestWrapRefusesWhatIsNoContext(t *testing.T) {
	_, err := gorgonia.Wrap(nil, 0)
	require.ErrorIs(t, err, device.ErrBadCall)
	_, err = gorgonia.WrapCUContext(cu.CUContext{}, 0)
	require.ErrorIs(t, err, device.ErrBadCall)
}

// A *cu.Ctx that the program forgot would be destroyed by its finalizer; the device keeps it.
func TestDeviceKeepsItsContextAlive(t *testing.T) {
	dev := wrapForgotten(t)
	for range 3 {
		goruntime.GC()
		time.Sleep(10 * time.Millisecond) // finalizers run beside the program
	}
	p, err := dev.Alloc(1 << 20)
	require.NoError(t, err)
	require.NoError(t, dev.Free(p))
	require.NoError(t, dev.Close())
}

func wrapForgotten(t *testing.T) device.Device {
	ctx, gpu := ownContext(t) // destroyed by that finalizer, once the device is gone
	dev, err := gorgonia.Wrap(cu.CtxFromCUContext(gpu, ctx, cu.SchedAuto), gpu)
	require.NoError(t, err)
	return dev
}

// A context with a thread of its own, as cu.NewContext makes it, and its memory and stream.
func TestContextWithAThread(t *testing.T) {
	gpu, err := cu.GetDevice(0)
	require.NoError(t, err)
	goruntime.LockOSThread() // which the new context is left current on
	ctx := cu.NewContext(gpu, cu.SchedAuto)
	_, err = cu.PopCurrentCtx()
	require.NoError(t, err)
	goruntime.UnlockOSThread()
	dev, err := gorgonia.Wrap(ctx, gpu)
	require.NoError(t, err)
	p, err := ctx.MemAlloc(256)
	require.NoError(t, err)
	own, err := ctx.MakeStream(cu.NonBlocking)
	require.NoError(t, err)
	s := dev.WrapStream(gorgonia.StreamHandle(own))
	want, got := []byte("through memory of cu"), make([]byte, 20)
	require.NoError(t, dev.Fill(device.Ptr(p), 7, 256, s))
	require.NoError(t, dev.CopyToDevice(device.Ptr(p), want, s))
	require.NoError(t, dev.CopyToHost(got, device.Ptr(p), s))
	require.Equal(t, want, got)
	require.NoError(t, dev.CopyToHost(got, device.Ptr(p)+236, s))
	require.Equal(t, bytes.Repeat([]byte{7}, 20), got)
	require.NoError(t, dev.Close())
	ctx.MemFree(p)
	require.NoError(t, ctx.Error(), "closing the device left the context alone")
	require.NoError(t, ctx.Close())
}

func TestUseAfterCloseIsRefused(t *testing.T) {
	dev, err := device.Open(gorgonia.Name, 0)
	require.NoError(t, err)
	m, err := dev.LoadModule(runtimetest.PTX)
	require.NoError(t, err)
	f, err := m.Function("copy")
	require.NoError(t, err)
	s, err := dev.NewStream()
	require.NoError(t, err)
	require.NoError(t, s.Close())
	require.ErrorIs(t, s.Synchronize(), device.ErrClosed)
	require.NoError(t, m.Unload())
	require.ErrorIs(t, f.Launch(device.Launch{}, nil, nil), device.ErrClosed)
	require.NoError(t, dev.Close())
	require.ErrorIs(t, dev.Synchronize(), device.ErrClosed)
	require.NoError(t, dev.Close(), "a second Close does nothing")
}

func TestOpenNamesTheDevicesThereAre(t *testing.T) {
	_, err := device.Open(gorgonia.Name, 99)
	require.ErrorIs(t, err, device.ErrNoDevice)
	require.ErrorContains(t, err, "gorgonia:99")
}
