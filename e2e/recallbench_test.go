package e2e

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc"
	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/internal/workload"
	"github.com/minfc/minfc/runtime/device"
	"github.com/minfc/minfc/runtime/device/devicetest"
)

// recallShape is what a recall is timed on.
type recallShape struct{ heads, kvHeads, dim, tokens int }

// BenchmarkRecall times, on a GPU, the recall of 64 and of 256 rows beside the layers that it looks at, in random order each round, in
// milliseconds. Before that it holds the masses of all sampled rows against the LSE of a dense run:
//
//	go test ./e2e -run '^$' -bench Recall -benchtime 15x
func BenchmarkRecall(b *testing.B) {
	dev := devicetest.GPU(b)
	for _, tokens := range []int{32 << 10, 128 << 10} {
		b.Run(strconv.Itoa(tokens), func(b *testing.B) { benchRecall(b, dev, recallShape{32, 8, 128, tokens}) })
	}
}

// layerRun is a layer that is looked at: its attention and a recall of it, with an LSE of its own.
type layerRun struct {
	call   *minfc.Call
	recall *minfc.Recall
	at     minfc.Pointers
}

// layer prepares a pattern of the library on all heads.
func (b *givenBench) layer(spec minfc.Spec, rows int) layerRun {
	att, err := minfc.NewAttention(b.dev, spec, b.heads)
	require.NoError(b, err)
	b.Cleanup(func() { att.Close() })
	out := layerRun{at: b.at}
	out.call, err = att.Prepare(minfc.Shape{Batch: 1, SeqQ: b.rows, SeqK: b.rows, NoFallback: true})
	require.NoError(b, err)
	out.recall, err = att.PrepareRecall(out.call, minfc.SampleRows(b.rows, rows, 5))
	require.NoError(b, err)
	out.at.WorkspaceBytes = max(out.call.Workspace(), out.recall.Workspace())
	out.at.Workspace = b.place(make([]byte, out.at.WorkspaceBytes))
	out.at.LSE, out.at.Mass = b.place(make([]byte, 4*b.heads.Q*b.rows)), b.place(make([]byte, 4*b.heads.Q))
	out.at.MassRows = b.place(make([]byte, 4*b.heads.Q*out.recall.Sampled()))
	return out
}

func (l layerRun) attend() error { return l.call.Run(nil, l.at) }
func (l layerRun) look() error   { return l.recall.Run(nil, l.at) }

// floats reads n numbers back.
func (b *givenBench) floats(at device.Ptr, n int) []float64 {
	data, out := make([]byte, 4*n), make([]float64, n)
	require.NoError(b, b.dev.CopyToHost(data, at, nil))
	for i := range out {
		out[i] = float64(math.Float32frombits(binary.LittleEndian.Uint32(data[4*i:])))
	}
	return out
}

// holds compares the masses of a layer with the LSE of a dense run.
func (b *givenBench) holds(l, dense layerRun) {
	require.NoError(b, l.attend())
	require.NoError(b, l.look())
	n := b.heads.Q * b.rows
	mine, all, got := b.floats(l.at.LSE, n), b.floats(dense.at.LSE, n), b.floats(l.at.MassRows, b.heads.Q*l.recall.Sampled())
	for h := range b.heads.Q {
		for i, row := range l.recall.Rows() {
			want := math.Exp(mine[h*b.rows+row] - all[h*b.rows+row])
			require.InDelta(b, want, got[h*l.recall.Sampled()+i], 1e-3, "head %d, row %d", h, row)
		}
	}
}

func benchRecall(t *testing.B, dev device.Device, s recallShape) {
	b := &givenBench{B: t, dev: dev, heads: minfc.Heads{Q: s.heads, KV: s.kvHeads, Dim: s.dim, DType: abi.BF16}, rows: s.tokens}
	in, err := workload.OnDevice(dev, workload.Spec{Kind: workload.Mixed, Batch: 1, QHeads: s.heads, KVHeads: s.kvHeads, SeqLen: s.tokens, HeadDim: s.dim, Seed: 3, DType: abi.BF16}, nil)
	require.NoError(b, err)
	defer in.Close()
	b.at = minfc.Pointers{Q: in.Q, K: in.K, V: in.V, O: b.place(make([]byte, 2*s.heads*s.dim*s.tokens))}
	dense := b.layer(minfc.Spec{Pattern: "dense"}, 64)
	slash := b.layer(minfc.Spec{Pattern: "vertical_slash"}, 64)
	narrow := b.layer(minfc.Spec{Pattern: "a_shape"}, 64)
	more := b.layer(minfc.Spec{Pattern: "a_shape"}, 256)
	require.NoError(b, dense.attend())
	for _, l := range []layerRun{slash, narrow, more, dense} {
		b.holds(l, dense)
	}
	units, ways := []string{"recall-ms", "recall256-ms", "slash-ms", "a_shape-ms"}, []func() error{narrow.look, more.look, slash.attend, narrow.attend}
	ms := make([][]float64, len(ways))
	for range b.N {
		for _, i := range rand.Perm(len(ways)) {
			ms[i] = append(ms[i], elapsed(b.B, b.dev, ways[i]))
		}
	}
	var median []float64
	for i, unit := range units {
		slices.Sort(ms[i])
		median = append(median, ms[i][len(ms[i])/2])
		b.ReportMetric(median[i], unit)
	}
	b.ReportMetric(100*median[0]/median[2], "%of-slash")
	b.ReportMetric(100*median[0]/median[3], "%of-a_shape")
	b.ReportMetric(0, "ns/op")
}
