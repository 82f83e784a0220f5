package e2e

import (
	"cmp"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc"
	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/half"
	"github.com/minfc/minfc/internal/workload"
	"github.com/minfc/minfc/runtime"
	"github.com/minfc/minfc/runtime/device"
	"github.com/minfc/minfc/runtime/device/devicetest"
)

// raggedBatches are lengths of sequences, in tokens.
var raggedBatches = map[string][]int{
	"16x1k-4k": {1024, 1200, 1500, 1800, 2048, 2200, 2400, 2600, 2800, 3000, 3200, 3400, 3600, 3800, 4000, 4096},
	"16x1k":    slices.Repeat([]int{1024}, 16),
	"16x4k":    slices.Repeat([]int{4096}, 16),
	"16x32k":   slices.Repeat([]int{32 << 10}, 16),
	"1k-32k":   {1024, 1500, 2048, 3000, 4096, 5000, 6000, 7000, 8192, 10000, 12000, 14000, 16384, 20000, 24000, 32768},
}

// BenchmarkRagged times, on a GPU, one call for 16 sequences beside a call for each of them, in random order each round, in milliseconds:
//
//	go test ./e2e -run '^$' -bench Ragged -benchtime 15x
func BenchmarkRagged(b *testing.B) {
	dev := devicetest.GPU(b)
	specs := map[string]minfc.Spec{"dense": {Pattern: "dense"}, "a_shape": {Pattern: "a_shape", Params: map[string]int64{"sink": 128, "window": 1024}},
		"vertical_slash": {Pattern: "vertical_slash", Params: map[string]int64{"vertical": 1000, "slash": 2000}},
		"block_sparse":   {Pattern: "block_sparse", Params: map[string]int64{"topk": 100}}}
	for name, spec := range specs {
		for batch, lengths := range raggedBatches {
			b.Run(name+"/"+batch, func(b *testing.B) { benchRagged(b, dev, spec, lengths) })
		}
	}
}

func benchRagged(b *testing.B, dev device.Device, spec minfc.Spec, lengths []int) {
	const dim = 128
	heads := minfc.Heads{Q: 32, KV: 8, Dim: dim, DType: abi.BF16}
	a, err := minfc.NewAttention(dev, spec, heads)
	require.NoError(b, err)
	defer a.Close()
	cumulative, most := []byte{0, 0, 0, 0}, 0
	total := 0
	for _, n := range lengths {
		total, most = total+n, max(most, n)
		cumulative = append(cumulative, byte(total), byte(total>>8), byte(total>>16), byte(total>>24))
	}
	in, err := workload.OnDevice(dev, workload.Spec{Kind: workload.Kind(cmp.Or(os.Getenv("KIND"), "mixed")), Batch: 1, QHeads: 32, KVHeads: 8, SeqLen: total, HeadDim: dim, Seed: 3, DType: abi.BF16}, nil)
	require.NoError(b, err)
	defer in.Close()
	alloc := func(bytes int64) device.Ptr {
		p, err := dev.Alloc(max(bytes, 16))
		require.NoError(b, err)
		b.Cleanup(func() { dev.Free(p) })
		return p
	}
	at := minfc.Pointers{Q: in.Q, K: in.K, V: in.V, O: alloc(2 * 32 * dim * int64(total)), LengthsQ: alloc(int64(len(cumulative)))}
	require.NoError(b, dev.CopyToDevice(at.LengthsQ, cumulative, nil))
	strides := runtime.Strides{Q: runtime.Stride{Head: int64(total) * dim, Row: dim}}
	strides.K, strides.V, strides.O = strides.Q, strides.Q, strides.Q
	ragged, err := a.Prepare(minfc.Shape{Batch: len(lengths), SeqQ: most, SeqK: most, Lengths: runtime.Ragged, TotalQ: total, TotalK: total, Strides: strides})
	require.NoError(b, err)
	at.WorkspaceBytes = ragged.Workspace()
	var calls []*minfc.Call
	for _, n := range lengths {
		c, err := a.Prepare(minfc.Shape{Batch: 1, SeqQ: n, SeqK: n, Strides: strides})
		require.NoError(b, err)
		calls, at.WorkspaceBytes = append(calls, c), max(at.WorkspaceBytes, c.Workspace())
	}
	at.Workspace = alloc(at.WorkspaceBytes)
	ways := []func() error{func() error { return ragged.Run(nil, at) }, func() error { return runApart(calls, at, lengths, dim) }}
	if !ragged.NeedsIndex() { // else the longest sequence may have a say in what is chosen, and in which heads run dense
		requireSameOutputs(b, dev, at.O+device.Ptr(2*31*dim*total), 2*dim*total, ways)
	}
	var ms [2][]float64
	for b.Loop() {
		for _, i := range rand.Perm(2) {
			ms[i] = append(ms[i], elapsed(b, dev, ways[i]))
		}
	}
	for i, unit := range []string{"ragged-ms", "apart-ms"} {
		slices.Sort(ms[i])
		b.ReportMetric(ms[i][len(ms[i])/2], unit)
	}
	b.ReportMetric(ms[1][len(ms[1])/2]/ms[0][len(ms[0])/2], "apart/ragged")
	b.ReportMetric(0, "ns/op")
}

// requireSameOutputs runs two ways and compares what they write of one head, to o.
func requireSameOutputs(b *testing.B, dev device.Device, o device.Ptr, bytes int, ways []func() error) {
	outputs := make([][]float32, len(ways))
	for i, run := range ways {
		require.NoError(b, dev.Fill(o, 0xff, int64(bytes), nil)) // NaN
		require.NoError(b, run())
		data := make([]byte, bytes)
		require.NoError(b, dev.CopyToHost(data, o, nil))
		outputs[i] = make([]float32, bytes/2)
		require.NoError(b, half.Decode(abi.BF16, outputs[i], data))
	}
	for i, want := range outputs[1] {
		got := outputs[0][i]
		if !(math.Abs(float64(want-got)) <= 1./64*math.Max(1./4, math.Abs(float64(want)))) { // rows beside a sequence may round it otherwise
			b.Fatalf("number %d is %v, want %v", i, got, want)
		}
	}
}

// runApart runs a call for each sequence.
func runApart(calls []*minfc.Call, at minfc.Pointers, lengths []int, dim int) error {
	first := device.Ptr(0)
	own := at
	own.LengthsQ = 0
	for i, c := range calls {
		own.Q, own.K, own.V, own.O = at.Q+first, at.K+first, at.V+first, at.O+first
		if err := c.Run(nil, own); err != nil {
			return err
		}
		first += device.Ptr(2 * dim * lengths[i])
	}
	return nil
}

// elapsed is how long a way takes on the device, in milliseconds, as the mean of some runs behind one that warms up.
func elapsed(b *testing.B, dev device.Device, run func() error) float64 {
	const runs = 5
	start, err := dev.NewEvent()
	require.NoError(b, err)
	end, err := dev.NewEvent()
	require.NoError(b, err)
	defer start.Close()
	defer end.Close()
	require.NoError(b, run())
	require.NoError(b, start.Record(nil))
	for range runs {
		require.NoError(b, run())
	}
	require.NoError(b, end.Record(nil))
	ms, err := end.Since(start)
	require.NoError(b, err)
	return ms / runs
}
