package plan_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/compile"
	"github.com/minfc/minfc/internal/workload"
	"github.com/minfc/minfc/plan"
	"github.com/minfc/minfc/runtime"
	"github.com/minfc/minfc/runtime/artifact"
	_ "github.com/minfc/minfc/runtime/cuda"
	"github.com/minfc/minfc/runtime/device"
	"github.com/minfc/minfc/runtime/device/devicetest"
)

// apart runs a layer in two ways over the same tensors: all heads in one launch, and a launch for each part by a kernel of its own.
type apart struct {
	dev     device.Device
	layer   *plan.LoadedLayer
	shape   runtime.Shape
	kernels []*runtime.Loaded  // of each part
	one     runtime.Pointers   // of all heads in one launch
	several []runtime.Pointers // of each part, with one output
}

func newApart(t testing.TB, dev device.Device, target string, s workload.Spec, entries []string) *apart {
	heads := layer(t, entries...)
	opts := compile.Options{Target: target, DType: s.DType, HeadDim: s.HeadDim}
	alone := map[string]*runtime.Loaded{}
	for _, h := range heads {
		if alone[h.Pattern.Name] != nil {
			continue
		}
		p, err := compile.LoadLibrary(h.Pattern.Name)
		require.NoError(t, err)
		a, err := p.Compile(opts, nil)
		require.NoError(t, err)
		k, err := runtime.Load(dev, a, artifact.Select{})
		require.NoError(t, err)
		t.Cleanup(func() { k.Close() })
		alone[h.Pattern.Name] = k
	}
	a, err := compile.Plan([][]plan.Head{heads}, nil, opts, nil)
	require.NoError(t, err)
	kernels, err := plan.Load(dev, a, artifact.Select{})
	require.NoError(t, err)
	t.Cleanup(func() { kernels.Close() })
	out := &apart{dev: dev, shape: shapeOf(s)}
	out.layer, err = kernels.Bind(heads)
	require.NoError(t, err)
	out.place(t, s, alone)
	return out
}

func shapeOf(s workload.Spec) runtime.Shape {
	return runtime.Shape{Batch: 1, QHeads: s.QHeads, KVHeads: s.KVHeads, SeqQ: s.SeqLen, SeqK: s.SeqLen, NoFallback: true}
}

// place makes the tensors, and an output and a workspace for either way.
func (x *apart) place(t testing.TB, s workload.Spec, alone map[string]*runtime.Loaded) {
	in, err := workload.OnDevice(x.dev, s, nil)
	require.NoError(t, err)
	t.Cleanup(func() { in.Close() })
	alloc := func(bytes int64) device.Ptr {
		p, err := x.dev.Alloc(max(bytes, 256))
		require.NoError(t, err)
		t.Cleanup(func() { x.dev.Free(p) })
		return p
	}
	at := func(p *runtime.Prepared, out device.Ptr) runtime.Pointers {
		return runtime.Pointers{Q: in.Q, K: in.K, V: in.V, O: out, Workspace: alloc(p.Workspace()), WorkspaceBytes: p.Workspace()}
	}
	p, err := x.layer.Prepare(x.shape)
	require.NoError(t, err)
	x.one = at(p, alloc(outputBytes(s)))
	out := alloc(outputBytes(s))
	for i, part := range x.layer.Parts() {
		x.kernels = append(x.kernels, alone[x.layer.Pattern(part.Heads[0]).Name()])
		p, err := x.preparePart(i)
		require.NoError(t, err)
		x.several = append(x.several, at(p, out))
	}
}

func outputBytes(s workload.Spec) int64 {
	return 2 * int64(s.QHeads) * int64(s.SeqLen) * int64(s.HeadDim)
}

// preparePart prepares a part of the layer for the kernel of its pattern alone.
func (x *apart) preparePart(i int) (*runtime.Prepared, error) {
	part := x.layer.Parts()[i]
	part.Pattern = 0
	return x.kernels[i].Prepare(x.shape, part)
}

func (x *apart) launchOne() error {
	p, err := x.layer.Prepare(x.shape)
	if err != nil {
		return err
	}
	return p.Run(nil, x.one)
}

func (x *apart) launchApart() error {
	for i := range x.kernels {
		p, err := x.preparePart(i)
		if err != nil {
			return err
		}
		if err := p.Run(nil, x.several[i]); err != nil {
			return err
		}
	}
	return nil
}

// differing is the share of the outputs that are not the same both ways.
func (x *apart) differing(t testing.TB, s workload.Spec) float64 {
	const most = 1 << 28 // bytes at a time: the output of a million tokens has gigabytes
	differ, all := 0, outputBytes(s)
	for at := int64(0); at < all; at += most {
		var parts [2][]byte
		for i, p := range []device.Ptr{x.one.O, x.several[0].O} {
			parts[i] = make([]byte, min(most, all-at))
			require.NoError(t, x.dev.CopyToHost(parts[i], p+device.Ptr(at), nil))
		}
		for i := 0; i < len(parts[0]); i += 2 {
			if parts[0][i] != parts[1][i] || parts[0][i+1] != parts[1][i+1] {
				differ++
			}
		}
	}
	return float64(differ) / float64(all/2)
}

// poison fills the outputs, each with another value: what neither way writes differs.
func (x *apart) poison(t testing.TB, s workload.Spec) {
	for i, p := range []device.Ptr{x.one.O, x.several[0].O} {
		require.NoError(t, x.dev.Fill(p, 0xfe+byte(i), outputBytes(s), nil))
	}
}

// realHeads are 32 heads as plans of models have them: most with budgets of their own, some with lists of blocks or a window.
func realHeads() (out []string) {
	budgets := [][2]int{{1000, 6096}, {3500, 100}, {500, 700}, {30, 800}}
	for h := range 32 {
		switch {
		case h%8 == 3 || h%8 == 6:
			out = append(out, entry("block_sparse", "topk", 100))
		case h%16 == 5:
			out = append(out, entry("a_shape", "sink", 128, "window", 4096))
		case h == 10 || h == 30:
			out = append(out, entry("a_shape", "sink", 128, "window", 1024))
		case h == 31:
			out = append(out, entry("dense"))
		default:
			b := budgets[h%4]
			out = append(out, entry("vertical_slash", "vertical", b[0], "slash", b[1]))
		}
	}
	return out
}

// On targets whose tiles are the same in a group, one launch computes what several do, bit by bit.
func TestOneLaunchComputesWhatSeveralDo(t *testing.T) {
	s := workload.Spec{Kind: workload.Mixed, Batch: 1, QHeads: 8, KVHeads: 2, SeqLen: 200, HeadDim: 64, Seed: 3, DType: abi.BF16}
	x := newApart(t, emulator(t), "sm_90a", s, interleaved)
	for _, fallback := range []bool{false, true} {
		x.setFallback(fallback)
		x.poison(t, s)
		require.NoError(t, x.launchOne())
		require.NoError(t, x.launchApart())
		require.Zero(t, x.differing(t, s), "fallback: %v", fallback)
	}
}

// A million tokens, 32 heads on 8 kv heads: one launch, with less than a gigabyte beside the tensors.
func TestLayerOfAMillionTokens(t *testing.T) {
	dev := devicetest.GPU(t)
	const target = "sm_90a"
	if info := dev.Info(); !device.TargetRuns(target, info.Major, info.Minor) {
		t.Skipf("%s does not run %s code, the one whose outputs are the same both ways", info.Name, target)
	}
	s := workload.Spec{Kind: workload.Mixed, Batch: 1, QHeads: 32, KVHeads: 8, SeqLen: 1 << 20, HeadDim: 128, Seed: 3, DType: abi.BF16}
	x := newApart(t, dev, target, s, realHeads())
	require.Less(t, x.one.WorkspaceBytes, int64(1e9))
	p, err := x.layer.Prepare(x.shape)
	require.NoError(t, err)
	require.Equal(t, 1, p.Launches())
	x.poison(t, s)
	ms := timed(t, dev, x.launchOne, 1)
	require.NoError(t, x.launchApart())
	require.Zero(t, x.differing(t, s))
	t.Logf("%.0f ms, %.0f MB of workspace", ms, float64(x.one.WorkspaceBytes)/1e6)
}

// BenchmarkLayer times both ways on a GPU, sparse throughout and with the fallback, beside dense attention of all heads by a kernel
// alone: go test ./plan -run '^$' -bench Layer -benchtime 20x makes 20 rounds, each in random order.
func BenchmarkLayer(b *testing.B) {
	dev := devicetest.GPU(b)
	for _, target := range compile.Targets() {
		for _, length := range []int{2 << 10, 8 << 10, 16 << 10, 32 << 10, 128 << 10} {
			s := workload.Spec{Kind: workload.Mixed, Batch: 1, QHeads: 32, KVHeads: 8, SeqLen: length, HeadDim: 128, Seed: 3, DType: abi.BF16}
			b.Run(fmt.Sprintf("%s/%dk", target, length>>10), func(b *testing.B) { benchLayer(b, dev, target, s) })
		}
	}
}

func benchLayer(b *testing.B, dev device.Device, target string, s workload.Spec) {
	x := newApart(b, dev, target, s, realHeads())
	dense := x.dense(b, target, s)
	ways := []struct {
		name     string
		fallback bool
		launch   func() error
		calls    int // a turn
		ms       []float64
	}{
		{name: "one-ms", launch: x.launchOne}, {name: "apart-ms", launch: x.launchApart},
		{name: "one-fallback-ms", fallback: true, launch: x.launchOne}, {name: "apart-fallback-ms", fallback: true, launch: x.launchApart},
		{name: "dense-ms", launch: dense},
	}
	rng := rand.New(rand.NewPCG(1, 1))
	for n := range b.N + 1 {
		for _, i := range rng.Perm(len(ways)) {
			w := &ways[i]
			x.setFallback(w.fallback)
			ms := timed(b, dev, w.launch, 1) // lets the clocks settle on these kernels
			if n == 0 {
				w.calls = max(1, min(100, int(20/ms)))
				continue
			}
			w.ms = append(w.ms, timed(b, dev, w.launch, w.calls))
		}
	}
	for _, w := range ways {
		slices.Sort(w.ms)
		b.ReportMetric(w.ms[len(w.ms)/2], w.name)
	}
	x.setFallback(false)
	x.poison(b, s)
	require.NoError(b, errors.Join(x.launchOne(), x.launchApart()))
	b.ReportMetric(x.differing(b, s), "differing/output")
}

// dense is a launch of causal attention over all heads, by a kernel alone, into the output of several.
func (x *apart) dense(t testing.TB, target string, s workload.Spec) func() error {
	p, err := compile.LoadLibrary("dense")
	require.NoError(t, err)
	art, err := p.Compile(compile.Options{Target: target, DType: s.DType, HeadDim: s.HeadDim}, nil)
	require.NoError(t, err)
	k, err := runtime.Load(x.dev, art, artifact.Select{})
	require.NoError(t, err)
	t.Cleanup(func() { k.Close() })
	call, err := k.Prepare(x.shape)
	require.NoError(t, err)
	return func() error { return call.Run(nil, x.several[0]) }
}

func (x *apart) setFallback(on bool) {
	x.shape.NoFallback = !on
}

// timed is the time of a call, in milliseconds, from several in a row.
func timed(b testing.TB, dev device.Device, launch func() error, calls int) float64 {
	start, err := dev.NewEvent()
	require.NoError(b, err)
	end, err := dev.NewEvent()
	require.NoError(b, err)
	require.NoError(b, start.Record(nil))
	for range calls {
		require.NoError(b, launch())
	}
	require.NoError(b, end.Record(nil))
	ms, err := end.Since(start)
	require.NoError(b, err)
	require.NoError(b, errors.Join(start.Close(), end.Close()))
	return ms / float64(calls)
}
