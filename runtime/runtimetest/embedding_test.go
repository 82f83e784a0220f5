package runtimetest_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"log"
	"math"
	"sync"

	"github.com/minfc/minfc/compile"
	"github.com/minfc/minfc/patterns"
	"github.com/minfc/minfc/runtime"
	"github.com/minfc/minfc/runtime/artifact"
	_ "github.com/minfc/minfc/runtime/cuda"
	"github.com/minfc/minfc/runtime/device"
	_ "github.com/minfc/minfc/runtime/emu"
)

// attentionLayer is what a server keeps for one layer: kernels, loaded once.
type attentionLayer struct {
	*runtime.Loaded
	heads, kvHeads int
}

func newLayer(dev device.Device, file []byte, headDim, heads, kvHeads int) (*attentionLayer, error) {
	art, err := artifact.Read(file)
	if err != nil {
		return nil, err
	}
	l, err := runtime.Load(dev, art, artifact.Select{HeadDim: headDim, DType: "bf16"})
	if errors.Is(err, artifact.ErrTarget) {
		return nil, fmt.Errorf("recompile the pattern for this GPU: %w", err)
	}
	if err != nil {
		return nil, err
	}
	return &attentionLayer{l, heads, kvHeads}, nil
}

// prefill attends n new tokens, which follow past tokens in the K/V cache. qkv, cache and out are device pointers and
// stream a CUstream of whoever owns the memory: nothing is copied, allocated or waited for.
//
// qkv is [n, heads, d]; the cache [2, kv heads, capacity, d]; out [n, heads, d].
func (l *attentionLayer) prefill(stream device.Stream, qkv, cache, out, lse device.Ptr, n, past, capacity int) error {
	d := int64(l.Build().HeadDim)
	tokens := runtime.Stride{Head: d, Row: d * int64(l.heads)}
	cached := runtime.Stride{Head: d * int64(capacity), Row: d}
	call, err := l.Prepare(runtime.Shape{
		Batch: 1, QHeads: l.heads, KVHeads: l.kvHeads,
		SeqQ: n, SeqK: past + n, QOffset: past,
		Strides: runtime.Strides{Q: tokens, K: cached, V: cached, O: tokens},
	}, runtime.Part{Params: map[string]int64{"sink": 4, "window": 32}})
	if err != nil {
		return err
	}
	values := cache + device.Ptr(2*d*int64(l.kvHeads)*int64(capacity)) // 2 bytes an element
	return call.Run(stream, runtime.Pointers{Q: qkv, K: cache, V: values, O: out, LSE: lse})
}

// One layer of a server: 100 new tokens after 50 cached ones, 4 query heads on 2 kv heads. With Q zero all kept keys
// weigh the same, so the output is their mean and the LSE the logarithm of their number.
func Example_embedding() {
	const n, past, capacity, d, heads, kvHeads = 100, 50, 256, 64, 4, 2
	dev, _, err := device.OpenSpec("emu") // "auto" takes a GPU where there is one
	check(err)
	defer dev.Close()
	layer, err := newLayer(dev, compileAShape(d), d, heads, kvHeads)
	check(err)
	defer layer.Close()

	// In a server these come from elsewhere: a tensor library's pointers, and dev.WrapStream(its stream).
	stream, err := dev.NewStream()
	check(err)
	defer stream.Close()
	q, cache := filled(dev, n*heads*d, 0, stream), filled(dev, 2*kvHeads*capacity*d, 1, stream)
	out, lse := filled(dev, n*heads*d, 0, stream), filled(dev, 2*n*heads, 0, stream)

	check(layer.prefill(stream, q, cache, out, lse, n, past, capacity))
	sums, o := make([]byte, 4*n*heads), make([]byte, 2*n*heads*d)
	check(dev.CopyToHost(sums, lse, stream)) // waits for the stream
	check(dev.CopyToHost(o, out, stream))
	last := math.Float32frombits(binary.LittleEndian.Uint32(sums[4*(n-1):]))
	fmt.Printf("the last token of head 0 keeps %.0f of %d keys\n", math.Exp(float64(last)), past+n)
	fmt.Printf("its output is the mean of equal values: %v\n", fromBF16(o[len(o)-2:]))
	// Output:
	// the last token of head 0 keeps 36 of 150 keys
	// its output is the mean of equal values: 1
}

// The layers of a model are one call on other tensors: it is prepared once, and each layer, in a goroutine of its own here, runs it with
// its pointers. V is 1 in the first layer and 2 in the second.
func Example_prepare() {
	const n, d, heads, kvHeads = 100, 64, 4, 2
	dev, _, err := device.OpenSpec("emu")
	check(err)
	defer dev.Close()
	layer, err := newLayer(dev, compileAShape(d), d, heads, kvHeads)
	check(err)
	defer layer.Close()
	call, err := layer.Prepare(runtime.Shape{Batch: 1, QHeads: heads, KVHeads: kvHeads, SeqQ: n, SeqK: n},
		runtime.Part{Params: map[string]int64{"sink": 4, "window": 32}})
	check(err)

	q, k := filled(dev, n*heads*d, 0, nil), filled(dev, n*kvHeads*d, 1, nil)
	var layers [2]runtime.Pointers
	for i := range layers {
		layers[i] = runtime.Pointers{Q: q, K: k, V: filled(dev, n*kvHeads*d, float32(i+1), nil), O: filled(dev, n*heads*d, 0, nil)}
	}
	var group sync.WaitGroup
	for _, at := range layers {
		group.Go(func() { check(call.Run(nil, at)) })
	}
	group.Wait()
	for i, at := range layers {
		o := make([]byte, 2*n*heads*d)
		check(dev.CopyToHost(o, at.O, nil)) // waits for the stream
		fmt.Printf("layer %d: %v\n", i, fromBF16(o))
	}
	// Output:
	// layer 0: 1
	// layer 1: 2
}

// compileAShape stands for a file that "minfc compile a_shape" wrote.
func compileAShape(headDim int) []byte {
	file, src, _ := patterns.Source("a_shape")
	art, err := compile.Source(file, src, "", compile.Options{Target: "sm_80", DType: "bf16", HeadDim: headDim}, nil)
	check(err)
	data, err := art.Encode()
	check(err)
	return data
}

// filled is device memory of n bf16 numbers.
func filled(dev device.Device, n int, value float32, s device.Stream) device.Ptr {
	host := make([]byte, 2*n)
	for i := range n {
		binary.LittleEndian.PutUint16(host[2*i:], uint16(math.Float32bits(value)>>16))
	}
	p, err := dev.Alloc(int64(len(host)))
	check(err)
	check(dev.CopyToDevice(p, host, s))
	return p
}

func fromBF16(b []byte) float32 {
	return math.Float32frombits(uint32(binary.LittleEndian.Uint16(b)) << 16)
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
