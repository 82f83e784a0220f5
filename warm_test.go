package minfc_test

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc"
	"github.com/minfc/minfc/plan"
	_ "github.com/minfc/minfc/runtime/cuda"
	"github.com/minfc/minfc/runtime/device"
	"github.com/minfc/minfc/runtime/device/devicetest"
	"github.com/minfc/minfc/runtime/emu"
)

// fourPatterns is a layer of a model with four kinds of heads.
func fourPatterns(t testing.TB) minfc.Spec {
	library, err := plan.Library()
	require.NoError(t, err)
	layer := plan.Layer{}
	for i, name := range []string{"dense", "a_shape", "vertical_slash", "block_sparse"} {
		layer[i] = plan.Head{Pattern: library[name]}
	}
	return minfc.Spec{Plan: &plan.Plan{Layers: []plan.Layer{layer}}}
}

var fourHeads = minfc.Heads{Q: 4, KV: 1, Dim: 128, DType: "bf16"}

// gpuOrNone is the first GPU, or one like an H200 that does nothing.
func gpuOrNone(b *testing.B) device.Device {
	dev, err := device.Open("cuda", 0)
	if err == nil {
		return dev
	}
	if !errors.Is(err, device.ErrNoDevice) {
		b.Fatal(err)
	}
	return newHopper()
}

// hopper is a device like an H200 that takes modules and does nothing with them.
type hopper struct{ *devicetest.Fake }

func newHopper() hopper {
	fake := devicetest.New()
	fake.Is.Name, fake.Is.Major, fake.Is.MaxSharedBytes = "a fake H200", 9, 227<<10
	fake.Entry.MaxThreads = 1024
	return hopper{fake}
}

func (hopper) EncodeTensorMap(m device.TensorMap) ([]byte, error) { return emu.EncodeTensorMap(m) }

// BenchmarkWarmStart is what a program waits for its attention, a plan of four patterns, when another one has started before: the code is in
// the cache. cold-ms is the first start, with an empty cache. CUDA_CACHE_DISABLE=1 leaves the driver's own cache out.
// go test . -run '^$' -bench WarmStart -benchtime 10x
func BenchmarkWarmStart(b *testing.B) {
	b.Setenv("MINFC_CACHE", b.TempDir())
	dev := gpuOrNone(b)
	defer dev.Close()
	spec := fourPatterns(b)
	start := func() time.Duration {
		begin := time.Now()
		a, err := minfc.NewAttention(dev, spec, fourHeads)
		took := time.Since(begin)
		require.NoError(b, err)
		require.NoError(b, a.Close())
		return took
	}
	cold := start()
	for b.Loop() {
		start()
	}
	b.ReportMetric(float64(cold.Microseconds())/1e3, "cold-ms")
	b.Logf("on %s", dev.Info().Name)
}
