package minfc

import (
	"fmt"
	"sync"

	"github.com/minfc/minfc/codegen"
	"github.com/minfc/minfc/codegen/index"
	"github.com/minfc/minfc/ir"
	"github.com/minfc/minfc/runtime"
)

// stage is a compiled kernel of the index stage.
type stage struct {
	compiled
	kind  string
	heads int // see runtime.Stage
}

// name says which stage it is, to a reader.
func (s stage) name() string {
	if s.heads == 0 {
		return s.kind
	}
	return fmt.Sprintf("%s for %d of the q heads that share a kv head", s.kind, s.heads)
}

// stageKernels lowers the kinds of stages. Those of the probe come in several sizes, which probeKernels lowers.
var stageKernels = map[string]func(o Options) (*codegen.Kernel, error){
	runtime.StageStoreWords:   func(Options) (*codegen.Kernel, error) { return index.StoreWords() },
	runtime.StageProbeCombine: func(Options) (*codegen.Kernel, error) { return index.ProbeCombine() },
	runtime.StageSelectTop:    func(Options) (*codegen.Kernel, error) { return index.SelectTop() },
	runtime.StageRuns:         func(Options) (*codegen.Kernel, error) { return index.Runs() },
	runtime.StageColumns:      func(Options) (*codegen.Kernel, error) { return index.Columns() },
	runtime.StageCompact:      func(o Options) (*codegen.Kernel, error) { return index.Compact(o.HeadDim) },
	runtime.StagePoolMean:     func(o Options) (*codegen.Kernel, error) { return o.pool(ir.ReduceMean) },
	runtime.StagePoolMax:      func(o Options) (*codegen.Kernel, error) { return o.pool(ir.ReduceMax) },
	runtime.StageBlockScores:  func(o Options) (*codegen.Kernel, error) { return index.BlockScores(o.HeadDim) },
	runtime.StageSquareScores: func(o Options) (*codegen.Kernel, error) { return index.SquareScores(o.HeadDim, codegen.DType(o.DType)) },
	runtime.StageBlockShares:  func(Options) (*codegen.Kernel, error) { return index.BlockShares() },

	runtime.StageClear: func(Options) (*codegen.Kernel, error) { return index.Clear() },

	runtime.StageSelectMass:       func(Options) (*codegen.Kernel, error) { return index.SelectMass() },
	runtime.StageSelectAbove:      func(Options) (*codegen.Kernel, error) { return index.SelectAbove() },
	runtime.StageBlockSelect:      func(Options) (*codegen.Kernel, error) { return index.BlockSelect(ir.Top) },
	runtime.StageBlockSelectMass:  func(Options) (*codegen.Kernel, error) { return index.BlockSelect(ir.TopP) },
	runtime.StageBlockSelectAbove: func(Options) (*codegen.Kernel, error) { return index.BlockSelect(ir.Above) },
	runtime.StageDecide:           func(Options) (*codegen.Kernel, error) { return index.Decide() },
}

var probeKernels = map[string]func(index.EstimateConfig) (*codegen.Kernel, error){
	runtime.StageProbeStats: index.ProbeStats,
	runtime.StageProbeSums:  index.ProbeSums,

	runtime.StageProbeStatsSpread: spread(index.ProbeStats),
	runtime.StageProbeSumsSpread:  spread(index.ProbeSums),
}

func spread(lower func(index.EstimateConfig) (*codegen.Kernel, error)) func(index.EstimateConfig) (*codegen.Kernel, error) {
	return func(c index.EstimateConfig) (*codegen.Kernel, error) {
		c.Spread = true
		return lower(c)
	}
}

func (o Options) pool(with ir.Reduction) (*codegen.Kernel, error) {
	return index.Pool(index.PoolConfig{HeadDim: o.HeadDim, DType: codegen.DType(o.DType), With: with})
}

// stageTarget is what stages are compiled for, whatever the attention kernels are: code that every device runs.
const stageTarget = "sm_80"

// generateIndex compiles the kernels that run before attention: they compute what the data chooses. Every pattern has the one
// that stores numbers by head.
func (o Options) generateIndex(s *ir.Schedule) ([]stage, error) {
	kinds, err := runtime.StageKinds(s)
	if err != nil {
		return nil, err
	}
	return o.generateStages(kinds)
}

// generateStages compiles kinds of stages. They do not depend on each other and are more work than attention, so all cores take part.
func (o Options) generateStages(kinds []string) ([]stage, error) {
	defer o.clock("index kernels")()
	var jobs []stageJob
	for _, kind := range kinds {
		more, err := o.stageJobs(kind)
		if err != nil {
			return nil, err
		}
		jobs = append(jobs, more...)
	}
	out, errs := make([]stage, len(jobs)), make([]error, len(jobs))
	eachAtOnce(len(jobs), func(i int) { out[i], errs[i] = o.generateStage(jobs[i]) })
	for i := range out {
		if errs[i] != nil {
			return nil, errs[i]
		}
		o.show(out[i].Kernel)
	}
	return out, nil
}

// stageJob is a stage to be compiled.
type stageJob struct {
	kind  string
	heads int
	lower func() (*codegen.Kernel, error)
}

func (o Options) generateStage(j stageJob) (stage, error) {
	kernel, err := j.lower()
	if err != nil {
		return stage{}, err
	}
	k, err := o.ptx(kernel, stageTarget)
	return stage{k, j.kind, j.heads}, err
}

func (o Options) stageJobs(kind string) ([]stageJob, error) {
	if probe := probeKernels[kind]; probe != nil {
		return o.probeJobs(kind, probe), nil
	}
	lower := stageKernels[kind]
	if lower == nil {
		return nil, fmt.Errorf("internal: no kernel for the stage %s", kind)
	}
	return []stageJob{{kind: kind, lower: func() (*codegen.Kernel, error) { return lower(o) }}}, nil
}

// maxShared is the shared memory of a block, in bytes, that the devices of the targets have at most; what does not fit one
// of them is not loaded there.
const maxShared = 163 << 10

// probeJobs are those of a kernel of the probe for blocks of 1, 2 and 4 heads: a block should take the q heads that share a kv
// head, whose number is known at launch. Sizes that no device has room for are left out.
func (o Options) probeJobs(kind string, lower func(index.EstimateConfig) (*codegen.Kernel, error)) (out []stageJob) {
	for _, heads := range []int{1, 2, 4} {
		if heads > 1 && index.EstimateHeads(o.HeadDim, heads, maxShared) < heads {
			continue
		}
		out = append(out, stageJob{kind, heads, func() (*codegen.Kernel, error) {
			return lower(index.EstimateConfig{HeadDim: o.HeadDim, DType: codegen.DType(o.DType), Heads: heads})
		}})
	}
	return out
}

// eachAtOnce calls f for 0 to n-1 from goroutines of their own and waits for all. A panic comes out where it was called.
func eachAtOnce(n int, f func(i int)) {
	var all sync.WaitGroup
	panics := make([]any, n)
	for i := range n {
		all.Go(func() {
			defer func() { panics[i] = recover() }()
			f(i)
		})
	}
	all.Wait()
	for _, p := range panics {
		if p != nil {
			panic(p)
		}
	}
}
