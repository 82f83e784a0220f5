package sm90

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	llir "github.com/llir/llvm/ir"
	"github.com/llir/llvm/ir/constant"
	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/internal/codegen/lower"
	"github.com/minfc/minfc/internal/ptxgen"
	"github.com/minfc/minfc/ir"
)

// What must hold of a kernel whatever changes: a kernel that does more is slower, one that does less is wrong or hangs.

var (
	bound  = []ir.Bound{{Row: true, Off: ir.Int(1)}}
	diags  = ir.Source{Kind: ir.SourceRuns, Name: "diags"}
	cols   = ir.Source{Kind: ir.SourceColumns, Name: "cols"}
	best   = ir.Source{Kind: ir.SourceBlocks, Name: "best"}
	causal = map[string][]ir.Segment{
		"ranges":           {{Hi: bound, Hop: -1}},
		"blocks":           {{Hi: bound, Hop: -1, From: best}},
		"runs":             {{Hi: bound, Hop: -1, From: diags}},
		"runs and columns": {{Hi: bound, Hop: -1, From: diags}, {Hi: bound, Hop: -1, From: cols, Except: []ir.Source{diags}}},
	}
)

// lowered is a kernel and what it was cut to.
type lowered struct {
	*lower.Kernel
	shape
	layout
	headDim int
}

// withLengths stands behind a kind of schedule whose kernel reads lengths from device memory.
const withLengths = " with lengths"

// eachKernel runs a test for every kind of schedule at head dims of every shape, and two that leave part of a panel unused.
func eachKernel(t *testing.T, test func(t *testing.T, k lowered)) {
	someKernels(t, []string{"ranges", "blocks", "runs", "runs and columns", "ranges" + withLengths}, []int{16, 64, 80, 128, 192, 256}, test)
}

func someKernels(t *testing.T, kinds []string, headDims []int, test func(t *testing.T, k lowered)) {
	for _, name := range kinds {
		kind, lengths := strings.CutSuffix(name, withLengths)
		for _, d := range headDims {
			s := &ir.Schedule{Name: "test", Order: ir.OrderLongestFirst, Segments: causal[kind]}
			s.Tile = Backend{}.Tile(s, d)
			sh, slotKeys := shapeFor(s, d)
			k, err := Backend{}.Attention(s, lower.Config{HeadDim: d, DType: abi.BF16, Target: "sm_90a", Lengths: lengths})
			require.NoError(t, err)
			t.Run(fmt.Sprintf("%s/D%d", name, d), func(t *testing.T) {
				test(t, lowered{k, sh, layoutFor(sh, d, slotKeys, false), d})
			})
		}
	}
}

// call is a call of inline assembly or an intrinsic, and the block it is in.
type call struct {
	text  string // of the assembly, or the intrinsic's name
	block *llir.Block
	*llir.InstCall
}

// calls lists the calls of the kernel in order.
func (k lowered) calls() []call { return callsOf(k.Module.Funcs[0].Blocks) }

// loop lists the calls of the loop over stages.
func (k lowered) loop() []call {
	blocks := k.Module.Funcs[0].Blocks
	named := func(name string) func(*llir.Block) bool {
		return func(b *llir.Block) bool { return strings.HasPrefix(b.Name(), name) }
	}
	blocks = blocks[slices.IndexFunc(blocks, named("loop")):]
	end := named("end")
	if k.overlap {
		end = named("last")
	}
	return callsOf(blocks[:slices.IndexFunc(blocks, end)])
}

func callsOf(blocks []*llir.Block) (out []call) {
	for _, b := range blocks {
		for _, i := range b.Insts {
			c, ok := i.(*llir.InstCall)
			if !ok {
				continue
			}
			switch f := c.Callee.(type) {
			case *llir.Func:
				out = append(out, call{f.Name(), b, c})
			case *llir.InlineAsm:
				out = append(out, call{f.Asm, b, c})
			}
		}
	}
	return out
}

// number is an integer that a kernel computes from constants and the start of shared memory, which counts as 0.
func number(t *testing.T, v Value) int64 {
	switch x := v.(type) {
	case *constant.Int:
		return x.X.Int64()
	case *llir.InstPtrToInt:
		return 0
	case *llir.InstAdd:
		return number(t, x.X) + number(t, x.Y)
	case *llir.InstShl:
		return number(t, x.X) << number(t, x.Y)
	}
	require.Failf(t, "not constant", "%T", v)
	return 0
}

// products are how often the first and the second product stand in a kernel. The first one does before the loop and in it. So does the
// second in loops of one row tile: in it and after it. Where row tiles follow each other, either the second product is the loop's alone, or
// both stand beside the loop once more, for the first stage of the next tile. And both are in the loop of tiles that are computed again.
func (k lowered) products() (first, second int) {
	switch {
	case k.overlap && k.queued():
		return 4, 4
	case k.overlap:
		return 3, 3
	}
	return 3, 2
}

// The first product sums over the head dim, the second over the keys, 16 a step.
func TestProductsOfAStage(t *testing.T) {
	eachKernel(t, func(t *testing.T, k lowered) {
		first := fmt.Sprintf("m64n%dk16", k.keys)
		second := fmt.Sprintf("m64n%dk16", k.headDim)
		counts := map[string]int{}
		for _, c := range k.calls() {
			n := strings.Count(c.text, "wgmma.mma_async")
			if n == 0 {
				continue
			}
			require.Equal(t, 1, strings.Count(c.text, "wgmma.fence"), "before the steps")
			require.True(t, strings.HasSuffix(c.text, "wgmma.commit_group.sync.aligned;"))
			require.True(t, strings.Count(c.text, first) == n || strings.Count(c.text, second) == n, "steps of one product")
			counts["steps"] += n
			counts["products"]++
			// The first step of S = Q K^T overwrites, all others add.
			counts["overwrite"] += strings.Count(c.text, ", 0, 1, 1,")
		}
		qk, pv := k.products()
		require.Equal(t, map[string]int{"products": qk + pv, "steps": qk*k.headDim/16 + pv*k.keys/16, "overwrite": qk}, counts)
	})
}

// queued says whether blocks take row tiles from a queue.
func (k lowered) queued() bool { return k.BlocksPerSM > 0 }

// hasColumns says whether there is a warp that votes.
func (k lowered) hasColumns() bool {
	return slices.ContainsFunc(k.Params, func(p lower.Param) bool { return p.Tensor == ir.ListName("cols", "kc") })
}

// events names what a stage does in turn; repetitions count once, so that softmax is one event.
func events(t *testing.T, calls []call) []string {
	var out []string
	for _, c := range calls {
		event := ""
		switch {
		case strings.Contains(c.text, "wgmma.mma_async"):
			event = "product"
		case strings.HasPrefix(c.text, "wgmma.wait_group"):
			event = strings.Fields(strings.TrimSuffix(c.text, ";"))[1] + " in flight"
		case strings.HasPrefix(c.text, "mbarrier.try_wait"):
			event = "await"
		case strings.HasPrefix(c.text, "mbarrier.arrive"):
			event = "free"
		case strings.HasPrefix(c.text, "llvm.nvvm.ex2"):
			event = "exp"
		}
		if event != "" && !(event == "exp" && out[len(out)-1] == "exp") {
			out = append(out, event)
		}
	}
	return out
}

// The loop's order decides what runs beside the products: with overlap the exponentials, and no wait may come between products
// that could run together. Without, nothing else stands between them but the Q of a new row tile.
func TestOrderOfAStage(t *testing.T) {
	eachKernel(t, func(t *testing.T, k lowered) {
		tile := []string{"await", "free"} // the next one's Q
		if !k.queued() {
			tile = nil
		}
		want := slices.Concat([]string{"product"}, tile, []string{"product", "1 in flight", "free", "0 in flight", "free", "exp", "await", "await"})
		if k.overlap {
			want = []string{"await", "product", "product", "1 in flight", "free", "exp", "await", "0 in flight", "free"}
		}
		if k.overlap && k.queued() { // the next K is waited for beside the product
			want = []string{"product", "product", "1 in flight", "free", "exp", "await", "await", "0 in flight", "free"}
		}
		require.Equal(t, want, events(t, k.loop()))
		exps := 0
		for _, c := range k.loop() {
			if strings.HasPrefix(c.text, "llvm.nvvm.ex2") {
				exps++
			}
		}
		require.Equal(t, k.keys/2+2, exps, "one a score, one a row")
	})
}

// ptxas moves a wait up to the start of its basic block: with overlap, softmax must be in another one. With a queue that is where the next header
// is read.
func TestTheWaitForTheSecondProductBeginsItsBlock(t *testing.T) {
	eachKernel(t, func(t *testing.T, k lowered) {
		if !k.overlap {
			return
		}
		found := 0
		for _, c := range k.loop() {
			if strings.HasPrefix(c.text, "wgmma.wait_group.sync.aligned 0") {
				found++
				if k.queued() {
					require.Equal(t, []string{"0 in flight"}, events(t, callsOf([]*llir.Block{c.block})), c.block.Name())
					continue
				}
				require.True(t, c.block.Insts[0] == llir.Instruction(c.InstCall), c.block.Name())
			}
		}
		require.Equal(t, 1, found)
	})
}

// Registers that are given away must be there to be taken, or the consumers wait forever.
func TestRegistersOfTheRoles(t *testing.T) {
	eachKernel(t, func(t *testing.T, k lowered) {
		var text strings.Builder
		for _, c := range k.calls() {
			if strings.HasPrefix(c.text, "setmaxnreg") {
				text.WriteString(c.text)
			}
		}
		var producer, consumer int
		_, err := fmt.Sscanf(text.String(), "setmaxnreg.dec.sync.aligned.u32 %d;setmaxnreg.inc.sync.aligned.u32 %d;", &producer, &consumer)
		require.NoError(t, err, text.String())
		require.Equal(t, 2, strings.Count(text.String(), "setmaxnreg"))
		for _, n := range []int{producer, consumer} {
			require.True(t, n%8 == 0 && 24 <= n && n <= 256, "%d registers", n)
		}
		launch := min(256, 65536/(k.minBlocks*k.Threads)/8*8) // what ptxas compiles for
		require.LessOrEqual(t, producer+k.groups*consumer, (1+k.groups)*launch, "registers of a lane in all warpgroups")

		ptx, err := ptxgen.Compile(k.Module, ptxgen.Options{Target: "sm_90a"})
		require.NoError(t, err)
		require.Contains(t, string(ptx), fmt.Sprintf(".maxntid %d, 1, 1", k.Threads))
		require.Contains(t, string(ptx), fmt.Sprintf(".minnctapersm %d", k.minBlocks), "without it ptxas ignores setmaxnreg")
	})
}

// Every barrier is initialised once, by one thread, where the layout has it; and once more, after it was given up, for tiles that are
// computed again.
func TestBarriersAreInitialisedOnceARound(t *testing.T) {
	eachKernel(t, func(t *testing.T, k lowered) {
		var at, again, givenUp, want []int64
		for _, c := range k.calls() {
			switch first := c.block.Name() == "init"; {
			case strings.HasPrefix(c.text, "mbarrier.inval"):
				givenUp = append(givenUp, number(t, c.Args[0]))
			case strings.HasPrefix(c.text, "mbarrier.init") && first:
				at = append(at, number(t, c.Args[0]))
			case strings.HasPrefix(c.text, "mbarrier.init"):
				require.True(t, strings.HasPrefix(c.block.Name(), "elected"), c.block.Name())
				again = append(again, number(t, c.Args[0]))
			}
		}
		slices.Sort(at)
		slices.Sort(again)
		slices.Sort(givenUp)
		count := 2 + 5*k.buffers
		if k.ring {
			count = 2 + 3*k.buffers
		}
		for i := range count {
			want = append(want, int64(k.barriers+8*i))
		}
		require.Equal(t, want, givenUp)
		require.Equal(t, want, again)
		require.Equal(t, append(want, int64(k.meeting)), at, "warps wait where they meet while the others are made new")
	})
}

// Arrivals speak for threads: a phase of K's or V's buffer ends when all threads that may have read it, or its header, have been spoken
// for; and where all meet, when all have come.
func TestArrivalsOfBuffers(t *testing.T) {
	eachKernel(t, func(t *testing.T, k lowered) {
		counts := map[int64]string{}
		for _, c := range k.calls() {
			if rest, ok := strings.CutPrefix(c.text, "mbarrier.init.shared::cta.b64 [$0], "); ok {
				counts[number(t, c.Args[0])-int64(k.barriers)] = rest
			}
		}
		require.Equal(t, fmt.Sprintf("%d;", 128*k.groups), counts[8], "Q")
		loading := 2
		if k.hasColumns() {
			loading = 3
		}
		require.Equal(t, fmt.Sprintf("%d;", 128*k.groups+32*loading), counts[int64(k.meeting-k.barriers)], "all that work on the tile")
		for i := range k.buffers {
			readers := fmt.Sprintf("%d;", 128*k.groups+32)
			require.Equal(t, readers, counts[int64(8*(2+int(emptyK)*k.buffers+i))], "K")
			if !k.ring {
				require.Equal(t, readers, counts[int64(8*(2+int(emptyV)*k.buffers+i))], "V")
			}
		}
	})
}

// copies counts the copies by tensor map.
func (k lowered) copies(t *testing.T) map[string]int {
	out := map[string]int{}
	for _, c := range k.calls() {
		if strings.HasPrefix(c.text, "cp.async.bulk.tensor") {
			from, ok := c.Args[1].(*llir.InstCall) // cvta.param
			require.True(t, ok)
			out[from.Args[0].(*llir.Param).Name()]++
		}
	}
	return out
}

// A tile is one copy a panel, whatever its rows: more would keep the unit that copies busy for nothing.
func TestCopiesOfAStage(t *testing.T) {
	eachKernel(t, func(t *testing.T, k lowered) {
		panels := (k.headDim + 63) / 64
		copies := k.copies(t)
		if k.queued() { // tiles that are computed again are produced from chains
			panels *= 2
		}
		require.Equal(t, panels, copies["map1_q"])
		for tensor, n := range copies {
			require.Zero(t, n%((k.headDim+63)/64), tensor)
		}
		switch {
		case k.stagger: // a pair of neighbours is one box of three slots
			require.Equal(t, panels, copies["map3_k"])
			require.Equal(t, (k.headDim+63)/64, copies["map3_v"])
		case k.BlockRows == 0: // the warp that loads V has one place for all pieces
			require.Equal(t, (k.headDim+63)/64, copies["map1_v"])
		}
	})
}

// What a barrier is told to expect is what the copies behind it bring: with other bytes it never completes, or too early.
func TestBytesThatBarriersExpect(t *testing.T) {
	eachKernel(t, func(t *testing.T, k lowered) {
		if k.BlockRows > 0 {
			return // their copies lie behind branches
		}
		box := map[string]int{}
		for _, p := range k.Params {
			box[p.Name] = 2 * p.Box[0] * p.Box[1]
		}
		expected, brought := map[string]int{}, map[string]int{}
		for _, c := range k.calls() {
			var bytes int
			if n, _ := fmt.Sscanf(c.text, "mbarrier.arrive.expect_tx.shared::cta.b64 _, [$0], %d;", &bytes); n == 1 {
				expected[c.block.Name()] += bytes
			}
			if strings.HasPrefix(c.text, "cp.async.bulk.tensor") {
				brought[c.block.Name()] += box[c.Args[1].(*llir.InstCall).Args[0].(*llir.Param).Name()]
			}
		}
		require.NotEmpty(t, expected)
		require.Equal(t, expected, brought)
	})
}

// A block may have 232448 bytes, and an SM has 233472 of which each block reserves 1024.
func TestSharedMemoryFits(t *testing.T) {
	for _, shapes := range [][]shape{shapes, listShapes, staggerShapes} {
		for d := 16; d <= shapes[len(shapes)-1].maxHeadDim; d += 16 {
			s := lower.ShapeFor(shapes, d)
			for _, slotKeys := range []int{s.keys, ir.BlockSize} {
				l := layoutFor(s, d, slotKeys, true)
				require.LessOrEqual(t, l.total, 232448, "head dim %d", d)
				require.LessOrEqual(t, s.minBlocks*(l.total+1024), 233472, "head dim %d", d)
			}
		}
	}
}

// Swizzled rows repeat after 1024 bytes; headers are read 16 bytes at a time; regions do not overlap.
func TestLayoutIsAligned(t *testing.T) {
	eachKernel(t, func(t *testing.T, k lowered) {
		l := k.layout
		for name, at := range map[string]int{"q": l.q, "k": l.k, "v": l.v, "panel of q": l.qPanel, "panel of k": l.kvPanel, "stage": l.stageBytes} {
			require.Zero(t, at%1024, name)
		}
		h := l.header
		for name, at := range map[string]int{"headers": l.headers, "header": h.bytes, "item": h.item, "found": h.found, "words": h.words} {
			require.Zero(t, at%16, name)
		}
		require.Zero(t, l.barriers%8)
		slots := k.stageKeys() / ir.BlockSize
		if k.BlockRows == 0 {
			slots = 1
		}
		ends := []int{l.q + k.rows()*l.panels*128, l.k, l.k + k.buffers*l.stageBytes, l.v}
		if k.ring {
			ends = ends[:3]
		}
		ends = append(ends, l.v+k.buffers*l.stageBytes, l.headers, l.headers+k.buffers*h.bytes, l.barriers, l.meeting, l.meeting+8, l.doubts, k.SharedBytes)
		require.IsNonDecreasing(t, ends)
		require.IsNonDecreasing(t, []int{8 * slots, h.item, h.item + 16, h.found, h.found + 4*slots, h.words, h.words + slots*k.blocks()*16, h.bytes})
		require.Equal(t, k.SharedBytes, l.total)
	})
}
