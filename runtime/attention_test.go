package runtime

import (
	"encoding/binary"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/runtime/artifact"
	"github.com/minfc/minfc/runtime/artifact/artifacttest"
	"github.com/minfc/minfc/runtime/device"
	"github.com/minfc/minfc/runtime/device/devicetest"
)

func loaded(t *testing.T) (*devicetest.Fake, *Loaded) {
	dev := devicetest.New()
	k, err := Load(dev, artifacttest.New(), artifact.Select{HeadDim: 64, DType: "bf16"})
	require.NoError(t, err)
	return dev, k
}

// contiguous is a good call: batch 2, 6 query heads on 2 kv heads, 300 queries after 100 cached keys.
func contiguous() Call {
	return Call{
		Shape:    Shape{Batch: 2, QHeads: 6, KVHeads: 2, SeqQ: 300, SeqK: 400, QOffset: 100},
		Pointers: Pointers{Q: 0x10_0000_0000, K: 0x20_0000_0000, V: 0x30_0000_0000, O: 0x40_0000_0000, LSE: 0x50_0000_0004},
	}
}

func TestLaunchPassesWhatTheKernelNeeds(t *testing.T) {
	dev, k := loaded(t)
	stream := devicetest.Stream(0x77)
	a := contiguous()
	a.Params = map[string]int64{"window": 256}
	require.NoError(t, k.Launch(stream, a))
	require.Len(t, dev.Launches, 1)
	l := dev.Launches[0]
	require.Equal(t, device.Launch{Grid: [3]uint32{3, 6, 2}, Block: [3]uint32{128, 1, 1}, SharedBytes: 48 << 10}, l.Launch)
	require.Equal(t, stream, l.Stream)
	for name, want := range map[string]float64{
		"q": 0x10_0000_0000, "k": 0x20_0000_0000, "v": 0x30_0000_0000, "o": 0x40_0000_0000, "lse": 0x50_0000_0004,
		"q_batch": 6 * 300 * 64 * 2, "q_head": 300 * 64 * 2, "q_row": 128,
		"k_batch": 2 * 400 * 64 * 2, "k_head": 400 * 64 * 2, "k_row": 128,
		"v_batch": 2 * 400 * 64 * 2, "v_head": 400 * 64 * 2, "v_row": 128,
		"o_batch": 6 * 300 * 64 * 2, "o_head": 300 * 64 * 2, "o_row": 128,
		"lse_batch": 6 * 300 * 4, "lse_head": 300 * 4,
		"sq": 300, "sk": 400, "q_offset": 100, "group": 3, "p_sink": 128, "p_window": 256, "route": 0, "taken": 0,
	} {
		require.Equal(t, want, l.Arg(t, k.Attend().Params, name), name)
	}
	require.InDelta(t, math.Log2E/8, l.Arg(t, k.Attend().Params, "scale_log2"), 1e-7)
}

// A static kernel that some heads leave out takes one launch more, which says which: no fill, no copy, no wait.
func TestLaunchOfSomeHeads(t *testing.T) {
	dev, k := loaded(t)
	a := contiguous()
	a.Heads = []int{0, 1, 3, 5}
	bytes, err := k.Workspace(a)
	require.NoError(t, err)
	require.ErrorContains(t, k.Launch(nil, a), "Workspace is a null pointer")
	a.Workspace, a.WorkspaceBytes = 0x10000, bytes
	calls := dev.Calls
	require.NoError(t, k.Launch(nil, a))
	require.Equal(t, calls+2, dev.Calls, "two launches and nothing else")
	store, attention := dev.Launches[0], dev.Launches[1]
	require.Equal(t, [3]uint32{1, 1, 1}, store.Grid)
	words := make([]uint32, 2*6)
	for i := range words {
		words[i] = binary.LittleEndian.Uint32(store.Args[1+i/2][4*(i%2):])
	}
	require.Equal(t, []uint32{0, 0, 2, 0, 2, 0, 0, 0, 2, 0, 2, 0}, words)
	require.Equal(t, uint64(0x10000), binary.LittleEndian.Uint64(store.Args[0]))
	require.Equal(t, [3]uint32{3, 6, 2}, attention.Grid)
	require.Equal(t, float64(0x10000), attention.Arg(t, k.Attend().Params, "route"))
	require.Zero(t, attention.Arg(t, k.Attend().Params, "taken"))

	a.Heads = []int{0, 1, 2, 3, 4, 5}
	require.NoError(t, k.Launch(nil, a))
	require.Len(t, dev.Launches, 3, "all heads are none left out")
	require.Zero(t, dev.Launches[2].Arg(t, k.Attend().Params, "route"))
}

func TestLaunchKeepsTheCallersStridesAndScale(t *testing.T) {
	dev, k := loaded(t)
	a := contiguous()
	a.Strides.Q = Stride{300 * 18 * 64, 64, 18 * 64} // [B, S, H, D] inside one packed qkv tensor
	a.Strides.K = Stride{0, 64, 2 * 64}              // one batch of keys for all
	a.Strides.O = Stride{300 * 6 * 64, 64, 6 * 64}
	a.Strides.LSE.Batch, a.Strides.LSE.Head, a.Scale = 6*512, 512, 2
	require.NoError(t, k.Launch(nil, a))
	l := dev.Launches[0]
	require.Nil(t, l.Stream)
	for name, want := range map[string]float64{
		"q_batch": 300 * 18 * 128, "q_head": 128, "q_row": 18 * 128, "k_batch": 0, "k_head": 128, "k_row": 256,
		"o_row": 6 * 128, "lse_batch": 6 * 512 * 4, "lse_head": 2048,
	} {
		require.Equal(t, want, l.Arg(t, k.Attend().Params, name), name)
	}
	require.InDelta(t, 2*math.Log2E, l.Arg(t, k.Attend().Params, "scale_log2"), 1e-6)
}

// The order of a kernel's parameters is the manifest's.
func TestArgumentsFollowTheManifest(t *testing.T) {
	dev, art := devicetest.New(), artifacttest.New()
	p := artifacttest.Attend(art).Params
	p[0], p[len(p)-1] = p[len(p)-1], p[0]
	k, err := Load(dev, art, artifact.Select{DType: "bf16"})
	require.NoError(t, err)
	require.NoError(t, k.Launch(nil, contiguous()))
	require.Len(t, dev.Launches[0].Args[0], 4)
	require.Equal(t, 1024.0, dev.Launches[0].Arg(t, k.Attend().Params, "p_window"))
	require.Equal(t, float64(0x10_0000_0000), dev.Launches[0].Arg(t, k.Attend().Params, "q"))
}

func TestEmptySequences(t *testing.T) {
	dev, k := loaded(t)
	a := contiguous()
	a.SeqQ, a.Q, a.O = 0, 0, 0
	require.NoError(t, k.Launch(nil, a))
	require.Empty(t, dev.Launches, "no queries: nothing to run")
	a = contiguous()
	a.SeqK, a.K, a.V = 0, 0, 0
	require.NoError(t, k.Launch(nil, a))
	require.Len(t, dev.Launches, 1, "no keys: the kernel still writes zeros and -inf")
	require.Zero(t, dev.Launches[0].Arg(t, k.Attend().Params, "sk"))
}

func TestBadCallsAreRefusedInWords(t *testing.T) {
	for _, c := range []struct {
		says   string
		damage func(a *Call)
	}{
		{"QHeads is 5 and KVHeads 2, want QHeads to be a multiple of KVHeads", func(a *Call) { a.QHeads = 5 }},
		{"Batch is 0, want 1 to 65535", func(a *Call) { a.Batch = 0 }},
		{"Batch is 65536, want 1 to 65535; split larger calls", func(a *Call) { a.Batch = 65536 }},
		{"QHeads is 131072", func(a *Call) { a.QHeads = 131072 }},
		{"KVHeads is 0", func(a *Call) { a.KVHeads = 0 }},
		{"SeqQ is -1", func(a *Call) { a.SeqQ = -1 }},
		{"SeqK is 1073741825, want 0 to 1073741824", func(a *Call) { a.SeqK = 1<<30 + 1 }},
		{"QOffset is -4", func(a *Call) { a.QOffset = -4 }},
		{"the last query's position is 1073741825", func(a *Call) { a.QOffset = 1<<30 - 298 }},
		{"Scale is NaN", func(a *Call) { a.Scale = math.NaN() }},
		{"Scale is -1", func(a *Call) { a.Scale = -1 }},
		{"Scale is +Inf", func(a *Call) { a.Scale = math.Inf(1) }},
		{"Scale is 1e+300", func(a *Call) { a.Scale = 1e300 }},
		{"Scale is 1e-300", func(a *Call) { a.Scale = 1e-300 }},
		{"Q is a null pointer", func(a *Call) { a.Q = 0 }},
		{"V is a null pointer", func(a *Call) { a.V = 0 }},
		{"K starts at 0x2000000008, want an address that is a multiple of 16 bytes", func(a *Call) { a.K += 8 }},
		{"V has a row stride of 100 elements, want a multiple of 8 (16 bytes)", func(a *Call) { a.Strides.V.Row = 100 }},
		{"K has a head stride of -64 elements", func(a *Call) { a.Strides.K.Head = -64 }},
		{"Q has a row stride of 1073741824 elements, want 0 to 1073741816", func(a *Call) { a.Strides.Q.Row = 1 << 30 }},
		{"Q has a batch stride of 1125899906842624", func(a *Call) { a.Strides.Q.Batch = 1 << 50 }},
		{"O overlaps itself: its row stride is 32 elements, want at least 64", func(a *Call) { a.Strides.O = Stride{1 << 20, 1 << 16, 32} }},
		{"O overlaps itself: its batch stride is 0", func(a *Call) { a.Strides.O = Stride{0, 1 << 16, 64} }},
		{"O overlaps itself: its head stride is 12800 elements, want at least 19200", func(a *Call) { a.Strides.O = Stride{1 << 20, 200 * 64, 64} }},
		{"LSE starts at 0x5000000002, want an address that is a multiple of 4 bytes", func(a *Call) { a.LSE -= 2 }},
		{"LSE overlaps itself: its head stride is 299 elements, want at least 300", func(a *Call) { a.Strides.LSE.Batch, a.Strides.LSE.Head = 6000, 299 }},
		{"LSE has a head stride of -300", func(a *Call) { a.Strides.LSE.Head = -300 }},
		{"window must be at least 1, got 0", func(a *Call) { a.Params = map[string]int64{"window": 0} }},
		{`unknown parameter "windw"; did you mean "window"?`, func(a *Call) { a.Params = map[string]int64{"windw": 5} }},
		{"sink must be at most 1073741824", func(a *Call) { a.Params = map[string]int64{"sink": 1 << 31} }},
	} {
		dev, k := loaded(t)
		a := contiguous()
		c.damage(&a)
		err := k.Launch(nil, a)
		require.ErrorIs(t, err, device.ErrBadCall, c.says)
		require.ErrorContains(t, err, c.says)
		require.Empty(t, dev.Launches, c.says)
	}
}

// A dimension of one is never stepped over, so its stride may be anything, as in other frameworks' views.
func TestStridesOfSingleDimensionsDoNotMatter(t *testing.T) {
	_, k := loaded(t)
	a := contiguous()
	a.Batch = 1
	a.Strides.Q = Stride{-7, 300 * 64, 64}
	a.Strides.O = Stride{1, 300 * 64, 64}
	require.NoError(t, k.Launch(nil, a))
}

// Remembering the last parameters must not mix up different ones, nor see later changes of the caller's map.
func TestParametersAreCheckedForEveryLaunch(t *testing.T) {
	dev, k := loaded(t)
	a := contiguous()
	a.Params = map[string]int64{"window": 10}
	require.NoError(t, k.Launch(nil, a))
	a.Params["window"] = 20
	require.NoError(t, k.Launch(nil, a))
	a.Params["window"] = 0
	require.ErrorIs(t, k.Launch(nil, a), device.ErrBadCall)
	a.Params = nil
	require.NoError(t, k.Launch(nil, a))
	for i, want := range []float64{10, 20, 1024} {
		require.Equal(t, want, dev.Launches[i].Arg(t, k.Attend().Params, "p_window"))
	}
}

// A server launches thousands of times a second: no hidden calls of the device, and no work for the garbage collector.
func TestLaunchIsLean(t *testing.T) {
	for name, c := range map[string]struct {
		load  func(t *testing.T) (*devicetest.Fake, *Loaded)
		calls int // of the device
	}{
		"a_shape":        {loaded, 1},
		"with maps":      {func(t *testing.T) (*devicetest.Fake, *Loaded) { dev, k := loadedWithMaps(t); return dev.Fake, k }, 1},
		"vertical_slash": {func(t *testing.T) (*devicetest.Fake, *Loaded) { return dynamicKernel(t, verticalSlash) }, 9},
		"with a queue":   {queued, 10},
	} {
		t.Run(name, func(t *testing.T) {
			dev, k := c.load(t)
			dev.Blind = true
			a := contiguous()
			a.Workspace, a.WorkspaceBytes = 0x100000, 1<<30
			require.NoError(t, k.Launch(nil, a))
			before := dev.Calls
			require.NoError(t, k.Launch(nil, a))
			require.Equal(t, c.calls, dev.Calls-before, "calls of the device")
			require.Empty(t, dev.Memory)
			p, err := k.Make(a)
			require.NoError(t, err)
			at := a.Pointers
			require.Zero(t, testing.AllocsPerRun(100, func() {
				if err := p.Run(nil, at); err != nil {
					t.Error(err)
				}
			}), "allocations of a prepared launch")
			require.Zero(t, testing.AllocsPerRun(100, func() {
				if err := k.Launch(nil, a); err != nil {
					t.Error(err)
				}
			}), "allocations of a launch that was prepared before")
		})
	}
}

func TestCover(t *testing.T) {
	_, k := loaded(t)
	a := Call{Shape: Shape{Batch: 2, QHeads: 2, KVHeads: 1, SeqQ: 200, SeqK: 210, QOffset: 5}, Part: Part{Params: map[string]int64{"sink": 3, "window": 70}}}
	rows := []int{0, 150, 199}
	p, err := k.Make(a)
	require.NoError(t, err)
	cover, err := p.Cover(3, nil, rows)
	require.NoError(t, err)
	require.Len(t, cover, 3*210)
	pattern, _ := artifacttest.AShape()
	keeps, err := pattern.Keeps(a.Params)
	require.NoError(t, err)
	for n, i := range rows {
		for key := range 210 {
			require.Equal(t, keeps(5+i, key), cover[n*210+key] == 1, "row %d, key %d", i, key)
		}
	}
	all, err := p.Cover(0, nil, nil)
	require.NoError(t, err)
	require.Len(t, all, 200*210)
	require.Equal(t, cover[210:420], all[150*210:151*210])
	_, err = p.Cover(0, nil, []int{200})
	require.ErrorIs(t, err, device.ErrBadCall)
	require.ErrorContains(t, err, "row 200 of the coverage does not exist, want 0 to 199")
	_, err = p.Cover(4, nil, rows)
	require.ErrorIs(t, err, device.ErrBadCall)
	require.ErrorContains(t, err, "there is no head 4, want 0 to 3")
}
