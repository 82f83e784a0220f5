package selfcheck

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/internal/half"
	"github.com/minfc/minfc/internal/qkv"
	"github.com/minfc/minfc/ir"
)

// choices has one Select of every kind.
func choices(t *testing.T) ChoiceCase {
	p, err := ir.ParsePattern(`pattern p
  index logits = probe last 64
  index probs = softmax logits
  index heat = sum probs over queries
  index trace = sum probs over diagonals
  index mq = pool mean q
  index mk = pool mean k
  index scores = blocks mq mk
  index cols = top 40 from heat first 1
  index diags = top 40 from trace first 1
  index best = top 2 from scores last 1
  index shares = softmax scores
  index main = mass 600 from heat
  index far = above 400000 from trace
  index large = mass 700 from shares
  keep
    all
`)
	require.NoError(t, err)
	in, err := qkv.Generate(qkv.Shape{Batch: 2, QHeads: 4, KVHeads: 2, SeqQ: 300, SeqK: 300, HeadDim: 16}, half.BF16, 5)
	require.NoError(t, err)
	c := ChoiceCase{In: in, Index: p.Index, Values: []map[string]int64{{}}, Scale: 0.25}
	for h := range 8 {
		head, err := c.inputs(h)
		require.NoError(t, err)
		s, err := ir.EvalIndex(p.Index, c.Values[0], head)
		require.NoError(t, err)
		c.Asked = append(c.Asked, s)
	}
	return c
}

func TestRightChoicesPass(t *testing.T) {
	r, err := CompareChoices(choices(t))
	require.NoError(t, err)
	require.True(t, r.OK())
	require.Zero(t, r.Wrong+r.Ties)
	require.Greater(t, r.Members, 8*(40+40+1+2*4))
}

// One other member in each of all sets is far beyond the limit.
func TestWrongChoicesFail(t *testing.T) {
	for name, spoil := range map[string]func(s *ir.Selection){
		"another column":               func(s *ir.Selection) { s.Sets[0].Members = other(s.Sets[0].Members, 300) },
		"a distance less":              func(s *ir.Selection) { s.Sets[1].Members = s.Sets[1].Members[:39] },
		"one more":                     func(s *ir.Selection) { s.Sets[0].Members = append(s.Sets[0].Members, 1000) },
		"another block":                func(s *ir.Selection) { s.Sets[2].Blocks[4] = other(s.Sets[2].Blocks[4], 5) },
		"a column less of a mass":      func(s *ir.Selection) { s.Sets[3].Members = s.Sets[3].Members[1:] },
		"a distance above a threshold": func(s *ir.Selection) { s.Sets[4].Members = other(append(s.Sets[4].Members, 0), 300) },
		"a block less of a mass":       func(s *ir.Selection) { s.Sets[5].Blocks[4] = s.Sets[5].Blocks[4][1:] },
		"no row block":                 func(s *ir.Selection) { s.Sets[2].Blocks = s.Sets[2].Blocks[:4] },
		"heads mixed up":               nil,
	} {
		c := choices(t)
		for _, s := range c.Asked {
			if spoil != nil {
				spoil(s)
			}
		}
		if spoil == nil {
			c.Asked[0], c.Asked[7] = c.Asked[7], c.Asked[0]
		}
		r, err := CompareChoices(c)
		require.NoError(t, err)
		require.False(t, r.OK(), name)
		require.Less(t, r.Agreement(), 1-MaxWrong)
		require.NotEmpty(t, r.Worst, name)
	}
}

// other replaces the last member by one that was not chosen.
func other(members []int, n int) []int {
	out := slices.Clone(members)
	for i := range n {
		if !slices.Contains(out, i) {
			out[len(out)-1] = i
			return out
		}
	}
	return out
}

// Keys that are equal are worth the same: which of them is chosen is no mistake.
func TestTiesAreNoMistakes(t *testing.T) {
	c := choices(t)
	c.Index = c.Index[:10]                              // without those whose number depends on the values
	c.In.K = slices.Repeat(c.In.K[:32], len(c.In.K)/32) // all keys equal, so that column k is worth what 300-k queries give
	for h := range c.Asked {
		head, err := c.inputs(h)
		require.NoError(t, err)
		c.Asked[h], err = ir.EvalIndex(c.Index, c.Values[0], head)
		require.NoError(t, err)
		chosen := c.Asked[h].Sets[0].Members // 0..39 of 237 equal ones
		require.Equal(t, 39, chosen[39])
		chosen[39] = 200
	}
	r, err := CompareChoices(c)
	require.NoError(t, err)
	require.True(t, r.OK(), "%s", r)
	require.Equal(t, 8, r.Ties)
	require.Zero(t, r.Wrong)
}
