package index

import (
	"encoding/binary"
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/internal/codegen/lower"
	"github.com/minfc/minfc/internal/ptxgen"
	"github.com/minfc/minfc/runtime/device"
	"github.com/minfc/minfc/runtime/emu"
)

// rig runs kernels of this package on a device.
type estimateRig struct {
	t       testing.TB
	dev     device.Device
	ptr     map[string]device.Ptr
	kernels map[*lower.Kernel]device.Function // what is loaded
}

func newEstimateRig(t testing.TB, o emu.Options) *estimateRig {
	dev, err := emu.Open(o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, dev.Close()) })
	return &estimateRig{t: t, dev: dev, ptr: map[string]device.Ptr{}, kernels: map[*lower.Kernel]device.Function{}}
}

func (r *estimateRig) alloc(name string, bytes int) {
	p, err := r.dev.Alloc(int64(max(bytes, 16)))
	require.NoError(r.t, err)
	r.t.Cleanup(func() { _ = r.dev.Free(p) })
	r.ptr[name] = p
}

func (r *estimateRig) upload(name string, data []byte) {
	r.alloc(name, len(data))
	require.NoError(r.t, r.dev.CopyToDevice(r.ptr[name], data, nil))
}

func (r *estimateRig) floats(name string, n int) []float64 {
	buf := make([]byte, 4*n)
	require.NoError(r.t, r.dev.CopyToHost(buf, r.ptr[name], nil))
	out := make([]float64, n)
	for i := range out {
		out[i] = float64(math.Float32frombits(binary.LittleEndian.Uint32(buf[4*i:])))
	}
	return out
}

func compilePTX(t testing.TB, k *lower.Kernel, err error) []byte {
	require.NoError(t, err)
	ptx, err := ptxgen.Compile(k.Module, ptxgen.Options{Target: "sm_80"})
	require.NoError(t, err)
	return ptx
}

func (r *estimateRig) launch(k *lower.Kernel, ptx []byte, grid [3]uint32, scalars map[string]uint64) {
	f, loaded := r.kernels[k]
	if !loaded {
		m, err := r.dev.LoadModule(ptx)
		require.NoError(r.t, err)
		f, err = m.Function(k.Entry)
		require.NoError(r.t, err)
		r.kernels[k] = f
	}
	l := device.Launch{Grid: grid, Block: [3]uint32{uint32(k.Threads), 1, 1}, SharedBytes: k.SharedBytes}
	require.NoError(r.t, f.Launch(l, r.args(k, scalars), nil))
	require.NoError(r.t, r.dev.Synchronize())
}

func (r *estimateRig) args(k *lower.Kernel, scalars map[string]uint64) (args [][]byte) {
	for _, p := range k.Params {
		v, ok := scalars[p.Name]
		if p.Type == "ptr" {
			v, ok = uint64(r.ptr[p.Name]), r.ptr[p.Name] != 0 || p == abi.HeadsParam
		}
		require.True(r.t, ok, "no value for %s", p.Name)
		b := binary.LittleEndian.AppendUint64(nil, v)
		args = append(args, b[:map[string]int{"ptr": 8, "i64": 8, "i32": 4, "f32": 4}[p.Type]])
	}
	return args
}

func (c estimateCase) scalars() map[string]uint64 {
	hq := c.kvHeads * c.group
	stride := func(heads, rows int) (row, head, batch uint64) {
		row = uint64(2 * c.HeadDim)
		if c.interleaved {
			return row * uint64(heads), row, row * uint64(heads*rows)
		}
		return row, row * uint64(rows), row * uint64(heads*rows)
	}
	qRow, qHead, qBatch := stride(hq, c.sq)
	kRow, kHead, kBatch := stride(c.kvHeads, c.sk)
	scale := math.Float32bits(float32(math.Log2E / math.Sqrt(float64(c.HeadDim))))
	return map[string]uint64{
		"q_row": qRow, "q_head": qHead, "q_batch": qBatch, "k_row": kRow, "k_head": kHead, "k_batch": kBatch,
		"sq": uint64(c.sq), "sk": uint64(c.sk), "q_offset": uint64(c.qOffset), "group": uint64(c.group), "hq": uint64(hq),
		"scale_log2": uint64(scale), "chunks": uint64(c.launch().Chunks), "chunk_tiles": uint64(c.launch().ChunkTiles),
	}
}

type estimateKernels struct {
	stats, combine, sums          *lower.Kernel
	statsPTX, combinePTX, sumsPTX []byte
}

func newEstimateKernels(t testing.TB, c EstimateConfig) (k estimateKernels) {
	var err error
	k.stats, err = ProbeStats(c)
	k.statsPTX = compilePTX(t, k.stats, err)
	k.combine, err = ProbeCombine(false)
	k.combinePTX = compilePTX(t, k.combine, err)
	k.sums, err = ProbeSums(c)
	k.sumsPTX = compilePTX(t, k.sums, err)
	return k
}

func (c estimateCase) run(r *estimateRig, k estimateKernels, q, kk []byte) estimate {
	keysPad, distPad := (c.sk+63)/64*64, DistPad(c.qOffset, c.sq)
	if c.interleaved {
		q, kk = c.interleave(q, c.kvHeads*c.group, c.sq), c.interleave(kk, c.kvHeads, c.sk)
	}
	r.upload("q", q)
	r.upload("k", kk)
	r.alloc("probe_stats", 8*64*c.heads()*c.launch().Chunks)
	r.alloc("probe_lse", 8*64*c.heads())
	r.alloc("col_sum", 4*keysPad*c.heads())
	r.alloc("diag_sum", 4*distPad*c.heads())
	grid, hq := c.launch().Grid, uint32(c.kvHeads*c.group)
	r.launch(k.stats, k.statsPTX, grid, c.scalars())
	r.launch(k.combine, k.combinePTX, [3]uint32{1, hq, uint32(c.batch)}, c.scalars())
	r.launch(k.sums, k.sumsPTX, grid, c.scalars())
	e := estimate{cols: r.floats("col_sum", keysPad*c.heads()), diag: r.floats("diag_sum", distPad*c.heads())} // reading what nobody wrote is an error of the emulator
	scale := float64(math.Float32frombits(uint32(c.scalars()["scale_log2"])))
	for row := range slices.Chunk(r.floats("probe_lse", 2*64*c.heads()), 2) {
		e.lse = append(e.lse, row[0]*scale+row[1])
	}
	return e
}

// interleave turns [batch, heads, rows, head dim] into [batch, rows, heads, head dim].
func (c estimateCase) interleave(x []byte, heads, rows int) []byte {
	out, n := make([]byte, 0, len(x)), 2*c.HeadDim
	for b := range c.batch {
		for row := range rows {
			for h := range heads {
				out = append(out, x[((b*heads+h)*rows+row)*n:][:n]...)
			}
		}
	}
	return out
}
