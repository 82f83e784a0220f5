package e2e

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/compile"
	"github.com/minfc/minfc/half"
	"github.com/minfc/minfc/internal/campaign"
	"github.com/minfc/minfc/internal/qkv"
	"github.com/minfc/minfc/runtime"
	"github.com/minfc/minfc/runtime/device"
	"github.com/minfc/minfc/runtime/emu"
)

// recallDevice is the device that tests of recalls run on: MINFC_RECALL_DEVICE=cuda says it of a GPU.
func recallDevice(t *testing.T) device.Device {
	spec := os.Getenv("MINFC_RECALL_DEVICE")
	if spec == "" {
		return openEmulator(t, emu.Options{})
	}
	dev, _, err := device.OpenSpec(spec)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, dev.Close()) })
	return dev
}

func loadRecall(t *testing.T, dev device.Device, headDim int, dtype abi.DType) *runtime.Recall {
	kernels, err := compile.Recall(headDim, dtype, nil)
	require.NoError(t, err)
	r, err := runtime.LoadRecall(dev, kernels)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, r.Close()) })
	return r
}

// rowsOf are the rows of ranges.
func rowsOf(ranges []runtime.RowRange) (out []int) {
	for _, r := range ranges {
		for i := range r.Count {
			out = append(out, r.First+i*r.Step)
		}
	}
	return out
}

// decoded are the elements of a tensor.
func decoded(t *testing.T, in *qkv.Input, data []byte) []float32 {
	out := make([]float32, len(data)/2)
	require.NoError(t, half.Decode(in.Format, out, data))
	return out
}

// massOf is the share of a row's attention that some keys hold, in float64: of all keys up to the row's position, or of all keys.
func massOf(in *qkv.Input, q, k []float32, head, row int, causal bool, keeps func(key int) bool) float64 {
	dim, kv := in.HeadDim, head/(in.QHeads/in.KVHeads) // heads are counted over batches, and so are kv heads
	logits, most := make([]float64, in.SeqK), math.Inf(-1)
	for key := range logits {
		logits[key] = math.Inf(-1)
		if causal && key > in.QOffset+row {
			continue
		}
		sum := 0.0
		for i := range dim {
			sum += float64(q[(head*in.SeqQ+row)*dim+i]) * float64(k[(kv*in.SeqK+key)*dim+i])
		}
		logits[key] = sum / math.Sqrt(float64(dim))
		most = max(most, logits[key])
	}
	kept, all := 0.0, 0.0
	for key, x := range logits {
		p := math.Exp(x - most)
		all += p
		if keeps(key) {
			kept += p
		}
	}
	return kept / all
}

// compareMass holds the recall of a call against float64 over the pairs that the call itself says it keeps.
func compareMass(t *testing.T, l *runtime.Loaded, r *runtime.Recall, in *qkv.Input, h runtime.HostCall, causal func(head int) bool) []float32 {
	h.Recall, h.Chosen = r, true
	res, err := l.RunHost(t.Context(), h)
	require.NoError(t, err)
	call, err := l.Prepare(h.Shape, h.Parts...)
	require.NoError(t, err)
	ranges := h.Sample
	if ranges == nil {
		ranges = []runtime.RowRange{runtime.SampleRows(in.SeqQ, runtime.SampledRows, 0)}
	}
	rows, q, k := rowsOf(ranges), decoded(t, in, in.Q), decoded(t, in, in.K)
	require.Len(t, res.Mass, in.Batch*in.QHeads)
	require.Len(t, res.MassRows, in.Batch*in.QHeads*len(rows))
	for head := range res.Mass {
		var chosen *runtime.Chosen
		if head < len(res.Chosen) {
			chosen = &res.Chosen[head]
		}
		mean := 0.0
		for i, row := range rows {
			cover, err := call.Cover(head, chosen, []int{row})
			require.NoError(t, err)
			want := massOf(in, q, k, head, row, causal(head%in.QHeads), func(key int) bool { return cover[key] > 0 })
			mean += want / float64(len(rows))
			require.InDelta(t, want, res.MassRows[head*len(rows)+i], 1e-3, "head %d, row %d", head, row)
		}
		require.InDelta(t, mean, res.Mass[head], 1e-3, "head %d", head)
	}
	return res.Mass
}

// The kept mass of every library pattern is what float64 says of the pairs that it keeps: all head dims and both types, random and structured
// inputs, lengths at tile edges, Sq != Sk, positions behind the first, GQA, and rows of every kind.
func TestRecallAgreesWithFloat64(t *testing.T) {
	kinds := map[string]map[string]int64{"dense": nil, "full": nil, "a_shape": {"sink": 5, "window": 40}, "strided": {"stride": 7},
		"vertical_slash": {"vertical": 20, "slash": 60}, "block_sparse": {"topk": 2}}
	names := []string{"a_shape", "full", "vertical_slash", "dense", "strided", "block_sparse"}
	dims := headDims
	if testing.Short() {
		dims = shortDims
	}
	for i, dim := range dims {
		for n := range campaign.Cases(1, 2, len(names)) {
			name, dtype := names[(i+n*4)%len(names)], []abi.DType{abi.BF16, abi.F16}[(i+n)%2]
			target := compile.Targets()[(i+n)%len(compile.Targets())]
			rng := rand.New(rand.NewPCG(uint64(i), uint64(n)))
			c := attentionCase{program: library(t, name), target: target, headDim: dim, dtype: dtype, shape: randomShape(rng), params: kinds[name],
				random: (i+n)%2 == 0, seed: uint64(i)}
			t.Run(fmt.Sprintf("%s/%s", c.kernel(), c.launched()), func(t *testing.T) {
				l, in := c.loadOn(t, recallDevice(t)), c.input(t)
				h := c.host(in)
				h.Sample = randomRows(rng, in.SeqQ)
				compareMass(t, l, loadRecall(t, l.Device(), dim, dtype), in, h, func(int) bool { return name != "full" })
			})
		}
	}
}

// randomRows are nil, rows in a row, rows a step apart, more of them than a launch takes, or several ranges.
func randomRows(rng *rand.Rand, seqQ int) []runtime.RowRange {
	one := func(most int) runtime.RowRange {
		first := rng.IntN(seqQ)
		step := 1 + rng.IntN(min(seqQ, 9))
		return runtime.RowRange{First: first, Step: step, Count: min(most, (seqQ-1-first)/step+1)}
	}
	switch rng.IntN(4) {
	case 0:
		return nil
	case 1:
		return []runtime.RowRange{one(20), one(1), one(30)}
	case 2:
		return []runtime.RowRange{{First: 0, Step: 1, Count: seqQ}}
	default:
		return []runtime.RowRange{one(seqQ)}
	}
}

// A pattern that keeps everything has all of the mass, whatever the rows and the order in which warps run.
func TestRecallOfEverything(t *testing.T) {
	for _, name := range []string{"dense", "full"} {
		c := attentionCase{program: library(t, name), headDim: 64, dtype: abi.BF16, shape: qkv.Shape{Batch: 2, QHeads: 4, KVHeads: 2, SeqQ: 130, SeqK: 257, QOffset: 127}}
		l, in := c.loadOn(t, recallDevice(t)), c.input(t)
		h := c.host(in)
		for _, rows := range [][]runtime.RowRange{nil, {{First: 0, Step: 1, Count: 130}}, {{First: 129, Step: 1, Count: 1}}} {
			h.Sample = rows
			for _, mass := range compareMass(t, l, loadRecall(t, l.Device(), 64, abi.BF16), in, h, func(int) bool { return name == "dense" }) {
				require.InDelta(t, 1, mass, 1e-3)
			}
		}
	}
}

// needle is an input of one kv head whose rows from 100 on give a share of their attention to key 7, and spread the rest over all others.
func needle(t *testing.T, share float64) *qkv.Input {
	const n, dim = 300, 64
	c := attentionCase{program: library(t, "dense"), headDim: dim, dtype: abi.F16, shape: qkv.Shape{Batch: 1, QHeads: 2, KVHeads: 1, SeqQ: n, SeqK: n}}
	in := c.input(t)
	q, k := make([]float32, 2*n*dim), make([]float32, n*dim)
	for row := range n {
		if row >= 100 { // row has row+1 keys: e^x / (e^x + row) is the share
			q[row*dim] = float32(math.Log(share/(1-share)*float64(row)) * math.Sqrt(dim))
		}
	}
	k[7*dim] = 1
	var err error
	in.Q, err = half.Encode(abi.F16, q)
	require.NoError(t, err)
	in.K, err = half.Encode(abi.F16, k)
	require.NoError(t, err)
	return in
}

// A window that loses a needle loses the needle's mass: sink or not, the difference is what was planted.
func TestRecallOfALostNeedle(t *testing.T) {
	const share = 0.7
	in := needle(t, share)
	rows := []runtime.RowRange{{First: 200, Step: 3, Count: 34}}
	for _, x := range []struct {
		sink int64
		want func(row int) float64
	}{
		{0, func(row int) float64 { return (1 - share) * 32 / float64(row) }},
		{8, func(row int) float64 { return share + (1-share)*(32+7)/float64(row) }},
	} {
		c := attentionCase{program: library(t, "a_shape"), headDim: 64, dtype: abi.F16, params: map[string]int64{"sink": x.sink, "window": 32}}
		l := c.loadOn(t, recallDevice(t))
		h := c.host(in)
		h.Sample = rows
		mass := compareMass(t, l, loadRecall(t, l.Device(), 64, abi.F16), in, h, func(int) bool { return true })
		want := 0.0
		for _, row := range rowsOf(rows) {
			want += x.want(row) / float64(rows[0].Count)
		}
		require.InDelta(t, want, mass[0], 2e-3, "sink %d", x.sink)
	}
}

// Heads of a layer have different patterns, of which some look ahead; a head that no part has is left as it is.
func TestRecallOfALayer(t *testing.T) {
	window, err := compile.Load("ahead.minf", []byte("pattern ahead(left = 30, right = 20) { keep window(left, right) }"), "", nil)
	require.NoError(t, err)
	members := []compile.Member{{Program: library(t, "a_shape")}, {Program: window}, {Program: library(t, "vertical_slash")}}
	art, err := compile.Group(members, compile.Options{Target: "sm_80", DType: abi.BF16, HeadDim: 64}, nil)
	require.NoError(t, err)
	dev := recallDevice(t)
	l := load(t, dev, art)
	c := attentionCase{program: window, headDim: 64, dtype: abi.BF16, shape: qkv.Shape{Batch: 2, QHeads: 6, KVHeads: 2, SeqQ: 150, SeqK: 200, QOffset: 40}, random: true}
	in := c.input(t)
	h := in.Call()
	h.NoFallback = true
	h.Parts = []runtime.Part{{Pattern: 0, Heads: []int{0, 4}, Params: map[string]int64{"sink": 3, "window": 50}}, {Pattern: 1, Heads: []int{1, 2, 5}},
		{Pattern: 2, Heads: []int{3}, Params: map[string]int64{"vertical": 10, "slash": 20}}}
	looksAhead := map[int]bool{1: true, 2: true, 5: true}
	compareMass(t, l, loadRecall(t, dev, 64, abi.BF16), in, h, func(head int) bool { return !looksAhead[head] })
}

// uploaded puts bytes where the device has them.
func uploaded(t *testing.T, dev device.Device, data []byte) device.Ptr {
	p, err := dev.Alloc(int64(len(data)))
	require.NoError(t, err)
	require.NoError(t, dev.CopyToDevice(p, data, nil))
	return p
}

// Tensors lie as strides say, the softmax has a scale of its own, heads that no part has keep what was in mass, and two runs give the same bits.
func TestRecallReadsStrides(t *testing.T) {
	const rows, heads, dim, scale = 140, 4, 64, 0.25
	c := attentionCase{program: library(t, "a_shape"), headDim: dim, dtype: abi.BF16, shape: qkv.Shape{Batch: 1, QHeads: heads, KVHeads: 2, SeqQ: rows, SeqK: rows}, random: true}
	l, in := c.loadOn(t, recallDevice(t)), c.input(t)
	dev := l.Device()
	interleaved := func(x []byte, heads int) (out []byte) { // [rows, heads, dim]
		for row := range rows {
			for h := range heads {
				out = append(out, x[2*dim*(h*rows+row):][:2*dim]...)
			}
		}
		return out
	}
	stride := func(heads int64) runtime.Stride {
		return runtime.Stride{Batch: heads * dim * rows, Head: dim, Row: heads * dim}
	}
	shape := runtime.Shape{Batch: 1, QHeads: heads, KVHeads: 2, SeqQ: rows, SeqK: rows, Scale: scale,
		Strides: runtime.Strides{Q: stride(heads), K: stride(2), V: stride(2), LSE: runtime.Stride{Batch: heads * 200, Head: 200}}}
	call, err := l.Prepare(shape, runtime.Part{Heads: []int{0, 3}, Params: map[string]int64{"sink": 3, "window": 20}})
	require.NoError(t, err)
	recall, err := loadRecall(t, dev, dim, abi.BF16).Prepare(call, runtime.RowRange{First: 1, Step: 2, Count: 70})
	require.NoError(t, err)
	float := func(n int) []byte { return make([]byte, 4*n) }
	at := runtime.Pointers{Q: uploaded(t, dev, interleaved(in.Q, heads)), K: uploaded(t, dev, interleaved(in.K, 2)), V: uploaded(t, dev, interleaved(in.V, 2)),
		O: uploaded(t, dev, make([]byte, len(in.Q))), LSE: uploaded(t, dev, float(200*heads)), Mass: uploaded(t, dev, bytes.Repeat([]byte{7}, 4*heads))}
	at.WorkspaceBytes = max(call.Workspace(), recall.Workspace())
	at.Workspace = uploaded(t, dev, make([]byte, at.WorkspaceBytes))
	require.NoError(t, call.Run(nil, at))
	var bits [2][]byte
	for i := range bits {
		require.NoError(t, recall.Run(nil, at))
		bits[i] = float(heads)
		require.NoError(t, dev.CopyToHost(bits[i], at.Mass, nil))
	}
	require.Equal(t, bits[0], bits[1])
	require.Equal(t, bytes.Repeat([]byte{7}, 8), bits[0][4:12], "heads 1 and 2 are nobody's")
	q, k := decoded(t, in, in.Q), decoded(t, in, in.K)
	for i := range q {
		q[i] *= scale * 8 // massOf has a scale of 1/8
	}
	for _, head := range []int{0, 3} {
		want := 0.0
		for _, row := range recall.Rows() {
			want += massOf(in, q, k, head, row, true, func(key int) bool { return key < 3 && key <= row || key <= row && key > row-20 }) / 70
		}
		require.InDelta(t, want, math.Float32frombits(binary.LittleEndian.Uint32(bits[0][4*head:])), 1e-3)
	}
}

// Rows that are spread over a longer call see very different numbers of keys.
func TestRecallOfALongCall(t *testing.T) {
	for _, target := range compile.Targets() {
		c := attentionCase{program: library(t, "a_shape"), target: target, headDim: 64, dtype: abi.BF16, params: map[string]int64{"sink": 10, "window": 40},
			shape: qkv.Shape{Batch: 1, QHeads: 2, KVHeads: 1, SeqQ: 2100, SeqK: 2100}, random: true}
		l, in := c.loadOn(t, recallDevice(t)), c.input(t)
		mass := compareMass(t, l, loadRecall(t, l.Device(), 64, abi.BF16), in, c.host(in), func(int) bool { return true })
		require.Less(t, mass[0], float32(0.5))
	}
}
