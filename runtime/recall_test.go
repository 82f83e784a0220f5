package runtime_test

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/compile"
	"github.com/minfc/minfc/runtime"
	"github.com/minfc/minfc/runtime/artifact"
	"github.com/minfc/minfc/runtime/device"
	"github.com/minfc/minfc/runtime/emu"
)

// Rows that are sampled are rows of the call, as many as are asked for where there are so many, and the same for one seed.
func TestSampleRows(t *testing.T) {
	require.Equal(t, runtime.RowRange{First: 0, Step: 1, Count: 5}, runtime.SampleRows(5, 64, 9))
	require.Equal(t, runtime.RowRange{}, runtime.SampleRows(0, 64, 9))
	rng, first := rand.New(rand.NewPCG(7, 7)), map[int]bool{}
	for range 200 {
		n, want, seed := 1+rng.IntN(5000), 1+rng.IntN(300), rng.Uint64()
		r := runtime.SampleRows(n, want, seed)
		require.Equal(t, min(n, want), r.Count)
		require.Less(t, r.First+(r.Count-1)*r.Step, n)
		require.Less(t, n-1-(r.First+(r.Count-1)*r.Step), 2*r.Step+want, "they reach the end")
		require.Equal(t, r, runtime.SampleRows(n, want, seed))
		first[runtime.SampleRows(6400, 64, seed).First] = true
	}
	require.Greater(t, len(first), 50, "the seed decides where they begin")
}

func openEmulator(t *testing.T) device.Device {
	dev, err := emu.Open(emu.Options{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, dev.Close()) })
	return dev
}

func loadAShape(t *testing.T, dev device.Device, lengths bool) *runtime.Loaded {
	p, err := compile.LoadLibrary("a_shape")
	require.NoError(t, err)
	art, err := p.Compile(compile.Options{Target: "sm_80", DType: abi.BF16, HeadDim: 64, Lengths: lengths}, nil)
	require.NoError(t, err)
	l, err := runtime.Load(dev, art, artifact.Select{Lengths: lengths})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, l.Close()) })
	return l
}

func loadRecall(t *testing.T, dev device.Device, dim int) *runtime.Recall {
	kernels, err := compile.Recall(dim, abi.BF16, nil)
	require.NoError(t, err)
	r, err := runtime.LoadRecall(dev, kernels)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, r.Close()) })
	return r
}

// What a recall cannot look at is refused in words that say what to do.
func TestRecallRefuses(t *testing.T) {
	dev := openEmulator(t)
	r, l := loadRecall(t, dev, 64), loadAShape(t, dev, false)
	shape := runtime.Shape{Batch: 1, QHeads: 2, KVHeads: 1, SeqQ: 100, SeqK: 100}
	call, err := l.Prepare(shape)
	require.NoError(t, err)
	refused := func(r *runtime.Recall, call *runtime.Prepared, want string, rows ...runtime.RowRange) {
		t.Helper()
		_, err := r.Prepare(call, rows...)
		require.ErrorIs(t, err, device.ErrBadCall)
		require.ErrorContains(t, err, want)
	}
	for _, rows := range []runtime.RowRange{{First: 99, Step: 1, Count: 2}, {First: -1, Step: 1, Count: 1}, {First: 0, Step: 0, Count: 1}, {First: 0, Step: 1}, {First: 1, Step: 50, Count: 3},
		{First: 0, Step: 1 << 62, Count: 2}} {
		refused(r, call, "the call has the rows 0 to 99", rows)
	}
	refused(loadRecall(t, dev, 128), call, "its recall was compiled for 128 and bf16")
	for _, of := range [][2]int{{0, 100}, {100, 0}} {
		shape.SeqQ, shape.SeqK = of[0], of[1]
		empty, err := l.Prepare(shape)
		require.NoError(t, err)
		refused(r, empty, "has no attention mass, want one of each at least")
	}
	padded, err := loadAShape(t, dev, true).Prepare(runtime.Shape{Batch: 1, QHeads: 2, KVHeads: 1, SeqQ: 100, SeqK: 100, Lengths: runtime.Padded})
	require.NoError(t, err)
	refused(r, padded, "look at one sequence, with its lengths in the shape")
}

// A wrong pointer is refused before anything runs.
func TestRecallRefusesPointers(t *testing.T) {
	dev := openEmulator(t)
	call, err := loadAShape(t, dev, false).Prepare(runtime.Shape{Batch: 1, QHeads: 2, KVHeads: 1, SeqQ: 100, SeqK: 100})
	require.NoError(t, err)
	ready, err := loadRecall(t, dev, 64).Prepare(call)
	require.NoError(t, err)
	require.Equal(t, 64, ready.Sampled())
	require.Len(t, ready.Rows(), 64)
	good := runtime.Pointers{Q: 1 << 20, K: 2 << 20, LSE: 3 << 20, Mass: 4 << 20, Workspace: 5 << 20, WorkspaceBytes: ready.Workspace()}
	for want, spoil := range map[string]func(p *runtime.Pointers){
		"Q is a null pointer": func(p *runtime.Pointers) { p.Q = 0 },
		"LSE is a null pointer, a recall wants device memory": func(p *runtime.Pointers) { p.LSE = 0 },
		"Mass is a null pointer":                              func(p *runtime.Pointers) { p.Mass = 0 },
		"K starts at 0x200008":                                func(p *runtime.Pointers) { p.K += 8 },
		"MassRows starts at 0x2":                              func(p *runtime.Pointers) { p.MassRows = 2 },
		"Workspace is a null pointer":                         func(p *runtime.Pointers) { p.Workspace = 0 },
		"see the method Workspace of the recall":              func(p *runtime.Pointers) { p.WorkspaceBytes-- },
		"Mass overlaps LSE":                                   func(p *runtime.Pointers) { p.Mass = p.LSE + 4 },
		"MassRows overlaps Mass":                              func(p *runtime.Pointers) { p.MassRows = p.Mass + 4 },
	} {
		at := good
		spoil(&at)
		err := ready.Run(nil, at)
		require.ErrorIs(t, err, device.ErrBadCall)
		require.ErrorContains(t, err, want)
	}
}
