// Package artifacttest has an artifact to test with.
package artifacttest

import (
	"slices"
	"strings"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/ir"
	"github.com/minfc/minfc/passes"
	"github.com/minfc/minfc/runtime/artifact"
)

// AShape keeps a sink and a window, as the compiler would schedule it.
func AShape() (*ir.Pattern, *ir.Schedule) {
	sink, window := ir.Var("sink"), ir.Var("window")
	params := []ir.Param{{Name: "sink", Default: 128}, {Name: "window", Default: 1024, Min: 1}}
	pattern := &ir.Pattern{Name: "a_shape", Params: params, Keep: ir.Intersect{Sets: []ir.Set{
		ir.Causal{}, ir.Union{Sets: []ir.Set{ir.Sink{N: sink}, ir.Window{Left: window}}},
	}}}
	left := ir.Bound{Row: true, Off: ir.Int(1).Sub(window)}
	schedule := &ir.Schedule{Name: "a_shape", Params: params, Tile: ir.Tile{Rows: 128, Keys: 64}, Order: ir.OrderLongestFirst,
		Segments: []ir.Segment{
			{Lo: []ir.Bound{left}, Hi: []ir.Bound{{Row: true, Off: ir.Int(1)}}, Hop: -1},
			{Hi: []ir.Bound{{Off: sink}, left}, Hop: -1},
		}}
	return pattern, schedule
}

// New is an artifact of a_shape for sm_80 and both data types, whose PTX is none.
func New() *artifact.Artifact {
	pattern, schedule := AShape()
	a := Of(schedule, nil, 0)
	m := &a.Manifest
	m.Pattern, m.Source = pattern.String(), "pattern a_shape(sink = 128, window = 1024) { keep causal & (sink(sink) | window(window)) }"
	half := m.Kernels[0]
	half.DType, half.Module, half.Index = "f16", 1, slices.Clone(half.Index)
	for i := range half.Index {
		m.Kernels[0].Index[i].Module, half.Index[i].Module = 2, 2
	}
	m.Kernels = append(m.Kernels, half)
	a.Modules = [][]byte{[]byte("// the PTX of bf16\n"), []byte("// the PTX of f16\n"), []byte("// the PTX of store_words\n")}
	return a
}

// Of is an artifact of one kernel for sm_80 of a schedule, whose PTX is none: with a dense kernel beside it if there is a schedule for one,
// and with a queue if its blocks are several for a multiprocessor. The entries of the program's kernels are their names.
func Of(schedule, dense *ir.Schedule, blocksPerSM int) *artifact.Artifact {
	program, err := passes.Program(schedule)
	if err != nil {
		panic(err) // a fault of the passes, which have tests of their own
	}
	passes.Attend(program, ir.PartAttend, passes.Kernel{Name: abi.Attend, Schedule: schedule, Rows: schedule.Tile.Rows, BlocksPerSM: blocksPerSM})
	kernel := kernelOf(schedule, "attention")
	if kernel.BlocksPerSM = blocksPerSM; blocksPerSM > 0 {
		kernel.Params = append(kernel.Params, abi.QueueParams...)
	}
	if dense != nil {
		passes.Attend(program, ir.PartDense, passes.Kernel{Name: abi.Dense, Schedule: dense, Rows: dense.Tile.Rows})
		k := kernelOf(dense, "dense")
		kernel.Dense = &k
	}
	kernel.Program = program.String()
	for _, name := range program.KernelNames() {
		params, there := abi.IndexParams[name]
		if base, _, sized := strings.Cut(name, "."); sized {
			params, there = abi.IndexParams[base]
		}
		if there {
			kernel.Index = append(kernel.Index, artifact.IndexKernel{Name: name, Entry: strings.ReplaceAll(name, ".", "_"),
				Threads: abi.StoreWordsCount / 2, Params: slices.Clone(params)})
		}
	}
	pattern := ir.Pattern{Name: schedule.Name, Params: schedule.Params, Keep: ir.Causal{}}
	return &artifact.Artifact{Modules: [][]byte{[]byte("// the PTX of all kernels\n")},
		Manifest: artifact.Manifest{Schema: artifact.SchemaVersion, Compiler: "minfc test", Pattern: pattern.String(), Kernels: []artifact.Kernel{kernel}}}
}

func kernelOf(s *ir.Schedule, entry string) artifact.Kernel {
	return artifact.Kernel{
		Entry: entry, Target: "sm_80", DType: "bf16", HeadDim: 64, Schedule: s.String(), RowTile: s.Tile.Rows, KeyTile: s.Tile.Keys,
		Threads: 128, SharedBytes: 48 << 10, PTXVersion: "7.4", Params: abi.Params(s),
	}
}

// WithMaps replaces the numbers of tensors by a map of each, as kernels for sm_90a have them.
func WithMaps(params []artifact.Param, tensors ...string) (out []artifact.Param) {
	for _, t := range tensors {
		out = append(out, abi.MapParam(t+"_map", t, 64, 128))
	}
	return append(out, slices.DeleteFunc(slices.Clone(params), func(p artifact.Param) bool {
		t, what, _ := strings.Cut(p.Name, "_")
		return slices.Contains(tensors, t) && what != "offset"
	})...)
}
