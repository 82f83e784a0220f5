package e2e

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/compile"
	"github.com/minfc/minfc/internal/campaign"
)

// probes look at other queries than the last 64.
const probes = `
pattern strided(step = 16, n = 40) {
  index probe = softmax(q[::step] * k)
  index cols = top(n, sum(probe, queries)) with first 4
  index diags = top(n, sum(probe, diagonals)) with first 30
  keep causal & (columns(cols) | diagonals(diags))
}
pattern last(rows = 16, share = 800) {
  index probe = softmax(q[-rows - 1:] * k)
  index cols = top_p(share, sum(probe, queries)) with first 4
  index diags = top(20, sum(probe, diagonals)) with first 30
  keep causal & (columns(cols) | diagonals(diags))
}
pattern two(step = 50, n = 20) {
  index cols = top(n, sum(softmax(q[::step] * k), queries))
  index diags = top(n, sum(softmax(q[-64:] * k), diagonals))
  keep causal & (columns(cols) | diagonals(diags))
}
`

var probeSettings = map[string][]map[string]int64{
	"strided": {{"step": 1}, {"step": 2}, {"step": 3, "n": 100}, nil, {"step": 64}, {"step": 100}, {"step": 1 << 30}},
	"last":    {{"rows": 0}, nil, {"rows": 63}, {"rows": 100, "share": 1000}, {"rows": 1 << 20}},
	"two":     {nil, {"step": 7}},
}

func TestProbesAgreeWithFloat64(t *testing.T) {
	shapes := campaign.Cases(1, 2, 8)
	for _, name := range []string{"strided", "last", "two"} {
		program, err := compile.Load("probes.minf", []byte(probes), name, nil)
		require.NoError(t, err)
		for i, d := range []int{64, 80}[:campaign.Few(1, 2)] {
			c := attentionCase{program: program, headDim: d, dtype: []abi.DType{abi.BF16, abi.F16}[i]}
			rng := rand.New(rand.NewPCG(uint64(d), uint64(len(name))))
			c.runMany(t, shapes, func(c *attentionCase, i int) {
				c.shape, c.params, c.seed, c.random = dynamicShape(rng), pick(rng, probeSettings[name]), rng.Uint64(), i%2 == 0
			})
		}
	}
}
