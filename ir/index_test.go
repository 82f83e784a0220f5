package ir_test

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/ir"
)

func poly(n int64) *ir.Poly { p := ir.Int(n); return &p }

// verticalSlash and blockSparse are the index stages of the library.
var verticalSlash = []ir.IndexDef{
	{Name: "logits", Value: ir.Probe{Last: poly(64)}},
	{Name: "probe", Value: ir.Softmax{Of: "logits"}},
	{Name: "heat", Value: ir.Sum{Of: "probe", Over: ir.OverQueries}},
	{Name: "cols", Value: ir.Select{Of: "heat", N: ir.Var("vertical"), First: ir.Int(30)}},
	{Name: "slopes", Value: ir.Sum{Of: "probe", Over: ir.OverDiagonals}},
	{Name: "diags", Value: ir.Select{Of: "slopes", N: ir.Var("slash"), First: ir.Int(100)}},
}

var blockSparse = []ir.IndexDef{
	{Name: "mean_q", Value: ir.Pool{Of: ir.TensorQ, Rows: 64}},
	{Name: "mean_k", Value: ir.Pool{Of: ir.TensorK, Rows: 64}},
	{Name: "scores", Value: ir.BlockScores{Q: "mean_q", K: "mean_k"}},
	{Name: "best", Value: ir.Select{Of: "scores", N: ir.Var("topk"), Last: ir.Int(1)}},
}

func randomHead(rng *rand.Rand, sq, sk, offset int) ir.HeadInputs[float32] {
	in := ir.HeadInputs[float32]{Sq: sq, Sk: sk, D: 4, QOffset: offset, Scale: 0.5}
	for _, x := range []struct {
		to *[]float32
		n  int
	}{{&in.Q, sq * in.D}, {&in.K, sk * in.D}} {
		for range x.n {
			*x.to = append(*x.to, float32(rng.NormFloat64()))
		}
	}
	return in
}

func members(t *testing.T, s *ir.Selection, name string) []int {
	t.Helper()
	x, err := s.Find(name)
	require.NoError(t, err)
	return x.Members
}

// paperRules is MInference's estimate written as its authors do: the whole matrix of the last queries, masked, softmax,
// sums, forced members at infinity, top-k. Lengths are equal, as theirs are.
func paperRules(in ir.HeadInputs[float32], vertical, slash int) (cols, diags []int) {
	n := in.Sq
	columns, diagonals := make([]float64, n), make([]float64, n)
	for q := max(0, n-64); q < n; q++ {
		row, sum := make([]float64, n), 0.0
		for k := 0; k <= q; k++ {
			dot := 0.0
			for i := range in.D {
				dot += float64(in.Q[q*in.D+i]) * float64(in.K[k*in.D+i])
			}
			row[k] = math.Exp(dot * in.Scale)
			sum += row[k]
		}
		for k := 0; k <= q; k++ {
			columns[k] += row[k] / sum
			diagonals[q-k] += row[k] / sum
		}
	}
	top := func(values []float64, forced, budget int) []int {
		for i := range min(forced, n) {
			values[i] = math.Inf(1)
		}
		order := make([]int, n)
		for i := range order {
			order[i] = i
		}
		slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(values[b], values[a]) })
		order = order[:min(n, max(budget, forced))]
		slices.Sort(order)
		return order
	}
	return top(columns, 30, vertical), top(diagonals, 100, slash)
}

func TestVerticalSlashFollowsThePaper(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for range 60 {
		n := 1 + rng.IntN(500)
		in := randomHead(rng, n, n, 0)
		vertical, slash := rng.IntN(600), rng.IntN(600)
		sel, err := ir.EvalIndex(verticalSlash, map[string]int64{"vertical": int64(vertical), "slash": int64(slash)}, in)
		require.NoError(t, err)
		cols, diags := paperRules(in, vertical, slash)
		require.Equal(t, cols, members(t, sel, "cols"), "n=%d", n)
		require.Equal(t, diags, members(t, sel, "diags"), "n=%d", n)
	}
}

// Keys before and after the queries, and lengths that differ.
func TestCandidatesWithOffsets(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 1))
	for _, c := range []struct{ sq, sk, offset, columns, distances int }{
		{10, 300, 290, 300, 300}, // decoding
		{10, 300, 0, 10, 10},     // keys after the last query are no candidates
		{10, 5, 0, 5, 10},
		{10, 5, 100, 5, 110}, // distances below 96 hold no key
		{0, 5, 3, 3, 3},
		{5, 0, 0, 0, 5},
	} {
		sel, err := ir.EvalIndex(verticalSlash, map[string]int64{"vertical": 1 << 30, "slash": 1 << 30}, randomHead(rng, c.sq, c.sk, c.offset))
		require.NoError(t, err)
		require.Len(t, members(t, sel, "cols"), c.columns, "%+v", c)
		require.Len(t, members(t, sel, "diags"), c.distances, "%+v", c)
	}
}

func TestBlockSparse(t *testing.T) {
	in := ir.HeadInputs[float32]{Sq: 200, Sk: 250, D: 1, Scale: 99}
	for i := range in.Sq {
		in.Q = append(in.Q, float32(1+i%3)) // positive means, so the key blocks decide
	}
	for i := range in.Sk {
		in.K = append(in.K, []float32{3, -1, 3, 9}[i/64])
	}
	blocks := func(topk int64) [][]int {
		sel, err := ir.EvalIndex(blockSparse, map[string]int64{"topk": topk}, in)
		require.NoError(t, err)
		s, err := sel.Find("best")
		require.NoError(t, err)
		return s.Blocks
	}
	require.Equal(t, [][]int{{0}, {1}, {2}, {3}}, blocks(0), "the diagonal block is always there")
	require.Equal(t, [][]int{{0}, {1, 0}, {2, 0}, {3, 0}}, blocks(2), "equal scores: the smaller block")
	require.Equal(t, [][]int{{0}, {1, 0}, {2, 1, 0}, {3, 2, 1, 0}}, blocks(100))
	in.QOffset = 30
	require.Equal(t, [][]int{{1}, {2}, {3}, {3}}, blocks(1), "the block of the last row; the last row block ends at position 229")
	in.K[0] = float32(math.NaN())
	require.Equal(t, [][]int{{1, 0}, {2, 1}, {3, 2}, {3, 2}}, blocks(2), "a block with NaN comes last")
}

// evalSums chooses by a rule from the column sums of one query whose probabilities are p.
func evalSums(t *testing.T, s ir.Select, p ...float64) []int {
	in := ir.HeadInputs[float64]{Q: []float64{1}, Sq: 1, Sk: len(p), D: 1, QOffset: len(p) - 1, Scale: 1}
	for _, x := range p {
		in.K = append(in.K, math.Log(x))
	}
	s.Of = "x"
	sel, err := ir.EvalIndex([]ir.IndexDef{
		{Name: "l", Value: ir.Probe{Stride: poly(1)}}, {Name: "p", Value: ir.Softmax{Of: "l"}},
		{Name: "x", Value: ir.Sum{Of: "p"}}, {Name: "c", Value: s},
	}, nil, in)
	require.NoError(t, err)
	return members(t, sel, "c")
}

func number(n int64) ir.Number { return ir.Int(n) }

// Shares of blocks are the softmax of a row block's scaled scores; the largest are chosen until they hold the mass.
func TestSharesOfBlocks(t *testing.T) {
	defs := parseIndex(t, "index pq = pool mean q", "index pk = pool mean k", "index raw = blocks pq pk", "index shares = softmax raw",
		"index half = mass 500 from shares", "index most = mass 890 from shares last 1", "index large = above 250000 from shares",
		"index near = near 700 from shares first 1")
	require.NoError(t, ir.VerifyIndex(defs, nil, nil))
	in := ir.HeadInputs[float64]{Sq: 1, Sk: 4 * ir.BlockSize, D: 1, QOffset: 3 * ir.BlockSize, Scale: 0.5, Q: []float64{2}}
	for _, weight := range []float64{1, 4, 3, 2} { // shares in tenths; the mean of a block of equal keys is that key
		in.K = append(in.K, slices.Repeat([]float64{math.Log(weight)}, ir.BlockSize)...)
	}
	sel, err := ir.EvalIndex(defs, nil, in)
	require.NoError(t, err)
	for name, want := range map[string][]int{"half": {2, 1}, "most": {3, 2, 1}, "large": {2, 1}, "near": {2, 1, 0}} {
		set, err := sel.Find(name)
		require.NoError(t, err)
		require.Equal(t, [][]int{want}, set.Blocks, name)
	}
}

// The score of a square is the mean over its antidiagonal; what is past the end counts as 0, what begins after the last
// query of the square does not count.
func TestAntidiagonals(t *testing.T) {
	defs := parseIndex(t, "index squares = antidiagonals 2", "index probs = softmax squares", "index shares = sum probs over blocks",
		"index best = top 1 from shares")
	require.NoError(t, ir.VerifyIndex(defs, nil, nil))
	in := ir.HeadInputs[float64]{Sq: 3, Sk: 2*ir.BlockSize + 1, D: 1, QOffset: 2*ir.BlockSize - 2, Scale: 1, Q: []float64{1, 2, 3}}
	in.K = make([]float64, in.Sk)
	in.K[0], in.K[1] = math.Log(3), math.Log(5)      // 1*log 5 + 2*log 3, halved: log sqrt 45
	in.K[2*ir.BlockSize] = 2 * math.Log(7)           // of the last, half square of keys: only the second row of squares sees it
	first, second := math.Sqrt(45), math.Sqrt(5*5*5) // the second has one query: 3*log 5, halved
	late := 1.0                                      // its antidiagonal meets the query with a key past the end
	_, values, err := ir.EvalIndexValues(defs, nil, in)
	require.NoError(t, err)
	half := float64(ir.BlockSize / 2)
	one := []float64{(first + half - 1) / (first + 2*half - 1), half / (first + 2*half - 1), 0}
	two := []float64{(second + half - 1) / (second + 2*half - 1 + late), half / (second + 2*half - 1 + late),
		late / (second + 2*half - 1 + late)}
	for b, got := range values["best"][0] {
		require.InDelta(t, (one[b]+two[b])/2, got, 1e-12, "key block %d", b)
	}
	require.Error(t, ir.VerifyIndex([]ir.IndexDef{{Name: "a", Value: ir.Antidiagonals{Step: 3}}}, nil, nil))
}

func TestRules(t *testing.T) {
	p := []float64{0.05, 0.3, 0.25, 0.3, 0.1}
	for _, c := range []struct {
		name string
		s    ir.Select
		want []int
	}{
		{"top", ir.Select{N: ir.Int(1)}, []int{1}},
		{"top with a forced first", ir.Select{N: ir.Int(2), First: ir.Int(1)}, []int{0, 1}},
		{"forced ones beyond the budget", ir.Select{N: ir.Int(1), First: ir.Int(1), Last: ir.Int(2)}, []int{0, 3, 4}},
		{"forced at both ends, overlapping", ir.Select{First: ir.Int(9), Last: ir.Int(9)}, []int{0, 1, 2, 3, 4}},
		{"mass", ir.Select{Rule: ir.TopP, N: ir.Int(590)}, []int{1, 3}},
		{"mass just missed", ir.Select{Rule: ir.TopP, N: ir.Int(610)}, []int{1, 2, 3}},
		{"mass of forced ones counts", ir.Select{Rule: ir.TopP, N: ir.Int(390), Last: ir.Int(1)}, []int{1, 4}},
		{"all mass", ir.Select{Rule: ir.TopP, N: ir.Int(1000)}, []int{0, 1, 2, 3, 4}},
		{"no mass", ir.Select{Rule: ir.TopP}, nil},
		{"above", ir.Select{Rule: ir.Above, N: ir.Int(249_000)}, []int{1, 2, 3}},
		{"above, but few", ir.Select{Rule: ir.Above, N: ir.Int(249_000), Most: number(2)}, []int{1, 3}},
		{"mass, but few", ir.Select{Rule: ir.TopP, N: ir.Int(950), Most: number(3), First: ir.Int(1)}, []int{0, 1, 3}},
		{"a limit below what is forced", ir.Select{Rule: ir.TopP, N: ir.Int(950), Most: number(1), Last: ir.Int(2)}, []int{3, 4}},
		{"top, but few", ir.Select{N: ir.Int(4), Most: number(1)}, []int{1}},
		{"a limit that is not reached", ir.Select{N: ir.Int(1), Most: number(4)}, []int{1}},
		{"near the largest", ir.Select{Rule: ir.NearMax, N: ir.Int(833)}, []int{1, 2, 3}},
		{"near the largest, just missed", ir.Select{Rule: ir.NearMax, N: ir.Int(834)}, []int{1, 3}},
		{"all that tie with the largest", ir.Select{Rule: ir.NearMax, N: ir.Int(1000)}, []int{1, 3}},
		{"more than the largest is the largest", ir.Select{Rule: ir.NearMax, N: ir.Int(5000)}, []int{1, 3}},
		{"near the largest, but few", ir.Select{Rule: ir.NearMax, N: ir.Int(100), Most: number(3)}, []int{1, 2, 3}},
		{"near a largest one that is forced", ir.Select{Rule: ir.NearMax, N: ir.Int(400), First: ir.Int(2)}, []int{0, 1, 2, 3}},
		{"above, but enough", ir.Select{Rule: ir.Above, N: ir.Int(299_999), Least: number(4)}, []int{1, 2, 3, 4}},
		{"above, and enough", ir.Select{Rule: ir.Above, N: ir.Int(249_000), Least: number(2)}, []int{1, 2, 3}},
		{"mass, but enough", ir.Select{Rule: ir.TopP, N: ir.Int(1), Least: number(2)}, []int{1, 3}},
		{"forced ones are some of enough", ir.Select{Rule: ir.NearMax, N: ir.Int(1000), Least: number(4), First: ir.Int(1)}, []int{0, 1, 2, 3}},
		{"enough is all there are", ir.Select{Rule: ir.NearMax, N: ir.Int(1000), Least: number(9)}, []int{0, 1, 2, 3, 4}},
		{"a least number above the limit", ir.Select{Rule: ir.NearMax, N: ir.Int(1), Least: number(4), Most: number(3)}, []int{1, 2, 3}},
		{"a number of the length", ir.Select{N: ir.Operation{Op: ir.OpFloorDiv, X: ir.KeyCount{}, Y: ir.Int(2)}}, []int{1, 3}},
		{"a bound of the length", ir.Select{N: ir.Int(9), Most: ir.Operation{Op: ir.OpSub, X: ir.KeyCount{}, Y: ir.Int(2)}}, []int{1, 2, 3}},
		{"above with a forced first", ir.Select{Rule: ir.Above, N: ir.Int(260_000), First: ir.Int(1)}, []int{0, 1, 3}},
	} {
		require.Equal(t, c.want, evalSums(t, c.s, p...), c.name)
	}
	require.Equal(t, []int{1}, evalSums(t, ir.Select{Rule: ir.TopP, N: ir.Int(1000)}, 0, 1, 0), "what has no mass never joins")
	require.Equal(t, []int{1}, evalSums(t, ir.Select{Rule: ir.NearMax}, 0, 1, 0), "nor is it near anything")
	require.Equal(t, []int{0, 1}, evalSums(t, ir.Select{Rule: ir.NearMax, Least: number(2)}, 0, 1, 0), "but it is counted on")
}

// A key whose logits are not finite counts as masked: the others share the probability, and it comes last.
func TestNotFiniteInputs(t *testing.T) {
	nan, inf := math.NaN(), math.Inf(1)
	for _, bad := range []float64{nan, inf, -inf} {
		in := ir.HeadInputs[float64]{Q: []float64{1, 1}, Sq: 2, Sk: 3, D: 1, QOffset: 1, Scale: 1, K: []float64{bad, 0, 1}}
		sel, err := ir.EvalIndex(verticalSlashFree, map[string]int64{}, in)
		require.NoError(t, err)
		require.Equal(t, []int{1, 2}, members(t, sel, "cols"), "%v", bad)
		in.Q[0] = bad
		sel, err = ir.EvalIndex(verticalSlashFree, map[string]int64{}, in)
		require.NoError(t, err)
		require.Equal(t, []int{1, 2}, members(t, sel, "cols"), "a query of %v says nothing", bad)
		in.Q[1] = bad
		in.K = []float64{nan, nan, nan}
		sel, err = ir.EvalIndex(verticalSlashFree, map[string]int64{}, in)
		require.NoError(t, err)
		require.Equal(t, []int{0, 1}, members(t, sel, "cols"), "nothing is known: the smaller indices")
	}
}

// verticalSlashFree chooses two columns and forces none.
var verticalSlashFree = []ir.IndexDef{
	{Name: "l", Value: ir.Probe{Last: poly(64)}}, {Name: "p", Value: ir.Softmax{Of: "l"}},
	{Name: "x", Value: ir.Sum{Of: "p"}}, {Name: "cols", Value: ir.Select{Of: "x", N: ir.Int(2)}},
}

func TestCoverTiles(t *testing.T) {
	for _, c := range []struct{ distances, tiles []int }{
		{nil, nil},
		{[]int{0}, []int{0}},
		{[]int{5}, []int{5}},
		{[]int{0, 1}, []int{0, 64}},
		{[]int{0, 64}, []int{0, 64}},
		{[]int{0, 65}, []int{0, 65}},
		{[]int{0, 3, 64, 65, 128, 129, 300}, []int{0, 64, 128, 192, 300}},
	} {
		require.Equal(t, c.tiles, ir.CoverTiles(c.distances), "%v", c.distances)
	}
}

// The cover holds all keys that the chosen distances mean, tiles do not overlap, and no tile is there for nothing.
func TestCoverIsSoundAndTight(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 1))
	for range 300 {
		want := map[int]bool{} // deltas that must be covered
		var distances []int
		for d := rng.IntN(200); d < 1500; d += 1 + rng.IntN(1+rng.IntN(300)) {
			distances = append(distances, d)
			for i := range ir.BlockSize {
				want[d+i] = true
			}
		}
		tiles := ir.CoverTiles(distances)
		for i, tile := range tiles {
			needed := false
			for delta := tile; delta < tile+ir.BlockSize; delta++ {
				needed = needed || want[delta]
			}
			require.True(t, needed, "tile %d covers nothing that was asked for", tile)
			require.True(t, i == 0 || tile >= tiles[i-1]+ir.BlockSize, "tiles %d and %d overlap", i-1, i)
		}
		for delta := range 2000 {
			in := slices.ContainsFunc(tiles, func(x int) bool { return x <= delta && delta < x+ir.BlockSize })
			require.Equal(t, in, ir.Covered(tiles, delta))
			require.True(t, in || !want[delta], "delta %d is missing", delta)
		}
	}
}

// Requested pairs are covered, columns and blocks are exact, and the cover is what its definition says tile by tile.
func TestKeepsWithAndCoverWith(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 1))
	for range 25 {
		offset, sq := rng.IntN(200), 1+rng.IntN(200)
		sk := 1 + rng.IntN(400)
		in := randomHead(rng, sq, sk, offset)
		sel, err := ir.EvalIndex(append(slices.Clone(verticalSlash), blockSparse...),
			map[string]int64{"vertical": rng.Int64N(50), "slash": rng.Int64N(110), "topk": rng.Int64N(4)}, in)
		require.NoError(t, err)
		// Without the forced distances the list has gaps.
		sel.Sets[1].Members = slices.DeleteFunc(slices.Clone(sel.Sets[1].Members), func(int) bool { return rng.IntN(30) > 0 })
		diags, cols := sel.Sets[1].Members, sel.Sets[0].Members
		keep := func(s ir.Set) (asked, cover func(q, k int) bool) {
			p := &ir.Pattern{Name: "p", Keep: s}
			asked, err := p.KeepsWith(nil, sel)
			require.NoError(t, err)
			cover, err = p.CoverWith(nil, sel)
			require.NoError(t, err)
			return asked, cover
		}
		askedD, coverD := keep(ir.Chosen{Name: "diags", Kind: ir.ChosenDistances})
		askedC, coverC := keep(ir.Chosen{Name: "cols", Kind: ir.ChosenColumns})
		askedB, coverB := keep(ir.Chosen{Name: "best", Kind: ir.ChosenBlocks})
		tiles := ir.CoverTiles(diags)
		for i := range sq {
			q, s := offset+i, offset+i/64*64
			for k := range sk {
				inTile := slices.ContainsFunc(tiles, func(l int) bool { return s-l <= k && k < s-l+64 })
				want := [6]bool{slices.Contains(diags, q-k), inTile, slices.Contains(cols, k), slices.Contains(cols, k),
					slices.Contains(sel.Sets[2].Blocks[i/64], k/64), slices.Contains(sel.Sets[2].Blocks[i/64], k/64)}
				got := [6]bool{askedD(q, k), coverD(q, k), askedC(q, k), coverC(q, k), askedB(q, k), coverB(q, k)}
				if got != want { // require.Equal for every pair would take seconds
					require.Equal(t, want, got, "q %d k %d tiles %v", q, k, tiles)
				}
				if got[0] && !got[1] {
					t.Fatalf("the pair %d, %d was asked for and is not covered by %v", q, k, tiles)
				}
			}
		}
	}
}

// On the diagonal block every row has a key when the offset is a multiple of the block, and short heads keep everything.
func TestShortHeadsKeepAll(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 1))
	for _, n := range []int{1, 2, 29, 30} {
		sel, err := ir.EvalIndex(verticalSlash, map[string]int64{"vertical": 1, "slash": 1}, randomHead(rng, n, n, 0))
		require.NoError(t, err)
		require.Len(t, members(t, sel, "cols"), n)
		require.Len(t, members(t, sel, "diags"), n)
	}
	sel, err := ir.EvalIndex(verticalSlash, map[string]int64{"vertical": 1, "slash": 1}, randomHead(rng, 63, 63, 0))
	require.NoError(t, err)
	require.Len(t, members(t, sel, "diags"), 63, "all distances, so all pairs")
}

func TestKeepsOfDataIsRefused(t *testing.T) {
	p := &ir.Pattern{Name: "p", Keep: ir.Chosen{Name: "cols"}}
	_, err := p.Keeps(nil)
	require.ErrorContains(t, err, "depends on data: use KeepsWith")
	_, err = p.KeepsWith(nil, &ir.Selection{})
	require.ErrorContains(t, err, `no "cols"`)
	_, err = p.CoverWith(nil, &ir.Selection{Sets: []ir.Selected{{Name: "cols", Kind: ir.ChosenBlocks}}})
	require.ErrorContains(t, err, "want columns")
}

func TestIndexInputsAreChecked(t *testing.T) {
	in := randomHead(rand.New(rand.NewPCG(6, 1)), 3, 3, 0)
	in.K = in.K[1:]
	_, err := ir.EvalIndex(verticalSlash, nil, in)
	require.ErrorContains(t, err, "q has 12 and k 11 elements, want 12 and 12")
	in.QOffset = -1
	_, err = ir.EvalIndex(verticalSlash, nil, in)
	require.ErrorContains(t, err, "want none negative")
	_, err = ir.EvalIndex(verticalSlash, nil, randomHead(rand.New(rand.NewPCG(6, 1)), 3, 3, 0))
	require.ErrorContains(t, err, `no value for parameter "vertical"`)
}

// blocksOf evaluates block scores with a kind of pooling for queries that are 1 everywhere, and chooses n.
func blocksOf(t *testing.T, with ir.Reduction, n int64, k []float64) [][]int {
	return blocksOver(t, ir.Pool{Of: ir.TensorK, With: with, Rows: 64}, n, k)
}

func blocksOver(t *testing.T, pool ir.Pool, n int64, k []float64) [][]int {
	in := ir.HeadInputs[float64]{Sq: len(k), Sk: len(k), D: 1, Scale: 1, K: k}
	for range k {
		in.Q = append(in.Q, 1)
	}
	sel, err := ir.EvalIndex([]ir.IndexDef{
		{Name: "a", Value: ir.Pool{Of: ir.TensorQ, With: pool.With, Rows: 64}}, {Name: "b", Value: pool},
		{Name: "s", Value: ir.BlockScores{Q: "a", K: "b"}}, {Name: "c", Value: ir.Select{Of: "s", N: ir.Int(n)}},
	}, nil, in)
	require.NoError(t, err)
	s, err := sel.Find("c")
	require.NoError(t, err)
	return s.Blocks
}

func TestPooling(t *testing.T) {
	k := make([]float64, 130) // the last block has two keys
	k[3], k[70], k[71], k[129] = 5, 4, 4, 2
	require.Equal(t, [][]int{{0}, {1}, {2}}, blocksOf(t, ir.ReduceMean, 1, k), "means 5/64, 8/64 and 1")
	require.Equal(t, [][]int{{0}, {0}, {0}}, blocksOf(t, ir.ReduceMax, 1, k))
	k[3] = math.NaN()
	require.Equal(t, [][]int{{0}, {1, 0}, {2, 1}}, blocksOf(t, ir.ReduceMean, 2, k))
	require.Equal(t, [][]int{{0}, {1}, {1}}, blocksOf(t, ir.ReduceMax, 1, k), "a maximum skips NaN")
	k[70] = math.Inf(-1)
	require.Equal(t, [][]int{{0}, {1, 0}, {2, 0}}, blocksOf(t, ir.ReduceMean, 2, k), "NaN counts as -Inf: a tie")
}

// Two blocks of 64 keys share the pooled row of the 128 keys that they lie in, so that an even budget keeps both, and the last keys may be
// fewer.
func TestPoolingOver128(t *testing.T) {
	k := make([]float64, 64*4+70) // the pools end with 70 keys, in two blocks
	k[200], k[300] = 100, 50      // means of the second and third 128 keys: 100/128, 50/70
	pool := ir.Pool{Of: ir.TensorK, Rows: 128}
	two := [][]int{{0}, {1, 0}, {2, 0}, {3, 2}, {3, 2}, {3, 2}}
	require.Equal(t, two, blocksOver(t, pool, 2, k), "equal scores go to the smaller block")
	require.Equal(t, []int{5, 4, 3, 2}, blocksOver(t, pool, 4, k)[5])
	pool.Rows = 64
	require.Equal(t, []int{4, 3}, blocksOver(t, pool, 2, k)[5], "each block for itself")
	k[70] = 60
	pool = ir.Pool{Of: ir.TensorK, With: ir.ReduceMax, Rows: 128}
	require.Equal(t, []int{3, 2, 1, 0}, blocksOver(t, pool, 4, k)[5])
}

func TestQueriesBeforeTheCallAreInNoBlock(t *testing.T) {
	sel := &ir.Selection{QOffset: 10, Sets: []ir.Selected{
		{Name: "b", Kind: ir.ChosenBlocks, Blocks: [][]int{{0}}}, {Name: "d", Kind: ir.ChosenDistances, Members: []int{0}},
	}}
	for _, s := range []ir.Chosen{{Name: "b", Kind: ir.ChosenBlocks}, {Name: "d", Kind: ir.ChosenDistances}} {
		keep, err := (&ir.Pattern{Name: "p", Keep: s}).CoverWith(nil, sel)
		require.NoError(t, err)
		require.True(t, keep(10, 10), s.Name)
		require.False(t, keep(9, 9), s.Name)
	}
}
