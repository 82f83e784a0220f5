package runtime

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/internal/campaign"
	"github.com/minfc/minfc/ir"
	"github.com/minfc/minfc/runtime/artifact"
	"github.com/minfc/minfc/runtime/device/devicetest"
)

const causalDense = `schedule dense
  tile 128x64 longest-first
  segment 0
    hi   q + 1
`

// weighedKernel is a kernel with a dense one beside it, on an H200 that only records launches.
func weighedKernel(t *testing.T, text string) (*devicetest.Fake, *Loaded) {
	dev := devicetest.New()
	dev.Is.Name, dev.Is.Multiprocessors = "NVIDIA H200", 132
	k, err := Load(dev, artifactOf(t, text, causalDense, 0), artifact.Select{})
	require.NoError(t, err)
	require.NotNil(t, k.patterns[0].fallback)
	return dev, k
}

func routingOf(t *testing.T, k *Loaded, a Call) (routing, verdict) {
	v := boundOf(t, k, a).verdict
	return v.routing, v
}

// TestHostRules: what is clear without the data is decided without it.
func TestHostRules(t *testing.T) {
	for _, c := range []struct {
		what   string
		text   string
		heads  int
		length int
		params map[string]int64
		want   routing
	}{
		{"the index stage alone takes longer than dense", verticalSlash, 8, 1 << 10, nil, allDense},
		{"all of it is kept", verticalSlash, 8, 1 << 12, nil, allDense},
		{"it might win, but more than 2% would be at stake", verticalSlash, 8, 1 << 14, nil, allDense},
		{"the same with small budgets", verticalSlash, 8, 1 << 14, map[string]int64{"vertical": 30, "slash": 800}, allDense},
		{"the data decides", verticalSlash, 8, 1 << 15, nil, byHead},
		{"the data decides", verticalSlash, 8, 1 << 17, nil, byHead},
		{"even scattered slashes are cheap", verticalSlash, 8, 1 << 17, map[string]int64{"vertical": 30, "slash": 800}, allSparse},
		{"one short head cannot pay for an index stage", verticalSlash, 1, 1 << 15, nil, allDense},
		{"a budget of everything", verticalSlash, 8, 1 << 17, map[string]int64{"slash": 1 << 17}, allDense},
		{"blocks of a short input", blockSparse, 8, 1 << 12, nil, allDense},
		{"how many blocks are kept is known", blockSparse, 8, 1 << 14, nil, allSparse},
		{"blocks", blockSparse, 8, 1 << 17, nil, allSparse},
		{"every block", blockSparse, 8, 1 << 17, map[string]int64{"topk": 3000}, allDense},
	} {
		_, k := weighedKernel(t, c.text)
		got, v := routingOf(t, k, Call{Shape: Shape{Batch: 1, QHeads: c.heads, KVHeads: c.heads, SeqQ: c.length, SeqK: c.length}, Part: Part{Params: c.params}})
		require.Equal(t, c.want, got, "%s, %d tokens: %+v", c.what, c.length, v)
	}
}

// TestShortCallsRiskLittle: up to 16K tokens, whatever the lists turn out to be, the predicted time stays within 2% of the
// dense kernel's.
func TestShortCallsRiskLittle(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	routings := map[routing]int{}
	for range 300 {
		text := []string{verticalSlash, blockSparse}[rng.IntN(2)]
		_, k := weighedKernel(t, text)
		n := 64 << rng.IntN(9)
		params := map[string]int64{"topk": int64(rng.IntN(300))}
		if text == verticalSlash {
			params = map[string]int64{"vertical": int64(rng.IntN(2000)), "slash": int64(rng.IntN(3000))}
		}
		a := Call{Shape: Shape{Batch: 1 + rng.IntN(3), QHeads: 32 * (1 + rng.IntN(8)), KVHeads: 8, SeqQ: n, SeqK: n}, Part: Part{Params: params}}
		got, v := routingOf(t, k, a)
		routings[got]++
		if got == allDense {
			continue
		}
		x := boundOf(t, k, a)
		shapes, err := k.patterns[0].listShapes(x)
		require.NoError(t, err)
		sparse := v.fixed
		for _, s := range shapes {
			slots, price := worstSlots(x, s, params), k.patterns[0].fallback.lists.Slot
			if s.source.Kind == ir.SourceColumns {
				price = k.patterns[0].fallback.lists.Column
			}
			sparse += price * float64(slots)
		}
		if got == byHead {
			sparse = min(sparse, v.dense)
		}
		heads := float64(a.QHeads) * millis(k.patterns[0].fallback.machine.Multiprocessors)
		require.LessOrEqual(t, v.index+heads*sparse, 1.02*heads*v.dense, "%s, %d tokens, %d heads, %v", k.patterns[0].schedule.Name, n, a.QHeads, params)
	}
	require.Len(t, routings, 3, "every outcome was looked at: %v", routings)
}

// TestBatchDoesNotDecide: a sequence is weighed as if it were alone, with its heads and budgets, whatever else is in the call.
func TestBatchDoesNotDecide(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	routings := map[routing]int{}
	for range campaign.Cases(30, 60, 200) {
		_, k := weighedKernel(t, []string{verticalSlash, blockSparse, blockShares}[rng.IntN(3)])
		n := 1<<10<<rng.IntN(8) + rng.IntN(500)
		a := Call{Shape: Shape{Batch: 1, QHeads: 4 << rng.IntN(5), KVHeads: 4, SeqQ: n, SeqK: n}, Part: Part{HeadParams: map[string][]int64{}}}
		for _, name := range k.patterns[0].headParams {
			most := map[string]int{"vertical": 4000, "slash": 8000, "topk": 300}[name]
			for range a.QHeads {
				a.HeadParams[name] = append(a.HeadParams[name], int64(rng.IntN(most)))
			}
		}
		if rng.IntN(3) == 0 { // heads of other patterns lie between
			a.Heads = []int{0}
			for h := 1; h < a.QHeads; h++ {
				if rng.IntN(2) == 0 {
					a.Heads = append(a.Heads, h)
				}
			}
			for name, values := range a.HeadParams {
				a.HeadParams[name] = values[:len(a.Heads)]
			}
		}
		k.patterns[0].scratchBytes = int64(1) << (20 + rng.IntN(10))
		want, alone := routingOf(t, k, a)
		routings[want]++
		for _, batch := range []int{2, 7, 64}[:campaign.Few(2, 3)] {
			a.Batch = batch
			got, v := routingOf(t, k, a)
			require.Equal(t, want, got)
			require.Equal(t, alone, v, "%s, %d tokens, batch %d", k.patterns[0].schedule.Name, n, batch)
		}
	}
	require.Len(t, routings, 3, "every outcome was looked at: %v", routings)
}

// blockShares scores blocks by their antidiagonals.
const blockShares = `schedule block_shares
  param topk = 100 min 0
  index scores = antidiagonals 8
  index probs = softmax scores
  index shares = sum probs over blocks
  index best = top topk from shares last 1
  tile 64x64 longest-first
  segment 0
    from blocks best
    hi   q + 1
`

// worstSlots walks every row block over the dearest lists: distances apart, next to the diagonal, and the first columns.
func worstSlots(x *boundCall, s listShape, params map[string]int64) (slots int) {
	for t := range x.rowBlocks() {
		switch s.source.Kind {
		case ir.SourceRuns:
			slots += min(t+1, max(100, int(params["slash"])))
		case ir.SourceColumns:
			slots += ceilDiv(min((t+1)*64, max(30, int(params["vertical"]))), 64)
		default:
			slots += min(t+1, max(1, int(params["topk"])))
		}
	}
	return slots
}

// TestBoundsHold: what random lists cost lies between the bounds that budgets give, whatever the budgets count.
func TestBoundsHold(t *testing.T) {
	for _, over := range []string{"diagonals", "runs 16", "runs 64", "runs 112"} {
		t.Run(over, func(t *testing.T) {
			text := strings.NewReplacer("over diagonals", "over "+over, "first 100", "first 3").Replace(verticalSlash)
			_, k := weighedKernel(t, text)
			boundsHold(t, k)
		})
	}
}

func boundsHold(t *testing.T, k *Loaded) {
	rng := rand.New(rand.NewPCG(3, 4))
	for range 200 {
		sq, offset := 1+rng.IntN(3000), rng.IntN(2)*rng.IntN(2000)
		budgets := map[string]int64{"vertical": int64(rng.IntN(sq + offset)), "slash": int64(rng.IntN(sq+offset) / max(1, rng.IntN(2)*50))}
		x := boundOf(t, k, Call{Shape: Shape{Batch: 1, QHeads: 1, KVHeads: 1, SeqQ: sq, SeqK: sq + offset, QOffset: offset}, Part: Part{Params: budgets}})
		shapes, err := k.patterns[0].listShapes(x)
		require.NoError(t, err)
		for _, s := range shapes {
			n := x.choices[s.choice]
			members := randomMembers(rng, n, x.candidates(n.choice))
			low, high, slots := 0, 0, 0
			if s.source.Kind == ir.SourceRuns {
				low, high = x.runBounds(s, n, 0)
				slots = walkRuns(ir.CoverTiles(ir.DistancesOf(members, n.run, x.reach())), sq, offset)
			} else {
				low, high = x.columnBounds(s, n, 0)
				slots = walkColumns(members, sq, offset)
			}
			what := fmt.Sprintf("%v of %d members, %d queries from %d", s.source, len(members), sq, offset)
			require.LessOrEqual(t, low, slots, what)
			require.GreaterOrEqual(t, high, slots, what)
		}
	}
}

// Numbers that depend on the length are numbers of the keys that count in the call, for predictions as in the program.
func TestBoundsOfTheLength(t *testing.T) {
	text := strings.Replace(verticalSlash, "top slash from", "top min(slash, floordiv(keys(), 8)) from", 1)
	require.NotEqual(t, verticalSlash, text)
	_, k := weighedKernel(t, text)
	for _, x := range []struct{ sk, want int }{{5000, 700 / 8}, {400, 400 / 8}} { // queries end at 700
		b := boundOf(t, k, Call{Shape: Shape{Batch: 1, QHeads: 1, KVHeads: 1, SeqQ: 600, SeqK: x.sk, QOffset: 100}})
		n := b.choices[slices.IndexFunc(b.choices, func(n choiceCall) bool { return n.source.Kind == ir.SourceRuns })]
		low, high, _ := n.members(0, b.reach())
		require.Equal(t, []int{max(x.want, 100), max(x.want, 100)}, []int{low, high}, "100 are forced")
		require.Equal(t, []int{x.want}, n.numbers)
	}
}

// A head is known to get the least number, which its rule may exceed up to the most; both end at the candidates.
func TestBoundsOfRules(t *testing.T) {
	for _, x := range []struct{ least, most, candidates, low, high int }{
		{0, 50, 100, 3, 50}, {20, 50, 100, 20, 50}, {60, 50, 100, 50, 50}, {20, 50, 10, 10, 10}, {2, 1, 100, 3, 3},
	} {
		n := choiceCall{choice: choice{Select: ir.Select{Rule: ir.NearMax}}, numbers: []int{1}, limits: []int{x.most}, leasts: []int{x.least}, first: 3}
		low, high, first := n.members(0, x.candidates)
		require.Equal(t, []int{x.low, x.high, 3}, []int{low, high, first}, "%+v", x)
	}
}

// walkRuns and walkColumns count the slots of all row blocks, causal ones, one by one.
func walkRuns(tiles []int, sq, offset int) (slots int) {
	for s := offset; s < offset+sq; s += ir.BlockSize {
		for _, l := range tiles {
			if s-l > -ir.BlockSize {
				slots++
			}
		}
	}
	return slots
}

func walkColumns(columns []int, sq, offset int) (slots int) {
	for s := offset; s < offset+sq; s += ir.BlockSize {
		n, _ := slices.BinarySearch(columns, min(s+ir.BlockSize, offset+sq))
		slots += ceilDiv(n, ir.BlockSize)
	}
	return slots
}

// TestRaggedBudgets: each head is weighed by its own budgets, wherever it stands.
func TestRaggedBudgets(t *testing.T) {
	_, k := weighedKernel(t, verticalSlash)
	a := Call{Shape: Shape{Batch: 1, QHeads: 1, KVHeads: 1, SeqQ: 1 << 17, SeqK: 1 << 17}}
	slashes, sum := []int64{100, 9000, 9000, 100, 2000}, 0.0
	for _, n := range slashes {
		a.Params = map[string]int64{"vertical": 64, "slash": n}
		_, v := routingOf(t, k, a)
		sum += v.low
	}
	a.QHeads, a.KVHeads, a.Params, a.HeadParams = 5, 5, map[string]int64{"vertical": 64}, map[string][]int64{"slash": slashes}
	_, v := routingOf(t, k, a)
	require.InEpsilon(t, sum, v.low, 1e-12)
}

// randomMembers are scattered, clustered, near or far, the forced ones among them.
func randomMembers(rng *rand.Rand, n choiceCall, candidates int) []int {
	all, _, first := n.members(0, candidates)
	in := make([]bool, candidates)
	for i := range first {
		in[i] = true
	}
	for left := all - first; left > 0; {
		at, length := rng.IntN(candidates), 1+rng.IntN(200)*rng.IntN(2)
		for i := at; i < min(candidates, at+length) && left > 0; i++ {
			if !in[i] {
				in[i] = true
				left--
			}
		}
	}
	var out []int
	for i, chosen := range in {
		if chosen {
			out = append(out, i)
		}
	}
	return out
}

// TestOrderOfLaunches: everything is enqueued at once, decide between the lists and the two kernels that obey it; nothing is
// read back, so that a graph may capture it.
func TestOrderOfLaunches(t *testing.T) {
	memory := func(a Call) Call {
		a.Q, a.K, a.V, a.O, a.Workspace, a.WorkspaceBytes = 1<<42, 2<<42, 3<<42, 4<<42, 5<<42, 1<<40
		return a
	}
	for _, c := range []struct {
		length     int
		noFallback bool
		index      int // launches of the index stage, decide not counted
		want       []string
	}{
		{1 << 17, false, 8, []string{"decide", "attention", "dense"}},
		{1 << 17, true, 8, []string{"attention"}},
		{1 << 12, false, 0, []string{"dense"}},
		{1 << 12, true, 8, []string{"attention"}},
	} {
		dev, k := weighedKernel(t, verticalSlash)
		a := memory(Call{Shape: Shape{Batch: 1, QHeads: 8, KVHeads: 8, SeqQ: c.length, SeqK: c.length, NoFallback: c.noFallback}})
		require.NoError(t, k.Launch(nil, a))
		var names []string
		for _, l := range dev.Launches {
			names = append(names, l.Entry)
		}
		require.Len(t, names, c.index+len(c.want), "%v", names)
		require.Equal(t, c.want, names[c.index:])
		whole := dev.Launches
		dev.Launches = nil
		require.NoError(t, k.LaunchIndex(nil, a))
		require.Len(t, dev.Launches, len(names)-len(c.want)+strings.Count(strings.Join(c.want, " "), "decide"))
		require.NoError(t, k.LaunchAttention(nil, a))
		require.Equal(t, whole, dev.Launches, "the halves of a launch are the launch")
	}
}

// The two kernels take the heads that decide gave them: words in one place, another word for each.
func TestBothKernelsObeyDecide(t *testing.T) {
	dev, k := weighedKernel(t, verticalSlash)
	a := bigCall(1 << 17)
	a.QHeads, a.KVHeads, a.NoFallback = 8, 8, false
	require.NoError(t, k.Launch(nil, a))
	decide, attention, dense := find(t, dev, "decide"), find(t, dev, "attention"), find(t, dev, "dense")
	route := decide.Arg(t, abi.IndexParams[abi.Decide], "route")
	require.NotZero(t, route)
	require.Equal(t, route, attention.Arg(t, k.Attend().Params, "route"))
	require.Equal(t, route, dense.Arg(t, k.patterns[0].codes[abi.Dense].Params, "route"))
	require.EqualValues(t, ir.RouteSparse, attention.Arg(t, k.Attend().Params, "taken"))
	require.EqualValues(t, ir.RouteDense, dense.Arg(t, k.patterns[0].codes[abi.Dense].Params, "taken"))
	require.Equal(t, [3]uint32{1 << 11, 8, 1}, attention.Grid, "row tiles of 64")
	require.Equal(t, [3]uint32{1 << 10, 8, 1}, dense.Grid, "row tiles of 128")
	v := boundOf(t, k, a).verdict
	require.InEpsilon(t, v.fixed, decide.Arg(t, abi.IndexParams[abi.Decide], "start"), 1e-6)
	require.InEpsilon(t, v.limit(), decide.Arg(t, abi.IndexParams[abi.Decide], "dense"), 1e-6)
	require.InEpsilon(t, k.patterns[0].fallback.lists.Slot, decide.Arg(t, abi.IndexParams[abi.Decide], "slot"), 1e-6)
	require.InEpsilon(t, k.patterns[0].fallback.lists.Column, decide.Arg(t, abi.IndexParams[abi.Decide], "column"), 1e-6)
}

// TestProbesAreCutByTheSequence: in which order a probe adds up depends neither on the batch nor on how many heads are probed at a
// time. Short chunks make a full grid of short inputs: of a sequence's own.
func TestProbesAreCutByTheSequence(t *testing.T) {
	lengths := map[float64]bool{}
	for _, n := range []int{100, 3000, 10_000, 50_000} {
		for _, group := range []int{1, 2, 4} {
			kernel := fmt.Sprint("probe_stats_", group)
			probes := func(batch int, scratch int64) (chunks []float64, out []devicetest.Launched) {
				dev, k := dynamicKernel(t, verticalSlash)
				k.patterns[0].scratchBytes = scratch
				a := bigCall(n)
				a.Batch, a.QHeads, a.KVHeads = batch, 16, 16/group
				require.NoError(t, k.LaunchIndex(nil, a))
				for _, l := range dev.Launches {
					if l.Entry == kernel {
						out = append(out, l)
						chunks = append(chunks, l.Arg(t, abi.IndexParams[abi.ProbeStats], "chunk_tiles"))
					}
				}
				return chunks, out
			}
			chunks, alone := probes(1, 1<<40)
			require.Len(t, alone, 1)
			require.Equal(t, [2]uint32{16 / uint32(group), 1}, [2]uint32(alone[0].Grid[1:]), "a block takes the heads of a kv head")
			lengths[chunks[0]] = true
			for _, batch := range []int{1, 2, 9} {
				for scratch, launches := range map[int64]int{1: 16 / group * batch, 1 << 40: 1} {
					got, all := probes(batch, scratch)
					require.Len(t, all, launches)
					for i, l := range all {
						require.Equal(t, chunks[0], got[i], "%d keys, batch %d", n, batch)
						require.Equal(t, alone[0].Grid[0], l.Grid[0])
					}
				}
			}
		}
	}
	require.Greater(t, len(lengths), 2, "chunks of several lengths: %v", lengths)
}
