package plan_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/compile"
	"github.com/minfc/minfc/internal/workload"
	"github.com/minfc/minfc/runtime"
	"github.com/minfc/minfc/runtime/artifact"
	"github.com/minfc/minfc/runtime/device"
	"github.com/minfc/minfc/runtime/device/devicetest"
)

// BenchmarkHostTime says what calls cost the host on a GPU: the median and the 99th percentile of Run, what Prepare takes for a shape that
// is new, and the load of an artifact that is in no cache (CUDA_CACHE_DISABLE=1 MINFC_CACHE=off).
// go test ./plan -run '^$' -bench HostTime -benchtime 2000x
func BenchmarkHostTime(b *testing.B) {
	dev := devicetest.GPU(b)
	target, _, err := compile.TargetOn(dev.Info())
	require.NoError(b, err)
	for _, name := range []string{"dense", "a_shape", "vertical_slash", "block_sparse"} {
		b.Run(name, func(b *testing.B) {
			p, err := compile.LoadLibrary(name)
			require.NoError(b, err)
			a, err := p.Compile(compile.Options{Target: target, DType: "bf16", HeadDim: 128}, nil)
			require.NoError(b, err)
			start := time.Now()
			l, err := runtime.Load(dev, a, artifact.Select{})
			require.NoError(b, err)
			b.ReportMetric(milliseconds(time.Since(start)), "load-ms")
			defer l.Close()
			s := workload.Spec{Kind: workload.Mixed, Batch: 1, QHeads: 32, KVHeads: 8, SeqLen: 256, HeadDim: 128, Seed: 3, DType: abi.BF16}
			benchRun(b, dev, s, func(shape runtime.Shape) (*runtime.Prepared, error) { return l.Prepare(shape) })
		})
	}
	for _, length := range []int{8 << 10, 32 << 10, 1 << 20} {
		b.Run(fmt.Sprintf("layer/%dk", length>>10), func(b *testing.B) {
			s := workload.Spec{Kind: workload.Mixed, Batch: 1, QHeads: 32, KVHeads: 8, SeqLen: length, HeadDim: 128, Seed: 3, DType: abi.BF16}
			start := time.Now()
			x := newApart(b, dev, target, s, realHeads())
			b.ReportMetric(milliseconds(time.Since(start)), "all-loads-ms")
			benchRun(b, dev, s, x.layer.Prepare)
		})
	}
}

func milliseconds(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e6 }
func microseconds(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e3 }

// benchRun times Run, some calls between waits for the device, so that its queue is never full.
func benchRun(b *testing.B, dev device.Device, s workload.Spec, prepare func(runtime.Shape) (*runtime.Prepared, error)) {
	in, err := workload.OnDevice(dev, s, nil)
	require.NoError(b, err)
	defer in.Close()
	start := time.Now()
	p, err := prepare(shapeOf(s))
	require.NoError(b, err)
	b.ReportMetric(microseconds(time.Since(start)), "prepare-us")
	out, err := dev.Alloc(outputBytes(s))
	require.NoError(b, err)
	defer dev.Free(out)
	at := runtime.Pointers{Q: in.Q, K: in.K, V: in.V, O: out, WorkspaceBytes: p.Workspace()}
	if at.WorkspaceBytes > 0 {
		at.Workspace, err = dev.Alloc(at.WorkspaceBytes)
		require.NoError(b, err)
		defer dev.Free(at.Workspace)
	}
	const between = 8
	var took []time.Duration
	rounds := min(b.N, 2000)
	if s.SeqLen > 100_000 {
		rounds = min(rounds, 8)
	}
	for n := range rounds {
		start := time.Now()
		err := p.Run(nil, at)
		took = append(took, time.Since(start))
		require.NoError(b, err)
		if n%between == between-1 {
			require.NoError(b, dev.Synchronize())
		}
	}
	allocs := testing.AllocsPerRun(20, func() {
		if err := p.Run(nil, at); err != nil {
			b.Error(err)
		}
	})
	require.NoError(b, dev.Synchronize())
	slices.Sort(took)
	b.ReportMetric(microseconds(took[len(took)/2]), "median-us")
	b.ReportMetric(microseconds(took[len(took)*99/100]), "p99-us")
	b.ReportMetric(allocs, "allocs/run")
	b.ReportMetric(float64(p.Commands()), "commands")
}
