package runtime

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/cost"
	"github.com/minfc/minfc/ir"
	"github.com/minfc/minfc/runtime/artifact"
	"github.com/minfc/minfc/runtime/device"
)

const causalDense = `schedule dense
  param vertical = 1000 min 0
  param slash = 6096 min 0
  param topk = 100 min 0
  tile 128x64 longest-first
  segment 0
    hi   q + 1
`

// weighedKernel is a kernel with a dense one beside it, on an H200 that only records the names of launches.
func weighedKernel(t *testing.T, text string, log *[]string) *LoadedKernel {
	k := dynamicKernel(t, text)
	k.info.DType, k.info.Threads, k.function = "bf16", 64, namedFunction{"attention", log}
	for _, s := range k.stages {
		s.function = namedFunction{s.Kind, log}
	}
	schedule, err := ir.ParseSchedule(causalDense)
	require.NoError(t, err)
	machine, ok := cost.MachineFor(cost.Device{Name: "NVIDIA H200"}, "sm_80")
	require.True(t, ok)
	prices, err := machine.ListPrices(128, false)
	require.NoError(t, err)
	dense := &LoadedKernel{info: artifact.Kernel{HeadDim: 128, RowTile: 128, KeyTile: 64, Threads: 128}, schedule: schedule, plan: &indexPlan{},
		code: code{function: namedFunction{"dense", log}}}
	k.fallback = &fallback{dense, machine, prices, rangesOf(k.schedule)}
	return k
}

type namedFunction struct {
	name string
	log  *[]string
}

func (f namedFunction) Attributes() (device.FunctionAttributes, error) {
	return device.FunctionAttributes{}, nil
}
func (f namedFunction) Launch(device.Launch, [][]byte, device.Stream) error {
	*f.log = append(*f.log, f.name)
	return nil
}

func routingOf(t *testing.T, k *LoadedKernel, a Attention) (routing, verdict) {
	x, err := k.planShape(a)
	require.NoError(t, err)
	v, err := k.weigh(x)
	require.NoError(t, err)
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
		k := weighedKernel(t, c.text, new([]string))
		got, v := routingOf(t, k, Attention{Batch: 1, QHeads: c.heads, KVHeads: c.heads, SeqQ: c.length, SeqK: c.length, Params: c.params})
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
		k := weighedKernel(t, text, new([]string))
		n := 64 << rng.IntN(9)
		params := map[string]int64{"topk": int64(rng.IntN(300))}
		if text == verticalSlash {
			params = map[string]int64{"vertical": int64(rng.IntN(2000)), "slash": int64(rng.IntN(3000))}
		}
		a := Attention{Batch: 1 + rng.IntN(3), QHeads: 32 * (1 + rng.IntN(8)), KVHeads: 8, SeqQ: n, SeqK: n, Params: params}
		got, v := routingOf(t, k, a)
		routings[got]++
		if got == allDense {
			continue
		}
		x, err := k.planShape(a)
		require.NoError(t, err)
		shapes, err := k.listShapes(x)
		require.NoError(t, err)
		sparse := v.fixed
		for _, s := range shapes {
			slots, price := worstSlots(x, s, params), k.fallback.lists.Slot
			if s.source.Kind == ir.SourceColumns {
				price = k.fallback.lists.Column
			}
			sparse += price * float64(slots)
		}
		if got == byHead {
			sparse = min(sparse, v.dense)
		}
		heads := float64(a.QHeads) * millis(k.fallback.machine.Multiprocessors)
		require.LessOrEqual(t, v.index+heads*sparse, 1.02*heads*v.dense, "%s, %d tokens, %d heads, %v", k.schedule.Name, n, a.QHeads, params)
	}
	require.Len(t, routings, 3, "every outcome was looked at: %v", routings)
}

// TestBatchDoesNotDecide: a sequence is weighed as if it were alone, with its heads and budgets, whatever else is in the call.
func TestBatchDoesNotDecide(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	routings := map[routing]int{}
	for range 200 {
		k := weighedKernel(t, []string{verticalSlash, blockSparse, blockShares}[rng.IntN(3)], new([]string))
		n := 1<<10<<rng.IntN(8) + rng.IntN(500)
		a := Attention{Batch: 1, QHeads: 4 << rng.IntN(5), KVHeads: 4, SeqQ: n, SeqK: n, HeadParams: map[string][]int64{}}
		for _, name := range k.plan.headParams {
			most := map[string]int{"vertical": 4000, "slash": 8000, "topk": 300}[name]
			for range a.QHeads {
				a.HeadParams[name] = append(a.HeadParams[name], int64(rng.IntN(most)))
			}
		}
		if rng.IntN(3) == 0 { // heads of other patterns lie between
			for range a.QHeads {
				a.Heads = append(a.Heads, rng.IntN(2) == 0)
			}
			a.Heads[0] = true
		}
		k.scratchBytes = int64(1) << (20 + rng.IntN(10))
		want, alone := routingOf(t, k, a)
		routings[want]++
		for _, batch := range []int{2, 7, 64} {
			a.Batch = batch
			got, v := routingOf(t, k, a)
			require.Equal(t, want, got)
			require.Equal(t, alone, v, "%s, %d tokens, batch %d", k.schedule.Name, n, batch)
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
func worstSlots(x *indexCall, s listShape, params map[string]int64) (slots int) {
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

// TestBoundsHold: what random lists cost lies between the bounds that budgets give.
func TestBoundsHold(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	k := weighedKernel(t, verticalSlash, new([]string))
	for range 200 {
		sq, offset := 1+rng.IntN(3000), rng.IntN(2)*rng.IntN(2000)
		budgets := map[string]int64{"vertical": int64(rng.IntN(sq + offset)), "slash": int64(rng.IntN(sq + offset))}
		x, err := k.planShape(Attention{Batch: 1, QHeads: 1, KVHeads: 1, SeqQ: sq, SeqK: sq + offset, QOffset: offset, Params: budgets})
		require.NoError(t, err)
		shapes, err := k.listShapes(x)
		require.NoError(t, err)
		for _, s := range shapes {
			n := x.choices[s.choice]
			members := randomMembers(rng, n, x.reach)
			low, high, slots := 0, 0, 0
			if s.source.Kind == ir.SourceRuns {
				low, high = x.runBounds(s, n, 0)
				slots = walkRuns(ir.CoverTiles(members), sq, offset)
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
	k := weighedKernel(t, verticalSlash, new([]string))
	a := Attention{Batch: 1, QHeads: 1, KVHeads: 1, SeqQ: 1 << 17, SeqK: 1 << 17}
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
	memory := func(a Attention) Attention {
		a.Q.Ptr, a.K.Ptr, a.V.Ptr, a.O.Ptr, a.Workspace, a.WorkspaceBytes = 1<<42, 2<<42, 3<<42, 4<<42, 5<<42, 1<<40
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
		var log []string
		k := weighedKernel(t, verticalSlash, &log)
		a := memory(Attention{Batch: 1, QHeads: 8, KVHeads: 8, SeqQ: c.length, SeqK: c.length, NoFallback: c.noFallback})
		require.NoError(t, k.Launch(nil, a))
		require.Len(t, log, c.index+len(c.want), "%v", log)
		require.Equal(t, c.want, log[c.index:])
		whole := slices.Clone(log)
		log = nil
		require.NoError(t, k.LaunchIndex(nil, a))
		require.NoError(t, k.LaunchAttention(nil, a))
		require.Equal(t, whole, log, "the halves of a launch are the launch")
	}
}

// TestProbesAreCutByTheSequence: in which order a probe adds up depends neither on the batch nor on how many heads are probed at a
// time. Short chunks make a full grid of short inputs: of a sequence's own.
func TestProbesAreCutByTheSequence(t *testing.T) {
	lengths := map[int]bool{}
	for _, n := range []int{100, 3000, 10_000, 50_000} {
		for _, heads := range []int{1, 2, 4} {
			p := &probeCall{heads: heads}
			of := func(batch int) *indexCall {
				return &indexCall{call: &call{Attention: Attention{Batch: batch, QHeads: 16, KVHeads: 4, SeqQ: n, SeqK: n}}}
			}
			alone := of(1)
			want := alone.geometry(p, probeSlice{call: alone.call}, blocksOf(n))
			lengths[want.chunkTiles] = true
			for _, batch := range []int{2, 9, 200} {
				x := of(batch)
				for _, s := range []probeSlice{{call: x.call}, {call: x.part(batch-1, 2, 1)}, {call: x.part(0, 0, 3)}} {
					got := x.geometry(p, s, blocksOf(n))
					require.Equal(t, want.chunkTiles, got.chunkTiles, "%d keys, batch %d", n, batch)
					require.Equal(t, want.grid[0], got.grid[0])
					require.Equal(t, [2]int{s.call.KVHeads * 4 / heads, s.call.Batch}, [2]int(got.grid[1:]))
					require.LessOrEqual(t, got.grid[0], got.room)
				}
			}
		}
	}
	require.Greater(t, len(lengths), 2, "chunks of several lengths: %v", lengths)
}
