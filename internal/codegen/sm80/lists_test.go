package sm80_test

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/half"
	"github.com/minfc/minfc/internal/campaign"
	"github.com/minfc/minfc/internal/codegen"
	"github.com/minfc/minfc/internal/codegen/lower"
	"github.com/minfc/minfc/internal/ptxgen"
	"github.com/minfc/minfc/internal/selfcheck"
	"github.com/minfc/minfc/ir"
	"github.com/minfc/minfc/runtime/device"
	"github.com/minfc/minfc/runtime/emu"
)

// listCase is one launch of a kernel with lists, on lists drawn at random for every head.
type listCase struct {
	schedule             *ir.Schedule
	headDim              int
	dtype                abi.DType
	batch, hq, hk        int
	sq, sk, offset       int
	runs, blocks, cols   bool
	window               int // of the schedule's static band, 0 without
	columnBudget, slashN int
	fixed                *lists // of all heads, in place of drawn ones
}

// lists are the chosen sets of one head.
type lists struct {
	tiles  []int // ir.CoverTiles
	cols   []int
	blocks [][]int // a row block
}

func one(row bool, off ir.Poly) []ir.Bound { return []ir.Bound{{Row: row, Off: off}} }

// verticalSlash is what the passes make of causal & (columns(cols) | diagonals(diags)).
func verticalSlash() *ir.Schedule {
	diags := ir.Source{Kind: ir.SourceRuns, Name: "diags"}
	return &ir.Schedule{Name: "vertical_slash", Tile: lower.ListTile, Order: ir.OrderLongestFirst, Segments: []ir.Segment{
		{Hi: one(true, ir.Int(1)), Hop: -1, From: diags},
		{Hi: one(true, ir.Int(1)), Hop: -1, From: ir.Source{Kind: ir.SourceColumns, Name: "cols"}, Except: []ir.Source{diags}},
	}}
}

// columnsWindow is causal & (columns(cols) | window(w)).
func columnsWindow(w int64) *ir.Schedule {
	return &ir.Schedule{Name: "columns_window", Tile: lower.ListTile, Order: ir.OrderLongestFirst, Segments: []ir.Segment{
		{Lo: one(true, ir.Int(1-w)), Hi: one(true, ir.Int(1)), Hop: -1},
		{Hi: one(true, ir.Int(1-w)), Hop: -1, From: ir.Source{Kind: ir.SourceColumns, Name: "cols"}},
	}}
}

// blockSparse is causal & blocks(best).
func blockSparse() *ir.Schedule {
	return &ir.Schedule{Name: "block_sparse", Tile: lower.ListTile, Order: ir.OrderLongestFirst, Segments: []ir.Segment{
		{Hi: one(true, ir.Int(1)), Hop: -1, From: ir.Source{Kind: ir.SourceBlocks, Name: "best"}},
	}}
}

func sample(rng *rand.Rand, n, below int) []int {
	out := map[int]bool{}
	for range n {
		out[rng.IntN(below)] = true
	}
	var list []int
	for x := range out {
		list = append(list, x)
	}
	slices.Sort(list)
	return list
}

func (c listCase) draw(rng *rand.Rand) lists {
	if c.fixed != nil {
		return *c.fixed
	}
	var l lists
	reach := c.offset + c.sq
	if c.runs {
		l.tiles = ir.CoverTiles(sample(rng, rng.IntN(c.slashN)+1, reach))
	}
	if c.cols {
		l.cols = sample(rng, rng.IntN(c.columnBudget+1), min(c.sk, reach))
	}
	for t := 0; t < c.sq; t += 64 {
		last := c.offset + min(t+63, c.sq-1)
		ids := sample(rng, rng.IntN(6), min(last/64, (c.sk-1)/64)+1)
		slices.Reverse(ids)
		l.blocks = append(l.blocks, ids)
	}
	return l
}

// keeps is the meaning of the lists, pair by pair.
func (c listCase) keeps(l lists, i, key int) bool {
	q, s := c.offset+i, c.offset+i/64*64
	switch {
	case key > q:
		return false
	case c.window > 0 && q-key < c.window:
		return true
	case c.runs && ir.Covered(l.tiles, s-key+63):
		return true
	case c.cols && slices.Contains(l.cols, key):
		return true
	}
	return c.blocks && slices.Contains(l.blocks[i/64], key/64)
}

func words[T ~int32 | ~uint32](xs []T) []byte {
	var b []byte
	for _, x := range xs {
		b = binary.LittleEndian.AppendUint32(b, uint32(x))
	}
	return b
}

// buffers lays the lists of all heads out as abi.ListFields says, with k and v as 16-bit words for the compacted copies.
func (c listCase) buffers(all []lists, k, v []byte) (map[string][]byte, map[string]int32) {
	const pad = 0x7fffffff
	runCap, colCap, blockCap := 1, 128, 1
	for _, l := range all {
		runCap, colCap = max(runCap, len(l.tiles)), max(colCap, (len(l.cols)+63)/64*64+64)
		for _, b := range l.blocks {
			blockCap = max(blockCap, len(b))
		}
	}
	coverWords := (c.offset+c.sq+64+128+64)/32 + 2
	out := map[string][]byte{}
	put := func(name string, b []byte) { out[name] = append(out[name], b...) }
	row := 2 * c.headDim
	for n, l := range all {
		runs, covered := make([]int32, runCap), make([]uint32, coverWords)
		for i, t := range l.tiles {
			runs[i] = int32(-t)
			for d := t; d < t+64; d++ {
				covered[d/32] |= 1 << (d % 32)
			}
		}
		put("i_diags_runs", words(runs))
		put("i_diags_run_count", words([]int32{int32(len(l.tiles))}))
		put("i_diags_covered", words(covered))
		kv := (n/c.hq*c.hk + n%c.hq/(c.hq/c.hk)) * c.sk * row
		ids, kc, vc := make([]int32, colCap), make([]byte, colCap*row), make([]byte, colCap*row)
		for i := range ids {
			ids[i] = pad
			if i < len(l.cols) {
				ids[i] = int32(l.cols[i])
				copy(kc[i*row:], k[kv+l.cols[i]*row:][:row])
				copy(vc[i*row:], v[kv+l.cols[i]*row:][:row])
			}
		}
		put("i_cols_cols", words(ids))
		put("i_cols_col_count", words([]int32{int32(len(l.cols))}))
		put("i_cols_kc", kc)
		put("i_cols_vc", vc)
		for _, b := range l.blocks {
			list := slices.Repeat([]int32{-1}, blockCap)
			for i, x := range b {
				list[i] = int32(x)
			}
			put("i_best_blocks", words(list))
			put("i_best_block_count", words([]int32{int32(len(b))}))
		}
	}
	return out, map[string]int32{"i_diags_run_cap": int32(runCap), "i_diags_cover_words": int32(coverWords),
		"i_cols_col_cap": int32(colCap), "i_best_block_cap": int32(blockCap)}
}

func (c listCase) tensor(t *testing.T, rng *rand.Rand, n int) []byte {
	values := make([]float32, n*c.headDim)
	for i := range values {
		values[i] = float32(rng.NormFloat64())
	}
	b, err := half.Encode(c.dtype, values)
	require.NoError(t, err)
	return b
}

// stride is the value of a parameter such as "k_head".
func (c listCase) stride(name string) int {
	switch name {
	case "lse_batch":
		return 4 * c.sq * c.hq
	case "lse_head":
		return 4 * c.sq
	}
	rows, heads := c.sq, c.hq
	if name[0] == 'k' || name[0] == 'v' {
		rows, heads = c.sk, c.hk
	}
	row := 2 * c.headDim
	return map[string]int{"batch": heads * rows * row, "head": rows * row, "row": row}[name[2:]]
}

func (c listCase) run(t *testing.T, dev device.Device, fn device.Function, kernel *codegen.Kernel, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 5))
	heads := c.batch * c.hq
	q, k, v := c.tensor(t, rng, heads*c.sq), c.tensor(t, rng, c.batch*c.hk*c.sk), c.tensor(t, rng, c.batch*c.hk*c.sk)
	var all []lists
	for range heads {
		all = append(all, c.draw(rng))
	}
	host, numbers := c.buffers(all, k, v)
	host["q"], host["k"], host["v"] = q, k, v
	sizes := map[string]int64{"o": int64(len(q)), "lse": int64(4 * heads * c.sq)}
	var args [][]byte
	ptrs := map[string]device.Ptr{}
	for _, p := range kernel.Params {
		var b []byte
		switch p.Type {
		case "ptr":
			if p == abi.RouteParams[0] { // all heads are the kernel's own
				b = make([]byte, 8)
				break
			}
			n := max(int64(len(host[p.Name])), sizes[p.Name], 1)
			ptr, err := dev.Alloc(n)
			require.NoError(t, err)
			if len(host[p.Name]) > 0 {
				require.NoError(t, dev.CopyToDevice(ptr, host[p.Name], nil))
			}
			ptrs[p.Name] = ptr
			b = binary.LittleEndian.AppendUint64(nil, uint64(ptr))
		case "i64":
			b = binary.LittleEndian.AppendUint64(nil, uint64(c.stride(p.Name)))
		case "i32":
			x, ok := map[string]int32{"sq": int32(c.sq), "sk": int32(c.sk), "q_offset": int32(c.offset), "group": int32(c.hq / c.hk)}[p.Name]
			if !ok {
				x, ok = numbers[p.Name]
			}
			require.True(t, ok || p == abi.RouteParams[1], p.Name)
			b = binary.LittleEndian.AppendUint32(nil, uint32(x))
		default:
			b = binary.LittleEndian.AppendUint32(nil, math.Float32bits(float32(math.Log2E/math.Sqrt(float64(c.headDim)))))
		}
		args = append(args, b)
	}
	grid := [3]uint32{uint32((c.sq + 63) / 64), uint32(c.hq), uint32(c.batch)}
	require.NoError(t, fn.Launch(device.Launch{Grid: grid, Block: [3]uint32{uint32(kernel.Threads), 1, 1}, SharedBytes: kernel.SharedBytes}, args, nil))
	o, lse := make([]byte, len(q)), make([]byte, 4*heads*c.sq)
	require.NoError(t, dev.CopyToHost(o, ptrs["o"], nil))
	require.NoError(t, dev.CopyToHost(lse, ptrs["lse"], nil))
	for _, p := range ptrs {
		require.NoError(t, dev.Free(p))
	}
	c.compare(t, all, q, k, v, o, lse)
}

func (c listCase) decode(t *testing.T, b []byte) []float32 {
	out := make([]float32, len(b)/2)
	require.NoError(t, half.Decode(c.dtype, out, b))
	return out
}

// compare holds every row against float64 attention over the pairs that the lists mean.
func (c listCase) compare(t *testing.T, all []lists, qb, kb, vb, ob, lseb []byte) {
	q, k, v, o := c.decode(t, qb), c.decode(t, kb), c.decode(t, vb), c.decode(t, ob)
	d, limits := c.headDim, selfcheck.LimitsOf(c.dtype)
	for n, l := range all {
		kv := (n/c.hq*c.hk + n%c.hq/(c.hq/c.hk)) * c.sk * d
		for i := range c.sq {
			at := (n*c.sq + i) * d
			want, wantLSE := ir.Attend(q[at:at+d], k[kv:kv+c.sk*d], v[kv:kv+c.sk*d], func(key int) bool { return c.keeps(l, i, key) }, 1/math.Sqrt(float64(d)))
			var diff, norm float64
			for j := range want {
				diff += math.Pow(float64(o[at+j])-want[j], 2)
				norm += want[j] * want[j]
			}
			require.LessOrEqual(t, math.Sqrt(diff), limits.Row*math.Sqrt(norm), "head %d row %d", n, i)
			got := math.Float32frombits(binary.LittleEndian.Uint32(lseb[4*(n*c.sq+i):]))
			if math.IsInf(wantLSE, -1) {
				require.True(t, math.IsInf(float64(got), -1), "head %d row %d", n, i)
			} else {
				require.InDelta(t, wantLSE, got, limits.LSE, "head %d row %d", n, i)
			}
		}
	}
}

func TestListsOnTheEmulator(t *testing.T) {
	kinds := []listCase{
		{schedule: verticalSlash(), runs: true, cols: true},
		{schedule: columnsWindow(70), cols: true, window: 70},
		{schedule: blockSparse(), blocks: true},
	}
	for _, c := range kinds {
		for _, d := range []int{32, 64, 80, 128, 192, 256} {
			c := c
			c.headDim, c.dtype = d, []abi.DType{abi.BF16, abi.F16}[d/16%2]
			t.Run(fmt.Sprintf("%s/D%d", c.schedule.Name, d), func(t *testing.T) {
				t.Parallel()
				c.runMany(t, campaign.Cases(1, 12, 60))
			})
		}
	}
}

// runMany launches the kernel of the case with other lengths and lists each time.
func (c listCase) runMany(t *testing.T, times int) {
	dev, fn, kernel := c.load(t, nil)
	for seed := range uint64(times) {
		rng := rand.New(rand.NewPCG(seed, uint64(c.headDim)))
		c.batch, c.hq, c.hk = 1+rng.IntN(2), 2, 1+rng.IntN(2)
		c.sq = 1 + rng.IntN(300)
		c.sk, c.offset = c.sq, 0
		if seed%2 == 1 {
			c.offset = rng.IntN(200)
			c.sk = 1 + rng.IntN(c.offset+c.sq+50)
		}
		c.columnBudget, c.slashN = []int{3, 150}[rng.IntN(2)], []int{2, 40}[rng.IntN(2)]
		t.Run(fmt.Sprint(seed), func(t *testing.T) { c.run(t, dev, fn, kernel, seed) })
	}
}

// load loads the kernel of the case on an emulator.
func (c listCase) load(t *testing.T, observe func(emu.Stats)) (device.Device, device.Function, *codegen.Kernel) {
	dev, err := emu.Open(emu.Options{Observe: observe})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, dev.Close()) })
	kernel, err := codegen.Attention(c.schedule, codegen.Config{HeadDim: c.headDim, DType: abi.DType(c.dtype), Target: "sm_80"})
	require.NoError(t, err)
	ptx, err := ptxgen.Compile(kernel.Module, ptxgen.Options{Target: "sm_80"})
	require.NoError(t, err)
	m, err := dev.LoadModule(ptx)
	require.NoError(t, err)
	fn, err := m.Function(kernel.Entry)
	require.NoError(t, err)
	return dev, fn, kernel
}

// TestColumnsThatAllCountAreNotMasked: two slots of columns of which no run covers any are computed like slots of runs; some columns of each
// in a run make both cost a select a score.
func TestColumnsThatAllCountAreNotMasked(t *testing.T) {
	const offset = 1024
	for _, d := range []int{64, 128} {
		selects := map[string]int64{}
		c := listCase{schedule: verticalSlash(), headDim: d, dtype: abi.BF16, batch: 1, hq: 1, hk: 1, sq: 64, sk: offset + 64, offset: offset, runs: true, cols: true}
		for name, tiles := range map[string][]int{
			"none covered": {0, 400, 600},
			"some of each": {0, offset - 327, offset}, // delta is offset + 63 - id: 760 to 823 and 1024 to 1087
		} {
			c.fixed = &lists{tiles: tiles}
			for i := range 128 {
				c.fixed.cols = append(c.fixed.cols, i+i/64*200) // 0 to 63 and 264 to 327
			}
			dev, fn, kernel := c.load(t, func(s emu.Stats) { selects[name] += s.ByOpcode["selp.f32"] })
			c.run(t, dev, fn, kernel, 1)
		}
		const slots, scores, warps = 2, 64, 2 // scores of a thread
		require.Equal(t, selects["none covered"]+slots*scores*warps, selects["some of each"], "head dim %d", d)
	}
}
