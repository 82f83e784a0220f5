package index

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/abi"
)

// runShape is a launch of the kernels of runs: heads of n distances, in rows of stride, in runs of size.
type runShape struct{ heads, n, size, stride, runStride int }

func runShapes(rng *rand.Rand) (out []runShape) {
	for i, n := range []int{1, 15, 16, 63, 64, 130, 1000, 4097, 9999} {
		for _, size := range []int{16, 48, 64, 112, 128} {
			s := runShape{heads: 1 + i%3, n: n, size: size, stride: (n+63)/64*64 + 128 + 64*rng.IntN(3)}
			s.runStride = (s.runs()+63)/64*64 + 64*rng.IntN(2)
			out = append(out, s)
		}
	}
	return out
}

func (s runShape) runs() int { return (s.n + s.size - 1) / s.size }

func (s runShape) args() listArgs {
	return listArgs{"run": s.size, "n": s.n, "stride": s.stride, "run_stride": s.runStride, "hq": s.heads}
}

// Sums are float64's but for rounding, whole runs of the same values have the same bits wherever they lie, what is behind the last distance
// does not count, and every word is written.
func TestRunSums(t *testing.T) {
	k, err := RunSums(false)
	b := newListBench(t, k, err)
	rng := rand.New(rand.NewPCG(8, 5))
	for _, s := range runShapes(rng) {
		t.Run(fmt.Sprintf("%+v", s), func(t *testing.T) {
			values := make([]float32, s.heads*s.stride)
			for i := range values {
				values[i] = float32(math.Exp2(-20 * rng.Float64()))
				if d := i % s.stride; d >= s.n {
					values[i] = float32(math.NaN())
				} else if d >= 3*s.size && d/s.size%2 == 1 { // every second run is the one two runs before
					values[i] = values[i-2*s.size]
				}
			}
			a, out := s.args(), b.empty(s.heads*s.runStride)
			a["diag_sum"], a["run_sum"] = words(b, values), out
			b.launch(s.runStride/abi.RunsPerBlock, s.heads, a)
			got := b.read(out, s.heads*s.runStride)
			for i, bits := range got {
				h, g := i/s.runStride, i%s.runStride
				want := 0.0
				for d := g * s.size; d < min((g+1)*s.size, s.n); d++ {
					want += float64(values[h*s.stride+d])
				}
				require.InDelta(t, want, float64(math.Float32frombits(bits)), 1e-6*want, "head %d, run %d", h, g)
				if g >= 3 && g%2 == 1 && (g+1)*s.size <= s.n {
					require.Equal(t, got[i-2], bits, "head %d, run %d", h, g)
				}
			}
		})
	}
}

// The distances of chosen runs, up to the last one that there is, and no others.
func TestRunDistances(t *testing.T) {
	k, err := RunDistances(false)
	b := newListBench(t, k, err)
	rng := rand.New(rand.NewPCG(9, 5))
	for _, s := range runShapes(rng) {
		t.Run(fmt.Sprintf("%+v", s), func(t *testing.T) {
			var chosen, want []uint32
			for h := range s.heads {
				runs := random(rng, s.runStride, 1+h) // all of head 0, and some that there are not
				distances := make([]bool, s.n)
				for d := range distances {
					distances[d] = runs[d/s.size]
				}
				chosen, want = append(chosen, bitmap(runs, s.runStride/32)...), append(want, bitmap(distances, s.stride/32)...)
			}
			a, out := s.args(), b.empty(s.heads*s.stride/32)
			a["run_bits"], a["bits"] = words(b, chosen), out
			b.launch((s.stride/32+abi.RunWords-1)/abi.RunWords, s.heads, a)
			require.Equal(t, want, b.read(out, len(want)))
		})
	}
}
