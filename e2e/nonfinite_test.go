package e2e

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/compile"
	"github.com/minfc/minfc/internal/qkv"
	"github.com/minfc/minfc/internal/selfcheck"
	"github.com/minfc/minfc/runtime/emu"
)

// spoils are inputs of 2 q heads of 300 queries and one kv head, head dim 64 in bf16, of which some is not finite, or all is alike.
var spoils = map[string]func(in *qkv.Input){
	"a key of NaN":                  func(in *qkv.Input) { copy(in.K[2*64*77:], bfNaN) },
	"a key of infinity":             func(in *qkv.Input) { copy(in.K[2*64*120:], bfInf) },
	"a query of NaN":                func(in *qkv.Input) { copy(in.Q[2*64*290:], bfNaN) },
	"queries of 0":                  func(in *qkv.Input) { clear(in.Q) },
	"no key that any query can see": func(in *qkv.Input) { fill(in.K, bfNaN) },
	"a head without queries":        func(in *qkv.Input) { fill(in.Q[:len(in.Q)/2], bfNaN) },
}

var bfNaN, bfInf = []byte{0xc0, 0x7f}, []byte{0x80, 0x7f}

func fill(to, with []byte) {
	for ; len(to) > 0; to = to[len(with):] {
		copy(to, with)
	}
}

// A NaN or an infinity in one key, or in a query of the probe, leaves the other choices as they are; where nothing has a mass, choices are
// what is forced, and the first members until there are enough.
func TestChoicesIgnoreNaN(t *testing.T) {
	programs := []attentionCase{{program: library(t, "vertical_slash"), params: map[string]int64{"vertical": 50, "slash": 120}},
		{program: library(t, "most_mass"), params: map[string]int64{"share": 500, "least": 140}}}
	for name, params := range map[string]map[string]int64{"near": {"least": 20}, "enough": nil, "flash": {"least": 3}, "long": nil} {
		program, err := compile.Load("rules.minf", []byte(rules), name, nil)
		require.NoError(t, err)
		programs = append(programs, attentionCase{program: program, params: params})
	}
	for _, c := range programs {
		c.headDim, c.dtype, c.shape = 64, abi.BF16, qkv.Shape{Batch: 1, QHeads: 2, KVHeads: 1, SeqQ: 300, SeqK: 300}
		l := c.load(t, emu.Options{})
		for what, spoil := range spoils {
			t.Run(c.program.Pattern.Name+"/"+what, func(t *testing.T) {
				in := c.input(t)
				spoil(in)
				e := c.launch(t, l, in, nil)
				choices := selfcheck.ChoiceCase{In: in, Index: e.kernel.Patterns()[0].Schedule().Index, Values: e.values, Scale: 1. / 8}
				for h, chosen := range e.res.Chosen {
					choices.Asked = append(choices.Asked, chosen.Asked)
					e.checkCover(t, h)
				}
				r, err := selfcheck.CompareChoices(choices)
				require.NoError(t, err)
				require.True(t, r.OK(), "%s", r)
			})
		}
	}
}
