package runtime

import (
	goruntime "runtime"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/runtime/device"
	"github.com/minfc/minfc/runtime/device/devicetest"
)

// bigCall is a call with memory that nobody looks at.
func bigCall(length int) Call {
	return Call{
		Shape:    Shape{Batch: 1, QHeads: 4, KVHeads: 2, SeqQ: length, SeqK: length, NoFallback: true},
		Pointers: Pointers{Workspace: 0x100000, WorkspaceBytes: 1 << 40, Q: 1 << 42, K: 2 << 42, V: 3 << 42, O: 4 << 42},
	}
}

// enqueued is what a run enqueues.
func enqueued(t *testing.T, dev *devicetest.Fake, p *Prepared, a Call) []devicetest.Launched {
	dev.Launches = nil
	require.NoError(t, p.Run(nil, a.Pointers))
	return slices.Clone(dev.Launches)
}

// A call that is remembered is the one that would be prepared: after any other call, after budgets that the caller changed in place, and
// with other tensors and another workspace.
func TestPreparedCallsAreRemembered(t *testing.T) {
	dev, k := weighedKernel(t, verticalSlash)
	prepared := func(a Call) *Prepared {
		p, err := k.Make(a)
		require.NoError(t, err)
		again, err := k.Make(a)
		require.NoError(t, err)
		require.Same(t, p, again)
		kept := k.prepared.list.Load()
		k.prepared.forget()
		fresh, err := k.Make(a)
		require.NoError(t, err)
		require.NotSame(t, p, fresh)
		require.Equal(t, fresh.Workspace(), p.Workspace())
		require.Equal(t, enqueued(t, dev, fresh, a), enqueued(t, dev, p, a))
		k.prepared.list.Store(kept)
		return p
	}
	a := bigCall(5000)
	a.Params = map[string]int64{"vertical": 100, "slash": 200}
	first := prepared(a)
	small := first.Workspace()
	a.Params["vertical"] = 3000
	require.Greater(t, prepared(a).Workspace(), small)
	a.Params["vertical"] = 100
	require.Same(t, first, prepared(a))

	a.HeadParams = map[string][]int64{"vertical": {100, 100, 100, 100}}
	require.Equal(t, small, prepared(a).Workspace())
	a.HeadParams["vertical"][2] = 3000
	require.Greater(t, prepared(a).Workspace(), small)
	a.Heads, a.HeadParams["vertical"] = []int{0, 1, 2}, []int64{100, 100, 3000}
	large := prepared(a)
	a.Heads[2] = 3
	require.NotSame(t, large, prepared(a))
	a.Heads[2] = 2
	require.Same(t, large, prepared(a))
	a.Heads, a.HeadParams["vertical"] = []int{0, 1, 3}, []int64{100, 100, 100}
	require.Equal(t, small, prepared(a).Workspace(), "the head with the large budget takes no part")
	a.Heads, a.HeadParams = nil, nil

	a.Workspace, a.K = 0x200000, 5<<42
	require.Same(t, first, prepared(a), "pointers do not count")
	a.Strides.K = Stride{256 * 5000 * 2, 256 * 5000, 256}
	require.NotSame(t, first, prepared(a), "strides do")
	a.K, a.Strides, a.Scale = 2<<42, Strides{}, 0.5
	require.NotSame(t, first, prepared(a), "and the scale")
	a.Scale, a.NoFallback = 0, false
	dense := prepared(a)
	require.NotSame(t, first, dense)
	require.Equal(t, allDense, dense.parts[0].bound.routing, "a short call")
}

// Calls that take turns are all remembered, as a model's layers make them; the oldest goes when there are too many.
func TestSeveralPreparedCallsAreRemembered(t *testing.T) {
	_, k := loaded(t)
	prepare := func(n int) *Prepared {
		a := contiguous()
		a.Params = map[string]int64{"window": int64(1 + n)}
		p, err := k.Make(a)
		require.NoError(t, err)
		return p
	}
	var all []*Prepared
	for n := range preparedKept {
		all = append(all, prepare(n))
	}
	for n := range all {
		require.Same(t, all[n], prepare(n))
	}
	prepare(preparedKept)
	require.Same(t, all[1], prepare(1))
	require.NotSame(t, all[0], prepare(0))
}

// watched is a kernel that shows its arguments to a function.
type watched struct {
	device.Function
	see func(args [][]byte)
}

func (w watched) Launch(_ device.Launch, args [][]byte, _ device.Stream) error {
	w.see(args)
	return nil
}

// A prepared call runs on several goroutines at a time, each run with its own pointers.
func TestPreparedRunsAreApart(t *testing.T) {
	_, k := dynamicKernel(t, verticalSlash)
	var mu sync.Mutex
	seen := map[float64]int{} // runs by their Q
	attend := k.patterns[0].codes[abi.Attend]
	attend.function = watched{attend.function, func(args [][]byte) {
		l := devicetest.Launched{Args: args}
		q, key := l.Arg(t, k.Attend().Params, "q"), l.Arg(t, k.Attend().Params, "k")
		goruntime.Gosched() // others patch their arguments
		mu.Lock()
		defer mu.Unlock()
		if again := l.Arg(t, k.Attend().Params, "q"); q != again || key != q+1<<42 {
			t.Errorf("Q at %v, then at %v; K at %v", q, again, key)
		}
		seen[q]++
	}}
	p, err := k.Make(bigCall(500))
	require.NoError(t, err)
	var all sync.WaitGroup
	for n := range 8 {
		all.Go(func() {
			at := bigCall(500).Pointers
			at.Q += device.Ptr(n << 32)
			at.K += device.Ptr(n << 32)
			for range 50 {
				if err := p.RunAttention(nil, at); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	require.Len(t, seen, 8)
	for q, n := range seen {
		require.Equal(t, 50, n, "Q at %v", q)
	}
}

// What a launch costs the host: less than a short call runs on the device.
func BenchmarkLaunch(b *testing.B) {
	for _, c := range []struct {
		name       string
		noFallback bool
	}{{"sparse", true}, {"dense", false}} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			dev, k := weighedKernel(&testing.T{}, verticalSlash)
			dev.Blind = true
			a := bigCall(1024)
			a.QHeads, a.KVHeads, a.NoFallback = 32, 8, c.noFallback
			for b.Loop() {
				if err := k.Launch(nil, a); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkPrepare is what a call of another shape costs before its first launch.
func BenchmarkPrepare(b *testing.B) {
	b.ReportAllocs()
	_, k := weighedKernel(&testing.T{}, verticalSlash)
	a := bigCall(1024)
	a.QHeads, a.KVHeads = 32, 8
	for b.Loop() {
		k.prepared.forget()
		if _, err := k.Make(a); err != nil {
			b.Fatal(err)
		}
	}
}

// Calls with many records are forgotten before there are preparedKept of them; the last one is kept whatever its size.
func TestMemoryOfPreparedCallsIsBounded(t *testing.T) {
	kept := func(sizes ...int) int {
		var list []*keptCall
		for _, n := range sizes {
			list = append(list, &keptCall{Prepared: &Prepared{records: &recording{records: make([]record, n)}}})
		}
		return keptOf(list)
	}
	require.Equal(t, 3, kept(recordsKept/2, recordsKept/4, recordsKept/4))
	require.Equal(t, 2, kept(recordsKept/2, recordsKept/4, recordsKept/4+1, 1))
	require.Equal(t, 1, kept(2*recordsKept, 1))
}
