package e2e

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc"
	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/internal/qkv"
	"github.com/minfc/minfc/plan"
	"github.com/minfc/minfc/runtime"
	"github.com/minfc/minfc/runtime/device"
	"github.com/minfc/minfc/runtime/emu"
)

// stagesLayer is a layer with all kinds of lists, whose parts have heads of both kv heads.
func stagesLayer(t *testing.T) *plan.Plan {
	library, err := plan.Library()
	require.NoError(t, err)
	layer := plan.Layer{}
	for h, x := range []plan.Head{
		{Pattern: library["vertical_slash"], Params: map[string]int64{"vertical": 40, "slash": 120}},
		{Pattern: library["block_sparse"], Params: map[string]int64{"topk": 3}},
		{Pattern: library["a_shape"], Params: map[string]int64{"sink": 20, "window": 90}},
		{Pattern: library["vertical_slash"], Params: map[string]int64{"vertical": 60, "slash": 150}},
		{Pattern: library["block_sparse"], Params: map[string]int64{"topk": 2}},
		{Pattern: library["vertical_slash"], Params: map[string]int64{"vertical": 35, "slash": 101}},
	} {
		layer[h] = x
	}
	return &plan.Plan{Layers: []plan.Layer{layer}}
}

// inPieces runs the heads of a part over chunks of the queries, each chunk as a call of its own, the way devices do that hold a chunk each:
// lists of whole heads come from a call over the last queries alone, lists of rows from pooled keys that were reduced chunk by chunk.
type inPieces struct {
	t      *testing.T
	dev    device.Device
	a      *minfc.Attention
	at     minfc.Pointers // of the whole tensors
	n, dim int
	heads  []int
}

func (x inPieces) prepare(first, rows, reach int) (*minfc.Call, runtime.Description) {
	stride := runtime.Stride{Head: int64(x.n * x.dim), Row: int64(x.dim)}
	call, err := x.a.PrepareHeads(minfc.Shape{Batch: 1, SeqQ: rows, SeqK: x.n, QOffset: first, Reach: reach, NoFallback: true,
		Strides: runtime.Strides{Q: stride, K: stride, V: stride, O: stride, LSE: runtime.Stride{Head: int64(x.n)}}}, x.heads)
	require.NoError(x.t, err)
	described, err := call.Describe()
	require.NoError(x.t, err)
	require.Len(x.t, described, 1)
	require.Empty(x.t, described[0].Why)
	require.Equal(x.t, x.heads, described[0].Heads)
	return call, described[0]
}

func (x inPieces) pointers(call *minfc.Call, first int) minfc.Pointers {
	at := x.at
	at.Q += device.Ptr(2 * x.dim * first)
	at.O += device.Ptr(2 * x.dim * first)
	at.LSE += device.Ptr(4 * first)
	workspaceFor(x.t, x.dev, call, &at)
	return at
}

// chunk computes the rows from first on, with the lists that index has if it is there.
func (x inPieces) chunk(first, rows int, index []byte) {
	call, d := x.prepare(first, rows, x.n)
	at := x.pointers(call, first)
	switch d.Lists {
	case runtime.ListsHeads:
		require.Len(x.t, index, int(call.KeptBytes()))
		require.NoError(x.t, x.dev.CopyToDevice(at.Workspace, index, nil))
		at.WorkspaceBytes = call.KeptBytes()
	case runtime.ListsRows:
		x.pool(call, d, at)
		require.NoError(x.t, call.RunStages(nil, at, runtime.StageChoose))
	}
	require.NoError(x.t, call.RunStages(nil, at, runtime.StageGather|runtime.StageAttend))
}

// pool fills the pooled keys of a call from calls that see a chunk of the keys each.
func (x inPieces) pool(call *minfc.Call, d runtime.Description, at minfc.Pointers) {
	require.Equal(x.t, 64, d.PoolRows)
	to := bufferOf(x.t, d, "pooled_k_mean")
	kvHeads := int(to.Bytes) / (4 * x.dim * ((x.n + 63) / 64))
	for first := 0; first < x.n; first += 128 {
		rows := min(128, x.n-first)
		part, err := x.a.PrepareHeads(minfc.Shape{Batch: 1, SeqQ: 1, SeqK: rows, NoFallback: true, Strides: runtime.Strides{
			K: runtime.Stride{Head: int64(x.n * x.dim), Row: int64(x.dim)}}}, x.heads)
		require.NoError(x.t, err)
		described, err := part.Describe()
		require.NoError(x.t, err)
		own := x.at
		own.K += device.Ptr(2 * x.dim * first)
		workspaceFor(x.t, x.dev, part, &own)
		require.NoError(x.t, part.RunStages(nil, own, runtime.StagePool))
		from, blocks := bufferOf(x.t, described[0], "pooled_k_mean"), (rows+63)/64
		for kv := range kvHeads {
			bytes := readBack(x.t, x.dev, own.Workspace+device.Ptr(int(from.At)+4*x.dim*blocks*kv), 4*x.dim*blocks)
			place := at.Workspace + device.Ptr(int(to.At)+4*x.dim*(kv*((x.n+63)/64)+first/64))
			require.NoError(x.t, x.dev.CopyToDevice(place, bytes, nil))
		}
	}
}

func bufferOf(t *testing.T, d runtime.Description, name string) runtime.BufferExtent {
	i := slices.IndexFunc(d.Buffers, func(b runtime.BufferExtent) bool { return b.Name == name })
	require.GreaterOrEqual(t, i, 0, name)
	return d.Buffers[i]
}

// TestStages: a call that runs in pieces, head by head and chunk by chunk, gives the bits of whole calls over the same heads.
func TestStages(t *testing.T) {
	const n, dim = 515, 64
	const first = 384 // of the second chunk: whole row tiles lie before it, since where a tile begins decides how its rows round
	for _, cc := range []int{80, 90} {
		dev := openEmulator(t, emu.Options{Capability: cc})
		a, err := minfc.NewAttention(dev, minfc.Spec{Plan: stagesLayer(t)}, minfc.Heads{Q: 6, KV: 2, Dim: dim, DType: abi.BF16})
		require.NoError(t, err)
		in, err := qkv.Generate(qkv.Shape{Batch: 1, QHeads: 6, KVHeads: 2, SeqQ: n, SeqK: n, HeadDim: dim}, abi.BF16, 11)
		require.NoError(t, err)
		at := onDevice(t, dev, in)
		outputs := func() [2][]byte {
			return [2][]byte{readBack(t, dev, at.O, len(in.Q)), readBack(t, dev, at.LSE, 4*6*n)}
		}
		sets := [][]int{{0}, {1}, {2}, {3, 5}, {4}}
		for _, heads := range sets {
			whole, err := a.PrepareHeads(minfc.Shape{Batch: 1, SeqQ: n, SeqK: n, NoFallback: true}, heads)
			require.NoError(t, err)
			own := at
			workspaceFor(t, dev, whole, &own)
			require.NoError(t, whole.Run(nil, own))
		}
		want := outputs()
		require.NoError(t, dev.Fill(at.O, 0xff, int64(len(in.Q)), nil))
		require.NoError(t, dev.Fill(at.LSE, 0xff, 4*6*n, nil))
		for _, heads := range sets {
			x := inPieces{t, dev, a, at, n, dim, heads}
			var index []byte
			if call, d := x.prepare(n-64, 64, 0); d.Lists == runtime.ListsHeads {
				require.Equal(t, 64, d.ProbeRows)
				own := x.pointers(call, n-64)
				require.NoError(t, call.RunStages(nil, own, runtime.StageChoose))
				index = readBack(t, dev, own.Workspace, int(call.KeptBytes()))
			}
			x.chunk(0, first, index)
			x.chunk(first, n-first, index)
		}
		require.Equal(t, want, outputs(), "sm_%d", cc)
	}
}

// onDevice copies an input to the device, with room for outputs.
func onDevice(t *testing.T, dev device.Device, in *qkv.Input) (at minfc.Pointers) {
	for to, data := range map[*device.Ptr][]byte{&at.Q: in.Q, &at.K: in.K, &at.V: in.V, &at.O: in.Q, &at.LSE: make([]byte, 4*in.Batch*in.QHeads*in.SeqQ)} {
		p, err := dev.Alloc(int64(len(data)))
		require.NoError(t, err)
		require.NoError(t, dev.CopyToDevice(p, data, nil))
		*to = p
	}
	return at
}

// TestReads: keys that rows may read beside lists, and what cannot be shared by devices that hold a chunk each.
func TestReads(t *testing.T) {
	dev := openEmulator(t, emu.Options{})
	for source, want := range map[string]string{
		"pattern p() { keep causal & (sink(10) | window(100)) }":              "[[501 800] [0 10]] ",
		"pattern p() { keep causal }":                                         "[[0 800]] ",
		"pattern p() { keep all }":                                            "[[0 1000]] ",
		"pattern p(last = 7) { keep causal & (window(100) | rows(-last..)) }": "it counts rows from the end of the call",
		"pattern p() { index c = top(9, sum(softmax(q[::4] * k), queries)) keep causal & (window(64) | columns(c)) }":               "its probe has rows all over the sequence",
		"pattern p() { index b = top(9, sum(softmax(mean(q * k, antidiagonals(8))), blocks)) with last 1 keep causal & blocks(b) }": "reads all keys for each block of rows",
	} {
		a, err := minfc.NewAttention(dev, minfc.Spec{Source: source}, minfc.Heads{Q: 1, KV: 1, Dim: 64, DType: abi.BF16})
		require.NoError(t, err, source)
		call, err := a.Prepare(minfc.Shape{Batch: 1, SeqQ: 200, SeqK: 1000, QOffset: 600})
		require.NoError(t, err)
		d, err := call.Describe()
		require.NoError(t, err)
		if d[0].Why != "" {
			require.Contains(t, d[0].Why, want)
			continue
		}
		require.Equal(t, want, fmt.Sprint(d[0].Reads, " "))
	}
}
