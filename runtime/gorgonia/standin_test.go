//go:build gorgonia

// Tests that need no GPU: tools/gorgonia.sh runs them on the stand-in for the driver's library, runtime/cuda/testdata/libcuda.c.
package gorgonia_test

import (
	"os"
	"path/filepath"
	goruntime "runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"gorgonia.org/cu"

	"github.com/minfc/minfc"
	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/internal/cache"
	"github.com/minfc/minfc/runtime/device"
	"github.com/minfc/minfc/runtime/gorgonia"
	"github.com/minfc/minfc/runtime/runtimetest"
)

// TestMain keeps the tests out of the user's cache.
func TestMain(m *testing.M) {
	os.Setenv(cache.FolderVariable, "off")
	os.Exit(m.Run())
}

func onStandIn(t *testing.T) bool {
	gpu, err := cu.GetDevice(0)
	require.NoError(t, err)
	name, err := gpu.Name()
	require.NoError(t, err)
	return strings.HasPrefix(name, "Stand-in")
}

func needsGPU(t *testing.T) {
	if onStandIn(t) {
		t.Skip("the stand-in computes nothing: docs/measuring.md says how to run this on a GPU")
	}
}

func needsStandIn(t *testing.T) {
	if !onStandIn(t) {
		t.Skip("this asks what only the stand-in answers: tools/gorgonia.sh runs it")
	}
}

// wrapped is a device in a context of its own on a GPU.
func wrapped(t *testing.T, number int) device.Device {
	ctx, gpu := contextOn(t, number)
	dev, err := gorgonia.WrapCUContext(ctx, gpu)
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, dev.Close())
		destroy(t, ctx)
	})
	return dev
}

func TestStandInUseAfterClose(t *testing.T) {
	needsStandIn(t)
	ctx, gpu := ownContext(t)
	defer destroy(t, ctx)
	for name, open := range map[string]func() (device.Device, error){
		"opened":  func() (device.Device, error) { return device.Open(gorgonia.Name, 0) },
		"wrapped": func() (device.Device, error) { return gorgonia.WrapCUContext(ctx, gpu) },
	} {
		t.Run(name, func(t *testing.T) {
			runtimetest.Closed(t, func() device.Device {
				dev, err := open()
				require.NoError(t, err)
				return dev
			})
		})
	}
}

// Calls leave the thread's context as it was: another one, or none.
func TestStandInThreadKeepsItsContext(t *testing.T) {
	needsStandIn(t)
	goruntime.LockOSThread()
	defer goruntime.UnlockOSThread()
	other, _ := contextOn(t, 1)
	defer destroy(t, other)
	dev := wrapped(t, 0)
	m, err := dev.LoadModule(runtimetest.PTX)
	require.NoError(t, err)
	f, err := m.Function("copy")
	require.NoError(t, err)
	for _, mine := range []cu.CUContext{other, {}} {
		require.NoError(t, cu.SetCurrentContext(mine))
		p, err := dev.Alloc(64)
		require.NoError(t, err)
		args := [][]byte{make([]byte, 8), make([]byte, 8), make([]byte, 4)}
		n, err := device.Enqueue(dev, []device.Command{{Clear: p, Bytes: 64}, {Function: f, Args: args}}, nil)
		require.NoError(t, err)
		require.Equal(t, 2, n)
		require.NoError(t, dev.Free(p))
		now, err := cu.CurrentContext()
		require.NoError(t, err)
		require.Equal(t, mine, now)
	}
}

func TestStandInContextOfAnotherGPU(t *testing.T) {
	needsStandIn(t)
	ctx, _ := contextOn(t, 1)
	defer destroy(t, ctx)
	_, err := gorgonia.WrapCUContext(ctx, 0)
	require.ErrorIs(t, err, device.ErrBadCall)
	require.ErrorContains(t, err, "the context is of device 1, not of device 0 as said")
	gone, gpu := contextOn(t, 1)
	copied := gone
	destroy(t, gone)
	_, err = gorgonia.WrapCUContext(copied, gpu)
	require.ErrorContains(t, err, "cuCtxPushCurrent", "destroyed behind our back")
}

func TestStandInFunctionOfAnotherDevice(t *testing.T) {
	needsStandIn(t)
	m, err := wrapped(t, 0).LoadModule(runtimetest.PTX)
	require.NoError(t, err)
	f, err := m.Function("copy")
	require.NoError(t, err)
	args := [][]byte{make([]byte, 8), make([]byte, 8), make([]byte, 4)}
	require.NoError(t, f.Launch(device.Launch{}, args, nil))
	_, err = device.Enqueue(wrapped(t, 0), []device.Command{{Function: f, Args: args}}, nil)
	require.ErrorIs(t, err, device.ErrBadCall)
	require.ErrorContains(t, err, "the function is of another device")
}

func TestStandInStreamOfEachThreadIsRefused(t *testing.T) {
	needsStandIn(t)
	dev := wrapped(t, 0)
	s := dev.WrapStream(2)
	require.ErrorIs(t, s.Synchronize(), device.ErrBadCall)
	require.ErrorContains(t, dev.Fill(0x1000, 0, 0, s), "CU_STREAM_PER_THREAD")
	require.NoError(t, dev.WrapStream(1).Synchronize(), "the legacy default stream by its name")
}

// Memory that the program has of cu is known by its GPU.
func TestStandInLocate(t *testing.T) {
	needsStandIn(t)
	devices := []device.Device{wrapped(t, 0), wrapped(t, 1)}
	for number := range devices {
		ctx, _ := contextOn(t, number)
		defer destroy(t, ctx)
		require.NoError(t, ctx.Lock())
		p, err := cu.MemAlloc(100)
		require.NoError(t, err)
		for _, asked := range devices {
			ordinal, known := asked.(device.Locator).Locate(device.Ptr(p) + 50)
			require.True(t, known)
			require.Equal(t, number, ordinal)
		}
		require.NoError(t, cu.MemFree(p))
		goruntime.UnlockOSThread()
	}
	_, known := devices[0].(device.Locator).Locate(0x1000)
	require.False(t, known)
}

// log is what the stand-in's compiler said of a module: nothing where it was not asked.
func log(t *testing.T, dev device.Device) string {
	t.Helper()
	m, err := dev.LoadModule([]byte(somePTX))
	require.NoError(t, err)
	require.NoError(t, m.Unload())
	return m.Log()
}

const somePTX = ".version 7.4\n.target sm_80\n"

// A module is compiled once for a kind of GPU, by whichever device, and again where its cubin is damaged.
func TestStandInModulesAreCompiledOnce(t *testing.T) {
	needsStandIn(t)
	dir := t.TempDir()
	t.Setenv(cache.FolderVariable, dir)
	dev := wrapped(t, 0)
	require.Equal(t, "compiled", log(t, dev))
	require.Empty(t, log(t, dev))
	require.Empty(t, log(t, wrapped(t, 0)))
	require.Equal(t, "compiled", log(t, wrapped(t, 1)), "another GPU")
	files, err := filepath.Glob(filepath.Join(dir, "cubin-*"))
	require.NoError(t, err)
	require.Len(t, files, 2)
	for _, f := range files {
		require.NoError(t, os.WriteFile(f, []byte("torn"), 0o600))
	}
	require.Equal(t, "compiled", log(t, dev))
	require.Empty(t, log(t, dev))
}

func TestStandInCompilerSaysWhatIsWrong(t *testing.T) {
	needsStandIn(t)
	_, err := wrapped(t, 0).LoadModule([]byte(".version 9.0\n.target sm_80\n"))
	require.ErrorIs(t, err, device.ErrUnsupported)
	require.ErrorContains(t, err, "cuLinkAddData")
	require.ErrorContains(t, err, "the driver is too old for this version of PTX: update it\nptxas fatal : Unsupported .version 9.0")
}

// attention compiles Vertical-Slash for a device, and returns its target and a run of it on memory and a stream of the program.
func attention(t *testing.T, dev device.Device) (target string, run func() error) {
	att, err := minfc.NewAttention(dev, minfc.Spec{Pattern: "vertical_slash", Params: map[string]int64{"vertical": 64, "slash": 128}},
		minfc.Heads{Q: 4, KV: 2, Dim: 64, DType: abi.BF16})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, att.Close()) })
	call, err := att.Prepare(minfc.Shape{Batch: 1, SeqQ: 512, SeqK: 512, NoFallback: true})
	require.NoError(t, err)
	at := minfc.Pointers{WorkspaceBytes: call.Workspace()}
	for p, bytes := range map[*device.Ptr]int64{&at.Q: 4 << 16, &at.K: 2 << 16, &at.V: 2 << 16, &at.O: 4 << 16, &at.Workspace: call.Workspace()} {
		*p, err = dev.Alloc(bytes)
		require.NoError(t, err)
	}
	return att.Loaded().Build().Target, func() error { return call.Run(dev.WrapStream(7), at) }
}

// A run takes all of the road up to the launches, tensor maps included.
func TestStandInAttention(t *testing.T) {
	needsStandIn(t)
	for number, want := range []string{"sm_90a", "sm_80"} {
		target, run := attention(t, wrapped(t, number))
		require.Equal(t, want, target)
		require.NoError(t, run())
	}
}

// For a driver that lacks tensor maps the kernels are taken that need none.
func TestStandInOldDriver(t *testing.T) {
	needsStandIn(t)
	dev := wrapped(t, 0)
	require.True(t, dev.Info().NoTensorMaps)
	_, err := dev.(device.TensorMapper).EncodeTensorMap(
		device.TensorMap{DType: "bf16", Base: 0x1000, Dims: []uint64{64, 8}, Strides: []uint64{128}, Box: []uint32{64, 8}})
	require.ErrorIs(t, err, device.ErrUnsupported)
	require.ErrorContains(t, err, "the NVIDIA driver (CUDA 11.8) cannot make tensor maps")
	target, run := attention(t, dev)
	require.Equal(t, "sm_80", target)
	require.NoError(t, run())
}

func TestStandInFailedLaunch(t *testing.T) {
	needsStandIn(t)
	_, run := attention(t, wrapped(t, 0))
	err := run()
	require.ErrorContains(t, err, "cuLaunchKernel")
	require.ErrorContains(t, err, "launch of")
	var failed *gorgonia.Error
	require.ErrorAs(t, err, &failed)
	require.Equal(t, 700, failed.Code)
}
