package selfcheck

import (
	"cmp"
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/abi"
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
  index stripes = sum probs over runs 32
  index runs = top 4 from stripes
  index near = near 400 from shares
  keep
    all
`)
	require.NoError(t, err)
	in, err := qkv.Generate(qkv.Shape{Batch: 2, QHeads: 4, KVHeads: 2, SeqQ: 300, SeqK: 300, HeadDim: 16}, abi.BF16, 5)
	require.NoError(t, err)
	c := ChoiceCase{In: in, Index: p.Index, Values: []map[string]int64{{}}, Scale: 0.25}
	c.choose(t)
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
		"a distance less of a run":     func(s *ir.Selection) { s.Sets[6].Members = s.Sets[6].Members[1:] },
		"a run less":                   func(s *ir.Selection) { s.Sets[6].Members = s.Sets[6].Members[32:] },
		"another run":                  func(s *ir.Selection) { s.Sets[6].Members = otherRun(s.Sets[6].Members, 32, 300) },
		"a block less near the best":   func(s *ir.Selection) { s.Sets[7].Blocks[4] = s.Sets[7].Blocks[4][1:] },
		"a block more near the best":   func(s *ir.Selection) { s.Sets[7].Blocks[0] = append(s.Sets[7].Blocks[0], 7) },
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

// otherRun replaces the first run by one that was not chosen.
func otherRun(members []int, run, n int) []int {
	runs, _ := ir.RunsOf(members, run, n)
	var out []int
	for _, g := range other(append(runs[1:], runs[0]), n/run) {
		for d := g * run; d < (g+1)*run; d++ {
			out = append(out, d)
		}
	}
	slices.Sort(out)
	return out
}

// Where every row gives all keys the same, whatever a kernel adds up is equal where the values are: the smaller member is chosen.
func TestEqualValuesGoToTheSmaller(t *testing.T) {
	for name, even := range map[string]func(c *ChoiceCase){
		"equal keys": func(c *ChoiceCase) { c.In.K = slices.Repeat(c.In.K[:32], len(c.In.K)/32) },
		"no queries": func(c *ChoiceCase) { clear(c.In.Q) },
	} {
		c := choices(t)
		c.Index = c.Index[:10] // without choices whose number depends on the values
		even(&c)
		c.choose(t)
		r, err := CompareChoices(c)
		require.NoError(t, err)
		require.True(t, r.OK(), "%s: %s", name, r)
		require.Zero(t, r.Wrong+r.Ties)
		for set := range 2 {
			c.choose(t)
			for h := range c.Asked {
				chosen := c.Asked[h].Sets[set].Members // 0..39 of 237 equal ones
				require.Equal(t, 39, chosen[39], name)
				chosen[39] = 200
			}
			r, err := CompareChoices(c)
			require.NoError(t, err)
			require.False(t, r.OK(), "%s: %s", name, r)
			require.Equal(t, 8, r.Wrong)
			require.Contains(t, r.Worst, "200 in place of 39, which is worth the same")
		}
	}
}

// Distances that only other rows see may be sums of other numbers: which is chosen is a tie, however uniform the rows.
func TestEqualSumsOfOtherNumbers(t *testing.T) {
	c := choices(t)
	c.Index = c.Index[:10]
	c.In.SeqK, c.In.K, c.In.V = 1, slices.Repeat(c.In.K[:32], 4), c.In.V[:4*32] // one key: every distance is worth 1, from a row of its own
	c.choose(t)
	for h := range c.Asked {
		members := c.Asked[h].Sets[1].Members
		require.Equal(t, 236+38, members[len(members)-1])
		members[len(members)-1] = 299
	}
	r, err := CompareChoices(c)
	require.NoError(t, err)
	require.True(t, r.OK(), "%s", r)
	require.Equal(t, 8, r.Ties)
}

// choose sets what the device chose to what is right.
func (c *ChoiceCase) choose(t *testing.T) {
	c.Asked = nil
	for h := range c.In.Batch * c.In.QHeads {
		head, err := c.inputs(h)
		require.NoError(t, err)
		s, err := ir.EvalIndex(c.Index, c.Values[0], head)
		require.NoError(t, err)
		c.Asked = append(c.Asked, s)
	}
}

// Member 1 in place of member 0 is a tie or a mistake, by how much less it is worth. The numbers on both sides of every limit are
// written down here: a limit that moves fails.
func TestTiesEndWhereRoundingEnds(t *testing.T) {
	for _, x := range []struct {
		name         string
		kind         ir.ChosenKind
		shares       bool
		values       [3]float64 // member 2 is chosen by both
		tie, mistake float64    // what member 1 is worth
	}{
		{"columns", ir.ChosenColumns, false, [3]float64{0.5, 0, 9}, 0.49996, 0.49994},
		{"small columns", ir.ChosenColumns, false, [3]float64{5e-9, 0, 9}, 4.9996e-9, 4.9994e-9},
		{"distances", ir.ChosenDistances, false, [3]float64{0.5, 0, 9}, 0.49996, 0.49994},
		{"blocks", ir.ChosenBlocks, false, [3]float64{100, 0, -1000}, 99.991, 99.989},
		{"shares of blocks", ir.ChosenBlocks, true, [3]float64{0.1, 0, 0.3}, 0.09991, 0.09989},
	} {
		for wrong, value := range map[int]float64{0: x.tie, 1: x.mistake} {
			x.values[1] = value
			want, got := ir.Selected{Kind: x.kind, Members: []int{0, 2}}, ir.Selected{Kind: x.kind, Members: []int{1, 2}}
			if x.kind == ir.ChosenBlocks {
				want.Blocks, got.Blocks = [][]int{{2, 0}}, [][]int{{2, 1}}
			}
			var r ChoiceReport
			r.set("here", choiceRule{shares: x.shares, ranges: noRanges, alike: notAlike}, want, got, ir.IndexValues{x.values[:]})
			require.Equal(t, [2]int{wrong, 1 - wrong}, [2]int{r.Wrong, r.Ties}, "%s worth %g: %s", x.name, value, r.Worst)
		}
	}
}

// What a rule ends at is open only as far as rounding goes.
func TestEndsOfRules(t *testing.T) {
	values := []float64{0.4, 0.3, 0.2, 0.0999, 0.00009, 0.00002}
	for _, x := range []struct {
		rule  ir.Rule
		n     float64
		got   []int
		wrong int
	}{
		{ir.TopP, 900, []int{0, 1, 2, 4}, 0}, // 4 is 9e-5 of the mass
		{ir.TopP, 900, []int{0, 1, 2, 4, 5}, 2},
		{ir.TopP, 899.7, []int{0, 1, 2, 3}, 1},  // three hold 900 thousandths, more than the share
		{ir.TopP, 899.95, []int{0, 1, 2, 3}, 0}, // and so much but for rounding: then the fourth may be the last
		{ir.TopP, 899.95, []int{0, 1, 2, 3, 4}, 2},
		{ir.TopP, 900.3, []int{0, 1}, 1}, // nothing says that two would do
		{ir.TopP, 700.05, []int{0, 1}, 0},
		{ir.Above, 99990e-0, []int{0, 1, 2, 3}, 0}, // 3 is worth 0.0999, the threshold is 0.09999 less 1e-4 of itself
		{ir.Above, 99950, []int{0, 1, 2, 3}, 1},
		{ir.NearMax, 249.97, []int{0, 1, 2, 3}, 0}, // 3 is worth 0.09998 now, less than 0.4 * 0.24997 by less than 1e-4 of itself
		{ir.NearMax, 249.90, []int{0, 1, 2, 3}, 1},
		{ir.NearMax, 5000, []int{0, 1}, 1}, // the largest alone
		{ir.Top, 3, []int{0, 1, 2, 3}, 1},
	} {
		if x.rule == ir.Above {
			values[3] = 0.09999 * (1 - 0.9e-4)
		}
		var r ChoiceReport
		r.set("here", choiceRule{rule: x.rule, n: x.n, ranges: noRanges, alike: notAlike},
			ir.Selected{Members: []int{0, 1, 2}}, ir.Selected{Members: x.got}, ir.IndexValues{values})
		require.Equal(t, x.wrong, r.Wrong, "%v %g %v: %s", x.rule, x.n, x.got, r.Worst)
	}
}

// found is what a kernel finds the best columns and distances to be, in float32: 40 of each.
func (d device) found(t *testing.T, in ir.HeadInputs[float32], asked *ir.Selection) {
	cols, diags := make([]float32, in.Sk), make([]float32, in.Sq)
	for i := max(0, in.Sq-64); i < in.Sq; i++ {
		p, highest, sum := make([]float32, i+1), float32(math.Inf(-1)), float32(0)
		for k := range p {
			p[k] = d.dot(in.Q[i*in.D:][:in.D], in.K[k*in.D:][:in.D])
			highest = max(highest, p[k])
		}
		for k := range p {
			p[k] = float32(math.Exp(float64((p[k] - highest) * float32(in.Scale))))
			sum += p[k]
		}
		for k := range p {
			cols[k] += p[k] / sum
			diags[i-k] += p[k] / sum
		}
	}
	for set, values := range [][]float32{cols, diags} {
		asked.Sets[set].Members = best(values, 40)
	}
}

// requireFound holds that what a kernel finds is right.
func (c *ChoiceCase) requireFound(t *testing.T, size float64) *ChoiceReport {
	c.choose(t)
	head, err := c.inputs(0)
	require.NoError(t, err)
	device{format: c.In.Format}.found(t, head, c.Asked[0])
	r, err := CompareChoices(*c)
	require.NoError(t, err)
	require.True(t, r.OK(), "%s %g: %s", c.In.Format, size, r)
	return r
}

// Where float32 cannot tell which logit is larger, other choices are ties. Where logits are of ordinary size, only ties are.
func TestChoicesThatFloat32CannotTell(t *testing.T) {
	for format, sizes := range sizes {
		for i, size := range sizes {
			c := choices(t)
			c.Index = slices.Concat(c.Index[:4], c.Index[7:9])
			c.In = device{format: format}.solve(t, 120, 64, size, 1, 1, uint64(i)).alike(t).In
			r := c.requireFound(t, size)
			head, err := c.inputs(0)
			require.NoError(t, err)
			if open := valueRanges(c.Index, "cols", c.Values[0], []ir.HeadInputs[float32]{head}); size < 50 {
				require.Nil(t, open.low)
			} else {
				require.Greater(t, sum(open.high), sum(open.low))
			}
			if size > 1e7 {
				require.NotZero(t, r.Ties)
			}
		}
	}
}

// best are the n largest values but the first is chosen in any case; equal ones go to the smaller.
func best(values []float32, n int) []int {
	var order []int
	for i := range values {
		order = append(order, i)
	}
	slices.SortStableFunc(order[1:], func(a, b int) int { return cmp.Compare(values[b], values[a]) })
	slices.Sort(order[:n])
	return order[:n]
}

// Whatever the logits, choices of a kernel that computes in float32 are right, and choices that it could not make are wrong.
func TestChoicesOfLargeLogits(t *testing.T) {
	for format, sizes := range sizes {
		for i, size := range sizes {
			c := choices(t)
			c.Index = slices.Concat(c.Index[:4], c.Index[7:9])
			c.In = device{format: format}.solve(t, 120, 64, size, 1, 1, uint64(i)).In
			c.requireFound(t, size)

			// Keys whose sign is another have no weight: column 100 is worth nothing.
			for i := range 64 {
				c.In.K[2*(100*64+i)+1] ^= 0x80
			}
			c.choose(t)
			head, err := c.inputs(0)
			require.NoError(t, err)
			_, from, err := ir.EvalIndexValues(c.Index, c.Values[0], head)
			require.NoError(t, err)
			cols, worth := c.Asked[0].Sets[0].Members, from["cols"][0]
			require.NotContains(t, cols, 100)
			best := slices.IndexFunc(cols, func(k int) bool { return worth[k] == slices.Max(worth) })
			cols[best] = 100
			r, err := CompareChoices(c)
			require.NoError(t, err)
			require.False(t, r.OK(), "%s %g: %s", format, size, r)
			require.Contains(t, r.Worst, "cols: 100 ")
		}
	}
}
