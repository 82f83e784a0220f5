package ir_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/ir"
)

// A window of 10 keys and pools of two key blocks: row block 4 begins at position 256, with key block 3 as the last one that its first rows
// see.
func TestDroppedKeysByHand(t *testing.T) {
	window := func(q, k int) bool { return k <= q && q-k < 10 }
	shape := ir.Shape{Sq: 300, Sk: 300}
	for n, want := range [][]int{{}, {}, {64}, {128}, {128, 64}} { // block 1 has a pair of row block 2, block 3 one of row block 4
		require.Equal(t, want, ir.DroppedKeys(128, window, shape, n), "row block %d", n)
	}
	require.Equal(t, []int{64, 64, 64, 0}, ir.DroppedKeys(64, window, shape, 4))
	none := func(q, k int) bool { return false }
	require.Equal(t, []int{64}, ir.DroppedKeys(64, none, ir.Shape{Sq: 1, Sk: 200, QOffset: 126}, 0), "key 127 comes after the query")
	require.Equal(t, []int{64, 64}, ir.DroppedKeys(64, none, ir.Shape{Sq: 1, Sk: 200, QOffset: 127}, 0))
	require.Equal(t, []int{64, 64, 64}, ir.DroppedKeys(64, none, ir.Shape{Sq: 1, Sk: 200, QOffset: 1000}, 0), "8 keys fill no pool")
}

// Two keys of a pool of 64 that differ from the others, by hand.
func TestAttendMeansByHand(t *testing.T) {
	k, v := make([]float64, 65), make([]float64, 65)
	k[0], k[1], v[0] = 64, 128, 640 // means 3 and 10
	in := ir.Inputs[float64]{B: 1, Hq: 1, Hk: 1, Sq: 1, Sk: 65, D: 1, QOffset: 64, Q: []float64{0.5}, K: k, V: v, Scale: 2,
		Keep:    func(q, k int) bool { return k == 64 },
		Dropped: &ir.Dropped{Pool: 64, Keys: func(int) []int { return []int{64} }}}
	out, lse, err := ir.Reference(in, nil)
	require.NoError(t, err)
	mean := 64 * math.Exp(3) // beside key 64, of weight 1 and value 0
	require.InDelta(t, math.Log(1+mean), lse[0], 1e-12)
	require.InDelta(t, 10*mean/(1+mean), out[0], 1e-12)
}

// Where the keys of a pool are all alike, their mean stands for them exactly: output and LSE are those of dense attention, whatever is
// dropped, of keys that lie in pools before the row block.
func TestMeansOfEqualKeysAreExact(t *testing.T) {
	const d, pool = 8, 128
	rng := rand.New(rand.NewPCG(1, 1))
	in := ir.Inputs[float32]{B: 1, Hq: 2, Hk: 1, Sq: 150, Sk: 600, D: d, QOffset: 450, Scale: 0.4}
	for range 2 * in.Sq * d {
		in.Q = append(in.Q, float32(rng.NormFloat64()))
	}
	for _, x := range []*[]float32{&in.K, &in.V} {
		row := make([]float32, d)
		for n := range in.Sk {
			for i := range row {
				if n%pool == 0 {
					row[i] = float32(rng.IntN(9) - 4) // a mean of equal ones is exact
				}
			}
			*x = append(*x, row...)
		}
	}
	in.Keep = func(q, k int) bool { return k <= q }
	want, wantLSE, err := ir.Reference(in, nil)
	require.NoError(t, err)
	shape := ir.Shape{Sq: in.Sq, Sk: in.Sk, QOffset: in.QOffset}
	dropping := func(q, k int) bool { // of pools 0 to 2; pool 3 ends after the first row block's first query
		return k <= q && (k >= 3*pool || (k/64+(q-in.QOffset)/64)%3 == 0)
	}
	in.Keep = dropping
	in.Dropped = &ir.Dropped{Pool: pool, Keys: ir.DroppedBy(pool, dropping, shape)}
	got, lse, err := ir.Reference(in, nil)
	require.NoError(t, err)
	require.InDeltaSlice(t, want, got, 1e-9)
	require.InDeltaSlice(t, wantLSE, lse, 1e-9)
}

func TestMeansAreVerified(t *testing.T) {
	const head = "schedule x\n  tile 64x64 ascending\n  segment 0\n    hi   q + 1\n"
	for text, want := range map[string]string{
		head + "  segment 1\n    from means dropped\n    pool 100\n":                                                  "a mean of 100 keys, want one of any of [64 128 256 512]",
		head + "  segment 1\n    from means dropped\n":                                                                "a mean of 0 keys",
		head + "  segment 1\n    from means other\n    pool 64\n":                                                     "want them of means dropped without any",
		head + "  segment 1\n    from means dropped\n    pool 64\n    hi   q + 1\n":                                   "with 1 bounds",
		head + "  segment 1\n    from means dropped\n    pool 64\n  segment 2\n    from means dropped\n    pool 64\n": "a second segment of means",
		"schedule x\n  tile 64x64 ascending\n  segment 0\n    pool 64\n":                                              "which only a segment of means has",
		"schedule x\n  tile 128x64 ascending\n  segment 0\n    from means dropped\n    pool 64\n":                     "the tile has 128 rows, want 64",
		head + "  segment 1\n    from means dropped\n    pool 64\n    never-full\n":                                   "",
	} {
		s, err := ir.ParseSchedule(text)
		require.NoError(t, err, text)
		if err := s.Verify(); want == "" {
			require.NoError(t, err)
			require.True(t, s.Causal())
			require.True(t, s.EveryRowKeeps())
			require.Equal(t, text, s.String())
		} else {
			require.ErrorContains(t, err, want, text)
		}
	}
	p := &ir.Pattern{Name: "p", Keep: ir.All{}, Pool: 96}
	require.ErrorContains(t, p.Verify(), "else: a mean of 96 keys")
	p.Pool = 256
	require.NoError(t, p.Verify())
	again, err := ir.ParsePattern(p.String())
	require.NoError(t, err)
	require.Equal(t, p, again)
	for _, bad := range []string{"else mean", "else mean 0", "else most 64", "else mean 64\n  else mean 64"} {
		_, err := ir.ParsePattern(fmt.Sprintf("pattern p\n  keep\n    all\n  %s\n", bad))
		require.Error(t, err, bad)
	}
}
