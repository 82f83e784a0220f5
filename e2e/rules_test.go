package e2e

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/compile"
	"github.com/minfc/minfc/internal/campaign"
	"github.com/minfc/minfc/internal/qkv"
	"github.com/minfc/minfc/runtime/emu"
)

// rules are choices whose number the data decides, with the settings that each is tried with.
const rules = `
pattern mass(share = 900, limit = 1000) {
  index probe = softmax(q[-64:] * k)
  index cols = top_p(share, sum(probe, queries)) with first 4 with most limit
  index diags = top_p(share, sum(probe, diagonals)) with first 20 with most limit
  keep causal & (columns(cols) | diagonals(diags))
}
pattern threshold(least = 300000, limit = 1000) {
  index probe = softmax(q[-64:] * k)
  index cols = above(least, sum(probe, queries)) with most limit
  index diags = above(least, sum(probe, diagonals)) with last 1
  keep causal & (columns(cols) | diagonals(diags) | window(1))
}
pattern flex(share = 900, least = 100000, limit = 9) {
  index shares = softmax(mean(q, 64) * mean(k, 64))
  index main = top_p(share, shares) with last 1 with most limit
  index large = above(least, shares) with first 1
  keep causal & (blocks(main) & window(192) | blocks(large) \ window(192))
}
pattern squares(share = 900, limit = 9) {
  index dense = sum(softmax(mean(q * k, antidiagonals(8))), blocks)
  index main = top_p(share, dense) with last 1 with most limit
  index few = top(2, sum(softmax(mean(q * k, antidiagonals(32))), blocks))
  keep causal & (blocks(main) & window(192) | blocks(few) \ window(192))
}
pattern wide(share = 900, n = 4) {
  index main = top_p(share, softmax(mean(q, 128) * mean(k, 128))) with last 1 with most 9
  index few = top(n, max(q, 64) * max(k, 128)) with last 2
  keep causal & (blocks(main) & window(192) | blocks(few) \ window(192))
}
pattern runs(share = 900, least = 100000, limit = 9, const width = 32) {
  index probe = softmax(q[-64:] * k)
  index most = top_p(share, sum(probe, diagonals(width))) with first 1 with last 1 with most limit
  index some = above(least, sum(probe, diagonals(2 * width + 16))) with most limit
  keep causal & (diagonals(most) & window(200) | diagonals(some) \ window(200) | window(1))
}
pattern tiles(n = 5, share = 800) {
  index cols = top_p(share, sum(softmax(q[-64:] * k), queries)) with first 4
  index some = top(n, sum(softmax(q[::7] * k), diagonals(112))) with last 1
  keep causal & (columns(cols) | diagonals(some))
}
pattern near(share = 300, least = 0, limit = 1000) {
  index probe = softmax(q[-64:] * k)
  index cols = near_max(share, sum(probe, queries)) with first 4 with least least with most limit
  index diags = near_max(share, sum(probe, diagonals)) with last 2
  keep causal & (columns(cols) | diagonals(diags) | window(1))
}
pattern flash(share = 700, few = 900, least = 0) {
  index shares = softmax(mean(q, 128) * mean(k, 128))
  index main = near_max(share, shares) with first 2 with last 2 with least least
  index best = near_max(few, sum(softmax(mean(q * k, antidiagonals(16))), blocks)) with most 3
  keep causal & (blocks(main) & window(192) | blocks(best) \ window(192))
}
pattern enough(share = 500, threshold = 900000, least = 20) {
  index probe = softmax(q[-64:] * k)
  index cols = top_p(share, sum(probe, queries)) with least least with most 100
  index diags = above(threshold, sum(probe, diagonals)) with first 3 with least least
  index main = top_p(share, sum(softmax(mean(q * k, antidiagonals(8))), blocks)) with last 1 with least least
  index large = above(threshold, softmax(mean(q, 64) * mean(k, 64))) with least 2 with most 9
  keep causal & (columns(cols) & window(64) | diagonals(diags) & window(64) | (blocks(main) & window(128) | blocks(large) \ window(128)) \ window(64))
}
pattern long(part = 8, share = 800) {
  index probe = softmax(q[-64:] * k)
  index cols = top(min(100, sk / 4 + part), sum(probe, queries)) with first 4
  index diags = top_p(share, sum(probe, diagonals)) with least max(part, sk / 16) with most 3 * (sk / 8)
  index main = top(sk / 128, mean(q, 64) * mean(k, 64)) with last 1 with most (sk - 64) / 64
  keep causal & ((columns(cols) | diagonals(diags)) & window(192) | blocks(main) \ window(192))
}
pattern mixed(share = 700, n = 50) {
  index probe = softmax(q[-64:] * k)
  index cols = top_p(share, sum(probe, queries)) with last 3
  index diags = top(n, sum(probe, diagonals)) with most 20
  keep causal & (columns(cols) | diagonals(diags))
}
`

var ruleSettings = map[string][]map[string]int64{
	"mass":      {{"share": 1}, {"share": 500}, nil, {"share": 990, "limit": 100}, {"share": 1000}, {"share": 5000, "limit": 0}},
	"threshold": {{"least": 0}, {"least": 1}, nil, {"least": 100000, "limit": 17}, {"least": 1 << 30}},
	"flex":      {{"share": 300}, nil, {"share": 1000, "least": 0}, {"share": 999, "limit": 2, "least": 400000}, {"limit": 0}},
	"squares":   {{"share": 300}, nil, {"share": 1000}, {"share": 990, "limit": 2}, {"limit": 0}},
	"wide":      {{"share": 300}, nil, {"share": 1000, "n": 0}, {"n": 3}, {"n": 1000}},
	"runs":      {{"share": 300}, nil, {"share": 1000, "least": 0}, {"share": 999, "least": 3000, "limit": 2}, {"limit": 0}},
	"tiles":     {{"n": 0}, {"n": 1}, nil, {"n": 2, "share": 1000}, {"n": 1 << 30}},
	"near":      {{"share": 1}, {"share": 100}, nil, {"share": 50, "limit": 17}, {"share": 1000, "least": 30}, {"share": 5000, "limit": 0, "least": 1 << 30}},
	"flash":     {{"share": 1}, nil, {"share": 1000, "few": 1, "least": 4}, {"share": 300, "few": 500}},
	"enough":    {nil, {"share": 1, "threshold": 1 << 30, "least": 3}, {"least": 1 << 30}, {"share": 1000, "threshold": 0}, {"share": 1, "least": 0}},
	"long":      {nil, {"part": 0, "share": 1}, {"part": 1 << 30}, {"part": 40, "share": 1000}},
	"mixed":     {{"share": 300, "n": 0}, nil, {"share": 1000, "n": 19}},
}

// TestRulesAgreeWithFloat64: random inputs, which are nearly flat, and structured ones.
func TestRulesAgreeWithFloat64(t *testing.T) {
	shapes := campaign.Cases(1, 3, 10)
	for _, name := range []string{"mass", "threshold", "flex", "near", "flash", "enough", "long", "squares", "runs", "tiles", "wide", "mixed"}[:campaign.Few(9, 12)] {
		program, err := compile.Load("rules.minf", []byte(rules), name, nil)
		require.NoError(t, err)
		for i, d := range []int{64, 128}[:campaign.Few(1, 2)] {
			c := attentionCase{program: program, headDim: d, dtype: []abi.DType{abi.BF16, abi.F16}[i]}
			rng := rand.New(rand.NewPCG(uint64(d), uint64(len(name))))
			c.runMany(t, shapes, func(c *attentionCase, i int) {
				c.shape, c.params, c.seed, c.random = dynamicShape(rng), pick(rng, ruleSettings[name]), rng.Uint64(), i%2 == 0
			})
		}
	}
}

// A share of 1000 thousandths keeps every column with a mass, one of a limit no more than it.
func TestMassesAndLimitsDifferByHead(t *testing.T) {
	program, err := compile.Load("rules.minf", []byte(rules), "mass", nil)
	require.NoError(t, err)
	c := attentionCase{program: program, headDim: 64, dtype: abi.BF16, shape: qkv.Shape{Batch: 2, QHeads: 4, KVHeads: 2, SeqQ: 100, SeqK: 320, QOffset: 220}}
	all := c.launch(t, c.load(t, emu.Options{}), c.input(t), map[string][]int64{"share": {300, 1000, 1000, 900}, "limit": {1000, 320, 70, 5}})
	all.check(t)
	number := func(h int) int {
		cols, err := all.res.Chosen[h].Asked.Find("cols")
		require.NoError(t, err)
		return len(cols.Members)
	}
	for batch := range 2 {
		require.Less(t, number(4*batch), 320)
		require.Equal(t, 320, number(4*batch+1))
		require.Equal(t, 70, number(4*batch+2))
		require.Equal(t, 5, number(4*batch+3))
	}
}

// Keys that no query may see do not count for the length.
func TestKeysThatCount(t *testing.T) {
	program, err := compile.Load("rules.minf", []byte(`pattern part {
		index probe = softmax(q[-64:] * k)
		index cols = top(sk / 4, sum(probe, queries)) with most 70
		index diags = near_max(1, sum(probe, diagonals)) with least sk / 2 - 10
		keep causal & (columns(cols) | diagonals(diags))
	}`), "part", nil)
	require.NoError(t, err)
	c := attentionCase{program: program, headDim: 64, dtype: abi.BF16}
	l := c.load(t, emu.Options{})
	for _, x := range []struct{ seqK, cols, diags int }{{600, 50, 90}, {120, 30, 50}, {200, 50, 90}} { // queries end at 200
		c.shape = qkv.Shape{Batch: 1, QHeads: 2, KVHeads: 1, SeqQ: 110, SeqK: x.seqK, QOffset: 90}
		e := c.launch(t, l, c.input(t), nil)
		e.check(t)
		for _, h := range e.res.Chosen {
			for name, want := range map[string]int{"cols": x.cols, "diags": x.diags} {
				set, err := h.Asked.Find(name)
				require.NoError(t, err)
				require.Len(t, set.Members, want, "%s of %d keys", name, x.seqK)
			}
		}
	}
}

// A budget in whole blocks of 128 keys keeps them whole, in the row blocks that see all halves.
func TestLargerBlocksStayWhole(t *testing.T) {
	program, err := compile.Load("larger.minf", []byte(`pattern larger(n = 4) {
		index best = top(2 * n, mean(q, 128) * mean(k, 128))
		keep causal & blocks(best)
	}`), "", nil)
	require.NoError(t, err)
	shape := qkv.Shape{Batch: 1, QHeads: 2, KVHeads: 1, SeqQ: 300, SeqK: 1324, QOffset: 1024}
	c := attentionCase{program: program, headDim: 64, dtype: abi.BF16, shape: shape}
	all := c.launch(t, c.load(t, emu.Options{}), c.input(t), map[string][]int64{"n": {3, 1}})
	all.check(t)
	for h, n := range []int{3, 1} {
		best, err := all.res.Chosen[h].Asked.Find("best")
		require.NoError(t, err)
		for _, row := range []int{1, 3} { // the last query of each is the last one of 128
			blocks := best.Blocks[row]
			require.Len(t, blocks, 2*n)
			for i := 0; i < len(blocks); i += 2 {
				require.Equal(t, []int{blocks[i+1] + 1, blocks[i+1] / 2 * 2}, blocks[i:i+2], "head %d, row block %d: %v", h, row, blocks)
			}
		}
	}
}
