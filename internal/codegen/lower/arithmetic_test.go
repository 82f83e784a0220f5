package lower_test

import (
	"encoding/binary"
	"fmt"
	"math"
	"testing"

	"github.com/llir/llvm/ir/types"
	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/internal/codegen/lower"
	"github.com/minfc/minfc/internal/ptxgen"
	"github.com/minfc/minfc/runtime/device"
	"github.com/minfc/minfc/runtime/emu"
)

// Quotients by a constant are exact for all of 32 bits: at both sides of multiples, small ones and the largest.
func TestUDivBy(t *testing.T) {
	const threads = 32
	for _, n := range []int{1, 2, 3, 6, 12, 14, 48, 64, 80, 96, 112, 176, 192, 2 * math.MaxUint16} {
		var xs []uint32
		most := math.MaxUint32 / uint32(n)
		for _, multiple := range []uint32{0, 1, 2, 3, most / 3, most / 2, 1 << 31 / uint32(n), most - 1, most} {
			at := multiple * uint32(n)
			xs = append(xs, at-min(at, 1), at, at+1)
		}
		xs = append(xs, 1<<31-1, 1<<31, math.MaxUint32-1, math.MaxUint32)
		require.Equal(t, threads-1, len(xs))
		var in []byte
		for _, x := range append(xs, 0) {
			in = binary.LittleEndian.AppendUint32(in, x)
		}
		got := launch(t, threads, in, func(b *lower.Builder, x lower.Value) lower.Value { return b.UDivBy(x, n) })
		for i, x := range xs {
			require.Equal(t, x/uint32(n), binary.LittleEndian.Uint32(got[4*i:]), fmt.Sprintf("%d / %d", x, n))
		}
	}
}

// launch runs body in every thread of a block: words in, words out.
func launch(t *testing.T, threads int, in []byte, body func(b *lower.Builder, x lower.Value) lower.Value) []byte {
	return launchWith(t, threads, in, nil, nil, body)
}

// launchWith is launch with more parameters.
func launchWith(t *testing.T, threads int, in []byte, params []lower.Param, args [][]byte, body func(b *lower.Builder, x lower.Value) lower.Value) []byte {
	b := lower.NewKernel("k", append([]lower.Param{{Name: "x", Type: "ptr"}}, params...), threads, 1)
	at := b.Offset(b.Param("x"), b.ZExt64(b.Shl(b.ThreadX(), 2)))
	b.Store(body(b, b.Load(types.I32, at, 4)), at, 4)
	b.Block.NewRet(nil)
	ptx, err := ptxgen.Compile(b.Module, ptxgen.Options{Target: "sm_80"})
	require.NoError(t, err)
	dev, err := emu.Open(emu.Options{})
	require.NoError(t, err)
	m, err := dev.LoadModule(ptx)
	require.NoError(t, err)
	f, err := m.Function("k")
	require.NoError(t, err)
	p, err := dev.Alloc(int64(len(in)))
	require.NoError(t, err)
	require.NoError(t, dev.CopyToDevice(p, in, nil))
	args = append([][]byte{binary.LittleEndian.AppendUint64(nil, uint64(p))}, args...)
	require.NoError(t, f.Launch(device.Launch{Grid: [3]uint32{1, 1, 1}, Block: [3]uint32{uint32(threads), 1, 1}}, args, nil))
	out := make([]byte, len(in))
	require.NoError(t, dev.CopyToHost(out, p, nil))
	return out
}
