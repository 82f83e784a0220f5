package runtime_test

import (
	"fmt"
	"math"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/compile"
	"github.com/minfc/minfc/internal/campaign"
	"github.com/minfc/minfc/internal/qkv"
	"github.com/minfc/minfc/internal/selfcheck"
	"github.com/minfc/minfc/ir"
	"github.com/minfc/minfc/patterns"
	"github.com/minfc/minfc/runtime"
	"github.com/minfc/minfc/runtime/artifact"
	"github.com/minfc/minfc/runtime/device"
	"github.com/minfc/minfc/runtime/emu"
)

// weighed is a pattern on the emulator whose heads have budgets of their own.
type weighed struct {
	program *compile.Program
	kernel  *runtime.Loaded
	dev     device.Device
	in      *qkv.Input
	budgets map[string][]int64

	attention *[]int64         // instructions of the attention kernels that ran
	stages    map[string]int64 // and of all kernels, by name
}

const manyLists = `
pattern cut(a = 7, b = 9) {
  index trace = sum(softmax(q[-64:] * k), diagonals)
  index near = top(a, trace) with last 1
  index far = top(b, trace)
  keep causal & (diagonals(near) & window(150) | diagonals(far) \ window(150))
}
pattern pools(a = 2, b = 1) {
  index best = top(a, max(q, 64) * mean(k, 64)) with first 1 with last 1
  index other = top(b, mean(q, 64) * max(k, 64)) with last 2
  keep causal & (blocks(best) & window(128) | blocks(other) \ window(128))
}
pattern spread(share = 600, step = 7) {
  index probe = softmax(q[::step] * k)
  index cols = top_p(share, sum(probe, queries))
  index diags = above(share, sum(probe, diagonals))
  keep causal & (columns(cols) | diagonals(diags))
}
pattern enough(least = 60) {
  index probe = softmax(q[-64:] * k)
  index cols = near_max(0.9, sum(probe, queries)) with least least
  index diags = near_max(0.9, sum(probe, diagonals)) with first 1 with least 30 with most 500
  keep causal & (columns(cols) | diagonals(diags))
}
pattern shares(share = 700) {
  index squares = softmax(mean(q * k, antidiagonals(8)))
  index main = top_p(share, sum(squares, blocks)) with last 1
  index large = above(0.1, softmax(mean(q, 64) * max(k, 64)))
  keep causal & (blocks(main) & window(64) | blocks(large) \ window(64))
}
`

// mixedBudgets make some heads cheap and some dear.
var mixedBudgets = map[string]map[string][]int64{
	"vertical_slash": {"vertical": {30, 400, 200, 600}, "slash": {100, 110, 500, 600}},
	"block_sparse":   {"topk": {1, 12, 2, 6}},
	"columns_window": {"vertical": {30, 600, 90, 300}},
	"cut":            {"a": {1, 150, 3, 100}, "b": {1, 600, 5, 500}},
	"pools":          {"a": {2, 2, 2, 2}, "b": {2, 12, 3, 9}},
	"spread":         {"share": {100, 900, 500, 700}},
	"shares":         {"share": {100, 900, 500, 700}},
	"enough":         {"least": {0, 400, 50, 600}},
}

// weighedArtifacts are what newWeighed compiled, which tests share and nobody may change.
var weighedArtifacts sync.Map

func newWeighed(t *testing.T, name, target string, shape qkv.Shape) *weighed {
	var attention []int64
	stages := map[string]int64{}
	dev, err := emu.Open(emu.Options{Observe: func(s emu.Stats) {
		stages[s.Kernel] += s.Instructions
		if s.Kernel == "attention" {
			attention = append(attention, s.Instructions)
		}
	}})
	require.NoError(t, err)
	t.Cleanup(func() { dev.Close() })
	file, src, library := patterns.Source(name)
	if !library {
		file, src = "many.minf", []byte(manyLists)
	}
	w := &weighed{dev: dev, budgets: mixedBudgets[name], attention: &attention, stages: stages}
	w.program, err = compile.Load(file, src, name, nil)
	require.NoError(t, err)
	once, _ := weighedArtifacts.LoadOrStore(fmt.Sprint(name, target, shape.HeadDim), sync.OnceValues(func() (*artifact.Artifact, error) {
		return w.program.Compile(compile.Options{Target: target, DType: "bf16", HeadDim: shape.HeadDim}, &compile.Observer{Verify: true})
	}))
	a, err := once.(func() (*artifact.Artifact, error))()
	require.NoError(t, err)
	w.kernel, err = runtime.Load(dev, a, artifact.Select{})
	require.NoError(t, err)
	t.Cleanup(func() { w.kernel.Close() })
	w.in, err = qkv.Generate(shape, abi.BF16, 5)
	require.NoError(t, err)
	return w
}

// params are the parameters that are the same for all heads: a window that leaves something to choose.
func (w *weighed) params() map[string]int64 {
	if w.program.Pattern.Name == "columns_window" {
		return map[string]int64{"window": 70}
	}
	return nil
}

func (w *weighed) run(t *testing.T, change func(h *runtime.HostCall)) runtime.HostResult {
	h := w.in.Call()
	h.Parts, h.Chosen = []runtime.Part{w.part()}, true
	if change != nil {
		change(&h)
	}
	res, err := w.kernel.RunHost(t.Context(), h)
	require.NoError(t, err)
	return res
}

// part is all heads, with their budgets.
func (w *weighed) part() runtime.Part { return runtime.Part{Params: w.params(), HeadParams: w.budgets} }

func (w *weighed) call() runtime.Call { return runtime.Call{Shape: w.in.CallShape(), Part: w.part()} }

func (w *weighed) values(t *testing.T, head int) map[string]int64 {
	given := map[string]int64{}
	for name, v := range w.params() {
		given[name] = v
	}
	for name, v := range w.budgets {
		given[name] = v[head]
	}
	values, err := ir.CheckLaunch(w.program.Pattern.Params, w.program.Pattern.Requires, given)
	require.NoError(t, err)
	return values
}

// check holds the output of every head against float64 attention over what the head reports to keep, and that against the
// meaning of the pattern.
func (w *weighed) check(t *testing.T, res runtime.HostResult) {
	in := w.in
	output := selfcheck.Case{In: in, Scale: 1 / math.Sqrt(float64(in.HeadDim)), O: res.O, LSE: res.LSE}
	call, err := w.kernel.Make(w.call())
	require.NoError(t, err)
	for h, chosen := range res.Chosen {
		values := w.values(t, h%in.QHeads)
		means, err := w.program.Pattern.CoverWith(values, chosen.Kept)
		if chosen.Dense {
			means, err = w.program.Pattern.Widest().Keeps(values)
		}
		require.NoError(t, err)
		cover, err := call.Cover(h, &chosen, nil)
		require.NoError(t, err)
		for i := range in.SeqQ {
			for k, q := 0, in.QOffset+i; k < in.SeqK; k++ {
				if means(q, k) != (cover[i*in.SeqK+k] == 1) {
					t.Fatalf("head %d (dense: %v), query at %d, key %d: kept %d", h, chosen.Dense, q, k, cover[i*in.SeqK+k])
				}
			}
		}
		output.Keeps = append(output.Keeps, means)
	}
	report, err := selfcheck.Compare(output)
	require.NoError(t, err)
	require.True(t, report.OK(), "%s", report)
}

// nanos evaluates the prices on what the kernel walks for a head's lists.
func (w *weighed) nanos(t *testing.T, chosen runtime.Chosen, slot, column, row float64) float64 {
	s := w.kernel.Patterns()[0].Schedule()
	values := w.values(t, 0)
	l, err := s.Bind(values)
	require.NoError(t, err)
	shape, sum := ir.Shape{Sq: w.in.SeqQ, Sk: w.in.SeqK, QOffset: w.in.QOffset}, 0.0
	for n := range (w.in.SeqQ + 63) / 64 {
		sum += row
		slots, err := l.Slots(chosen.Kept, shape, n)
		require.NoError(t, err)
		for _, x := range slots {
			if x.Source == ir.SourceColumns {
				sum += column
			} else {
				sum += slot
			}
		}
	}
	return sum
}

// TestHeadsAreRoutedByTheirLists: the device decides head by head what the prices say of the lists that it reports, and every
// head's output is attention over what the head reports to keep.
func TestHeadsAreRoutedByTheirLists(t *testing.T) {
	shapes := []qkv.Shape{{Batch: 1, QHeads: 4, KVHeads: 1, SeqQ: 300, SeqK: 800, QOffset: 500, HeadDim: 32}, {Batch: 2, QHeads: 4, KVHeads: 2, SeqQ: 700, SeqK: 700, HeadDim: 64}}
	for i, name := range []string{"vertical_slash", "block_sparse", "columns_window", "cut", "pools"}[:campaign.Few(2, 5)] {
		for _, shape := range shapes[:campaign.Cases(1, 1+i%2, 2)] { // the large one for every second pattern
			for n, target := range compile.Targets() {
				if (i+n)%campaign.Few(2, 1) != 0 { // with -short targets take turns
					continue
				}
				t.Run(fmt.Sprint(name, shape.SeqQ, target), func(t *testing.T) {
					testRouted(t, newWeighed(t, name, target, shape))
				})
			}
		}
	}
}

func testRouted(t *testing.T, w *weighed) {
	const slot, column, row = 440, 530, 620
	w.kernel.Patterns()[0].PriceLists(slot, column, row)
	res := w.run(t, nil)
	routes := map[bool]int{}
	for h, c := range res.Chosen {
		routes[c.Dense]++
		require.NotZero(t, c.DenseMS)
		require.Equal(t, !(c.SparseMS < 0.95*c.DenseMS), c.Dense, "head %d: %v against %v", h, c.SparseMS, c.DenseMS)
		want := w.nanos(t, c, slot, column, row) * 1e-6
		if w.program.Pattern.Name == "cut" { // kernels walk tiles above a window's end, too
			require.GreaterOrEqual(t, c.SparseMS, want*0.999999)
		} else {
			require.InEpsilon(t, want, c.SparseMS, 1e-6, "head %d", h)
		}
	}
	require.Len(t, routes, 2, "heads of both kinds: %v", routes)
	w.check(t, res)
}

// TestKernelsLeaveHeadsToEachOther: neither kernel works on the other's heads.
func TestKernelsLeaveHeadsToEachOther(t *testing.T) {
	for _, target := range compile.Targets()[:campaign.Few(1, 2)] {
		w := newWeighed(t, "vertical_slash", target, qkv.Shape{Batch: 1, QHeads: 4, KVHeads: 2, SeqQ: 300, SeqK: 800, QOffset: 500, HeadDim: 32})
		w.run(t, func(h *runtime.HostCall) { h.NoFallback = true })
		w.run(t, nil) // dense, without a look at the data
		w.kernel.Patterns()[0].PriceLists(440, 530, 620)
		res := w.run(t, nil)
		var dense int64
		for _, c := range res.Chosen {
			if c.Dense {
				dense++
			}
		}
		n := *w.attention
		require.Len(t, n, 4)
		require.Less(t, n[2], n[0]*(4-dense)/4, "%s: the dear heads, of the kernel with lists", target)
		require.InEpsilon(t, n[1]*dense/4, n[3], 0.05, "%s: its part of the heads, of the dense kernel", target)
	}
}

// TestNoFallback: every head follows its lists, as if there were no dense kernel.
func TestNoFallback(t *testing.T) {
	w := newWeighed(t, "vertical_slash", "sm_80", qkv.Shape{Batch: 1, QHeads: 4, KVHeads: 2, SeqQ: 300, SeqK: 800, QOffset: 500, HeadDim: 32})
	off := w.run(t, func(h *runtime.HostCall) { h.NoFallback = true })
	for _, c := range off.Chosen {
		require.False(t, c.Dense)
		require.Zero(t, c.SparseMS+c.DenseMS)
	}
	w.check(t, off)
	w.kernel.Patterns()[0].PriceLists(500, 600, 700)
	on := w.run(t, nil)
	for h := range on.Chosen {
		require.Equal(t, off.Chosen[h].Asked, on.Chosen[h].Asked, "the choice does not depend on what is made of it")
		head := len(on.O) / len(on.Chosen)
		same := slices.Equal(off.O[h*head:][:head], on.O[h*head:][:head])
		require.Equal(t, !on.Chosen[h].Dense, same, "head %d", h)
	}
}

// TestShortInputsAreDense: the prices that ship choose dense attention before anything is launched, which is then exactly the
// dense pattern's.
func TestShortInputsAreDense(t *testing.T) {
	w := newWeighed(t, "vertical_slash", "sm_80", qkv.Shape{Batch: 1, QHeads: 4, KVHeads: 2, SeqQ: 300, SeqK: 300, HeadDim: 64})
	res := w.run(t, nil)
	for _, c := range res.Chosen {
		require.True(t, c.Dense)
		require.Empty(t, c.Asked.Sets)
		require.Greater(t, c.SparseMS, c.DenseMS)
	}
	w.check(t, res)
	file, src, _ := patterns.Source("dense")
	a, err := compile.Source(file, src, "", compile.Options{Target: "sm_80", DType: "bf16", HeadDim: 64}, nil)
	require.NoError(t, err)
	dense, err := runtime.Load(w.dev, a, artifact.Select{})
	require.NoError(t, err)
	defer dense.Close()
	want, err := dense.RunHost(t.Context(), w.in.Call())
	require.NoError(t, err)
	require.Equal(t, want.O, res.O)
	require.Equal(t, want.LSE, res.LSE)
}
