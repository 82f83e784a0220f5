package sm80

import (
	"fmt"
	"strings"
	"testing"

	llir "github.com/llir/llvm/ir"
	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/internal/codegen/lower"
	"github.com/minfc/minfc/ir"
)

func causal(headDim int) *ir.Schedule {
	return &ir.Schedule{Name: "dense", Tile: Backend{}.Tile(&ir.Schedule{}, headDim), Order: ir.OrderLongestFirst,
		Segments: []ir.Segment{{Hi: []ir.Bound{{Row: true, Off: ir.Int(1)}}, Hop: -1}}}
}

// calls counts the calls of the kernel by what they call, intrinsic or inline assembly: of the fast way, and of the one with care.
func calls(k *lower.Kernel) (fast, again map[string]int) {
	fast, again = map[string]int{}, map[string]int{}
	out := fast
	for _, b := range k.Module.Funcs[0].Blocks {
		if b.Name() == "again" {
			out = again
		}
		for _, i := range b.Insts {
			c, ok := i.(*llir.InstCall)
			if !ok {
				continue
			}
			switch f := c.Callee.(type) {
			case *llir.Func:
				out[f.Name()]++
			case *llir.InlineAsm:
				out[strings.Fields(f.Asm)[0]]++
			}
		}
	}
	return fast, again
}

// The work of a key tile is counted on paper: a kernel that does more of it is slower, one that does less is wrong.
func TestOperationsOfATile(t *testing.T) {
	for _, d := range []int{16, 64, 80, 112, 128, 192, 256} {
		t.Run(fmt.Sprint(d), func(t *testing.T) {
			s, schedule := shapeFor(d, false), causal(d)
			tile := schedule.Tile
			k, err := Backend{}.Attention(schedule, lower.Config{HeadDim: d, DType: abi.BF16, Target: "sm_80"})
			require.NoError(t, err)
			strips := tile.Rows / (16 * s.warps)
			c, again := calls(k)
			require.Equal(t, c["llvm.nvvm.mma.m16n8k16.row.col.bf16"], strips*again["llvm.nvvm.mma.m16n8k16.row.col.bf16"], "the same, a strip at a time")
			require.Equal(t, 2*strips*(tile.Keys/8)*(d/16), c["llvm.nvvm.mma.m16n8k16.row.col.bf16"], "S and O, 16x8x16 each")
			require.Equal(t, strips*(d/16)+(tile.Keys/16)*(d/16), c["llvm.nvvm.ldmatrix.sync.aligned.m8n8.x4.b16.p3i8"], "Q once a strip, K once")
			require.Equal(t, (tile.Keys/16)*(d/16), c["llvm.nvvm.ldmatrix.sync.aligned.m8n8.x4.trans.b16.p3i8"], "V")
			require.Equal(t, strips*(tile.Keys/2+2), c["llvm.nvvm.ex2.approx.ftz.f"], "one a score, one a row")
			require.Equal(t, 1+2+1+1, c["llvm.nvvm.barrier0"], "table, K and V, epilogue, empty tile")
		})
	}
}

// Only edge tiles pay for masks: outside the edge blocks no score is selected.
func TestFullTilesHaveNoMask(t *testing.T) {
	k, err := Backend{}.Attention(causal(128), lower.Config{HeadDim: 128, DType: abi.F16, Target: "sm_80"})
	require.NoError(t, err)
	masked := 0
	for _, b := range k.Module.Funcs[0].Blocks {
		for _, i := range b.Insts {
			if s, ok := i.(*llir.InstSelect); ok && strings.HasSuffix(s.ValueFalse.Ident(), "0xFFF0000000000000") {
				masked++
				require.True(t, strings.HasPrefix(b.Name(), "edge"), b.Name())
			}
		}
	}
	require.Equal(t, (128+64)*64/128, masked, "the scores of a thread, the first time and, for one strip, with care")
}
