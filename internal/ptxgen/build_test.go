package ptxgen

import (
	"fmt"
	"strings"
	"testing"

	"github.com/llir/llvm/ir"
	"github.com/llir/llvm/ir/constant"
	"github.com/llir/llvm/ir/metadata"
	"github.com/llir/llvm/ir/types"
	"github.com/llir/llvm/ir/value"
	"github.com/stretchr/testify/require"
)

// addKernelNotes annotates f as code generators do: functions and constants straight in the tuple.
func addKernelNotes(m *ir.Module, f *ir.Func, name string, x int64) {
	tuple := &metadata.Tuple{MetadataID: -1, Fields: []metadata.Field{f, &metadata.String{Value: name}, constant.NewInt(types.I32, x)}}
	m.MetadataDefs = append(m.MetadataDefs, tuple)
	def := m.NamedMetadataDefs["nvvm.annotations"]
	if def == nil {
		def = &metadata.NamedDef{Name: "nvvm.annotations"}
		m.NamedMetadataDefs["nvvm.annotations"] = def
	}
	def.Nodes = append(def.Nodes, tuple)
}

func kernelModule() (*ir.Module, *ir.Func, *ir.Block) {
	m := ir.NewModule()
	ptr := &types.PointerType{ElemType: types.I32, AddrSpace: spaceGlobal}
	f := m.NewFunc("k", types.Void, ir.NewParam("p", ptr), ir.NewParam("n", types.I32))
	addKernelNote(m, f)
	return m, f, f.NewBlock("entry")
}

// malformed is a module that only Go code can build.
type malformed struct {
	spoil func(f *ir.Func, b *ir.Block)
	want  string // in the error; "" for any
}

func (c malformed) check(t *testing.T) {
	m, f, b := kernelModule()
	b.NewRet(nil)
	c.spoil(f, b)
	for _, x := range f.Blocks[1:] {
		x.NewRet(nil)
	}
	require.ErrorContains(t, Verify(m), c.want)
}

// TestMalformed: modules that only Go code can build are refused, never a panic.
func TestMalformed(t *testing.T) {
	for name, c := range map[string]malformed{
		"no terminator": {func(f *ir.Func, b *ir.Block) { b.Term = nil }, "without terminator"},
		"nil operand":   {func(f *ir.Func, b *ir.Block) { b.Insts = append(b.Insts, &ir.InstAdd{X: f.Params[1]}) }, "missing operand"},
		"nil inst":      {func(f *ir.Func, b *ir.Block) { b.Insts = append(b.Insts, nil) }, "missing"},
		"nil target":    {func(f *ir.Func, b *ir.Block) { b.Term = &ir.TermBr{} }, "no block"},
		"nil condition": {func(f *ir.Func, b *ir.Block) {
			b.Term = &ir.TermCondBr{TargetTrue: f.NewBlock("x"), TargetFalse: f.Blocks[1]}
		}, ""},
		"nil callee": {func(f *ir.Func, b *ir.Block) { b.Insts = append(b.Insts, &ir.InstCall{}) }, "without callee"},
		"mixed types": {func(f *ir.Func, b *ir.Block) {
			b.Insts = append(b.Insts, ir.NewAdd(f.Params[1], constant.NewInt(types.I64, 1)))
		}, "type i64; want i32"},
		"lying result": {func(f *ir.Func, b *ir.Block) {
			b.Insts = append(b.Insts, &ir.InstAdd{X: f.Params[1], Y: f.Params[1], Typ: types.I64})
		}, "type i64; want i32"},
		"wide constant": {func(f *ir.Func, b *ir.Block) {
			b.Insts = append(b.Insts, ir.NewAdd(f.Params[1], constant.NewInt(types.I32, 1<<40)))
		}, "does not fit"},
		"other function": {func(f *ir.Func, b *ir.Block) { b.Term = ir.NewBr(ir.NewBlock("else")) }, "another function"},
		"foreign value": {func(f *ir.Func, b *ir.Block) {
			b.Insts = append(b.Insts, ir.NewAdd(f.Params[1], ir.NewParam("q", types.I32)))
		}, "not defined"},
		"empty phi": {func(f *ir.Func, b *ir.Block) { b.Insts = append(b.Insts, &ir.InstPhi{Typ: types.I32}) }, "without values"},
		"twice": {func(f *ir.Func, b *ir.Block) {
			x := ir.NewAdd(f.Params[1], f.Params[1])
			b.Insts = append(b.Insts, x, x)
		}, "twice"},
		"two blocks of one name":       {func(f *ir.Func, b *ir.Block) { f.NewBlock(f.NewBlock("again").Name()) }, `"again": its name is used twice`},
		"a block named as a parameter": {func(f *ir.Func, b *ir.Block) { f.NewBlock(f.Params[1].Name()) }, "its name is used twice"},
		"untyped asm": {func(f *ir.Func, b *ir.Block) {
			b.Insts = append(b.Insts, &ir.InstCall{Callee: ir.NewInlineAsm(types.I32, "mov.u32 $0, 1;", "=r")})
		}, "malformed module"},
		"control character": {func(f *ir.Func, b *ir.Block) {
			sig := types.NewPointer(types.NewFunc(types.I32))
			b.Insts = append(b.Insts, ir.NewCall(ir.NewInlineAsm(sig, "mov.u32 $0, \x01;", "=r")))
		}, "control character"},
		"nil param": {func(f *ir.Func, b *ir.Block) { f.Params[0] = nil }, "missing parameter"},
	} {
		t.Run(name, c.check)
	}
	require.Error(t, Verify(nil))
}

func TestUnknownTarget(t *testing.T) {
	m, _, b := kernelModule()
	b.NewRet(nil)
	_, err := Compile(m, Options{Target: "sm_70"})
	require.EqualError(t, err, `unknown target "sm_70"; want one of sm_80, sm_90a`)
	out, err := Compile(m, Options{Target: "sm_90a"})
	require.NoError(t, err)
	require.Contains(t, string(out), ".version 8.0\n.target sm_90a\n")
}

// attentionLoop is a kernel of the size and shape of attention: n accumulators around a loop of products.
func attentionLoop(tiles, steps int) *ir.Module {
	m, f, entry := kernelModule()
	row := intrinsics["llvm.nvvm.mma.m16n8k16.row.col.bf16"]
	params := make([]*ir.Param, len(row.params))
	for i, t := range row.params {
		params[i] = ir.NewParam("", t)
	}
	mma := m.NewFunc(row.name, row.result, params...)
	loop, exit := f.NewBlock("loop"), f.NewBlock("exit")
	entry.NewBr(loop)
	i := loop.NewPhi(ir.NewIncoming(constant.NewInt(types.I32, 0), entry))
	i.SetName("i")
	phis := make([]*ir.InstPhi, tiles*4)
	acc := make([]value.Value, tiles*4)
	for k := range phis {
		phis[k] = loop.NewPhi(ir.NewIncoming(constant.NewFloat(types.Float, 0), entry))
		phis[k].SetName(fmt.Sprintf("acc%d", k))
		acc[k] = phis[k]
	}
	for s := range steps {
		a := loop.NewXor(i, constant.NewInt(types.I32, int64(s)))
		a.SetName(fmt.Sprintf("a%d", s))
		for k := range tiles {
			args := []value.Value{a, a, a, a, a, a, acc[4*k], acc[4*k+1], acc[4*k+2], acc[4*k+3]}
			d := loop.NewCall(mma, args...)
			d.SetName(fmt.Sprintf("d%d_%d", s, k))
			for j := range 4 {
				e := loop.NewExtractValue(d, uint64(j))
				e.SetName(fmt.Sprintf("e%d_%d_%d", s, k, j))
				acc[4*k+j] = e
			}
		}
	}
	next := loop.NewAdd(i, constant.NewInt(types.I32, 1))
	next.SetName("next")
	i.Incs = append(i.Incs, ir.NewIncoming(next, loop))
	for k := range phis {
		phis[k].Incs = append(phis[k].Incs, ir.NewIncoming(acc[k], loop))
	}
	c := loop.NewICmp(2, next, f.Params[1])
	c.SetName("c")
	loop.NewCondBr(c, loop, exit)
	fp := exit.NewBitCast(f.Params[0], &types.PointerType{ElemType: types.Float, AddrSpace: spaceGlobal})
	fp.SetName("fp")
	for k := range acc {
		at := exit.NewGetElementPtr(types.Float, fp, constant.NewInt(types.I32, int64(k)))
		at.SetName(fmt.Sprintf("at%d", k))
		exit.NewStore(acc[k], at)
	}
	exit.NewRet(nil)
	return m
}

// TestNoCopyInLoop: 256 accumulators stay in their registers.
func TestNoCopyInLoop(t *testing.T) {
	out, err := Compile(attentionLoop(64, 4), Options{Target: "sm_80"})
	require.NoError(t, err)
	_, after, found := strings.Cut(string(out), "$loop:")
	require.True(t, found)
	loop, _, found := strings.Cut(after, "$exit:")
	require.True(t, found)
	require.Equal(t, 256, strings.Count(loop, "mma.sync"))
	require.NotContains(t, loop, "mov.")
	require.Contains(t, string(out), ".reg .f32 \t%f<257>;")
}

// BenchmarkCompile compiles a kernel of about 4000 instructions: below 5 ms.
func BenchmarkCompile(b *testing.B) {
	m := attentionLoop(64, 12)
	n := 0
	for _, f := range m.Funcs {
		for _, block := range f.Blocks {
			n += len(block.Insts)
		}
	}
	for b.Loop() {
		_, err := Compile(m, Options{Target: "sm_80"})
		require.NoError(b, err)
	}
	b.ReportMetric(float64(n), "instructions")
}
