package emu

import (
	"encoding/binary"
	"fmt"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/runtime/device"
)

// rig is a device with helpers that end the test on failure.
type rig struct {
	t   testing.TB
	dev *Device
}

func newRig(t testing.TB, o Options) rig {
	d, err := Open(o)
	require.NoError(t, err)
	return rig{t, d}
}

func (r rig) upload(data []byte) device.Ptr {
	p := r.empty(len(data))
	require.NoError(r.t, r.dev.CopyToDevice(p, data, nil))
	return p
}

func (r rig) empty(n int) device.Ptr {
	p, err := r.dev.Alloc(int64(n))
	require.NoError(r.t, err)
	return p
}

func (r rig) download(p device.Ptr, n int) []byte {
	out := make([]byte, n)
	require.NoError(r.t, r.dev.CopyToHost(out, p, nil))
	return out
}

func (r rig) function(ptx string) device.Function {
	m, err := r.dev.LoadModule([]byte(ptx))
	require.NoError(r.t, err)
	f, err := m.Function("k")
	require.NoError(r.t, err)
	return f
}

// launch runs kernel k of the text with blocks in x.
func (r rig) launch(ptx string, grid, block, shared int, args ...any) error {
	l := device.Launch{Grid: [3]uint32{uint32(grid), 1, 1}, Block: [3]uint32{uint32(block), 1, 1}, SharedBytes: shared}
	return r.function(ptx).Launch(l, encodeArgs(args), nil)
}

func encodeArgs(args []any) [][]byte {
	var out [][]byte
	for _, a := range args {
		switch v := a.(type) {
		case device.Ptr:
			out = append(out, binary.LittleEndian.AppendUint64(nil, uint64(v)))
		case int64:
			out = append(out, binary.LittleEndian.AppendUint64(nil, uint64(v)))
		case int:
			out = append(out, binary.LittleEndian.AppendUint32(nil, uint32(v)))
		case []byte:
			out = append(out, v)
		case float32:
			out = append(out, binary.LittleEndian.AppendUint32(nil, math.Float32bits(v)))
		default:
			panic(fmt.Sprintf("argument type %T", a))
		}
	}
	return out
}

const header = ".version 7.4\n.target sm_80\n.address_size 64\n.extern .shared .align 1024 .b8 smem[];\n"

func words(v ...uint32) []byte {
	var b []byte
	for _, x := range v {
		b = binary.LittleEndian.AppendUint32(b, x)
	}
	return b
}

func unwords(b []byte) []uint32 {
	v := make([]uint32, len(b)/4)
	for i := range v {
		v[i] = binary.LittleEndian.Uint32(b[4*i:])
	}
	return v
}

func launchOf(grid, block [3]uint32, shared int) device.Launch {
	return device.Launch{Grid: grid, Block: block, SharedBytes: shared}
}
