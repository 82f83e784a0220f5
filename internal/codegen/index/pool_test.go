package index

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/half"
	"github.com/minfc/minfc/internal/campaign"
	"github.com/minfc/minfc/internal/codegen/lower"
	"github.com/minfc/minfc/internal/ptxgen"
	"github.com/minfc/minfc/ir"
	"github.com/minfc/minfc/runtime/device"
	"github.com/minfc/minfc/runtime/emu"
)

// blockRig is a device with helpers that end the test on failure.
type blockRig struct {
	t   testing.TB
	dev device.Device
}

func newBlockRig(t testing.TB) blockRig {
	dev, err := emu.Open(emu.Options{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, dev.Close()) })
	return blockRig{t, dev}
}

func (r blockRig) empty(bytes int) device.Ptr {
	p, err := r.dev.Alloc(int64(max(bytes, 1)))
	require.NoError(r.t, err)
	return p
}

func (r blockRig) upload(data []byte) device.Ptr {
	p := r.empty(len(data))
	require.NoError(r.t, r.dev.CopyToDevice(p, data, nil))
	return p
}

func (r blockRig) uploadWords(v []int32) device.Ptr { return r.upload(littleEndian(v)) }

func littleEndian(v any) []byte {
	b, err := binary.Append(nil, binary.LittleEndian, v)
	if err != nil {
		panic(err)
	}
	return b
}

func (r blockRig) floats(p device.Ptr, n int) []float32 {
	out := make([]float32, n)
	r.download(p, out)
	return out
}

func (r blockRig) ints(p device.Ptr, n int) []int32 {
	out := make([]int32, n)
	r.download(p, out)
	return out
}

func (r blockRig) download(p device.Ptr, out any) {
	raw := make([]byte, binary.Size(out))
	require.NoError(r.t, r.dev.CopyToHost(raw, p, nil))
	_, err := binary.Decode(raw, binary.LittleEndian, out)
	require.NoError(r.t, err)
}

// function compiles a kernel and loads it.
func (r blockRig) function(k *lower.Kernel, err error) loaded {
	require.NoError(r.t, err)
	ptx, err := ptxgen.Compile(k.Module, ptxgen.Options{Target: "sm_80"})
	require.NoError(r.t, err)
	m, err := r.dev.LoadModule(ptx)
	require.NoError(r.t, err)
	f, err := m.Function(k.Entry)
	require.NoError(r.t, err)
	return loaded{r.t, k, f}
}

type loaded struct {
	t testing.TB
	*lower.Kernel
	f device.Function
}

type args map[string]any

// launch passes arguments by name, each of its parameter's type.
func (l loaded) launch(grid [3]uint32, threads int, a args) {
	var raw [][]byte
	given := len(a)
	for _, p := range l.Params {
		v, ok := a[p.Name]
		if p == abi.HeadsParam && !ok { // all take part
			v, ok, given = device.Ptr(0), true, given+1
		}
		require.True(l.t, ok, "no argument %s", p.Name)
		switch p.Type {
		case "i32":
			v = int32(v.(int))
		case "i64":
			v = int64(v.(int))
		}
		raw = append(raw, littleEndian(v))
	}
	require.Equal(l.t, given, len(l.Params))
	launch := device.Launch{Grid: grid, Block: [3]uint32{uint32(threads), 1, 1}, SharedBytes: l.SharedBytes}
	require.NoError(l.t, l.f.Launch(launch, raw, nil))
}

// tensor is a 16-bit tensor [batch, heads, n, dim] with room behind each row, on the device and decoded.
type tensor struct {
	batch, heads, n, dim, rowElems int
	values                         []float32
	ptr                            device.Ptr
}

func (r blockRig) tensor(batch, heads, n, dim int, f abi.DType, value func() float32) tensor {
	x := tensor{batch: batch, heads: heads, n: n, dim: dim, rowElems: dim + 8}
	padded := make([]float32, batch*heads*n*x.rowElems)
	for i := range padded {
		padded[i] = value()
	}
	raw, err := half.Encode(f, padded)
	require.NoError(r.t, err)
	require.NoError(r.t, half.Decode(f, padded, raw))
	x.ptr = r.upload(raw)
	for row := range batch * heads * n {
		x.values = append(x.values, padded[row*x.rowElems:][:dim]...)
	}
	return x
}

func (x tensor) head(h int) []float32 { return x.values[h*x.n*x.dim:][:x.n*x.dim] }

// pool runs the kernel on a tensor and returns its output on the device, and its number of blocks of 64 rows.
func (r blockRig) pool(x tensor, f abi.DType, with ir.Reduction, rows int) (device.Ptr, int) {
	k := r.function(Pool(PoolConfig{HeadDim: x.dim, DType: abi.DType(f), With: with, Rows: rows}))
	blocks := (x.n + ir.BlockSize - 1) / ir.BlockSize
	out := r.empty(4 * x.batch * x.heads * blocks * x.dim)
	row := 2 * x.rowElems
	k.launch([3]uint32{uint32((x.n + rows - 1) / rows), uint32(x.heads), uint32(x.batch)}, k.Threads, args{"x": x.ptr, "out": out,
		"x_batch": row * x.n * x.heads, "x_head": row * x.n, "x_row": row, "n": x.n, "q_heads": 1})
	return out, blocks
}

func normal(seed uint64) func() float32 {
	rng := rand.New(rand.NewPCG(seed, 0))
	return func() float32 { return float32(rng.NormFloat64()) }
}

// pooledRow is the definition, in float64.
func pooledRow(rows []float32, dim int, with ir.Reduction) []float64 {
	out := make([]float64, dim)
	for j := range out {
		if with == ir.ReduceMax {
			out[j] = math.Inf(-1)
		}
		for i := j; i < len(rows); i += dim {
			if with == ir.ReduceMax {
				out[j] = max(out[j], float64(rows[i]))
			} else {
				out[j] += float64(rows[i]) / float64(len(rows)/dim)
			}
		}
	}
	return out
}

func TestPoolReducesBlocks(t *testing.T) {
	for i, dim := range []int{16, 48, 64, 80, 128, 208, 256} {
		for j, n := range []int{1, 7, 63, 64, 65, 128, 200, 321} {
			if (i+j)%campaign.Few(3, 1) != 0 { // with -short head dims and lengths take turns
				continue
			}
			for _, with := range []ir.Reduction{ir.ReduceMean, ir.ReduceMax} {
				f := []abi.DType{abi.BF16, abi.F16}[(i+n)%2]
				t.Run(fmt.Sprintf("D%d_%s_n%d_%d", dim, f, n, with), func(t *testing.T) { checkPool(t, dim, n, f, with) })
			}
		}
	}
}

// checkPool compares the pooled rows of 2 by 3 heads with float64, over 64 rows and over 128.
func checkPool(t *testing.T, dim, n int, f abi.DType, with ir.Reduction) {
	for _, rows := range ir.PoolRows {
		r := newBlockRig(t)
		x := r.tensor(2, 3, n, dim, f, normal(uint64(n)))
		ptr, blocks := r.pool(x, f, with, rows)
		got := r.floats(ptr, 6*blocks*dim)
		for at := range 6 * blocks {
			from := at % blocks * 64 / rows * rows
			want := pooledRow(x.head(at / blocks)[from*dim:min(n, from+rows)*dim], dim, with)
			for j := range want {
				require.InDelta(t, want[j], got[at*dim+j], 1e-6, "over %d rows, block %d, element %d", rows, at, j)
			}
		}
	}
}

// The maximum is the maximum of the numbers; a mean with a NaN is a NaN, and others are as they were.
func TestPoolOfNaN(t *testing.T) {
	for _, with := range []ir.Reduction{ir.ReduceMean, ir.ReduceMax} {
		r, i := newBlockRig(t), 0
		x := r.tensor(1, 1, 130, 16, abi.BF16, func() float32 {
			i++
			if i == 1 { // row 0, element 0
				return float32(math.NaN())
			}
			return -2
		})
		ptr, blocks := r.pool(x, abi.BF16, with, 64)
		got := r.floats(ptr, blocks*16)
		require.Equal(t, with == ir.ReduceMean, math.IsNaN(float64(got[0])))
		for j, v := range got[1:] {
			require.EqualValues(t, -2, v, "element %d", j+1)
		}
		if with == ir.ReduceMax {
			require.EqualValues(t, -2, got[0])
		}
	}
}

func TestPoolRefuses(t *testing.T) {
	for _, cfg := range []PoolConfig{{HeadDim: 24, DType: abi.BF16, Rows: 64}, {HeadDim: 64, DType: "f32", Rows: 64},
		{HeadDim: 64, DType: abi.F16, With: 9, Rows: 64}, {HeadDim: 64, DType: abi.F16, Rows: 96}} {
		_, err := Pool(cfg)
		require.Error(t, err)
	}
}
