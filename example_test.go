package minfc_test

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/minfc/minfc"
	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/half"
	"github.com/minfc/minfc/runtime"
	"github.com/minfc/minfc/runtime/device"
	"github.com/minfc/minfc/runtime/emu"
)

// A batch of two sequences of 20 and 30 rows, which follow each other in memory: memory, copies, one launch, and an error by its kind.
// On a GPU the device comes from device.OpenSpec("cuda").
func ExampleAttention_Prepare() {
	dev, err := emu.Open(emu.Options{})
	must(err)
	defer dev.Close()
	att, err := minfc.NewAttention(dev, minfc.Spec{Pattern: "a_shape", Params: map[string]int64{"sink": 4, "window": 16}},
		minfc.Heads{Q: 2, KV: 1, Dim: 64, DType: abi.BF16})
	must(err)
	defer att.Close()

	const rows = 50
	call, err := att.Prepare(minfc.Shape{Batch: 2, SeqQ: 30, SeqK: 30, Lengths: runtime.Ragged, TotalQ: rows, TotalK: rows})
	must(err)
	upload := func(data []byte) device.Ptr {
		p, err := dev.Alloc(int64(len(data)))
		must(err)
		must(dev.CopyToDevice(p, data, nil))
		return p
	}
	ones := func(n int) []byte {
		data, err := half.Encode(abi.BF16, slicesOf(n, 1))
		must(err)
		return data
	}
	at := minfc.Pointers{Q: upload(ones(2 * rows * 64)), K: upload(ones(rows * 64)), V: upload(ones(rows * 64)), WorkspaceBytes: call.Workspace()}
	at.O, err = dev.Alloc(2 * 2 * rows * 64)
	must(err)
	at.Workspace, err = dev.Alloc(at.WorkspaceBytes)
	must(err)
	fmt.Println(errors.Is(call.Run(nil, at), device.ErrBadCall), "without lengths")

	var cumulative []byte
	for _, n := range []uint32{0, 20, 50} {
		cumulative = binary.LittleEndian.AppendUint32(cumulative, n)
	}
	at.LengthsQ = upload(cumulative)
	must(call.Run(nil, at)) // enqueues; the copy below waits for it
	out, o := make([]byte, 2*2*rows*64), make([]float32, 2*rows*64)
	must(dev.CopyToHost(out, at.O, nil))
	must(half.Decode(abi.BF16, o, out))
	fmt.Println(o[0], o[len(o)-1], "as all values are 1")
	// Output:
	// true without lengths
	// 1 1 as all values are 1
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func slicesOf(n int, x float32) []float32 {
	out := make([]float32, n)
	for i := range out {
		out[i] = x
	}
	return out
}
