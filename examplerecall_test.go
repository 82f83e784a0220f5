package minfc_test

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/minfc/minfc"
	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/half"
	"github.com/minfc/minfc/runtime/device"
	"github.com/minfc/minfc/runtime/emu"
)

// What share of the attention a window keeps where all keys are alike: query i has i+1 keys, of which 20 are kept. On a GPU the device comes
// from device.OpenSpec("cuda").
func ExampleAttention_PrepareRecall() {
	const rows, heads, dim = 100, 2, 64
	dev, err := emu.Open(emu.Options{})
	must(err)
	defer dev.Close()
	att, err := minfc.NewAttention(dev, minfc.Spec{Pattern: "a_shape", Params: map[string]int64{"sink": 4, "window": 16}},
		minfc.Heads{Q: heads, KV: 1, Dim: dim, DType: abi.BF16})
	must(err)
	defer att.Close()
	call, err := att.Prepare(minfc.Shape{Batch: 1, SeqQ: rows, SeqK: rows})
	must(err)
	recall, err := att.PrepareRecall(call, minfc.RowRange{First: 39, Step: 20, Count: 4}) // rows 39, 59, 79 and 99
	must(err)

	alloc := func(bytes int64) device.Ptr {
		p, err := dev.Alloc(max(bytes, 1))
		must(err)
		return p
	}
	upload := func(heads int) device.Ptr {
		data, err := half.Encode(abi.BF16, slicesOf(heads*rows*dim, 1))
		must(err)
		p := alloc(int64(len(data)))
		must(dev.CopyToDevice(p, data, nil))
		return p
	}
	at := minfc.Pointers{Q: upload(heads), K: upload(1), V: upload(1), O: alloc(2 * heads * rows * dim), LSE: alloc(4 * heads * rows),
		Mass: alloc(4 * heads), WorkspaceBytes: max(call.Workspace(), recall.Workspace())}
	at.Workspace = alloc(at.WorkspaceBytes)
	must(call.Run(nil, at))   // enqueues
	must(recall.Run(nil, at)) // behind it
	mass := make([]byte, 4*heads)
	must(dev.CopyToHost(mass, at.Mass, nil))
	for h := range heads {
		fmt.Printf("head %d kept %.3f of its attention\n", h, math.Float32frombits(binary.LittleEndian.Uint32(mass[4*h:])))
	}
	// Output:
	// head 0 kept 0.321 of its attention
	// head 1 kept 0.321 of its attention
}
