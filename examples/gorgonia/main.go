//go:build gorgonia

// Command gorgonia is sparse attention inside a program that uses gorgonia.org/cu: the context, the stream and all device memory are the
// program's own, and the result is checked against attention in float64.
//
//	go run -tags gorgonia ./examples/gorgonia      # needs cuda.h, libcuda and a GPU: docs/embedding.md
package main

import (
	"fmt"
	"log"
	"runtime"

	"gorgonia.org/cu"

	"github.com/minfc/minfc"
	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/runtime/device"
	"github.com/minfc/minfc/runtime/gorgonia"
)

const tokens, qHeads, kvHeads, headDim = 2048, 8, 2, 128

func main() {
	log.SetFlags(0)
	runtime.LockOSThread() // a context is current on one thread
	if err := run(); err != nil {
		log.Fatal(err)
	}
}

func run() error {
	gpu, err := cu.GetDevice(0)
	if err != nil {
		return err
	}
	ctx, err := gpu.MakeContext(cu.SchedAuto) // stands for the context that your program has
	if err != nil {
		return err
	}
	defer ctx.Destroy()
	own, err := cu.MakeStream(cu.NonBlocking) // and for its stream
	if err != nil {
		return err
	}
	defer own.Destroy()
	dev, err := gorgonia.WrapCUContext(ctx, gpu) // gorgonia.Wrap takes a *cu.Ctx
	if err != nil {
		return err
	}
	defer dev.Close() // leaves the context alone
	return attention(dev, own)
}

func attention(dev device.Device, own cu.Stream) error {
	att, err := minfc.NewAttention(dev, minfc.Spec{Pattern: "vertical_slash", Params: map[string]int64{"vertical": 100, "slash": 300}},
		minfc.Heads{Q: qHeads, KV: kvHeads, Dim: headDim, DType: abi.BF16}) // once, at start-up
	if err != nil {
		return err
	}
	defer att.Close()
	call, err := att.Prepare(minfc.Shape{Batch: 1, SeqQ: tokens, SeqK: tokens, NoFallback: true}) // once a shape
	if err != nil {
		return err
	}
	m := memory{stream: own}
	defer m.free()
	x := tensors{q: random(qHeads), k: random(kvHeads), v: random(kvHeads)}
	at := minfc.Pointers{Q: m.upload(x.q), K: m.upload(x.k), V: m.upload(x.v), O: m.output(len(x.q)), WorkspaceBytes: call.Workspace()}
	at.Workspace = m.alloc(at.WorkspaceBytes)
	if m.err != nil {
		return m.err
	}
	stream := dev.WrapStream(gorgonia.StreamHandle(own))
	if err := call.Run(stream, at); err != nil { // for every layer, with its tensors
		return err
	}
	if x.o, err = m.download(cu.DevicePtr(at.O), len(x.q)); err != nil {
		return err
	}
	chosen, err := call.ReadChosen(stream, at)
	if err != nil {
		return err
	}
	worst, err := check(call, chosen, x)
	if err != nil {
		return err
	}
	fmt.Printf("%s, %s code: %d rows are within %.1e of attention in float64 over the keys that were kept\n",
		dev.Info().Name, att.Loaded().Build().Target, qHeads*len(checkedRows), worst)
	return nil
}
