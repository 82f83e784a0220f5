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
	p := &m.Patterns[0]
	p.Text, p.Source = pattern.String(), "pattern a_shape(sink = 128, window = 1024) { keep causal & (sink(sink) | window(window)) }"
	half := m.Codes[0] // the attention
	half.Params = slices.Clone(half.Params)
	m.Builds = append(m.Builds, artifact.Build{Target: "sm_80", DType: "f16", HeadDim: 64})
	lowered := p.Lowered[0]
	lowered.Kernels = slices.Clone(lowered.Kernels)
	lowered.Kernels[0].Code = a.AddCode(half, []byte("// the PTX of f16\n"))
	p.Lowered = append(p.Lowered, lowered)
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
	pattern := ir.Pattern{Name: schedule.Name, Params: schedule.Params, Keep: ir.Causal{}}
	a := &artifact.Artifact{Manifest: artifact.Manifest{Schema: artifact.SchemaVersion, Compiler: "minfc test",
		Builds: []artifact.Build{{Target: "sm_80", DType: "bf16", HeadDim: 64}}}}
	lowered := artifact.Lowered{Schedule: schedule.String()}
	add := func(name string, c artifact.Code) {
		c.Target, c.PTXVersion = "sm_80", "7.4"
		lowered.Kernels = append(lowered.Kernels, artifact.Use{Name: name, Code: a.AddCode(c, []byte("// the PTX of "+name+"\n"))})
	}
	attend := codeOf(schedule, "attention")
	if blocksPerSM > 0 {
		attend.Params = append(attend.Params, abi.QueueParams...)
	}
	add(abi.Attend, attend)
	if dense != nil {
		passes.Attend(program, ir.PartDense, passes.Kernel{Name: abi.Dense, Schedule: dense, Rows: dense.Tile.Rows})
		lowered.Dense = dense.String()
		add(abi.Dense, codeOf(dense, "dense"))
	}
	for _, name := range program.KernelNames() {
		params, there := abi.IndexParams[name]
		if base, _, sized := strings.Cut(name, "."); sized {
			params, there = abi.IndexParams[base]
		}
		if there {
			add(name, artifact.Code{Entry: strings.ReplaceAll(name, ".", "_"), Threads: abi.StoreWordsCount / 2, Params: slices.Clone(params)})
		}
	}
	lowered.Program = a.AddProgram(program.String())
	a.Manifest.Patterns = []artifact.Pattern{{Text: pattern.String(), Lowered: []artifact.Lowered{lowered}}}
	return a
}

// Attend is the code of the attention of the first build's first pattern.
func Attend(a *artifact.Artifact) *artifact.Code { return Kernel(a, abi.Attend) }

// Kernel is the code of a kernel of the first build's first pattern, nil if there is none.
func Kernel(a *artifact.Artifact, name string) *artifact.Code {
	return a.Manifest.Kernel(&a.Manifest.Patterns[0].Lowered[0], name)
}

func codeOf(s *ir.Schedule, entry string) artifact.Code {
	return artifact.Code{Entry: entry, Threads: 128, SharedBytes: 48 << 10, BlockRows: s.Tile.Rows, Params: abi.Params(s)}
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
