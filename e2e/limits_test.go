package e2e

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/compile"
	"github.com/minfc/minfc/internal/campaign"
	"github.com/minfc/minfc/internal/qkv"
	"github.com/minfc/minfc/ir"
	"github.com/minfc/minfc/runtime"
	"github.com/minfc/minfc/runtime/device"
	"github.com/minfc/minfc/runtime/emu"
	"github.com/minfc/minfc/runtime/runtimetest"
)

// Patterns whose bounds reach 2^30, where sums and differences of 32 bits are about to wrap. The parameters n and m of a pattern are
// tried at the limit and next to it, with queries at the first and the last positions; x, which is 0, hides what would be proven.
const limitPatterns = `
pattern from(n = 1) { keep columns(n..) }
pattern to(n = 1) { keep columns(..n) }
pattern behind(n = 1) { keep window(n) }
pattern ahead(n = 1) { keep window(63, n) }
pattern far(n = 1) { keep diagonals(n..) }
pattern near(n = 1) { keep diagonals(-n..-64 step 3) }
pattern crossed(n = 1, m = 1, x = 0) { keep diagonals(n..x - m) }
pattern apart(n = 1, m = 1) { keep diagonals(n..) & columns(m..) | window(20) }
pattern hops(n = 1, m = 1) { keep columns(-n.. step m) | diagonals(m - 5.. step n) }
pattern residues(n = 1) { keep columns(-n.. step 1000003) | diagonals(n - 5.. step 7) }
pattern opposite(n = 1, m = 1, x = 0) { keep columns(..x - n) & diagonals(..x - m) | diagonals(n..) & columns(m..) }
pattern rows_from(n = 1, m = 1) { keep rows(-n..) & window(9) | sink(3) & rows(m..) }
pattern rows_to(n = 1, m = 1) { keep causal & rows(..-n) | columns(m..) & rows(..n) }
pattern rows_crossed(n = 1, m = 1, x = 0) { keep rows(-x + n..x - m) | causal & rows(m - n..) }
pattern less(n = 1, m = 1) { keep window(n, m) \ columns(n - 9..m) }
`

// limitLists are dynamic patterns: their kernels walk slots without keys, and slots of ranges beside slots of lists.
const limitLists = `
pattern columns_from(n = 1) {
  index c = top(40, sum(softmax(q[-64:] * k), queries)) with first 4
  keep causal & (columns(c) | columns(n..))
}
pattern runs_from(n = 1) {
  index d = top(9, sum(softmax(q[-64:] * k), diagonals)) with first 4
  keep causal & (diagonals(d) | columns(n..))
}
pattern blocks_from(n = 1) {
  index b = top(2, mean(q, 64) * mean(k, 64)) with last 1
  keep causal & (blocks(b) | columns(n..))
}
pattern columns_crossed(n = 1, m = 1, x = 0) {
  index c = top(40, sum(softmax(q[-64:] * k), queries)) with first 4
  keep causal & columns(c) & diagonals(x - m..) | columns(..x - n) & diagonals(..x - m)
}
pattern runs_crossed(n = 1, m = 1, x = 0) {
  index d = top(9, sum(softmax(q[-64:] * k), diagonals)) with first 4
  keep causal & diagonals(d) | diagonals(n..x - m) | columns(..x - n) & diagonals(..x - m)
}
pattern blocks_crossed(n = 1, m = 1, x = 0) {
  index b = top(2, mean(q, 64) * mean(k, 64)) with last 1
  keep causal & blocks(b) | diagonals(n..x - m)
}
pattern both_from(n = 1, m = 1) {
  index probe = softmax(q[-64:] * k)
  index c = top(40, sum(probe, queries)) with first 4
  index d = top(40, sum(probe, diagonals)) with first 4
  keep causal & (columns(c) | diagonals(d) | columns(n..) | diagonals(m..))
}
pattern forced(n = 1, m = 1) {
  index probe = softmax(q[-m:] * k)
  index c = top(n, sum(probe, queries)) with first n with last m
  index d = top_p(0.3, sum(probe, diagonals)) with first n with last m with most 30
  keep causal & (columns(c) | diagonals(d))
}
pattern forced_blocks(n = 1, m = 1) {
  index b = top(n, mean(q, 64) * mean(k, 64)) with first n with last m
  keep causal & blocks(b)
}
`

func limitsProgram(t *testing.T, src, name string) *compile.Program {
	p, err := compile.Load("limits.minf", []byte(src), name, nil)
	require.NoError(t, err)
	return p
}

// eachLimit draws values at the limit and next to it for the parameters of a case, for queries at both ends of the positions.
func (c attentionCase) eachLimit(run func(c attentionCase)) {
	rng := rand.New(rand.NewPCG(uint64(len(c.program.Pattern.Name)), uint64(len(c.target))))
	values := []int64{ir.MaxParam, 40, ir.MaxParam - 1, ir.MaxEnd}[:campaign.Few(2, 4)]
	for _, n := range values {
		for _, m := range values {
			if len(c.program.Pattern.Params) < 2 && m != n || n == 40 && m == 40 {
				continue
			}
			c.shape = qkv.Shape{Batch: 1, QHeads: 1, KVHeads: 1, SeqQ: 1 + rng.IntN(200), SeqK: 1 + rng.IntN(200), QOffset: 80 * rng.IntN(3)}
			c.params = map[string]int64{"n": n}
			if len(c.program.Pattern.Params) > 1 {
				c.params["m"] = m
			}
			run(c)
			c.shape.QOffset = ir.MaxEnd - c.shape.SeqQ
			run(c)
		}
	}
}

func TestLimitsOfPatterns(t *testing.T) {
	for _, name := range []string{"from", "to", "behind", "ahead", "far", "near", "crossed", "apart", "hops", "residues", "opposite", "less", "rows_from", "rows_to", "rows_crossed"}[campaign.Few(12, 0):] {
		for _, target := range compile.Targets() {
			c := attentionCase{program: limitsProgram(t, limitPatterns, name), target: target, headDim: 32, dtype: abi.BF16}
			t.Run(c.kernel(), func(t *testing.T) {
				t.Parallel()
				l := c.load(t, emu.Options{})
				c.eachLimit(func(c attentionCase) { t.Run(c.launched(), func(t *testing.T) { c.run(t, l) }) })
			})
		}
	}
}

// Queries stay near the first positions where there are sums over distances: they have an entry for each position.
func TestLimitsOfDynamicPatterns(t *testing.T) {
	for i, name := range []string{"columns_from", "runs_from", "blocks_from", "columns_crossed", "runs_crossed", "blocks_crossed", "both_from", "forced", "forced_blocks"}[campaign.Few(7, 0):] {
		for n, target := range compile.Targets() {
			if (i+n)%campaign.Few(2, 1) != 0 { // with -short targets take turns
				continue
			}
			c := attentionCase{program: limitsProgram(t, limitLists, name), target: target, headDim: 64, dtype: abi.F16, random: true}
			t.Run(c.kernel(), func(t *testing.T) {
				t.Parallel()
				l := c.load(t, emu.Options{})
				c.eachLimit(func(c attentionCase) {
					if c.shape.QOffset < 1000 || strings.Contains(name, "blocks") {
						t.Run(c.launched(), func(t *testing.T) { c.launch(t, l, c.input(t), nil).check(t) })
					}
				})
			})
		}
	}
}

// Two steps that meet once in more than 2^31 positions. What a head costs sparse and dense is weighed at every launch, so the pairs of
// any steps must be counted.
func TestStepsThatHardlyMeet(t *testing.T) {
	program := limitsProgram(t, `
pattern p(n = 1073741824, m = 1073741823) {
  index b = top(2, mean(q, 64) * mean(k, 64)) with last 1
  keep causal & (blocks(b) \ window(90) | window(90) & columns(..step n) & columns(..step m))
}`, "p")
	c := attentionCase{program: program, headDim: 64, dtype: abi.BF16, shape: qkv.Shape{Batch: 1, QHeads: 1, KVHeads: 1, SeqQ: 100, SeqK: 100}}
	l, in := c.load(t, emu.Options{}), c.input(t)
	c.launch(t, l, in, nil).check(t)
	weighed := c.host(in)
	weighed.NoFallback = false
	_, err := l.RunHost(t.Context(), weighed)
	require.NoError(t, err)
}

// A number that makes no difference, here because key 0 is never below it, is held to the limit as well: the same launch is refused
// by the kernel and by the reference.
func TestNumbersThatMakeNoDifference(t *testing.T) {
	for src, want := range map[string]string{
		`pattern p(n = 1) { keep columns(-n*n..) }`:                                                 "-n*n is -1073807361, beyond the limit of 1073741824",
		`pattern p(n = 1, const c = 2) { keep causal | causal & diagonals(-n*n..c*n*n) | sink(2) }`: "beyond the limit of 1073741824",
	} {
		c := attentionCase{program: limitsProgram(t, src, "p"), headDim: 32, dtype: abi.BF16,
			shape: qkv.Shape{Batch: 1, QHeads: 1, KVHeads: 1, SeqQ: 70, SeqK: 70}, params: map[string]int64{"n": 100}}
		l := c.load(t, emu.Options{})
		c.run(t, l)
		c.params = map[string]int64{"n": 1<<15 + 1}
		_, err := l.RunHost(t.Context(), c.host(c.input(t)))
		require.ErrorIs(t, err, device.ErrBadCall)
		require.ErrorContains(t, err, want)
		keep, err := c.program.Pattern.Keeps(c.params)
		require.Error(t, err)
		require.Nil(t, keep)
	}
}

// As many keys as there can be: all are the same row in memory, so that what a query keeps shows in its LSE alone, as the
// logarithm of the number of keys.
func TestLimitsOfLengths(t *testing.T) {
	const sq = 70
	for name, kept := range map[string]func(q, n int64) int64{
		"behind": func(q, n int64) int64 { return n },
		"ahead":  func(q, n int64) int64 { return 63 + min(n, ir.MaxParam-1-q) },
		"from":   func(q, n int64) int64 { return ir.MaxParam - n },
		"far":    func(q, n int64) int64 { return q - n + 1 },
	} {
		for _, target := range compile.Targets() {
			c := attentionCase{program: limitsProgram(t, limitPatterns, name), target: target, headDim: 32, dtype: abi.BF16,
				shape: qkv.Shape{Batch: 1, QHeads: 1, KVHeads: 1, SeqQ: sq, SeqK: 1, QOffset: ir.MaxEnd - sq}}
			t.Run(c.kernel(), func(t *testing.T) {
				t.Parallel()
				l, n := c.load(t, emu.Options{}), int64(300)
				if name == "from" || name == "far" {
					n = ir.MaxEnd - 200
				}
				c.params = map[string]int64{"n": n}
				for i, got := range lseOfOneKey(t, l, c) {
					require.InDelta(t, math.Log(float64(kept(int64(c.shape.QOffset+i), n))), got, 1e-4, "row %d", i)
				}
			})
		}
	}
}

// lseOfOneKey launches a case with zeros for queries and ir.MaxParam keys that are one row.
func lseOfOneKey(t *testing.T, l *runtime.Loaded, c attentionCase) []float32 {
	rows := c.shape.SeqQ * c.headDim * 2
	mem := func(n int) device.Ptr {
		p, err := l.Device().Alloc(int64(n))
		require.NoError(t, err)
		require.NoError(t, l.Device().Fill(p, 0, int64(n), nil))
		t.Cleanup(func() { require.NoError(t, l.Device().Free(p)) })
		return p
	}
	key, one := mem(c.headDim*2), runtime.Stride{Batch: 8, Head: 8}
	a := runtimetest.Call{Pointers: runtime.Pointers{Q: mem(rows), K: key, V: key, O: mem(rows), LSE: mem(4 * c.shape.SeqQ)},
		Shape: runtime.Shape{Batch: 1, QHeads: 1, KVHeads: 1, SeqQ: c.shape.SeqQ, SeqK: ir.MaxParam, QOffset: c.shape.QOffset,
			Strides: runtime.Strides{K: one, V: one}}, Part: runtime.Part{Params: c.params}}
	require.NoError(t, a.Run(l, nil))
	var out []float32
	for b := range slices.Chunk(readBack(t, l.Device(), a.LSE, 4*c.shape.SeqQ), 4) {
		out = append(out, math.Float32frombits(binary.LittleEndian.Uint32(b)))
	}
	return out
}
