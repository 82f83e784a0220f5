package minfc_test

import (
	"encoding/binary"
	"fmt"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc"
	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/internal/qkv"
	"github.com/minfc/minfc/internal/selfcheck"
	"github.com/minfc/minfc/plan"
	"github.com/minfc/minfc/runtime/device"
	"github.com/minfc/minfc/runtime/emu"
)

// runOn runs an attention on tensors of the host, as a program would that has no tensors of its own on the device.
func runOn(t *testing.T, dev device.Device, a *minfc.Attention, in *qkv.Input) (o []byte, lse []float32) {
	call, err := a.Prepare(minfc.Shape{Batch: in.Batch, SeqQ: in.SeqQ, SeqK: in.SeqK})
	require.NoError(t, err)
	alloc := func(bytes int64) device.Ptr {
		p, err := dev.Alloc(max(bytes, 1))
		require.NoError(t, err)
		return p
	}
	upload := func(data []byte) device.Ptr {
		p := alloc(int64(len(data)))
		require.NoError(t, dev.CopyToDevice(p, data, nil))
		return p
	}
	at := minfc.Pointers{Q: upload(in.Q), K: upload(in.K), V: upload(in.V), O: alloc(int64(len(in.Q))), WorkspaceBytes: call.Workspace()}
	at.Workspace, at.LSE = alloc(at.WorkspaceBytes), alloc(4*int64(in.Batch*in.QHeads*in.SeqQ))
	require.NoError(t, call.Run(nil, at))
	o, words := make([]byte, len(in.Q)), make([]byte, 4*in.Batch*in.QHeads*in.SeqQ)
	require.NoError(t, dev.CopyToHost(o, at.O, nil))
	require.NoError(t, dev.CopyToHost(words, at.LSE, nil))
	for ; len(words) > 0; words = words[4:] {
		lse = append(lse, math.Float32frombits(binary.LittleEndian.Uint32(words)))
	}
	return o, lse
}

// TestNewAttention: a pattern of the library, one of a source, and a layer of a plan give attention over what they keep.
func TestNewAttention(t *testing.T) {
	dev, err := emu.Open(emu.Options{})
	require.NoError(t, err)
	defer dev.Close()
	in, err := qkv.Generate(qkv.Shape{Batch: 1, QHeads: 2, KVHeads: 1, SeqQ: 150, SeqK: 150, HeadDim: 32}, abi.BF16, 7)
	require.NoError(t, err)
	window := func(left int) func(q, k int) bool {
		return func(q, k int) bool { return k <= q && q-k < left || k < 2 && k <= q }
	}
	library, err := plan.Library()
	require.NoError(t, err)
	head := func(left int64) plan.Head {
		return plan.Head{Pattern: library["a_shape"], Params: map[string]int64{"sink": 2, "window": left}}
	}
	for name, c := range map[string]struct {
		spec  minfc.Spec
		keeps []func(q, k int) bool
	}{
		"library": {minfc.Spec{Pattern: "a_shape", Params: map[string]int64{"sink": 2, "window": 70}}, []func(q, k int) bool{window(70), window(70)}},
		"source": {minfc.Spec{Source: "pattern near(n = 9, const first = 1) { keep causal & (window(n) | sink(first)) }",
			Params: map[string]int64{"n": 40, "first": 2}}, []func(q, k int) bool{window(40), window(40)}},
		"plan": {minfc.Spec{Plan: &plan.Plan{Layers: []plan.Layer{{}, {0: head(30), 1: head(90)}}}, Layer: 1}, []func(q, k int) bool{window(30), window(90)}},
	} {
		a, err := minfc.NewAttention(dev, c.spec, minfc.Heads{Q: 2, KV: 1, Dim: 32, DType: "bf16"})
		require.NoError(t, err, name)
		o, lse := runOn(t, dev, a, in)
		report, err := selfcheck.Compare(selfcheck.Case{In: in, Scale: 1 / math.Sqrt(32), O: o, LSE: lse, Keeps: c.keeps})
		require.NoError(t, err, name)
		require.True(t, report.OK(), "%s: %s", name, report)
		_, err = a.Prepare(minfc.Shape{Batch: 1, QHeads: 4, KVHeads: 2, SeqQ: 1, SeqK: 1})
		require.ErrorIs(t, err, device.ErrBadCall)
		require.NoError(t, a.Close())
	}
	_, err = minfc.NewAttention(dev, minfc.Spec{Pattern: "a_shap"}, minfc.Heads{Q: 2, KV: 1, Dim: 32, DType: "bf16"})
	require.ErrorContains(t, err, "a_shap")
}

func ExampleNewAttention() {
	dev, err := emu.Open(emu.Options{})
	if err != nil {
		panic(err)
	}
	att, err := minfc.NewAttention(dev, minfc.Spec{Pattern: "vertical_slash"}, minfc.Heads{Q: 32, KV: 8, Dim: 128, DType: "bf16"})
	if err != nil {
		panic(err)
	}
	defer att.Close()
	call, err := att.Prepare(minfc.Shape{Batch: 1, SeqQ: 1 << 20, SeqK: 1 << 20}) // a million tokens
	if err != nil {
		panic(err)
	}
	fmt.Printf("%.2f GB of workspace, %d launches of attention\n", float64(call.Workspace())/1e9, call.Launches())
	// call.Run(stream, minfc.Pointers{Q: q, K: k, V: v, O: o, Workspace: w, WorkspaceBytes: call.Workspace()}) enqueues it.
	// Output: 0.30 GB of workspace, 1 launches of attention
}
