package workload

import (
	"fmt"
	"math"
	"slices"
	"sort"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/half"
	"github.com/minfc/minfc/internal/campaign"
)

// attention is the exact causal attention of one query head: a row of weights, which sum to 1, for each query.
type attention [][]float64

func exactAttention(t *testing.T, s Spec, head int) attention {
	q, k, _, err := Generate(s)
	require.NoError(t, err)
	size := s.SeqLen * s.HeadDim
	qs, ks := decode(t, s, q[2*head*size:][:2*size]), decode(t, s, k[2*(head/s.group())*size:][:2*size])
	out := make(attention, s.SeqLen)
	for i := range out {
		out[i] = softmax(scores(qs[i*s.HeadDim:][:s.HeadDim], ks[:(i+1)*s.HeadDim]))
	}
	return out
}

func decode(t *testing.T, s Spec, data []byte) []float32 {
	out := make([]float32, len(data)/2)
	require.NoError(t, half.Decode(s.DType, out, data))
	return out
}

func scores(q, keys []float32) []float64 {
	out := make([]float64, len(keys)/len(q))
	for j := range out {
		for c, x := range keys[j*len(q):][:len(q)] {
			out[j] += float64(x) * float64(q[c])
		}
		out[j] /= math.Sqrt(float64(len(q)))
	}
	return out
}

func softmax(x []float64) []float64 {
	top, sum := slices.Max(x), 0.0
	for i := range x {
		x[i] = math.Exp(x[i] - top)
		sum += x[i]
	}
	for i := range x {
		x[i] /= sum
	}
	return x
}

// columnSums and diagonalSums add the weights of each key and of each distance, blockSums of each 64-key block for the
// queries of one block.
func (a attention) columnSums() []float64   { return a.sums(func(_, j int) int { return j }) }
func (a attention) diagonalSums() []float64 { return a.sums(func(i, j int) int { return i - j }) }
func (a attention) blockSums(queries int) []float64 {
	return a[:(queries+1)*BlockSize].sums(func(i, j int) int {
		if i/BlockSize == queries {
			return j / BlockSize
		}
		return len(a) - 1
	})[:queries+1]
}

func (a attention) sums(bin func(i, j int) int) []float64 {
	out := make([]float64, 1<<20)[:0]
	for i, row := range a {
		for j, w := range row {
			at := bin(i, j)
			for len(out) <= at {
				out = append(out, 0)
			}
			out[at] += w
		}
	}
	return out
}

// kept is the part of all weight that a pattern keeps.
func (a attention) kept(keep func(i, j int) bool) float64 {
	sum := 0.0
	for i, row := range a {
		for j, w := range row {
			if keep(i, j) {
				sum += w
			}
		}
	}
	return sum / float64(len(a))
}

// highest returns the places of the n largest values, ascending.
func highest(values []float64, n int) []int {
	places := make([]int, len(values))
	for i := range places {
		places[i] = i
	}
	sort.SliceStable(places, func(a, b int) bool { return values[places[a]] > values[places[b]] })
	out := slices.Clone(places[:min(n, len(places))])
	slices.Sort(out)
	return out
}

// peaks keeps the values that are above both neighbours, and makes the others 0.
func peaks(values []float64) []float64 {
	out := slices.Clone(values)
	for i, v := range values {
		if i > 0 && values[i-1] > v || i+1 < len(values) && values[i+1] > v {
			out[i] = 0
		}
	}
	return out
}

// fit turns the pattern that a head reports into the pairs it keeps, choosing by exact sums where the data decides.
func (a attention) fit(t *testing.T, f Fit) func(i, j int) bool {
	p := f.Params
	switch f.Pattern {
	case "a_shape":
		return func(i, j int) bool { return j < int(p["sink"]) || i-j < int(p["window"]) }
	case "vertical_slash":
		cols, diags := set(highest(a.columnSums(), int(p["vertical"]))), set(highest(a.diagonalSums(), int(p["slash"])))
		return func(i, j int) bool { return cols[j] || diags[i-j] }
	case "block_sparse":
		blocks := make([]map[int]bool, len(a)/BlockSize)
		for b := range blocks {
			blocks[b] = set(highest(a.blockSums(b), int(p["topk"])))
		}
		return func(i, j int) bool { return blocks[i/BlockSize][j/BlockSize] }
	}
	require.Equal(t, "dense", f.Pattern)
	return func(int, int) bool { return true }
}

func set(places []int) map[int]bool {
	out := map[int]bool{}
	for _, p := range places {
		out[p] = true
	}
	return out
}

var small = Spec{Batch: 1, QHeads: 2, KVHeads: 1, SeqLen: 1024, HeadDim: 64, DType: abi.BF16}

// eachSmall runs a check on the last head of small inputs of a kind: two head dims, types and seeds.
func eachSmall(t *testing.T, kind Kind, check func(t *testing.T, h Head, a attention)) {
	for i, d := range []int{64, 128} {
		for _, seed := range []uint64{1, 2} {
			if (i+int(seed))%campaign.Few(2, 1) != campaign.Few(1, 0) { // with -short one seed a head dim
				continue
			}
			s := small
			s.Kind, s.HeadDim, s.Seed, s.DType = kind, d, seed, []abi.DType{abi.BF16, abi.F16}[i]
			t.Run(fmt.Sprintf("D%d/seed%d", d, seed), func(t *testing.T) {
				check(t, s.Heads()[1], exactAttention(t, s, 1))
			})
		}
	}
}

func TestAShape(t *testing.T) {
	eachSmall(t, AShape, func(t *testing.T, h Head, a attention) {
		require.Equal(t, []int{0, 1, 2, 3}, highest(a.columnSums(), h.Sinks))
		require.Equal(t, 0, highest(a.diagonalSums(), 1)[0])
		require.Greater(t, a.kept(a.fit(t, h.Fit)), 0.95)
		sinks := a.kept(func(_, j int) bool { return j < h.Sinks })
		require.InDelta(t, 0.5, sinks, 0.45, "sinks and window share the weight")
		narrow := a.kept(func(i, j int) bool { return j < h.Sinks || i-j < h.Window/8 })
		require.Less(t, narrow, 0.95, "a narrower window would not do")
	})
}

func TestSlash(t *testing.T) {
	eachSmall(t, Slash, func(t *testing.T, h Head, a attention) {
		require.Len(t, h.Distances, 4)
		require.Equal(t, h.Distances, highest(peaks(a.diagonalSums()), len(h.Distances)))
		require.Greater(t, a.kept(a.fit(t, h.Fit)), 0.9)
		for _, d := range h.Distances {
			others := slices.DeleteFunc(slices.Clone(h.Distances), func(x int) bool { return x == d })
			rest := a.kept(func(i, j int) bool {
				return slices.ContainsFunc(others, func(x int) bool { return abs(i-j-x) <= slashWidth/2 })
			})
			require.Less(t, rest, 0.9, "distance %d carries weight", d)
		}
	})
}

func abs(x int) int { return max(x, -x) }

func TestColumns(t *testing.T) {
	eachSmall(t, Columns, func(t *testing.T, h Head, a attention) {
		require.InDelta(t, 16, len(h.Columns), 1)
		require.Equal(t, h.Columns, highest(a.columnSums(), len(h.Columns)))
		require.Greater(t, a.kept(a.fit(t, h.Fit)), 0.9)
	})
}

func TestBlocks(t *testing.T) {
	eachSmall(t, Blocks, func(t *testing.T, h Head, a attention) {
		require.Len(t, h.Blocks, 16)
		for topic := range 4 { // each comes back in every group of blocks
			for group := range slices.Chunk(h.Blocks, 4) {
				require.Contains(t, group, topic)
			}
		}
		for b := range h.Blocks {
			var same []int
			for c := range b + 1 {
				if h.Blocks[c] == h.Blocks[b] {
					same = append(same, c)
				}
			}
			require.Equal(t, same, highest(a.blockSums(b), len(same)), "block %d", b)
		}
		require.Greater(t, a.kept(a.fit(t, h.Fit)), 0.9)
		require.Equal(t, int64(4), h.Fit.Params["topk"])
	})
}

// No small pattern keeps what a head without structure looks at.
func TestNothingFitsDiffuse(t *testing.T) {
	if testing.Short() {
		t.Skip("two seconds of attention in float64")
	}
	for _, kind := range []Kind{Diffuse, Random} {
		eachSmall(t, kind, func(t *testing.T, h Head, a attention) {
			require.Equal(t, "dense", h.Fit.Pattern)
			for _, other := range []Kind{AShape, Slash, Columns, Blocks} {
				s := small
				s.Kind = other
				require.Less(t, a.kept(a.fit(t, s.Heads()[0].Fit)), 0.7, "%s", other)
			}
		})
	}
}

// The structure holds where there is no room for float64 attention of every row: the last rows of long inputs.
func TestLongInputs(t *testing.T) {
	if testing.Short() {
		t.Skip("makes inputs of 65,536 tokens")
	}
	for _, kind := range []Kind{AShape, Slash, Columns, Blocks} {
		t.Run(string(kind), func(t *testing.T) {
			s := Spec{Kind: kind, Batch: 1, QHeads: 1, KVHeads: 1, SeqLen: 1 << 16, HeadDim: 128, Seed: 3, DType: abi.BF16}
			h := s.Heads()[0]
			kept := 0.0
			const rows = 6
			for r := range rows {
				kept += keptBy(h, s.SeqLen-1-r*5000, lateRow(t, s, s.SeqLen-1-r*5000)) / rows
			}
			require.Greater(t, kept, 0.9)
		})
	}
}

func lateRow(t *testing.T, s Spec, i int) []float64 {
	q, err := s.Rows(Q, i, 1)
	require.NoError(t, err)
	k, err := s.Rows(K, 0, i+1)
	require.NoError(t, err)
	return softmax(scores(decode(t, s, q), decode(t, s, k)))
}

// keptBy is the weight of a row on what was planted.
func keptBy(h Head, i int, weights []float64) float64 {
	columns, sum := set(h.Columns), 0.0
	for j, w := range weights {
		line := slices.ContainsFunc(h.Distances, func(d int) bool { return abs(i-j-d) <= slashWidth/2 })
		topic := h.Blocks != nil && h.Blocks[j/BlockSize] == h.Blocks[i/BlockSize]
		if j < h.Sinks || i-j < h.Window || columns[j] || line || topic {
			sum += w
		}
	}
	return sum
}
