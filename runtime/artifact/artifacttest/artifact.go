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
	kernel := artifact.Kernel{
		Entry: "attention", Target: "sm_80", DType: "bf16", HeadDim: 64, Schedule: schedule.String(),
		RowTile: 128, KeyTile: 64, Threads: 128, SharedBytes: 48 << 10, PTXVersion: "7.4",
	}
	kernel.Params = abi.Params(schedule)
	program, err := passes.Program(schedule)
	if err != nil {
		panic(err) // a fault of the passes, which have tests of their own
	}
	passes.Attend(program, ir.PartAttend, passes.Kernel{Name: abi.Attend, Schedule: schedule, Rows: 128})
	kernel.Program = program.String()
	kernel.Index = []artifact.IndexKernel{{Name: abi.StoreWords, Entry: "store_words", Threads: abi.StoreWordsCount / 2, Module: 2, Params: abi.IndexParams[abi.StoreWords]}}
	half := kernel
	half.DType, half.Module = "f16", 1
	return &artifact.Artifact{
		Modules: [][]byte{[]byte("// the PTX of bf16\n"), []byte("// the PTX of f16\n"), []byte("// the PTX of store_words\n")},
		Manifest: artifact.Manifest{Schema: artifact.SchemaVersion, Compiler: "minfc test", Pattern: pattern.String(),
			Source: "pattern a_shape(sink = 128, window = 1024) { keep causal & (sink(sink) | window(window)) }", Kernels: []artifact.Kernel{kernel, half}},
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
