package e2e

import (
	"bytes"
	"math"
	"slices"
	"testing"

	"github.com/llir/llvm/ir/enum"
	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/internal/codegen/lower"
	"github.com/minfc/minfc/internal/ptxgen"
	"github.com/minfc/minfc/internal/qkv"
	"github.com/minfc/minfc/internal/selfcheck"
	"github.com/minfc/minfc/ir"
	"github.com/minfc/minfc/runtime"
	"github.com/minfc/minfc/runtime/artifact"
	"github.com/minfc/minfc/runtime/emu"
)

// everyNth is a kernel that no runtime ever heard of: it chooses every n-th column or distance of each head, as bitmaps of two jobs.
func everyNth(t *testing.T) (*lower.Kernel, []byte) {
	const threads = 256
	params := abi.Typed("ptr first_bits[writes floordiv(first_stride, 8)*grid_x] second_bits[writes floordiv(second_stride, 8)*grid_x] " +
		"i32 first_stride second_stride first_end second_end n")
	b := lower.NewKernel("every_nth", params, threads, 1)
	for _, job := range []string{"first", "second"} {
		words := b.LShr(b.Param(job+"_stride"), 5)
		row := b.Mul(b.BlockX(), words)
		b.While(job, b.ThreadX(), func(at lower.Value) lower.Value {
			return b.ICmp(enum.IPredULT, at, words)
		}, func(at lower.Value) lower.Value {
			word := lower.Value(lower.I32(0))
			for bit := range 32 {
				member := b.Add(b.Shl(at, 5), lower.I32(int64(bit)))
				chosen := b.ICmp(enum.IPredEQ, b.Sub(member, b.Mul(b.UDiv(member, b.Param("n")), b.Param("n"))), lower.I32(0))
				inside := b.ICmp(enum.IPredSLT, member, b.Param(job+"_end"))
				word = b.Or(word, b.Select(b.And(chosen, inside), lower.I32(1<<bit), lower.I32(0)))
			}
			b.Store(word, b.Offset(b.Param(job+"_bits"), b.ZExt64(b.Shl(b.Add(row, at), 2))), 4)
			return b.Add(at, lower.I32(threads))
		})
	}
	b.Block.NewRet(nil)
	ptx, err := ptxgen.Compile(b.Module, ptxgen.Options{Target: "sm_80"})
	require.NoError(t, err)
	return &lower.Kernel{Module: b.Module, Entry: "every_nth", Threads: threads, Params: params}, ptx
}

// chooseEveryNth puts a launch of every_nth in the place of the probe of a program and of what it chooses.
func chooseEveryNth(t *testing.T, program string) string {
	p, err := ir.ParseProgram(program)
	require.NoError(t, err)
	for i := range p.Parts {
		part := &p.Parts[i]
		if part.Name != ir.PartChoose {
			continue
		}
		part.Steps = slices.DeleteFunc(part.Steps, func(s ir.Step) bool { _, loop := s.(ir.For); return loop }) // the probe and what it chooses
		part.Steps = append([]ir.Step{ir.Run{Kernel: "every_nth", Grid: [3]ir.Expr{ir.Name("batch").Times(ir.Name("q_heads")), ir.N(1), ir.N(1)}, Args: []ir.Arg{
			ir.AddressArg("first_bits", "i_cols_bits", ir.N(0)), ir.NumberArg("first_stride", ir.Name("keys_pad")),
			ir.AddressArg("second_bits", "i_diags_bits", ir.N(0)), ir.NumberArg("second_stride", ir.Name("dist_pad")),
			ir.NumberArg("first_end", ir.Name("columns")), ir.NumberArg("second_end", ir.Name("reach")), ir.NumberArg("n", ir.N(16)),
		}}}, part.Steps...)
	}
	return p.String()
}

// An artifact may bring a kernel that the runtime never heard of, in a program of its own: here every 16th column and distance is chosen
// in place of the largest sums, without a probe, in every head, and only the artifact says so.
func TestKernelsThatTheLoaderNeverHeardOf(t *testing.T) {
	c := attentionCase{program: library(t, "vertical_slash"), headDim: 64, dtype: abi.BF16,
		shape: qkv.Shape{Batch: 2, QHeads: 4, KVHeads: 2, SeqQ: 300, SeqK: 333, QOffset: 33}}
	a, err := c.artifact()
	require.NoError(t, err)
	lowered := &a.Manifest.Patterns[0].Lowered[0]
	kernel, ptx := everyNth(t)
	code := a.AddCode(artifact.Code{Entry: kernel.Entry, Target: "sm_80", PTXVersion: ptxgen.Version("sm_80"), Threads: kernel.Threads, Params: kernel.Params}, ptx)
	lowered.Kernels = append(lowered.Kernels, artifact.Use{Name: "every_nth", Code: code})
	lowered.Program = a.AddProgram(chooseEveryNth(t, a.Manifest.Programs[lowered.Program]))
	data, err := a.Encode()
	require.NoError(t, err)
	a, err = artifact.Read(data)
	require.NoError(t, err)

	dev := openEmulator(t, emu.Options{})
	l, err := runtime.Load(dev, a, artifact.Select{})
	require.NoError(t, err)
	defer l.Close()
	in := c.input(t)
	h := c.host(in)
	h.Chosen = true
	res, err := l.RunHost(t.Context(), h)
	require.NoError(t, err)
	require.Len(t, res.Chosen, 8)
	for _, head := range res.Chosen {
		for _, set := range head.Asked.Sets {
			for i, m := range set.Members[:20] {
				require.Equal(t, 16*i, m, set.Name)
			}
		}
		require.Equal(t, res.Chosen[0], head, "no data decides")
	}
	call, err := l.Prepare(h.Shape, h.Parts...)
	require.NoError(t, err)
	cover, err := call.Cover(0, &res.Chosen[0], nil)
	require.NoError(t, err)
	require.Less(t, bytes.Count(cover, []byte{1}), 300*333)
	keep := func(q, key int) bool { return cover[(q-33)*333+key] == 1 }
	report, err := selfcheck.Compare(selfcheck.Case{In: in, Keep: keep, Scale: 1 / math.Sqrt(64), O: res.O, LSE: res.LSE})
	require.NoError(t, err)
	require.True(t, report.OK(), "%s", report)
}
