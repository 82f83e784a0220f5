// Command go is sparse attention from a Go program: it compiles Vertical-Slash for the GPU at hand, or for the emulator, and runs it.
//
//	go run ./examples/go
package main

import (
	"fmt"
	"log"
	"math/rand/v2"

	"github.com/minfc/minfc"
	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/half"
	_ "github.com/minfc/minfc/runtime/cuda" // drivers register themselves
	"github.com/minfc/minfc/runtime/device"
	_ "github.com/minfc/minfc/runtime/emu"
)

const tokens, qHeads, kvHeads, headDim = 512, 4, 2, 64

func main() {
	log.SetFlags(0)
	if err := run(); err != nil {
		log.Fatal(err)
	}
}

func run() error {
	dev, how, err := device.OpenSpec("auto")
	if err != nil {
		return err
	}
	defer dev.Close()
	att, err := minfc.NewAttention(dev, minfc.Spec{Pattern: "vertical_slash", Params: map[string]int64{"vertical": 64, "slash": 128}},
		minfc.Heads{Q: qHeads, KV: kvHeads, Dim: headDim, DType: abi.BF16}) // once, at start-up
	if err != nil {
		return err
	}
	defer att.Close()
	call, err := att.Prepare(minfc.Shape{Batch: 1, SeqQ: tokens, SeqK: tokens, NoFallback: true}) // once a shape
	if err != nil {
		return err
	}
	q, k, v := random(qHeads), random(kvHeads), random(kvHeads)
	m := memory{dev: dev}
	defer m.free()
	at := minfc.Pointers{Q: m.upload(q), K: m.upload(k), V: m.upload(v), O: m.alloc(int64(len(q))), WorkspaceBytes: call.Workspace()}
	at.Workspace = m.alloc(at.WorkspaceBytes)
	if m.err == nil {
		m.err = call.Run(nil, at) // for every layer, with its tensors; nil is the default stream
	}
	o := make([]byte, len(q))
	if m.err == nil {
		m.err = dev.CopyToHost(o, at.O, nil)
	}
	if m.err != nil {
		return m.err
	}
	values := make([]float32, len(o)/2)
	err = half.Decode(abi.BF16, values, o)
	fmt.Printf("%s: row 0 of head 0 begins with %.4f, its only key's value\n", how, values[:3])
	return err
}

// random are the numbers of a tensor [heads, tokens, head dim].
func random(heads int) []byte {
	values := make([]float32, heads*tokens*headDim)
	rng := rand.New(rand.NewPCG(1, uint64(heads)))
	for i := range values {
		values[i] = float32(rng.NormFloat64())
	}
	data, err := half.Encode(abi.BF16, values)
	if err != nil {
		log.Fatal(err) // a size that is not the type's
	}
	return data
}
