package bench

import (
	"bytes"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/internal/workload"
	"github.com/minfc/minfc/ir"
	"github.com/minfc/minfc/runtime"
	"github.com/minfc/minfc/runtime/device"
	"github.com/minfc/minfc/runtime/emu"
)

func smallDynamic() Config {
	return Config{
		Patterns: []string{"vertical_slash", "block_sparse", "columns_window"}, SeqLens: []int{300}, QHeads: 2, KVHeads: 1, HeadDim: 64, DType: abi.BF16,
		Workload: workload.Slash, Seed: 3, Set: map[string]int64{"vertical": 40, "slash": 110, "topk": 2, "window": 70}, VsDense: true, Rounds: 1, Seconds: 1,
		NoFallback: true, // so short an input would be dense
	}
}

// compiled are the subjects of c with kernels on dev.
func compiled(t *testing.T, dev device.Device, c Config) []*subject {
	list, err := c.subjects(dev.Info(), "sm_80")
	require.NoError(t, err)
	for _, s := range list {
		require.NoError(t, s.load(dev))
		t.Cleanup(s.close)
	}
	return list
}

// coverPairs counts what a pattern keeps of the choices, by its meaning; the mean of the heads, rounded down.
func coverPairs(t *testing.T, s *subject, n int, chosen []*ir.Selection) int64 {
	pairs := 0
	for _, sel := range chosen {
		keep, err := s.pattern.CoverWith(s.values, sel)
		require.NoError(t, err)
		for q := range n {
			for k := range q + 1 {
				if keep(q, k) {
					pairs++
				}
			}
		}
	}
	return int64(pairs / len(chosen))
}

// askedBy runs a subject on the inputs of c, apart from the benchmark, and returns what the device chose.
func askedBy(t *testing.T, dev device.Device, c Config, s *subject, n int) (out []*ir.Selection) {
	q, k, v, err := workload.Generate(c.spec(n))
	require.NoError(t, err)
	res, err := s.kernels.RunHost(t.Context(), runtime.HostCall{Q: q, K: k, V: v, Parts: []runtime.Part{s.part()}, Chosen: true,
		Shape: runtime.Shape{Batch: 1, QHeads: c.QHeads, KVHeads: c.KVHeads, SeqQ: n, SeqK: n, NoFallback: true}})
	require.NoError(t, err)
	for _, head := range res.Chosen {
		out = append(out, head.Asked)
	}
	return out
}

func TestRunOfPatternsThatDataDecides(t *testing.T) {
	if testing.Short() {
		t.Skip("a second and a half on the emulator")
	}
	c, dev := smallDynamic(), emulator(t, emu.Options{})
	r, err := Run(dev, c)
	require.NoError(t, err)
	require.Empty(t, r.Failures())
	require.Len(t, r.Rows, 4)
	require.Equal(t, "dense", r.Rows[0].Pattern)
	require.Zero(t, r.Rows[0].IndexMS)
	require.Zero(t, r.Rows[0].WorkspaceBytes)
	for i, s := range compiled(t, dev, c)[1:] {
		row := r.Rows[1+i]
		require.Equal(t, s.pattern.Name, row.Pattern)
		require.Positive(t, row.IndexMS)
		require.Positive(t, row.AttentionMS)
		require.Positive(t, row.TotalMS)
		require.Equal(t, coverPairs(t, s, 300, askedBy(t, dev, c, s, 300)), row.Pairs, row.Pattern)
		require.InDelta(t, float64(row.Pairs)/(300*301/2), row.Density, 1e-12)
		require.GreaterOrEqual(t, *row.Tiles*64*64, row.Pairs*2)
		require.InDelta(t, 4*64*64*64*float64(*row.Tiles)/row.AttentionMS/1e9, *row.TileTFLOPS, 1e-12)
		require.InDelta(t, 4*64*2*float64(row.Pairs)/row.TotalMS/1e9, row.UsefulTFLOPS, 1e-12)
		require.Positive(t, row.IndexBytes)
		require.Greater(t, row.WorkspaceBytes, row.IndexBytes)
		require.Greater(t, *row.Recall, 0.3)
		require.LessOrEqual(t, *row.Recall, 1.001)
		require.Nil(t, row.PredictedMS, "the cost model knows nothing of the data")
	}
	require.Greater(t, *r.Rows[1].Recall, 0.9, "this workload is made of diagonals")
}

// Planted lists have the budgets' sizes, and attention over them is all that is timed.
func TestRunPlanted(t *testing.T) {
	c, dev := smallDynamic(), emulator(t, emu.Options{})
	c.Planted = true
	r, err := Run(dev, c)
	require.NoError(t, err)
	require.Empty(t, r.Failures())
	require.True(t, r.Workload.Planted)
	for i, s := range compiled(t, dev, c)[1:] {
		row, planted := r.Rows[1+i], s.plant(c, 300)
		require.Zero(t, row.IndexMS)
		require.Equal(t, row.AttentionMS, row.TotalMS)
		require.Positive(t, row.TotalMS)
		require.Equal(t, coverPairs(t, s, 300, planted), row.Pairs, row.Pattern)
		require.Nil(t, row.Recall, "what nobody chose says nothing")
		require.Nil(t, row.Error)
		require.Equal(t, (packedArea(t, s, 300, planted)+64*64-1)/(64*64), *row.Tiles)
	}
}

func packedArea(t *testing.T, s *subject, n int, chosen []*ir.Selection) (area int64) {
	launched, err := s.schedule.Bind(s.values)
	require.NoError(t, err)
	for _, sel := range chosen {
		counter, err := launched.CountWork(sel)
		require.NoError(t, err)
		for tile := 0; tile*64 < n; tile++ {
			area += counter.RowTile(ir.Shape{Sq: n, Sk: n}, tile).Packed
		}
	}
	return area
}

func TestPlantedListsHaveTheShapeOfPublishedOnes(t *testing.T) {
	c, dev := smallDynamic(), emulator(t, emu.Options{})
	c.Set = map[string]int64{"vertical": 500, "slash": 700, "topk": 7}
	list := compiled(t, dev, c)
	const n = 10000
	heads := list[1].plant(c, n)
	require.Equal(t, heads, list[1].plant(c, n))
	require.NotEqual(t, heads[0], heads[1])
	for _, head := range heads {
		columns, distances := head.Sets[0].Members, head.Sets[1].Members
		require.Len(t, columns, 500)
		require.Equal(t, upTo(30), columns[:30])
		require.Greater(t, columns[499], n*9/10)
		require.Len(t, distances, 700)
		require.Equal(t, upTo(100), distances[:100])
		require.Less(t, len(ir.CoverTiles(distances)), 40, "9.4 clusters need about 2 tiles each")
		requireAscending(t, columns, n)
		requireAscending(t, distances, n)
	}
	blocks := list[2].plant(c, n)[0].Sets[0].Blocks
	require.Len(t, blocks, 157)
	for row, chosen := range blocks {
		require.Len(t, chosen, min(7, row+1))
		require.Equal(t, row, chosen[0], "the diagonal block is forced")
	}
}

// Published figures of block lists differ in what neighbouring row blocks share.
func TestPlantedBlocksShare(t *testing.T) {
	c, dev := smallDynamic(), emulator(t, emu.Options{})
	c.Set = map[string]int64{"topk": 20}
	s := compiled(t, dev, c)[2]
	const n = 64 * 301
	shared := map[BlockSharing]float64{}
	for _, sharing := range []BlockSharing{"", BlocksApart, BlocksHalf, BlocksWide} {
		c.PlantedBlocks = sharing
		require.NoError(t, c.Check())
		blocks := s.plant(c, n)[0].Sets[0].Blocks
		require.Equal(t, blocks, s.plant(c, n)[0].Sets[0].Blocks)
		require.Len(t, blocks, 301)
		pairs := 0
		for row, chosen := range blocks {
			require.Equal(t, row, chosen[0], "the diagonal block is forced")
			require.IsDecreasing(t, append(chosen, -1))
			require.InDelta(t, min(20, row+1), len(chosen), 1)
			if row%2 == 0 || row < 100 {
				continue
			}
			pairs++
			for _, x := range chosen {
				if slices.Contains(blocks[row-1], x) {
					shared[sharing]++
				}
			}
			if sharing == BlocksWide {
				require.Equal(t, blocks[row-1], chosen[1:], "a row of 128, but for the block above the diagonal")
			}
		}
		shared[sharing] /= float64(pairs)
	}
	require.Equal(t, shared[""], shared[BlocksApart])
	require.Less(t, shared[BlocksApart], 5.0)
	require.InDelta(t, 10, shared[BlocksHalf], 1.5)
	require.InDelta(t, 19, shared[BlocksWide], 0.1)
	c.PlantedBlocks = "haf"
	require.ErrorContains(t, c.Check(), `planted blocks "haf" are not known, want one of apart, half, wide`)
}

// Budgets beyond what there is, and inputs shorter than what is forced.
func TestPlantedListsOfShortInputs(t *testing.T) {
	c, dev := smallDynamic(), emulator(t, emu.Options{})
	c.Set = map[string]int64{"vertical": 1 << 30, "slash": 1 << 30, "topk": 1 << 30}
	list := compiled(t, dev, c)
	for _, n := range []int{1, 29, 63, 64, 65, 300} {
		head := list[1].plant(c, n)[0]
		require.Equal(t, upTo(n), head.Sets[0].Members)
		require.Equal(t, upTo(n), head.Sets[1].Members)
		for _, c.PlantedBlocks = range []BlockSharing{BlocksApart, BlocksHalf, BlocksWide} {
			for row, chosen := range list[2].plant(c, n)[0].Sets[0].Blocks {
				require.Len(t, chosen, row+1)
			}
		}
	}
}

func upTo(n int) []int {
	out := make([]int, n)
	for i := range out {
		out[i] = i
	}
	return out
}

func requireAscending(t *testing.T, members []int, end int) {
	t.Helper()
	last := -1
	for _, m := range members {
		require.Greater(t, m, last)
		last = m
	}
	require.Less(t, last, end)
}

// A sample of row blocks stands for all of them.
func TestSampledWork(t *testing.T) {
	c, dev := smallDynamic(), emulator(t, emu.Options{})
	c.Set = map[string]int64{"vertical": 500, "slash": 700, "topk": 20}
	for _, s := range compiled(t, dev, c)[1:3] {
		const n = 16 << 10
		var chosen []runtime.Chosen
		for _, sel := range s.plant(c, n) {
			chosen = append(chosen, runtime.Chosen{Asked: sel, Kept: sel})
		}
		launched, err := s.schedule.Bind(s.values)
		require.NoError(t, err)
		all, err := CountLists(launched, chosen, ir.Shape{Sq: n, Sk: n}, 64, 256)
		require.NoError(t, err)
		require.Zero(t, all.Sampled)
		some, err := CountLists(launched, chosen, ir.Shape{Sq: n, Sk: n}, 64, 32)
		require.NoError(t, err)
		require.Equal(t, 32, some.Sampled)
		for _, x := range [][2]int64{{all.Pairs, some.Pairs}, {all.Area, some.Area}, {all.Packed, some.Packed}} {
			require.InEpsilon(t, x[0], x[1], 0.01, s.pattern.Name)
		}
	}
}

// Inputs that rotate bring lists of their own: what one set chose would be wrong for another.
func TestEverySetHasItsLists(t *testing.T) {
	c, dev := smallDynamic(), cached{emulator(t, emu.Options{})}
	c.VsDense, c.Patterns, c.Set = false, []string{"block_sparse"}, map[string]int64{"topk": 2}
	list := compiled(t, dev, c)
	b := &bencher{Config: c, dev: dev, list: list}
	spaces, err := b.workspaces(300)
	require.NoError(t, err)
	m, err := c.newMemory(dev, 300, spaces)
	require.NoError(t, err)
	defer func() { require.NoError(t, m.close()) }()
	require.Greater(t, len(m.sets), 1)
	s := list[0]
	require.NoError(t, b.fillLists(m, s, 300))
	call, err := s.prepare(c, 300)
	require.NoError(t, err)
	for i, set := range m.sets {
		chosen, err := call.ReadChosen(nil, m.pointers(s, set, m.outputs[0]))
		require.NoError(t, err)
		own := c
		own.Seed += uint64(i)
		for h, want := range askedBy(t, dev, own, s, 300) {
			require.Equal(t, want, chosen[h].Asked)
		}
	}
}

// fixedChosen is a report with a row that data decides.
func fixedChosen() *Report {
	r := fixed()
	r.Rows = r.Rows[:2]
	row := &r.Rows[1]
	row.Pattern, row.Params = "vertical_slash", map[string]int64{"vertical": 1000, "slash": 6096}
	row.IndexMS, row.AttentionMS, row.TotalMS = 0.35, 5.5, 5.9
	row.IndexBytes, row.WorkspaceBytes, row.SampledBlocks = 3_200_000, 33_000_000, 512
	row.finish(r.Call, r.Rates)
	return r
}

func TestTableOfChoices(t *testing.T) {
	var b bytes.Buffer
	require.NoError(t, fixedChosen().Write(&b, nil))
	golden(t, "table_chosen.txt", b.Bytes())
	for _, line := range strings.Split(b.String(), "\n") {
		require.LessOrEqual(t, len(line), 180, line)
	}
	planted := fixedChosen()
	planted.Workload.Planted = true
	_, err := Compare(planted, fixedPeers())
	require.ErrorContains(t, err, "the peers were measured with the workload mixed, this run has mixed with planted lists")
	require.Less(t, math.Abs(*planted.Rows[1].TileTFLOPS*5.5-4*128*4096*float64(*planted.Rows[1].Tiles)/1e9), 1e-6)
}
