package index

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/codegen/lower"
	"github.com/minfc/minfc/internal/half"
	"github.com/minfc/minfc/ptxgen"
	"github.com/minfc/minfc/runtime"
	"github.com/minfc/minfc/runtime/emu"
)

// estimateCase is one run of the three estimator kernels.
type estimateCase struct {
	EstimateConfig
	batch, kvHeads, group int
	sq, sk, qOffset       int
	seed                  uint64
	spoil                 map[int]float32 // elements of K to overwrite
	sharp                 float64         // factor of Q, 1 if 0
}

func (c estimateCase) String() string {
	return fmt.Sprintf("D%d/%s/x%d/b%d_kv%d_g%d_q%d_k%d_at%d", c.HeadDim, c.DType, c.Heads, c.batch, c.kvHeads, c.group, c.sq, c.sk, c.qOffset)
}

func (c estimateCase) heads() int { return c.batch * c.kvHeads * c.group }

// estimate is what the kernels or the reference found.
type estimate struct {
	lse  []float64 // [heads][64]
	cols []float64 // [heads][keys pad]
	diag []float64 // [heads][dist pad], both slots added
}

// input makes Q and K as the kernels read them, and their values.
func (c estimateCase) input(t testing.TB) (q, k []byte, qv, kv []float32) {
	rng := rand.New(rand.NewPCG(c.seed, 9))
	make1 := func(n int, scale float64) []float32 {
		v := make([]float32, n)
		for i := range v {
			v[i] = float32(rng.NormFloat64() * scale)
		}
		return v
	}
	sharp := c.sharp
	if sharp == 0 {
		sharp = 1
	}
	qv = make1(c.heads()*c.sq*c.HeadDim, sharp)
	kv = make1(c.batch*c.kvHeads*c.sk*c.HeadDim, 1)
	for i, x := range c.spoil {
		kv[i] = x
	}
	f := half.Format(c.DType)
	q, err := f.Encode(qv)
	require.NoError(t, err)
	k, err = f.Encode(kv)
	require.NoError(t, err)
	require.NoError(t, f.Decode(qv, q))
	require.NoError(t, f.Decode(kv, k))
	return q, k, qv, kv
}

// reference is the definition in float64: softmax of the last rows' logits, without those that are NaN or +inf.
func (c estimateCase) reference(q, k []float32) estimate {
	keysPad, distPad := (c.sk+63)/64*64, DistPad(c.qOffset, c.sq)
	e := estimate{make([]float64, 64*c.heads()), make([]float64, keysPad*c.heads()), make([]float64, distPad*c.heads())}
	for h := range c.heads() {
		rows := min(64, c.sq)
		for r := range 64 {
			e.lse[64*h+r] = math.Inf(1)
			if r >= rows {
				continue
			}
			row := c.sq - rows + r
			position := c.qOffset + row
			qr := q[(h*c.sq+row)*c.HeadDim:][:c.HeadDim]
			logits := make([]float64, min(c.sk, position+1))
			m, l := math.Inf(-1), 0.0
			for j := range logits {
				kr := k[((h/c.group)*c.sk+j)*c.HeadDim:][:c.HeadDim]
				for i := range qr {
					logits[j] += float64(qr[i]) * float64(kr[i])
				}
				logits[j] /= math.Sqrt(float64(c.HeadDim))
				if math.IsNaN(logits[j]) || math.IsInf(logits[j], 1) {
					logits[j] = math.Inf(-1)
				}
				m = max(m, logits[j])
			}
			if math.IsInf(m, -1) {
				continue
			}
			for _, x := range logits {
				l += math.Exp(x - m)
			}
			lse := m + math.Log(l)
			e.lse[64*h+r] = lse / math.Ln2
			for j, x := range logits {
				p := math.Exp(x - lse)
				e.cols[h*keysPad+j] += p
				e.diag[h*distPad+position-j] += p
			}
		}
	}
	return e
}

// rig runs kernels of this package on a device.
type estimateRig struct {
	t   testing.TB
	dev runtime.Device
	ptr map[string]runtime.DevicePtr
}

func newEstimateRig(t testing.TB, o emu.Options) *estimateRig {
	dev, err := emu.Open(o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, dev.Close()) })
	return &estimateRig{t, dev, map[string]runtime.DevicePtr{}}
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
	m, err := r.dev.LoadModule(ptx)
	require.NoError(r.t, err)
	f, err := m.Function(k.Entry)
	require.NoError(r.t, err)
	var args [][]byte
	for _, p := range k.Params {
		v, ok := scalars[p.Name]
		if p.Type == "ptr" {
			v, ok = uint64(r.ptr[p.Name]), r.ptr[p.Name] != 0
		}
		require.True(r.t, ok, "no value for %s", p.Name)
		b := binary.LittleEndian.AppendUint64(nil, v)
		args = append(args, b[:map[string]int{"ptr": 8, "i64": 8, "i32": 4, "f32": 4}[p.Type]])
	}
	l := runtime.Launch{Grid: grid, Block: [3]uint32{uint32(k.Threads), 1, 1}, SharedBytes: k.SharedBytes}
	require.NoError(r.t, f.Launch(l, args, nil))
	require.NoError(r.t, r.dev.Synchronize())
}

func (c estimateCase) scalars() map[string]uint64 {
	row, hq := uint64(2*c.HeadDim), c.kvHeads*c.group
	scale := math.Float32bits(float32(math.Log2E / math.Sqrt(float64(c.HeadDim))))
	return map[string]uint64{
		"q_row": row, "q_head": row * uint64(c.sq), "q_batch": row * uint64(c.sq*hq),
		"k_row": row, "k_head": row * uint64(c.sk), "k_batch": row * uint64(c.sk*c.kvHeads),
		"sq": uint64(c.sq), "sk": uint64(c.sk), "q_offset": uint64(c.qOffset), "group": uint64(c.group), "hq": uint64(hq),
		"scale_log2": uint64(scale), "chunks": uint64(EstimateChunks(c.sk)),
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
	k.combine, err = ProbeCombine()
	k.combinePTX = compilePTX(t, k.combine, err)
	k.sums, err = ProbeSums(c)
	k.sumsPTX = compilePTX(t, k.sums, err)
	return k
}

func (c estimateCase) run(r *estimateRig, k estimateKernels, q, kk []byte) estimate {
	keysPad, distPad := (c.sk+63)/64*64, DistPad(c.qOffset, c.sq)
	r.upload("q", q)
	r.upload("k", kk)
	r.alloc("probe_stats", 8*64*c.heads()*EstimateChunks(c.sk))
	r.alloc("probe_lse", 4*64*c.heads())
	r.alloc("col_sum", 4*keysPad*c.heads())
	r.alloc("diag_sum", 2*4*distPad*c.heads())
	grid, hq := EstimateGrid(c.Heads, c.batch, c.kvHeads, c.group, c.sk), uint32(c.kvHeads*c.group)
	r.launch(k.stats, k.statsPTX, grid, c.scalars())
	r.launch(k.combine, k.combinePTX, [3]uint32{1, hq, uint32(c.batch)}, c.scalars())
	r.launch(k.sums, k.sumsPTX, grid, c.scalars())
	e := estimate{lse: r.floats("probe_lse", 64*c.heads()), cols: r.floats("col_sum", keysPad*c.heads())}
	two := r.floats("diag_sum", 2*distPad*c.heads()) // reading what nobody wrote is an error of the emulator
	for i := range distPad * c.heads() {
		e.diag = append(e.diag, two[i]+two[distPad*c.heads()+i])
	}
	return e
}

// requireClose compares sums: relative 1e-4, and nothing where there must be nothing.
func requireClose(t *testing.T, what string, want, got []float64) {
	require.Len(t, got, len(want))
	for i := range want {
		if want[i] == got[i] {
			continue
		}
		if !(math.Abs(got[i]-want[i]) <= 1e-4*math.Abs(want[i])+1e-30) {
			require.Failf(t, "differs", "%s %d: %v, want %v", what, i, got[i], want[i])
		}
	}
}

func (c estimateCase) check(t *testing.T, r *estimateRig, k estimateKernels) {
	q, kk, qv, kv := c.input(t)
	want, got := c.reference(qv, kv), c.run(r, k, q, kk)
	requireClose(t, "lse", want.lse, got.lse)
	requireClose(t, "column", want.cols, got.cols)
	requireClose(t, "distance", want.diag, got.diag)
}

func TestEstimateSmall(t *testing.T) {
	c := estimateCase{EstimateConfig: EstimateConfig{HeadDim: 64, DType: lower.BF16, Heads: 2}, batch: 1, kvHeads: 1, group: 2, sq: 200, sk: 200}
	c.check(t, newEstimateRig(t, emu.Options{}), newEstimateKernels(t, c.EstimateConfig))
}

func TestEstimateAgreesWithFloat64(t *testing.T) {
	lengths := []int{1, 2, 63, 64, 65, 127, 128, 200, 321, 1024, 1025, 1100}
	pick := func(rng *rand.Rand, from []int) int { return from[rng.IntN(len(from))] }
	for _, d := range []int{16, 32, 64, 80, 96, 128, 192, 256} {
		for _, dt := range []lower.DType{lower.BF16, lower.F16} {
			for _, heads := range []int{1, 2, 4} {
				cfg := EstimateConfig{HeadDim: d, DType: dt, Heads: heads}
				k, rng := newEstimateKernels(t, cfg), rand.New(rand.NewPCG(uint64(d), uint64(heads)))
				for i := range 4 {
					c := estimateCase{EstimateConfig: cfg, batch: 1 + rng.IntN(2), kvHeads: 1 + rng.IntN(2), group: 1 + rng.IntN(5), seed: rng.Uint64()}
					c.sq, c.sk = pick(rng, lengths), pick(rng, lengths)
					switch i {
					case 0:
						c.sk = c.sq
					case 1:
						c.qOffset = max(0, c.sk-c.sq)
					default:
						c.qOffset = rng.IntN(500)
					}
					if c.sk > 500 && d > 64 {
						c.batch, c.kvHeads, c.group = 1, 1, min(c.group, heads+1)
					}
					t.Run(c.String(), func(t *testing.T) { c.check(t, newEstimateRig(t, emu.Options{}), k) })
				}
			}
		}
	}
}

var _ = slices.Sort[[]int]
