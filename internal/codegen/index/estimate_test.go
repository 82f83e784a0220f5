package index

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/half"
	"github.com/minfc/minfc/internal/campaign"
	"github.com/minfc/minfc/internal/codegen/lower"
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
	chunkTiles            int             // 0: as EstimateLaunchFor says
	fill                  func(q, k []float32)
	interleaved           bool // the heads of a position lie together: [batch, sequence, heads, head dim]
}

func (c estimateCase) String() string {
	return fmt.Sprintf("D%d/%s/x%d/b%d_kv%d_g%d_q%d_k%d_at%d", c.HeadDim, c.DType, c.HeadsPerBlock, c.batch, c.kvHeads, c.group, c.sq, c.sk, c.qOffset)
}

func (c estimateCase) launch() EstimateLaunch {
	l := EstimateLaunchFor(c.HeadsPerBlock, c.batch, c.kvHeads, c.group, c.sk)
	if c.chunkTiles > 0 {
		l.ChunkTiles = c.chunkTiles
		l.Chunks = (max(1, (c.sk+63)/64) + c.chunkTiles - 1) / c.chunkTiles
		l.Grid[0] = uint32(l.Chunks)
	}
	return l
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
	if c.fill != nil {
		c.fill(qv, kv)
	}
	for i, x := range c.spoil {
		kv[i] = x
	}
	f := abi.DType(c.DType)
	q, err := half.Encode(f, qv)
	require.NoError(t, err)
	k, err = half.Encode(f, kv)
	require.NoError(t, err)
	require.NoError(t, half.Decode(f, qv, q))
	require.NoError(t, half.Decode(f, kv, k))
	return q, k, qv, kv
}

// reference is the definition in float64: softmax of the last rows' logits, without logits that are NaN or +inf.
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
			e.lse[64*h+r] = (m + math.Log(l)) / math.Ln2
			for j, x := range logits {
				p := math.Exp(x-m) / l
				e.cols[h*keysPad+j] += p
				e.diag[h*distPad+position-j] += p
			}
		}
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
	for i := range want.lse {
		if want.lse[i] != got.lse[i] {
			require.False(t, math.IsInf(want.lse[i], 0) || math.IsInf(got.lse[i], 0), "lse %d: %v, want %v", i, got.lse[i], want.lse[i])
			require.InDelta(t, want.lse[i], got.lse[i], 2e-5+1e-6*math.Abs(want.lse[i]), "lse %d", i)
		}
	}
	requireClose(t, "column", want.cols, got.cols)
	requireClose(t, "distance", want.diag, got.diag)
}

func TestEstimateAgreesWithFloat64(t *testing.T) {
	lengths := []int{1, 2, 63, 64, 65, 127, 128, 200, 321}
	long := []int{1024, 1025, 1100, 2050} // edges of the longest chunk
	pick := func(rng *rand.Rand, from []int) int { return from[rng.IntN(len(from))] }
	for n, d := range []int{64, 256, 16, 32, 80, 96, 128, 192}[:campaign.Few(1, 8)] {
		for _, dt := range []abi.DType{abi.BF16, abi.F16, abi.BF16}[n%2:][:campaign.Cases(1, 1, 2)] { // types take turns
			for _, heads := range []int{1, 2, 4} {
				r := newEstimateRig(t, emu.Options{Capability: 80}) // code for sm_80 has no more shared memory on later devices
				cfg := EstimateConfig{HeadDim: d, DType: dt, HeadsPerBlock: heads}
				if HeadsPerBlock(d, heads, r.dev.Info().MaxSharedBytes) < heads {
					continue // head dim 256
				}
				k, rng := newEstimateKernels(t, cfg), rand.New(rand.NewPCG(uint64(d), uint64(heads)))
				for i := range 4 {
					c := estimateCase{EstimateConfig: cfg, batch: 1 + rng.IntN(2), kvHeads: 1 + rng.IntN(2), group: 1 + rng.IntN(5), seed: rng.Uint64()}
					c.sq, c.sk = pick(rng, lengths), pick(rng, lengths)
					switch i {
					case 0:
						c.sk = c.sq
					case 1:
						c.qOffset = max(0, c.sk-c.sq)
					case 2:
						c.qOffset = rng.IntN(500)
					case 3:
						c.batch, c.kvHeads, c.group = 1, 1, 1+heads/2
						c.sk, c.qOffset, c.chunkTiles = pick(rng, long), rng.IntN(1200), 16
					}
					t.Run(c.String(), func(t *testing.T) { c.check(t, r, k) })
				}
			}
		}
	}
}

// Every length around a tile against itself, and queries far behind or before the keys.
func TestEstimateLengths(t *testing.T) {
	cfg := EstimateConfig{HeadDim: 64, DType: abi.BF16, HeadsPerBlock: 1}
	k, r := newEstimateKernels(t, cfg), newEstimateRig(t, emu.Options{})
	for n := 1; n <= 130; n += campaign.Few(21, 1) { // 1, 22, 43, 64, 85, 106, 127
		c := estimateCase{EstimateConfig: cfg, batch: 1, kvHeads: 1, group: 1, sq: n, sk: n, seed: uint64(n)}
		t.Run(c.String(), func(t *testing.T) { c.check(t, r, k) })
	}
	for _, s := range [][3]int{{1, 1, 3000}, {64, 1, 0}, {1, 2100, 0}, {70, 2100, 900}, {1, 1024, 1023}, {3000, 64, 64}} {
		c := estimateCase{EstimateConfig: cfg, batch: 1, kvHeads: 1, group: 1, sq: s[0], sk: s[1], qOffset: s[2]}
		t.Run(c.String(), func(t *testing.T) { c.check(t, r, k) })
	}
}

func TestEstimateReadsStrides(t *testing.T) {
	cfg := EstimateConfig{HeadDim: 32, DType: abi.BF16, HeadsPerBlock: 2}
	c := estimateCase{EstimateConfig: cfg, batch: 2, kvHeads: 3, group: 2, sq: 70, sk: 150, qOffset: 80, seed: 6, interleaved: true}
	c.check(t, newEstimateRig(t, emu.Options{}), newEstimateKernels(t, cfg))
}

// The work of a tile is counted on paper: a kernel that does more of it is slower. Both kernels hold code for what is done once or
// seldom besides: probe_stats a loop without the logits that are NaN, probe_sums the two pieces before a warp's first one.
func TestEstimateOperationsOfATile(t *testing.T) {
	const (
		tile      = 64 + 8          // exponentials: one a score, and the factor of each row's sum
		joins     = 8 + 2*2*8 + 2*8 // sums relative to maxima, joins of lanes and of halves
		before    = 2*10 + 2*26     // a score that its diagonal carries on, or that the first window has
		mmaBefore = (1 + 1 + 2 + 2) + (3 + 3 + 4 + 4)
	)
	for _, d := range []int{16, 64, 80, 128, 256} {
		cfg := EstimateConfig{HeadDim: d, DType: abi.BF16, HeadsPerBlock: 2}
		if d == 256 {
			cfg.HeadsPerBlock = 1
		}
		k := newEstimateKernels(t, cfg)
		for ptx, want := range map[string][4]int{
			string(k.statsPTX): {2 * 16, 2 * (4 + 2), 2*tile + joins, 2 + 2},
			string(k.sumsPTX):  {16 + mmaBefore, (4 + 2) + (2 + 2) + (4 + 2), 64 + before, 1 + 3},
		} {
			require.Equal(t, want[0]*d/16, strings.Count(ptx, "mma.sync"), "64 rows by 32 keys")
			require.Equal(t, want[1]*d/16, strings.Count(ptx, "ldmatrix"), "four of Q, two of K a step")
			require.Equal(t, want[2], strings.Count(ptx, "ex2.approx"))
			require.Equal(t, want[3], strings.Count(ptx, "bar.sync 0"))
		}
	}
}

// LLVM takes what we lower.
func TestEstimateIsLLVM(t *testing.T) {
	llc, err := exec.LookPath("llc")
	for _, heads := range []int{1, 4} {
		k := newEstimateKernels(t, EstimateConfig{HeadDim: 80, DType: abi.F16, HeadsPerBlock: heads})
		for _, x := range []*lower.Kernel{k.stats, k.combine, k.sums} {
			text := x.Module.String()
			require.Contains(t, text, "@"+x.Entry)
			if err != nil {
				continue // no llc on this machine; CI's machine has one
			}
			in := filepath.Join(t.TempDir(), "kernel.ll")
			require.NoError(t, os.WriteFile(in, []byte(text), 0o600))
			log, err := exec.Command(llc, "-march=nvptx64", "-mcpu=sm_80", "-mattr=+ptx74", in, "-o", os.DevNull).CombinedOutput()
			require.NoError(t, err, "%s", log)
		}
	}
}

// Logits that are NaN or infinite count as masked, wherever they come from; the other keys keep their sums.
func TestEstimateSkipsNonFiniteLogits(t *testing.T) {
	cfg := EstimateConfig{HeadDim: 64, DType: abi.BF16, HeadsPerBlock: 2}
	k, r := newEstimateKernels(t, cfg), newEstimateRig(t, emu.Options{})
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	for name, spoil := range map[string]map[int]float32{
		"one key is NaN":      {64*70 + 3: nan},
		"one key is infinite": {64*70 + 3: inf},
		"both signs":          {64*1 + 3: inf, 64*1 + 4: -inf, 64 * 150: -inf},
		"first and last":      {0: nan, 64*199 + 63: inf},
	} {
		c := estimateCase{EstimateConfig: cfg, batch: 1, kvHeads: 1, group: 2, sq: 200, sk: 200, seed: 5, spoil: spoil}
		t.Run(name, func(t *testing.T) { c.check(t, r, k) })
	}
	all := map[int]float32{}
	for key := range 10 {
		all[64*key] = nan
	}
	c := estimateCase{EstimateConfig: cfg, batch: 1, kvHeads: 1, group: 2, sq: 10, sk: 10, spoil: all}
	t.Run("every key is NaN", func(t *testing.T) { c.check(t, r, k) })
}

// Sharp softmax: logits far apart, so that a wrong maximum overflows.
func TestEstimateSharp(t *testing.T) {
	cfg := EstimateConfig{HeadDim: 128, DType: abi.BF16, HeadsPerBlock: 2}
	c := estimateCase{EstimateConfig: cfg, batch: 1, kvHeads: 1, group: 2, sq: 150, sk: 1200, qOffset: 1050, seed: 3, sharp: 20}
	q, kk, qv, kv := c.input(t)
	want, got := c.reference(qv, kv), c.run(newEstimateRig(t, emu.Options{}), newEstimateKernels(t, cfg), q, kk)
	for i := range want.cols {
		require.InDelta(t, want.cols[i], got.cols[i], 3e-4*math.Abs(want.cols[i])+1e-20)
	}
}

// Equal inputs give equal bits, however the warps interleave.
func TestEstimateDoesNotDependOnWarpOrder(t *testing.T) {
	cfg := EstimateConfig{HeadDim: 64, DType: abi.F16, HeadsPerBlock: 4}
	c := estimateCase{EstimateConfig: cfg, batch: 1, kvHeads: 1, group: 3, sq: 100, sk: 1500, qOffset: 1400, seed: 8}
	k := newEstimateKernels(t, cfg)
	q, kk, _, _ := c.input(t)
	first := c.run(newEstimateRig(t, emu.Options{}), k, q, kk)
	for seed := uint64(1); seed < 4; seed++ {
		require.Equal(t, first, c.run(newEstimateRig(t, emu.Options{Seed: seed}), k, q, kk))
	}
}

// structured makes the last queries look along a few columns and distances: the case whose ranks matter.
func (c estimateCase) structured(t testing.TB) (q, k []byte, qv, kv []float32) {
	_, _, qv, kv = c.input(t)
	d := c.HeadDim
	for h := range c.heads() {
		for row := max(0, c.sq-64); row < c.sq; row++ {
			for i := range d {
				qv[(h*c.sq+row)*d+i] *= 0.3
			}
			qv[(h*c.sq+row)*d] = 4                                            // sees heavy columns
			qv[(h*c.sq+row)*d+1+(c.qOffset+row)%8] = 5                        // and every eighth key, seen from its own place
			qv[(h*c.sq+row)*d+10] = float32(math.Sqrt(float64(row%7))) * 0.25 // rows differ
		}
	}
	for i := range len(kv) / d {
		kv[i*d] = 0
		if i%37 == 5 {
			kv[i*d] = float32(4 + float64(i%11)/4)
		}
		for j := range 8 {
			kv[i*d+1+j] = 0
		}
		kv[i*d+1+i%8] = 3
	}
	f := abi.DType(c.DType)
	var err error
	q, err = half.Encode(f, qv)
	require.NoError(t, err)
	k, err = half.Encode(f, kv)
	require.NoError(t, err)
	require.NoError(t, half.Decode(f, qv, q))
	require.NoError(t, half.Decode(f, kv, k))
	return q, k, qv, kv
}

// top are the n largest of v; ties go to the smaller index.
func top(v []float64, n int) map[int]bool {
	order := make([]int, len(v))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(v[b], v[a]) })
	out := map[int]bool{}
	for _, i := range order[:n] {
		out[i] = true
	}
	return out
}

// What is chosen from the sums is what float64 chooses.
func TestEstimateRanksLikeFloat64(t *testing.T) {
	cfg := EstimateConfig{HeadDim: 64, DType: abi.BF16, HeadsPerBlock: 2}
	c := estimateCase{EstimateConfig: cfg, batch: 1, kvHeads: 1, group: 2, sq: 64, sk: 4096, qOffset: 4032, seed: 4}
	q, kk, qv, kv := c.structured(t)
	want, got := c.reference(qv, kv), c.run(newEstimateRig(t, emu.Options{}), newEstimateKernels(t, cfg), q, kk)
	agree, all := 0, 0
	for _, set := range []struct {
		want, got []float64
		n         int
	}{{want.cols, got.cols, 1000}, {want.diag, got.diag, 1500}} {
		size := len(set.want) / c.heads()
		for h := range c.heads() {
			a, b := top(set.want[h*size:(h+1)*size], set.n), top(set.got[h*size:(h+1)*size], set.n)
			for i := range a {
				all++
				if b[i] {
					agree++
				}
			}
		}
	}
	require.GreaterOrEqual(t, float64(agree)/float64(all), 0.999)
}

func TestHeadsPerBlock(t *testing.T) {
	for _, c := range []struct{ headDim, group, shared, want int }{
		{128, 4, 232448, 4}, {128, 8, 232448, 4}, {128, 3, 232448, 4}, {128, 2, 232448, 2}, {128, 1, 232448, 1},
		{128, 4, 101376, 2}, {256, 4, 166912, 2}, {256, 4, 232448, 4}, {256, 4, 101376, 1}, {208, 1, 101376, 1}, {256, 4, 101375, 1}, {256, 1, 99999, 0}, {256, 1, 166912, 1},
	} {
		require.Equal(t, c.want, HeadsPerBlock(c.headDim, c.group, c.shared), "%+v", c)
	}
}

func TestEstimateRefuses(t *testing.T) {
	for _, c := range []EstimateConfig{{HeadDim: 24, DType: abi.BF16, HeadsPerBlock: 1}, {HeadDim: 64, DType: "f32", HeadsPerBlock: 1}, {HeadDim: 64, DType: abi.F16, HeadsPerBlock: 3}} {
		_, err := ProbeStats(c)
		require.Error(t, err)
		_, err = ProbeSums(c)
		require.Error(t, err)
	}
}
