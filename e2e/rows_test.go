package e2e

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/compile"
	"github.com/minfc/minfc/internal/campaign"
	"github.com/minfc/minfc/internal/qkv"
	"github.com/minfc/minfc/ir"
	"github.com/minfc/minfc/runtime/emu"
)

// rowPatterns cut sets by rows in every way: from both ends, to nothing, with steps that are hopped over, and taken away.
const rowPatterns = `
pattern hops(n = 1, m = 1) { keep causal & (window(9) | rows(-n..) & columns(3.. step 700) | rows(..m) & diagonals(0.. step 400)) }
pattern first(n = 1, m = 1) { keep causal & (window(30) | rows(..n) | rows(..m) & sink(3)) }
pattern others(n = 1, m = 1) { keep causal & rows(..-n) | rows(-n..) & sink(m) }
pattern middle(n = 1, m = 1) { keep rows(n..m) | causal & window(12) }
pattern without(n = 1, m = 1) { keep (causal & sink(200) | window(5)) \ rows(m..-n) }
`

// rowCalls have the last rows within a row tile, across several and beyond all rows, none of them, and queries after other chunks.
var rowCalls = []qkv.Shape{
	{SeqQ: 300, SeqK: 300},
	{SeqQ: 131, SeqK: 333, QOffset: 202},
	{SeqQ: 200, SeqK: 70, QOffset: 5},
	{SeqQ: 1, SeqK: 129, QOffset: 128},
}

// Tri-shape with few last rows, with more than there are and with none: after chunks, and with lengths that fill no tile.
func TestTriShapeAgreesWithFloat64(t *testing.T) {
	for _, target := range compile.Targets() {
		for _, d := range []int{64, 128, 256}[:campaign.Cases(1, 2, 3)] {
			c := attentionCase{program: library(t, "tri_shape"), target: target, headDim: d, dtype: abi.BF16, random: true}
			eachRowCall(t, c, []map[string]int64{
				{"sink": 5, "window": 20, "last": 0}, {"sink": 5, "window": 20, "last": 1}, {"sink": 0, "window": 1, "last": 77},
				{"sink": 130, "window": 64, "last": 128}, {"sink": 3, "window": 9, "last": 299}, {"sink": 3, "window": 9, "last": ir.MaxParam},
			})
		}
	}
}

func TestRowsAgreeWithFloat64(t *testing.T) {
	for i, name := range []string{"hops", "first", "others", "middle", "without"} {
		for n, target := range compile.Targets() {
			if (i+n)%campaign.Few(2, 1) != 0 { // with -short targets take turns
				continue
			}
			c := attentionCase{program: limitsProgram(t, rowPatterns, name), target: target, headDim: 64, dtype: abi.F16, random: true}
			all := []map[string]int64{{"n": 0, "m": 0}, {"n": 40, "m": 130}, {"n": 250, "m": 210}, {"n": ir.MaxParam, "m": 9}, {"n": 7, "m": ir.MaxParam}}
			eachRowCall(t, c, all)
		}
	}
}

func eachRowCall(t *testing.T, c attentionCase, params []map[string]int64) {
	t.Run(c.kernel(), func(t *testing.T) {
		t.Parallel()
		l := c.load(t, emu.Options{})
		for i, s := range rowCalls[:campaign.Few(1, 4)] {
			for _, p := range params[:campaign.Few(3, len(params))] {
				c.shape, c.params, c.seed = s, p, uint64(i)
				c.shape.Batch, c.shape.QHeads, c.shape.KVHeads = 1, 1, 1
				t.Run(c.launched(), func(t *testing.T) { c.run(t, l) })
			}
		}
	})
}

// rowLists cut what the data chose by rows.
const rowLists = `
pattern columns(n = 64) {
  index c = top(40, sum(softmax(q[-64:] * k), queries)) with first 4
  keep causal & (columns(c) | rows(-n..))
}
pattern late_columns(n = 64) {
  index c = top(40, sum(softmax(q[-64:] * k), queries)) with first 4
  keep causal & (window(30) | columns(c) & rows(-n..))
}
pattern runs(n = 64) {
  index d = top(9, sum(softmax(q[-64:] * k), diagonals)) with first 4
  keep causal & (diagonals(d) & rows(n..-n) | sink(20))
}
pattern vertical_slash(n = 64) {
  index probe = softmax(q[-64:] * k)
  index c = top(40, sum(probe, queries)) with first 4
  index d = top(20, sum(probe, diagonals)) with first 4
  keep causal & (columns(c) | diagonals(d) | rows(..n))
}
pattern blocks_then_runs(n = 64) {
  index b = top(2, mean(q, 64) * mean(k, 64)) with last 1
  index d = top(9, sum(softmax(q[-64:] * k), diagonals)) with first 4
  keep causal & (blocks(b) & rows(..n) | diagonals(d) & rows(n..))
}
`

// rowKernels begin with one of each target.
var rowKernels = []dynamicKernel{{"sm_80", 64, 0}, {"sm_90a", 64, 0}, {"sm_90a", 128, 0}, {"sm_80", 128, 0}, {"sm_90a", 96, 0}, {"sm_90a", 192, 0}, {"sm_90a", 256, 0}}

// Lists in some of the rows: in every kernel that walks lists, with its choices, its cover and its output.
func TestRowsOfListsAgreeWithFloat64(t *testing.T) {
	for i, name := range []string{"columns", "late_columns", "runs", "vertical_slash", "blocks_then_runs"} {
		for n, k := range rowKernels[:campaign.Cases(2, 3, 7)] {
			if (i+n)%campaign.Few(2, 1) != 0 { // with -short targets take turns
				continue
			}
			c := attentionCase{program: limitsProgram(t, rowLists, name), target: k.target, headDim: k.headDim, dtype: abi.BF16, random: true}
			t.Run(c.kernel(), func(t *testing.T) {
				t.Parallel()
				l := c.load(t, emu.Options{})
				for i, s := range []qkv.Shape{{SeqQ: 200, SeqK: 260, QOffset: 60}, {SeqQ: 300, SeqK: 300}}[:campaign.Few(1, 2)] {
					for _, n := range []int64{70, 0, 128, ir.MaxParam}[:campaign.Cases(1, 2, 4)] {
						c.shape, c.params, c.seed = s, map[string]int64{"n": n}, uint64(i)
						c.shape.Batch, c.shape.QHeads, c.shape.KVHeads = 1, 2, 1
						t.Run(c.launched(), func(t *testing.T) {
							e := c.launch(t, l, c.input(t), nil)
							e.check(t)
						})
					}
				}
			})
		}
	}
}

// Chosen columns are read in one band, with rows as with any other set.
func TestRowsThatCutColumnsInTwo(t *testing.T) {
	program := limitsProgram(t, `
pattern p {
  index c = top(40, sum(softmax(q[-64:] * k), queries)) with first 4
  keep causal & (columns(c) | rows(100..200) & sink(9) | rows(4..8))
}`, "p")
	_, err := program.Compile(compile.Options{Target: "sm_80", DType: "bf16", HeadDim: 64}, nil)
	require.ErrorContains(t, err, "error[E0601]: other parts of the pattern cut columns(c) into several bands")
	require.ErrorContains(t, err, "limits.minf:4:18")
}

// Rows that are left out cost nothing: neither ranges nor lists are walked for them.
func TestRowsLeftOutAreNotComputed(t *testing.T) {
	const src = `
pattern ranges(n = 1) { keep causal & (window(8) | rows(..n)) }
pattern blocks(n = 1) {
  index b = top(64, mean(q, 64) * mean(k, 64)) with last 1
  keep causal & (window(8) | blocks(b) & rows(..n))
}
pattern runs(n = 1) {
  index d = top(999, sum(softmax(q[-64:] * k), diagonals)) with first 4
  keep causal & (window(8) | diagonals(d) & rows(..n))
}`
	for _, name := range []string{"runs", "ranges", "blocks"}[:campaign.Few(1, 3)] {
		for _, target := range compile.Targets() {
			c := attentionCase{program: limitsProgram(t, src, name), target: target, headDim: 64, dtype: abi.BF16,
				shape: qkv.Shape{Batch: 1, QHeads: 1, KVHeads: 1, SeqQ: 1024, SeqK: 1024}}
			t.Run(c.kernel(), func(t *testing.T) {
				t.Parallel()
				var attention int64
				l := c.load(t, emu.Options{Observe: func(s emu.Stats) {
					if s.Kernel == "attention" {
						attention = s.Instructions
					}
				}})
				work := map[int64]int64{}
				for _, n := range []int64{64, 1024} {
					c.params = map[string]int64{"n": n}
					_, err := l.RunHost(t.Context(), c.host(c.input(t)))
					require.NoError(t, err)
					work[n] = attention
				}
				require.Positive(t, work[64])
				require.Less(t, 2*work[64], work[1024])
			})
		}
	}
}
