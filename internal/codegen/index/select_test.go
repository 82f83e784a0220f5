package index

import (
	"fmt"
	"math"
	"math/rand/v2"
	"sort"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/internal/campaign"
)

// selection is one job of select_top, with what each head wants.
type selection struct {
	values         [][]float32 // by head
	budget         []int32     // by q head
	first, last, n int
	stride         int
}

// chosen is the definition: the values in falling order, ties by index, forced ones before all.
func (s selection) chosen(head int) []uint32 {
	key := make([]float64, s.n)
	forced := 0
	for i := range key {
		v := s.values[head][i]
		if v > 0 {
			key[i] = float64(v)
		}
		if i < s.first || i >= s.n-s.last {
			key[i] = math.Inf(1)
			forced++
		} else if math.IsInf(float64(v), 1) {
			key[i] = 2 * math.MaxFloat32
		}
	}
	order := make([]int, s.n)
	for i := range order {
		order[i] = i
	}
	sort.SliceStable(order, func(a, b int) bool { return key[order[a]] > key[order[b]] })
	want := min(max(int(s.budget[head%len(s.budget)]), forced), s.n)
	bits := make([]uint32, s.stride/32)
	for _, i := range order[:want] {
		bits[i/32] |= 1 << (i % 32)
	}
	return bits
}

func (s selection) args(b listBench, job string) (listArgs, func() []uint32) {
	flat := func(v [][]float32) (out []float32) {
		for _, x := range v {
			out = append(out, x...)
		}
		return out
	}
	heads := len(s.values)
	bits := b.empty(heads * s.stride / 32)
	a := listArgs{job + "_values": words(b, flat(s.values)), job + "_bits": bits, job + "_budget": words(b, s.budget),
		job + "_first": s.first, job + "_last": s.last, job + "_n": s.n, job + "_stride": s.stride, "hq": len(s.budget)}
	return a, func() []uint32 { return b.read(bits, heads*s.stride/32) }
}

func (s selection) want() (out []uint32) {
	for h := range s.values {
		out = append(out, s.chosen(h)...)
	}
	return out
}

// candidateKinds are the shapes of values that a selection meets.
var candidateKinds = map[string]func(rng *rand.Rand) float32{
	"uniform": func(rng *rand.Rand) float32 { return rng.Float32() },
	"wide":    func(rng *rand.Rand) float32 { return float32(math.Exp2(rng.Float64()*280 - 148)) },
	"zero":    func(*rand.Rand) float32 { return 0 },
	"few":     func(rng *rand.Rand) float32 { return float32(rng.IntN(4)) },
	"close":   func(rng *rand.Rand) float32 { return math.Float32frombits(0x3f800000 + uint32(rng.IntN(300))) },
	"strange": func(rng *rand.Rand) float32 {
		return []float32{0, 1, float32(math.NaN()), float32(math.Inf(1)), float32(math.Inf(-1)), -1,
			float32(math.Copysign(0, -1)), 1e-45, math.MaxFloat32}[rng.IntN(9)]
	},
}

func randomSelection(rng *rand.Rand, value func(*rand.Rand) float32, batch, hq, n int) selection {
	s := selection{n: n, stride: (n + 63) / 64 * 64}
	if rng.IntN(2) == 0 {
		s.stride += 64 * rng.IntN(4)
	}
	s.stride = max(s.stride, 64)
	s.first, s.last = rng.IntN(40), rng.IntN(2)*rng.IntN(100)
	for range hq {
		s.budget = append(s.budget, int32([]int{0, -3, n, n + 5, rng.IntN(n + 1), rng.IntN(n + 1), rng.IntN(n/10 + 1)}[rng.IntN(7)]))
	}
	row := func() []float32 {
		v := make([]float32, s.stride)
		for i := range v {
			v[i] = value(rng)
		}
		return v
	}
	for range batch * hq {
		s.values = append(s.values, row())
	}
	return s
}

// TestSelectTop compares with the definition: lengths around every unit of work, all kinds of values, two jobs at a time.
func TestSelectTop(t *testing.T) {
	k, err := SelectTop(false)
	b := newListBench(t, k, err)
	rng := rand.New(rand.NewPCG(1, 2))
	for i, kind := range []string{"uniform", "wide", "zero", "few", "close", "strange"} {
		lengths := []int{1, 65, 1000, 4099, 31, 64, 4096, 16384, 20001}[:campaign.Few(4, 9)]
		if kind == "uniform" {
			lengths = append(lengths, 70000) // three rounds of the first digit
		}
		for j, n := range lengths {
			if (i+j)%campaign.Few(2, 1) != 0 { // with -short kinds and lengths take turns
				continue
			}
			t.Run(fmt.Sprintf("%s/%d", kind, n), func(t *testing.T) {
				x := randomSelection(rng, candidateKinds[kind], 1+n%2, 2, n)
				y := randomSelection(rng, candidateKinds[kind], 1+n%2, 2, n/2+1)
				y.budget = y.budget[:len(x.budget)]
				a, readX := x.args(b, "a")
				more, readY := y.args(b, "b")
				for name, v := range more {
					a[name] = v
				}
				b.launch(len(x.values), 2, a)
				require.Equal(t, x.want(), readX())
				require.Equal(t, y.want(), readY())
			})
		}
	}
}

// A budget of 0 with nothing forced chooses nothing, however many candidates there are.
func TestSelectTopBudgetOfNothing(t *testing.T) {
	k, err := SelectTop(false)
	b := newListBench(t, k, err)
	s := randomSelection(rand.New(rand.NewPCG(3, 4)), candidateKinds["uniform"], 1, 2, 4096)
	s.budget, s.first, s.last = []int32{0, -3}, 0, 0
	a, read := s.args(b, "a")
	b.launch(2, 1, a)
	require.Equal(t, s.want(), read())
}

// TestSelectTopNothing has no candidates: all words are zero.
func TestSelectTopNothing(t *testing.T) {
	k, err := SelectTop(false)
	b := newListBench(t, k, err)
	s := selection{values: [][]float32{make([]float32, 64)}, budget: []int32{7}, first: 30, stride: 64}
	a, read := s.args(b, "a")
	b.launch(1, 1, a)
	require.Equal(t, []uint32{0, 0}, read())
}
