package e2e

import (
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/compile"
	"github.com/minfc/minfc/internal/qkv"
	"github.com/minfc/minfc/internal/selfcheck"
	"github.com/minfc/minfc/runtime/emu"
)

// Chosen columns without a causal bound: columns that lie after all rows of a row block are kept as well.
func TestChosenColumnsAfterTheirRows(t *testing.T) {
	p, err := compile.Load("around.minf", []byte(`
pattern around(a = 40, b = 30) {
  index cols = top(a, sum(softmax(q[-64:] * k), queries))
  index diags = top(b, sum(softmax(q[-64:] * k), diagonals))
  keep columns(cols) | diagonals(diags)
}`), "", nil)
	require.NoError(t, err)
	for _, target := range compile.Targets() {
		c := attentionCase{program: p, target: target, headDim: 64, dtype: abi.F16, shape: qkv.Shape{Batch: 1, QHeads: 2, KVHeads: 1, SeqQ: 330, SeqK: 330}, random: true}
		e := c.launch(t, c.load(t, emu.Options{}), c.input(t), nil)
		output, after := selfcheck.Case{In: e.in, Scale: 1 / math.Sqrt(64.), O: e.res.O, LSE: e.res.LSE}, 0
		for h, chosen := range e.res.Chosen {
			keep, err := p.Pattern.CoverWith(e.values[h], chosen.Asked)
			require.NoError(t, err)
			output.Keeps = append(output.Keeps, keep)
			for k := 64; k < 330; k++ {
				if keep(0, k) {
					after++
				}
			}
		}
		require.NotZero(t, after, "columns after the first row block")
		report, err := selfcheck.Compare(output)
		require.NoError(t, err)
		assert.True(t, report.OK(), "%s: %s", target, report)
	}
}
