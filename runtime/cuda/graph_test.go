//go:build linux && (amd64 || arm64)

package cuda

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"unsafe"

	"github.com/ebitengine/purego"
	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/compile"
	"github.com/minfc/minfc/half"
	"github.com/minfc/minfc/plan"
	"github.com/minfc/minfc/runtime"
	"github.com/minfc/minfc/runtime/artifact"
	"github.com/minfc/minfc/runtime/device"
)

// graphs are the driver's functions that capture streams; the package itself has no use for them.
type graphs struct {
	t   *testing.T
	dev *gpu
	lib uintptr
}

func (g graphs) call(name string, args ...uintptr) {
	f, err := purego.Dlsym(g.lib, name)
	require.NoError(g.t, err)
	require.NoError(g.t, g.dev.do(func() error {
		if r, _, _ := purego.SyscallN(f, args...); int32(r) != 0 {
			return fmt.Errorf("%s: CUDA error %d", name, int32(r))
		}
		return nil
	}))
}

// captured is the executable graph of what f puts on the stream.
func (g graphs) captured(s device.Stream, f func()) (exec uintptr) {
	const relaxed = 2 // begin and end need not be on one thread
	var graph uintptr
	g.call("cuStreamBeginCapture_v2", s.Handle(), relaxed)
	f()
	g.call("cuStreamEndCapture", s.Handle(), uintptr(unsafe.Pointer(&graph)))
	g.call("cuGraphInstantiateWithFlags", uintptr(unsafe.Pointer(&exec)), graph, 0)
	return exec
}

// TestLaunchesCanBeCaptured: index stage, fallback's decision and attention in a CUDA graph, which then serves other data: nothing
// in a launch waits for the device or copies from the host.
func TestLaunchesCanBeCaptured(t *testing.T) {
	opened, err := device.Open("cuda", 0)
	if errors.Is(err, device.ErrNoDevice) {
		t.Skip("no GPU here: CI has none, docs/measuring.md says how to run this on one")
	}
	require.NoError(t, err)
	lib, err := purego.Dlopen(libraryName, purego.RTLD_NOW|purego.RTLD_GLOBAL)
	require.NoError(t, err)
	dev := opened.(*gpu)
	for _, target := range []string{"sm_80", "sm_90a"} {
		if !device.TargetRuns(target, dev.info.Major, dev.info.Minor) {
			continue
		}
		for name, load := range map[string]func(*testing.T, device.Device, string) preparer{
			"vertical_slash": loadPattern("vertical_slash"), "block_sparse": loadPattern("block_sparse"), "plan": loadPlan,
		} {
			for _, sparse := range []bool{true, false} {
				t.Run(fmt.Sprintf("%s/%s/sparse_%v", target, name, sparse), func(t *testing.T) {
					captureAndReplay(t, graphs{t, dev, lib}, load(t, dev, target), sparse)
				})
			}
		}
	}
	require.NoError(t, dev.Close())
}

const capturedDim = 64

// preparer prepares the calls of an artifact.
type preparer func(runtime.Shape) (*runtime.Prepared, error)

func loadPattern(name string) func(*testing.T, device.Device, string) preparer {
	return func(t *testing.T, dev device.Device, target string) preparer {
		program, err := compile.LoadLibrary(name)
		require.NoError(t, err)
		compiled, err := program.Compile(compile.Options{Target: target, DType: "bf16", HeadDim: capturedDim}, nil)
		require.NoError(t, err)
		l, err := runtime.Load(dev, compiled, artifact.Select{Target: target})
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, l.Close()) })
		return func(s runtime.Shape) (*runtime.Prepared, error) { return l.Prepare(s) }
	}
}

// loadPlan gives each head a pattern of its own.
func loadPlan(t *testing.T, dev device.Device, target string) preparer {
	p, err := plan.Read("plan.json", []byte(`{"schema": 1, "layers": [{"0": {"pattern": "a_shape", "params": {"window": 200}},
		"1": {"pattern": "block_sparse", "params": {"topk": 3}}, "2": {"pattern": "vertical_slash", "params": {"vertical": 30, "slash": 90}}, "3": {"pattern": "dense"}}]}`), nil)
	require.NoError(t, err)
	heads, _, err := p.Assign(0, 4)
	require.NoError(t, err)
	compiled, err := compile.Plan([][]plan.Head{heads}, nil, compile.Options{Target: target, DType: "bf16", HeadDim: capturedDim}, nil)
	require.NoError(t, err)
	k, err := plan.Load(dev, compiled, artifact.Select{Target: target})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, k.Close()) })
	l, err := k.Bind(heads)
	require.NoError(t, err)
	return l.Prepare
}

// fill writes n random numbers.
func (g graphs) fill(t *testing.T, to device.Ptr, rng *rand.Rand, n int) {
	values := make([]float32, n)
	for i := range values {
		values[i] = float32(rng.NormFloat64())
	}
	data, err := half.Encode(abi.BF16, values)
	require.NoError(t, err)
	require.NoError(t, g.dev.CopyToDevice(to, data, nil))
}

func captureAndReplay(t *testing.T, g graphs, prepare preparer, sparse bool) {
	const d, n, heads, kv = capturedDim, 1500, 4, 2
	s, err := g.dev.NewStream()
	require.NoError(t, err)
	alloc := func(bytes int64) device.Ptr {
		p, err := g.dev.Alloc(bytes)
		require.NoError(t, err)
		t.Cleanup(func() { _ = g.dev.Free(p) })
		return p
	}
	call, err := prepare(runtime.Shape{Batch: 1, QHeads: heads, KVHeads: kv, SeqQ: n, SeqK: n, NoFallback: sparse})
	require.NoError(t, err)
	at := runtime.Pointers{Q: alloc(2 * heads * n * d), K: alloc(2 * kv * n * d), V: alloc(2 * kv * n * d), O: alloc(2 * heads * n * d), LSE: alloc(4 * heads * n),
		Workspace: alloc(max(call.Workspace(), 256)), WorkspaceBytes: call.Workspace()}
	fill := func(seed uint64) {
		rng := rand.New(rand.NewPCG(seed, 1))
		for i, p := range []device.Ptr{at.Q, at.K, at.V} {
			g.fill(t, p, rng, []int{heads, kv, kv}[i]*n*d)
		}
	}
	result := func(launch func()) []uint32 {
		require.NoError(t, g.dev.Fill(at.O, 0xff, 2*heads*n*d, nil))
		require.NoError(t, g.dev.Synchronize())
		launch()
		require.NoError(t, s.Synchronize())
		raw := make([]byte, 2*heads*n*d)
		require.NoError(t, g.dev.CopyToHost(raw, at.O, nil))
		out := make([]uint32, len(raw)/4)
		_, err := binary.Decode(raw, binary.LittleEndian, out)
		require.NoError(t, err)
		return out
	}
	direct := func() { require.NoError(t, call.Run(s, at)) }
	fill(1)
	first := result(direct)
	exec := g.captured(s, direct)
	replay := func() { g.call("cuGraphLaunch", exec, s.Handle()) }
	require.Equal(t, first, result(replay), "the same data")
	fill(2)
	second := result(replay)
	require.Equal(t, result(direct), second, "other data")
	require.NotEqual(t, first, second)
	require.NoError(t, s.Close())
}
