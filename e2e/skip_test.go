package e2e

import (
	"cmp"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/compile"
	"github.com/minfc/minfc/half"
	"github.com/minfc/minfc/internal/campaign"
	"github.com/minfc/minfc/internal/qkv"
	"github.com/minfc/minfc/internal/selfcheck"
	"github.com/minfc/minfc/ir"
	"github.com/minfc/minfc/runtime"
	"github.com/minfc/minfc/runtime/emu"
)

// Patterns with a skip: of ranges, of runs and columns, of blocks, of columns that overlap a window.
var skipSources = map[string]string{
	"causal":  "pattern p(share = 1000) { keep causal skip(share) }",
	"full":    "pattern p(share = 1000) { keep all skip(share) }",
	"a_shape": "pattern p(share = 1000) { keep causal & (sink(70) | window(150)) skip(share) }",
	"runs": `pattern p(share = 1000) { index s = softmax(q[-64:] * k) index c = top(60, sum(s, queries)) with first 8
		index d = top(90, sum(s, diagonals)) with first 40 keep causal & (columns(c) | diagonals(d)) skip(share) }`,
	"blocks": "pattern p(share = 1000) { index b = top(4, mean(q, 64) * mean(k, 64)) with last 1 keep causal & blocks(b) skip(share) }",
	"means":  "pattern p(share = 1000) { index b = top(3, mean(q, 64) * mean(k, 64)) with last 1 keep causal & blocks(b) else mean(64) skip(share) }",
	"group":  "pattern p(share = 1000) { index b = top(4, mean(q, 64) * mean(k, 64)) shared by group with last 1 keep causal & blocks(b) skip(share) }",
	"near":   `pattern p(share = 1000) { index c = top(90, sum(softmax(q[-64:] * k), queries)) keep causal & (columns(c) | window(70)) skip(share) }`,
}

func skipProgram(t *testing.T, name string) *compile.Program {
	p, err := compile.Load(name, []byte(skipSources[name]), "p", nil)
	require.NoError(t, err)
	return p
}

// skipRun runs a case and holds it to what its skip may leave out; share 0 leaves nothing out.
func (c attentionCase) skipRun(t *testing.T, l *runtime.Loaded, in *qkv.Input) runtime.HostResult {
	e := c.launch(t, l, in, nil)
	scale := 1 / math.Sqrt(float64(c.headDim))
	output := selfcheck.Case{In: in, Scale: scale, Pool: c.program.Pattern.Pool, O: e.res.O, LSE: e.res.LSE}
	for h := range in.Batch * in.QHeads {
		if len(c.program.Pattern.Index) > 0 {
			output.Keeps = append(output.Keeps, e.checkCover(t, h))
		} else {
			keep, err := c.program.Pattern.EndingAt(in.End()).Keeps(e.values[0])
			require.NoError(t, err)
			output.Keeps = append(output.Keeps, keep)
		}
		output.Skips = append(output.Skips, float64(e.values[0]["share"])/ir.SkipUnits)
	}
	report, err := selfcheck.Compare(output)
	require.NoError(t, err)
	require.True(t, report.OK(), "%s", report)
	require.Len(t, e.res.Skipped, in.Batch*in.QHeads)
	for _, s := range e.res.Skipped {
		require.LessOrEqual(t, s.Left, s.Tiles)
		require.Positive(t, s.Tiles)
	}
	return e.res
}

var skipKernels = []struct {
	target  string
	headDim int
}{{"sm_80", 64}, {"sm_80", 80}, {"sm_80", 112}, {"sm_80", 128}, {"sm_80", 192}, {"sm_80", 256},
	{"sm_90a", 16}, {"sm_90a", 64}, {"sm_90a", 128}, {"sm_90a", 192}, {"sm_90a", 256}}

// What a skip leaves out stays within its bound, whatever the kernel, the inputs and the share: inputs with structure, and normal ones whose
// logits lie far apart.
func TestSkipKeepsItsBound(t *testing.T) {
	turn, left := 0, 0
	for _, name := range []string{"a_shape", "blocks", "causal", "full", "group", "means", "near", "runs"} {
		for _, k := range skipKernels {
			if turn++; turn%campaign.Cases(13, 3, 1) != 0 {
				continue
			}
			c := attentionCase{program: skipProgram(t, name), target: k.target, headDim: k.headDim, dtype: formats(turn)[0], seed: uint64(turn)}
			t.Run(name+"/"+c.kernel(), func(t *testing.T) {
				l, rng := c.load(t, emu.Options{}), rand.New(rand.NewPCG(uint64(turn), 7))
				for i, share := range []int64{0, 1, 1000, 100_000, ir.SkipUnits} {
					c.shape, c.params = skipShape(rng), map[string]int64{"share": share}
					c.seed, c.random = rng.Uint64(), i%2 == 0
					in := c.input(t)
					if c.random {
						spread(t, in, 4)
					}
					for _, s := range c.skipRun(t, l, in).Skipped {
						left += s.Left
					}
				}
			})
		}
	}
	require.Positive(t, left)
}

// skipShape is of lengths that leave whole tiles behind the diagonal.
func skipShape(rng *rand.Rand) qkv.Shape {
	s := qkv.Shape{Batch: 1 + rng.IntN(2), QHeads: 2, KVHeads: 1 + rng.IntN(2), SeqQ: pick(rng, []int{1, 65, 200, 330}), SeqK: 400}
	s.QOffset = s.SeqK - s.SeqQ
	return s
}

// spread makes queries larger, and with them the distances of logits.
func spread(t *testing.T, in *qkv.Input, by float32) {
	q := make([]float32, len(in.Q)/2)
	require.NoError(t, half.Decode(in.Format, q, in.Q))
	for i := range q {
		q[i] *= by
	}
	var err error
	in.Q, err = half.Encode(in.Format, q)
	require.NoError(t, err)
}

// staircase makes the logit of key j one nat larger every eight keys, for all queries.
func staircase(t *testing.T, c attentionCase) *qkv.Input {
	c.random = true
	in := c.input(t)
	q, k := make([]float32, len(in.Q)/2), make([]float32, len(in.K)/2)
	for i := 0; i < len(q); i += c.headDim {
		q[i] = float32(math.Sqrt(float64(c.headDim)))
	}
	for i := 0; i < len(k); i += c.headDim {
		k[i] = float32(i / c.headDim % in.SeqK / 8)
	}
	var err error
	in.Q, err = half.Encode(in.Format, q)
	require.NoError(t, err)
	in.K, err = half.Encode(in.Format, k)
	require.NoError(t, err)
	return in
}

// Kernels of ranges leave out what the rule says of the tiles of their schedule, in its order: no tile more and none less.
func TestSkippedTilesAreTheSchedules(t *testing.T) {
	for i, k := range skipKernels {
		if i%campaign.Few(3, 1) != 0 {
			continue
		}
		for _, name := range []string{"causal", "a_shape"} {
			c := attentionCase{program: skipProgram(t, name), target: k.target, headDim: k.headDim, dtype: abi.BF16,
				shape: qkv.Shape{Batch: 1, QHeads: 1, KVHeads: 1, SeqQ: 420, SeqK: 500, QOffset: 80}}
			t.Run(name+"/"+c.kernel(), func(t *testing.T) {
				l, in := c.load(t, emu.Options{}), staircase(t, c)
				for _, share := range []int64{0, 1, 1000, ir.SkipUnits} {
					c.params = map[string]int64{"share": share}
					want := c.skippedTiles(t, l.Patterns()[0].Schedule())
					require.Equal(t, []runtime.Skipped{want}, c.skipRun(t, l, in).Skipped, "share %d", share)
					if share > 1 {
						require.Positive(t, want.Left)
					}
				}
			})
		}
	}
}

// skippedTiles applies the rule of ir.Skip to the inputs of staircase.
func (c attentionCase) skippedTiles(t *testing.T, s *ir.Schedule) (out runtime.Skipped) {
	values, err := ir.CheckLaunch(c.program.Pattern.Params, c.program.Pattern.Requires, c.params)
	require.NoError(t, err)
	w := skipWalk{schedule: s, values: values, margin: math.Log(float64(values["share"]) / ir.SkipUnits),
		shape: ir.Shape{Sq: c.shape.SeqQ, Sk: c.shape.SeqK, QOffset: c.shape.QOffset}, highest: map[int]float64{}}
	for n := range (c.shape.SeqQ + s.Tile.Rows - 1) / s.Tile.Rows {
		tiles, err := s.Tiles(values, w.shape, n)
		require.NoError(t, err)
		for _, rows := range c.rowsTogether(t, n) {
			for _, tile := range tiles {
				if out.Tiles++; !w.weighs(t, tile, rows) {
					out.Left++
				}
			}
		}
	}
	return out
}

// rowsTogether are the rows of row tile n that a kernel of ranges leaves out together: of a warp, or of a warpgroup.
func (c attentionCase) rowsTogether(t *testing.T, n int) (out [][]int) {
	body, err := abi.RangeBody(c.target, c.headDim)
	require.NoError(t, err)
	groups, strip := body.Warps, 16
	if c.target == "sm_90a" {
		groups, strip = body.Rows/64, 64
	}
	out = make([][]int, groups)
	for i := range body.Rows {
		if row := n*body.Rows + i; row < c.shape.SeqQ {
			out[i/strip%groups] = append(out[i/strip%groups], row)
		}
	}
	return out
}

// skipWalk walks tiles whose key j has the logit j/8, rounded down.
type skipWalk struct {
	schedule *ir.Schedule
	values   map[string]int64
	shape    ir.Shape
	margin   float64
	highest  map[int]float64 // of each row
}

// weighs says whether a tile counts for some of the rows, and takes it into their maxima then.
func (w *skipWalk) weighs(t *testing.T, tile ir.KeyTile, rows []int) (weighs bool) {
	segment := *w.schedule
	segment.Segments = segment.Segments[tile.Segment : tile.Segment+1]
	found := map[int]float64{}
	weighs = math.IsInf(w.margin, -1) // also where no row is a query: nothing is below a share of 0
	for _, row := range rows {
		kept, err := segment.Row(w.values, w.shape, row)
		require.NoError(t, err)
		before, met := w.highest[row]
		if !met {
			before = -1e30
		}
		found[row] = before
		most := math.Inf(-1)
		for key := max(0, tile.Start); key < min(w.shape.Sk, tile.Start+w.schedule.Tile.Keys); key++ {
			if kept[key] == 1 {
				most = max(most, float64(key/8))
			}
		}
		weighs, found[row] = weighs || most >= before+w.margin, max(before, most)
	}
	if weighs {
		maps.Copy(w.highest, found)
	}
	return weighs
}

// The same call leaves the same tiles out and gives the same bits, however the emulator interleaves the warps.
func TestSkipsDoNotDependOnWarpOrder(t *testing.T) {
	for i, k := range skipKernels {
		for j, name := range []string{"a_shape", "blocks", "runs"} {
			if (i+j)%campaign.Few(9, 3) != 0 {
				continue
			}
			c := attentionCase{program: skipProgram(t, name), target: k.target, headDim: k.headDim, dtype: abi.BF16, random: true,
				shape: qkv.Shape{Batch: 1, QHeads: 2, KVHeads: 1, SeqQ: 330, SeqK: 330}, params: map[string]int64{"share": 10_000}}
			in := c.input(t)
			spread(t, in, 4)
			var first runtime.HostResult
			for seed := range uint64(3) {
				res, err := c.load(t, emu.Options{Seed: seed}).RunHost(t.Context(), c.host(in))
				require.NoError(t, err)
				if seed == 0 {
					first = res
				}
				require.Equal(t, first.O, res.O)
				require.Equal(t, first.LSE, res.LSE)
				require.Equal(t, first.Skipped, res.Skipped)
			}
		}
	}
}

// Heads of one launch have skips of their own, or none, and each counts its tiles.
func TestSkipsOfAGroup(t *testing.T) {
	members := []string{"causal", "causal", "runs", "blocks", "plain"}
	shares := []int64{0, 100_000, 1000, 100_000, 0}
	var all []compile.Member
	var patterns []*compile.Program
	for _, name := range members {
		src := cmp.Or(skipSources[name], "pattern p(share = 0, n = 150) { keep causal & window(n + share) }")
		p, err := compile.Load(name, []byte(strings.Replace(src, "pattern p", "pattern "+name, 1)), "", nil)
		require.NoError(t, err)
		patterns = append(patterns, p)
		if n := slices.Index(members, name); n == len(patterns)-1 {
			all = append(all, compile.Member{Program: p, Copies: 2})
		}
	}
	for i, target := range compile.Targets() {
		headDim := []int{64, 128}[i]
		a, err := compile.Group(all, compile.Options{Target: target, HeadDim: headDim, DType: abi.BF16}, &compile.Observer{Verify: true})
		require.NoError(t, err)
		l := load(t, openEmulator(t, emu.Options{Multiprocessors: 3}), a)
		c := attentionCase{headDim: headDim, dtype: abi.BF16,
			shape: qkv.Shape{Batch: 2, QHeads: 5, KVHeads: 5, SeqQ: 200, SeqK: 400, QOffset: 200}}
		in := staircase(t, c)
		h := in.Call()
		h.NoFallback, h.Chosen = true, true
		for n, name := range members {
			pattern := slices.IndexFunc(l.Patterns(), func(p *runtime.Pattern) bool { return p.Name() == name })
			h.Parts = append(h.Parts, runtime.Part{Pattern: pattern, Heads: []int{n}, Params: map[string]int64{"share": shares[n]}})
		}
		res, err := l.RunHost(t.Context(), h)
		require.NoError(t, err)
		output := selfcheck.Case{In: in, Scale: 1 / math.Sqrt(float64(headDim)), O: res.O, LSE: res.LSE}
		for n := range 2 * len(members) {
			p, share := patterns[n%len(members)].Pattern, shares[n%len(members)]
			values, err := ir.CheckLaunch(p.Params, p.Requires, map[string]int64{"share": share})
			require.NoError(t, err)
			keep, err := p.CoverWith(values, res.Chosen[n].Kept)
			require.NoError(t, err)
			output.Keeps, output.Skips = append(output.Keeps, keep), append(output.Skips, float64(share)/ir.SkipUnits)
			switch s := res.Skipped[n]; {
			case p.Skip == nil:
				require.Zero(t, s, "head %d", n)
			case share == 0:
				require.Zero(t, s.Left, "head %d", n)
				require.Positive(t, s.Tiles, "head %d", n)
			default:
				require.Positive(t, s.Left, "head %d", n)
			}
		}
		report, err := selfcheck.Compare(output)
		require.NoError(t, err)
		require.True(t, report.OK(), "%s: %s", target, report)
	}
}

// Inputs at the ends of their types: row tiles that are computed again leave nothing out.
func TestSkipsOfExtremeInputs(t *testing.T) {
	turn := 0
	for _, name := range []string{"a_shape", "blocks", "causal", "near"} {
		for _, k := range extremeKernels {
			if turn++; turn%campaign.Cases(17, 5, 2) != 0 {
				continue
			}
			c := attentionCase{program: skipProgram(t, name), target: k.target, headDim: k.headDim, dtype: formats(turn)[0], params: map[string]int64{"share": 1}}
			t.Run(name+"/"+c.kernel(), func(t *testing.T) { c.runExtremes(t) })
		}
	}
}

// A tile that is left out has no second product: none of its instructions is executed, and all others are.
func TestSkippedTilesHaveNoSecondProduct(t *testing.T) {
	for i, k := range skipKernels {
		for j, name := range []string{"causal", "blocks"} {
			if (i+j)%campaign.Few(5, 2) != 0 {
				continue
			}
			c := attentionCase{program: skipProgram(t, name), target: k.target, headDim: k.headDim, dtype: abi.BF16,
				shape: qkv.Shape{Batch: 1, QHeads: 1, KVHeads: 1, SeqQ: 420, SeqK: 420}}
			t.Run(name+"/"+c.kernel(), func(t *testing.T) {
				var products, exponentials [2]int64
				var left [2]int
				in := staircase(t, c)
				for n, share := range []int64{0, 1000} {
					c.params = map[string]int64{"share": share}
					l := c.load(t, emu.Options{Observe: func(s emu.Stats) {
						for op, count := range s.ByOpcode {
							switch {
							case s.Kernel != "attention":
							case strings.HasPrefix(op, "mma.sync"), strings.HasPrefix(op, "wgmma.mma_async"):
								products[n] += count
							case strings.HasPrefix(op, "ex2"):
								exponentials[n] += count
							}
						}
					}})
					left[n] = c.skipRun(t, l, in).Skipped[0].Left
				}
				require.Zero(t, left[0])
				require.Positive(t, left[1])
				require.Equal(t, int64(left[1])*c.secondProduct(t, name == "blocks"), products[0]-products[1])
				require.Less(t, exponentials[1], exponentials[0])
			})
		}
	}
}

// secondProduct is how many instructions of warps the second product of a tile is.
func (c attentionCase) secondProduct(t *testing.T, blocks bool) int64 {
	body, err := abi.RangeBody(c.target, c.headDim)
	if blocks {
		body, err = abi.ListBody(c.target, c.headDim, true)
	}
	require.NoError(t, err)
	if c.target == "sm_90a" { // each of four warps executes an instruction of a warpgroup
		return int64(4 * body.Keys / 16)
	}
	strips := body.Rows / (16 * body.Warps)
	return int64(strips * body.Keys / 16 * c.headDim / 8)
}
