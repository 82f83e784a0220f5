package bench

import (
	"encoding/binary"
	"errors"
	"fmt"

	llir "github.com/llir/llvm/ir"
	"github.com/llir/llvm/ir/enum"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/internal/codegen/lower"
	"github.com/minfc/minfc/internal/ptxgen"
	"github.com/minfc/minfc/runtime/device"
)

// The probe keeps every tensor core busy from registers alone: 8 warps a block, two blocks a multiprocessor, and in each
// warp 8 products that do not wait for one another.
const (
	probeEntry   = "probe"
	probeThreads = 256
	probeBlocks  = 2 // a multiprocessor
	probeChains  = 8
	probeFLOPs   = 2 * 16 * 8 * 16 // of one product
)

// probeKernel is the LLVM IR of the probe: loops times probeChains products a warp. Operands differ from lane to lane and
// have random mantissas, because idle bits would let the card clock higher than attention can.
func probeKernel(t abi.DType) *lower.Builder {
	b := lower.NewKernel(probeEntry, []lower.Param{{Name: "out", Type: "ptr"}, {Name: "loops", Type: "i32"}}, probeThreads, probeBlocks)
	tid := b.Add(b.Mul(b.BlockX(), lower.I32(probeThreads)), b.ThreadX())
	var operands []lower.Value
	for i := range 6 {
		operands = append(operands, probeOperand(b, tid, int64(i)))
	}
	entry, loop, exit := b.Block, b.NewBlock("loop"), b.NewBlock("exit")
	b.Br(loop)
	b.Enter(loop)
	left := b.Phi(b.Param("loops"), entry)
	var acc []*llir.InstPhi
	for range 4 * probeChains {
		acc = append(acc, b.Phi(lower.F32(0), entry))
	}
	var out []lower.Value
	for c := 0; c < len(acc); c += 4 {
		out = append(out, b.MMA(t, operands[:4], operands[4:], []lower.Value{acc[c], acc[c+1], acc[c+2], acc[c+3]})...)
	}
	next := b.Sub(left, lower.I32(1))
	lower.AddIncoming(left, next, loop)
	for i, v := range out {
		lower.AddIncoming(acc[i], v, loop)
	}
	b.CondBr(b.ICmp(enum.IPredSGT, next, lower.I32(0)), loop, exit)
	b.Enter(exit)
	sum := out[0]
	for _, v := range out[1:] {
		sum = b.FAdd(sum, v)
	}
	b.Store(sum, b.Offset(b.Param("out"), b.Shl(b.ZExt64(tid), 2)), 4)
	b.Block.NewRet(nil)
	return b
}

// probeOperand is a pair of 16-bit numbers with magnitudes in [0.5, 2) in either format, of random sign and mantissa.
func probeOperand(b *lower.Builder, tid lower.Value, i int64) lower.Value {
	x := b.Mul(b.Add(tid, lower.I32(977*i+1)), lower.I32(0x9E3779B1-1<<32))
	x = b.Xor(x, b.LShr(x, 15))
	x = b.Mul(x, lower.I32(0x85EBCA6B-1<<32))
	return b.Or(b.And(x, lower.I32(0x807F807F-1<<32)), lower.I32(0x3F003F00))
}

// probeRate measures the rate of 16-bit matrix products in TFLOP/s.
func probeRate(dev device.Device, t abi.DType, target string) (rate Rate, err error) {
	ptx, err := ptxgen.Compile(probeKernel(t).Module, ptxgen.Options{Target: target})
	if err != nil {
		return Rate{}, fmt.Errorf("internal: matrix probe: %w", err)
	}
	m, err := dev.LoadModule(ptx)
	if err != nil {
		return Rate{}, fmt.Errorf("matrix probe: %w", err)
	}
	defer func() { err = errors.Join(err, m.Unload()) }()
	f, err := m.Function(probeEntry)
	if err != nil {
		return Rate{}, err
	}
	blocks := probeBlocks * dev.Info().Multiprocessors
	out, err := dev.Alloc(int64(4 * probeThreads * blocks))
	if err != nil {
		return Rate{}, err
	}
	defer func() { err = errors.Join(err, dev.Free(out)) }()
	w, err := newWatch(dev, nil)
	if err != nil {
		return Rate{}, err
	}
	defer func() { err = errors.Join(err, w.close()) }()
	loops := probeLoops(dev.Info())
	launch := func() error {
		return f.Launch(device.Launch{Grid: [3]uint32{uint32(blocks), 1, 1}, Block: [3]uint32{probeThreads, 1, 1}},
			[][]byte{binary.LittleEndian.AppendUint64(nil, uint64(out)), binary.LittleEndian.AppendUint32(nil, uint32(loops))}, nil)
	}
	timing, err := interleave(w, []contender{{launch: launch, estimate: sampleMS}}, plan{rounds: 9})
	if err != nil {
		return Rate{}, fmt.Errorf("matrix probe: %w", err)
	}
	flops := float64(probeFLOPs) * float64(probeProducts(dev.Info()))
	return Rate{fmt.Sprintf("mma.sync m16n8k16 %s from registers", t), flops / timing[0].Median / 1e9}, nil
}

// probeProducts is the number of products in one launch.
func probeProducts(i device.Info) int64 {
	return int64(probeChains) * int64(probeLoops(i)) * int64(probeBlocks*i.Multiprocessors*probeThreads/32)
}

// probeLoops gives the probe some milliseconds on a GPU, and nearly nothing on the emulator.
func probeLoops(i device.Info) int {
	if i.Driver == "emu" {
		return 2
	}
	return 20000
}
