package index

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/ir"
)

// distanceKinds choose distances below n.
var distanceKinds = map[string]func(rng *rand.Rand, n int) []bool{
	"none": func(_ *rand.Rand, n int) []bool { return make([]bool, n) },
	"all":  func(_ *rand.Rand, n int) []bool { return every(n, 1, 0) },
	"last": func(_ *rand.Rand, n int) []bool { return every(n, n, n-1) },
	// Gaps of 65 to 127 keep the chains of the parts apart: the slowest case.
	"every 65":  func(_ *rand.Rand, n int) []bool { return every(n, 65, 3) },
	"every 100": func(_ *rand.Rand, n int) []bool { return every(n, 100, 0) },
	"every 64":  func(_ *rand.Rand, n int) []bool { return every(n, 64, 9) },
	// A search that ends just in front of the next warp's part.
	"every 2047": func(_ *rand.Rand, n int) []bool { return every(n, 2047, 30) },
	"gaps": func(rng *rand.Rand, n int) []bool {
		out := make([]bool, n)
		for d := rng.IntN(130); d < n; d += 60 + rng.IntN(75) {
			out[d] = true
		}
		return out
	},
	"dense":  func(rng *rand.Rand, n int) []bool { return random(rng, n, 8) },
	"sparse": func(rng *rand.Rand, n int) []bool { return random(rng, n, 90) },
	"rare":   func(rng *rand.Rand, n int) []bool { return random(rng, n, 1500) },
	"clusters": func(rng *rand.Rand, n int) []bool {
		out := make([]bool, n)
		for d := 0; d < n; d += 64 + rng.IntN(900) {
			for i := d; i < min(n, d+64); i++ {
				out[i] = true
			}
		}
		return out
	},
}

func every(n, step, from int) []bool {
	out := make([]bool, n)
	for d := from; d < n; d += step {
		out[d] = true
	}
	return out
}

func random(rng *rand.Rand, n, oneIn int) []bool {
	out := make([]bool, n)
	for i := range out {
		out[i] = rng.IntN(oneIn) == 0
	}
	return out
}

func bitmap(set []bool, words int) []uint32 {
	out := make([]uint32, words)
	for i, on := range set {
		if on {
			out[i/32] |= 1 << (i % 32)
		}
	}
	return out
}

func members(set []bool) (out []int) {
	for i, on := range set {
		if on {
			out = append(out, i)
		}
	}
	return out
}

// TestRuns compares tiles and coverage with the rule of the language, for every kind of distances in one launch.
func TestRuns(t *testing.T) {
	k, err := Runs()
	b := newListBench(t, k, err)
	rng := rand.New(rand.NewPCG(3, 4))
	for _, n := range []int{1, 64, 100, 2048, 5000, 40000, 140000} {
		t.Run(fmt.Sprint(n), func(t *testing.T) { testRuns(t, b, rng, n) })
	}
}

func testRuns(t *testing.T, b listBench, rng *rand.Rand, n int) {
	distPad := (n+63)/64*64 + 128
	dw, cover, runCap := distPad/32, (distPad+64+31)/32, n/64+2
	var bits []uint32
	var sets [][]bool
	for _, kind := range slices.Sorted(maps.Keys(distanceKinds)) {
		sets = append(sets, distanceKinds[kind](rng, n))
		bits = append(bits, bitmap(sets[len(sets)-1], dw)...)
	}
	h := len(sets)
	runs, count, covered := b.marked(h*runCap), b.empty(h), b.empty(h*cover)
	b.launch(h, 1, listArgs{"dist_bits": words(b, bits), "runs": runs, "run_count": count, "covered": covered,
		"words": dw, "run_cap": runCap, "cover_words": cover})
	gotRuns, gotCount, gotCover := b.read(runs, h*runCap), b.read(count, h), b.read(covered, h*cover)
	for i, set := range sets {
		want := ir.CoverTiles(members(set))
		require.LessOrEqual(t, len(want), runCap)
		require.EqualValues(t, len(want), gotCount[i])
		on := make([]bool, cover*32)
		for j, l := range want {
			require.Equal(t, int32(-l), int32(gotRuns[i*runCap+j]), "set %d, tile %d of %d", i, j, len(want))
			for d := l; d < l+64; d++ {
				on[d] = true
			}
		}
		require.Equal(t, bitmap(on, cover), gotCover[i*cover:(i+1)*cover], "set %d", i)
	}
}

// TestRunsCap loses the farthest tiles when the list is too short, and nothing else.
func TestRunsCap(t *testing.T) {
	k, err := Runs()
	b := newListBench(t, k, err)
	bits := bitmap(every(4000, 100, 0), 128)
	runs, count, covered := b.empty(2*3), b.empty(2), b.empty(2*140)
	b.launch(2, 1, listArgs{"dist_bits": words(b, append(bits, bits...)), "runs": runs, "run_count": count, "covered": covered,
		"words": 128, "run_cap": 3, "cover_words": 140})
	far := func(x int32) uint32 { return uint32(x) }
	require.Equal(t, []uint32{0, far(-100), far(-200), 0, far(-100), far(-200)}, b.read(runs, 6))
	require.Equal(t, []uint32{3, 3}, b.read(count, 2))
}
