package e2e

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/compile"
	"github.com/minfc/minfc/internal/campaign"
	"github.com/minfc/minfc/internal/qkv"
	"github.com/minfc/minfc/runtime/emu"
)

// byGroup has choices by group of every kind of values and by every rule, beside choices of single heads from the same values.
const byGroup = `
pattern tiles(a = 40, b = 3) {
  index probe = softmax(q[-64:] * k)
  index cols = top(a, sum(probe, queries)) shared by group with first 3
  index diags = top(b, sum(probe, diagonals(64))) shared by group with first 1
  keep causal & (columns(cols) | diagonals(diags))
}
pattern single(share = 600, b = 70) {
  index probe = softmax(q[-64:] * k)
  index cols = top_p(share, sum(probe, queries)) shared by group with most 150
  index diags = top(b, sum(probe, diagonals)) shared by group
  keep causal & (columns(cols) | diagonals(diags))
}
pattern mixed(a = 40, b = 70) {
  index probe = softmax(q[::7] * k)
  index cols = above(0.4, sum(probe, queries)) shared by group with least a
  index diags = top(b, sum(probe, diagonals)) with first 9
  keep causal & (columns(cols) | diagonals(diags))
}
pattern mixed_runs(share = 300, b = 2) {
  index probe = softmax(q[-64:] * k)
  index near = near_max(share, sum(probe, diagonals(32))) shared by group with first 1
  index far = top(b, sum(probe, diagonals(32)))
  keep causal & (diagonals(near) & window(200) | diagonals(far) \ window(200))
}
pattern packed(a = 40, b = 3) {
  index probe = softmax(q[-16:] * k)
  index cols = top(a, sum(probe, queries)) shared by group with first 3
  index diags = top(b, sum(probe, diagonals(64))) shared by group with first 1
  keep causal & (columns(cols) | diagonals(diags))
}
pattern packed_by_two(share = 600, b = 70) {
  index cols = top_p(share, sum(softmax(q[-23:] * k), queries)) shared by group with most 150
  index diags = top(b, sum(softmax(q[-5:] * k), diagonals)) shared by group
  keep causal & (columns(cols) | diagonals(diags))
}
pattern packed_beside(a = 40, b = 70) {
  index few = softmax(q[-32:] * k)
  index cols = top(a, sum(few, queries)) shared by group
  index diags = top(b, sum(softmax(q[-64:] * k), diagonals)) with first 9
  keep causal & (columns(cols) | diagonals(diags))
}
pattern best(n = 2) {
  index best = top(n, mean(q, 64) * max(k, 128)) shared by group with last 1
  keep causal & blocks(best)
}
pattern shares(share = 700, n = 2) {
  index near = top_p(share, softmax(mean(q, 128) * mean(k, 64))) shared by group with last 1
  index far = top(n, mean(q, 64) * mean(k, 64))
  keep causal & (blocks(near) & window(200) | blocks(far) \ window(200))
}
pattern squares(share = 500) {
  index main = top_p(share, sum(softmax(mean(q * k, antidiagonals(8))), blocks)) shared by group with first 1 with last 1
  keep causal & blocks(main)
}
`

// groupShapes have groups of 1, 2, 4 and 7, one and more kv heads, and ends within blocks.
var groupShapes = []qkv.Shape{
	{Batch: 1, QHeads: 4, KVHeads: 1, SeqQ: 200, SeqK: 333, QOffset: 133},
	{Batch: 2, QHeads: 4, KVHeads: 2, SeqQ: 300, SeqK: 300},
	{Batch: 1, QHeads: 7, KVHeads: 1, SeqQ: 130, SeqK: 130},
	{Batch: 2, QHeads: 2, KVHeads: 2, SeqQ: 65, SeqK: 449, QOffset: 384},
	{Batch: 1, QHeads: 14, KVHeads: 2, SeqQ: 64, SeqK: 257, QOffset: 193},
}

func groupCase(t *testing.T, name, target string) attentionCase {
	p, err := compile.Load("by_group.minf", []byte(byGroup), name, nil)
	require.NoError(t, err)
	return attentionCase{program: p, target: target, headDim: 64, dtype: abi.BF16}
}

// Choices by group are float64's, on both targets, and attention is over them.
func TestChoicesByGroupAgreeWithFloat64(t *testing.T) {
	for i, name := range []string{"tiles", "single", "mixed", "mixed_runs", "packed", "packed_by_two", "packed_beside", "best", "shares", "squares"} {
		for n, target := range compile.Targets() {
			c := groupCase(t, name, target)
			shapes := groupShapes[:campaign.Few(3, len(groupShapes))]
			c.runMany(t, len(shapes), func(c *attentionCase, at int) {
				c.shape, c.seed, c.random = shapes[at], uint64(100*i+10*n+at), at%2 == 1
			})
		}
	}
}

var _ = emu.Options{}
