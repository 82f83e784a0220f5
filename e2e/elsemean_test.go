package e2e

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/compile"
	"github.com/minfc/minfc/internal/campaign"
	"github.com/minfc/minfc/internal/outlook"
	"github.com/minfc/minfc/internal/qkv"
	"github.com/minfc/minfc/ir"
	"github.com/minfc/minfc/runtime"
	"github.com/minfc/minfc/runtime/emu"
)

// meanPatterns drop key blocks in all ways for which means stand in kernels: chosen blocks alone, beside ranges, cut by ranges and by rows, and
// ranges alone.
const meanPatterns = `
pattern chosen(topk = 2) {
  index best = top(topk, mean(q, 64) * mean(k, 64)) with last 1
  keep causal & blocks(best) else mean(64)
}
pattern beside(topk = 2, last = 70) {
  index best = top(topk, mean(q, 64) * mean(k, 64)) with last 1
  keep causal & (blocks(best) | sink(20) | window(90) | rows(-last..)) else mean(128)
}
pattern cut(topk = 3, near = 150) {
  index best = top(topk, mean(q, 64) * mean(k, 64)) with last 1
  keep causal & (blocks(best) & window(near) | columns(70..130)) else mean(64)
}
pattern shares(share = 300) {
  index shares = softmax(mean(q, 128) * mean(k, 128))
  index main = near_max(share, shares) with last 1
  keep causal & blocks(main) else mean(256)
}
pattern ranges(sink = 5, window = 70) {
  keep causal & (sink(sink) | window(window)) else mean(64)
}
pattern band(from = 100, to = 150) {
  keep diagonals(from..to) | window(1) else mean(128)
}
`

// meanShapes have lengths at the edges of pools and blocks, queries that begin late and keys that end early, and shared kv heads.
var meanShapes = []qkv.Shape{
	{Batch: 1, QHeads: 2, KVHeads: 1, SeqQ: 390, SeqK: 390},
	{Batch: 2, QHeads: 2, KVHeads: 2, SeqQ: 130, SeqK: 513, QOffset: 383},
	{Batch: 1, QHeads: 3, KVHeads: 1, SeqQ: 65, SeqK: 640, QOffset: 575},
	{Batch: 1, QHeads: 1, KVHeads: 1, SeqQ: 64, SeqK: 256, QOffset: 700},
	{Batch: 1, QHeads: 1, KVHeads: 1, SeqQ: 1, SeqK: 64},
	{Batch: 1, QHeads: 1, KVHeads: 1, SeqQ: 40, SeqK: 4126, QOffset: 4090},  // a chosen block behind all words of bits
	{Batch: 1, QHeads: 2, KVHeads: 1, SeqQ: 100, SeqK: 4500, QOffset: 4400}, // two slots of means
}

func meanPattern(t *testing.T, name string) *compile.Program {
	p, err := compile.Load("means.minf", []byte(meanPatterns), name, nil)
	require.NoError(t, err)
	return p
}

func TestMeansStandForWhatIsDropped(t *testing.T) {
	for i, name := range []string{"chosen", "beside", "cut", "shares", "ranges", "band"} {
		for n, target := range compile.Targets() {
			for j, d := range []int{64, 128, 16, 80, 256} {
				if (i+n+j)%campaign.Few(5, 2) != 0 {
					continue
				}
				c := attentionCase{program: meanPattern(t, name), target: target, headDim: d, dtype: []abi.DType{abi.BF16, abi.F16}[(i+j)%2]}
				t.Run(c.kernel(), func(t *testing.T) {
					t.Parallel()
					l := c.load(t, emu.Options{})
					for s, shape := range meanShapes {
						if d > 128 && s != i%3 {
							continue
						}
						c.shape, c.random, c.seed = shape, s%2 == 0, uint64(s)
						if c.params = nil; name == "band" && s%2 == 1 { // no distance at all: the band's bounds meet
							c.params = map[string]int64{"from": 100, "to": 100}
						}
						t.Run(c.launched(), func(t *testing.T) {
							if len(c.program.Pattern.Index) == 0 {
								c.run(t, l)
								return
							}
							c.launch(t, l, c.input(t), nil).checkDropped(t)
						})
					}
				})
			}
		}
	}
}

// checkDropped holds the launch against float64, and what its schedule says is dropped against the pattern's meaning.
func (e ended) checkDropped(t *testing.T) {
	e.check(t)
	shape, pool := ir.Shape{Sq: e.in.SeqQ, Sk: e.in.SeqK, QOffset: e.in.QOffset}, e.program.Pattern.Pool
	for h, chosen := range e.res.Chosen {
		values, p := e.values[h%e.in.QHeads], e.program.Pattern.EndingAt(e.in.End())
		keep, err := p.KeepsWith(values, chosen.Asked)
		require.NoError(t, err)
		l, err := e.kernel.Patterns()[0].Schedule().Bind(values)
		require.NoError(t, err)
		for n := range (shape.Sq + ir.BlockSize - 1) / ir.BlockSize {
			got, err := l.DroppedKeys(chosen.Asked, shape, n)
			require.NoError(t, err)
			require.Equal(t, ir.DroppedKeys(pool, keep, shape, n), got, "head %d, row block %d", h, n)
		}
	}
}

// What is not finite makes rows what it makes them in the reference, and leaves those alone that see neither the key nor a mean of it: rows
// before its pool ends, and rows that compute all of the pool.
func TestMeansOfWhatIsNotFinite(t *testing.T) {
	for what, spoil := range map[string]func(in *qkv.Input){
		"a value of NaN":      func(in *qkv.Input) { copy(in.V[2*64*77:], bfNaN) },
		"a value of infinity": func(in *qkv.Input) { copy(in.V[2*64*200+10:], bfInf) },
		"a key of NaN":        func(in *qkv.Input) { copy(in.K[2*64*130:], bfNaN) },
	} {
		for i, name := range []string{"ranges", "chosen"} {
			c := attentionCase{program: meanPattern(t, name), target: compile.Targets()[i], headDim: 64, dtype: abi.BF16, shape: meanShapes[0]}
			t.Run(c.kernel()+"/"+what, func(t *testing.T) {
				l, in := c.load(t, emu.Options{}), c.input(t)
				spoil(in)
				if name == "ranges" {
					c.compare(t, l, in)
					return
				}
				report := c.launch(t, l, in, nil).report(t)
				require.True(t, report.OK(), "%s", report)
			})
		}
	}
}

// Means matter: without them the same outputs are wrong.
func TestMeansMatter(t *testing.T) {
	for _, target := range compile.Targets() {
		c := attentionCase{program: meanPattern(t, "chosen"), target: target, headDim: 64, dtype: abi.BF16, random: true, shape: meanShapes[0]}
		e := c.launch(t, c.load(t, emu.Options{}), c.input(t), nil)
		e.check(t)
		plain := *e.program.Pattern
		plain.Pool = 0
		e.program = &compile.Program{Pattern: &plain}
		require.False(t, e.report(t).OK())
	}
}

// One choice for all of a pattern is refused with its place where kernels cannot say what is dropped.
func TestMeansThatNoKernelHas(t *testing.T) {
	for source, want := range map[string]string{
		"keep causal & diagonals(0.. step 7) else mean":                                                                                                          "a set with a step drops parts of them",
		"index c = top(9, sum(softmax(q[-64:] * k), queries)) keep columns(c) else mean":                                                                         "columns(c) drops parts of them",
		"index d = top(9, sum(softmax(q[-64:] * k), diagonals)) keep causal & diagonals(d) else mean":                                                            "diagonals(d) drops parts of them",
		"index x = mean(q, 64) * mean(k, 64) index a = top(2, x) index b = top(3, x) keep causal & (blocks(a) & window(64) | blocks(b) \\ window(64)) else mean": "two choices of blocks",
		"index b = top(3, mean(q, 64) * mean(k, 64)) shared by group keep causal & blocks(b) else mean":                                                          "blocks(b) is one list for the heads of a group",
	} {
		_, _, err := compile.Check("p.minf", []byte("pattern p { "+source+" }"), nil)
		require.ErrorContains(t, err, want, source)
		require.ErrorContains(t, err, "E0601", source)
	}
}

// What means cost beside blocks by the cost model, at 128K tokens and a density of a tenth, with the index stage: docs/else-mean.md has the numbers.
// Plain `else mean` must stay below 4 %.
func TestMeansCostLittle(t *testing.T) {
	const most = 0.04
	for _, target := range compile.Targets() {
		m, err := outlook.FindMachine(target, "H200")
		require.NoError(t, err)
		price := func(clause string) float64 {
			p, err := compile.Load("p.minf", fmt.Appendf(nil, `pattern p(topk = 105) {
				index best = top(topk, mean(q, 64) * mean(k, 64)) with last 1
				keep causal & blocks(best) %s
			}`, clause), "", nil)
			require.NoError(t, err)
			c := attentionCase{program: p, target: target, headDim: 128, dtype: abi.BF16}
			s := qkv.Shape{Batch: 1, QHeads: 32, KVHeads: 8, SeqQ: 128 << 10, SeqK: 128 << 10, HeadDim: 128}
			call, err := c.load(t, emu.Options{}).Prepare(runtime.Shape{Batch: 1, QHeads: 32, KVHeads: 8, SeqQ: s.SeqQ, SeqK: s.SeqK, NoFallback: true})
			require.NoError(t, err)
			e, err := call.Expect(m)
			require.NoError(t, err)
			require.Equal(t, e.Low, e.High, "the budget is a number")
			return e.Index + e.Low
		}
		without := price("")
		for _, pool := range []string{"(64)", "(128)", "(256)", "(512)", ""} {
			more := price("else mean"+pool)/without - 1
			t.Logf("%s: else mean%s adds %.1f %% to %.2f ms", target, pool, 100*more, without)
			if pool == "" {
				require.Less(t, more, most)
			}
		}
	}
}

func TestMeansWantLengthsInTheShape(t *testing.T) {
	_, err := meanPattern(t, "chosen").Compile(compile.Options{Target: "sm_80", DType: abi.BF16, HeadDim: 64, Lengths: true}, nil)
	require.ErrorIs(t, err, compile.ErrMeanLengths)
	_, err = compile.Group([]compile.Member{{Program: meanPattern(t, "ranges")}}, compile.Options{Target: "sm_80", DType: abi.BF16, HeadDim: 64, Lengths: true}, nil)
	require.ErrorIs(t, err, compile.ErrMeanLengths)
}
