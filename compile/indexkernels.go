package compile

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/internal/codegen"
	"github.com/minfc/minfc/internal/codegen/index"
	"github.com/minfc/minfc/ir"
)

// indexKernel is a compiled kernel of the index stage, by the name that programs have for it.
type indexKernel struct {
	compiled
	name string
}

// indexKernels lowers the kernels that programs run beside attention. Those that come in sizes are told theirs.
var indexKernels = map[string]func(o Options, heads int) (*codegen.Kernel, error){
	abi.StoreWords:   func(Options, int) (*codegen.Kernel, error) { return index.StoreWords() },
	abi.Clear:        func(Options, int) (*codegen.Kernel, error) { return index.Clear() },
	abi.ProbeCombine: func(Options, int) (*codegen.Kernel, error) { return index.ProbeCombine() },
	abi.SelectTop:    func(Options, int) (*codegen.Kernel, error) { return index.SelectTop() },
	abi.SelectMass:   func(Options, int) (*codegen.Kernel, error) { return index.SelectMass() },
	abi.SelectAbove:  func(Options, int) (*codegen.Kernel, error) { return index.SelectAbove() },
	abi.Runs:         func(Options, int) (*codegen.Kernel, error) { return index.Runs() },
	abi.Columns:      func(Options, int) (*codegen.Kernel, error) { return index.Columns() },
	abi.Compact:      func(o Options, _ int) (*codegen.Kernel, error) { return index.Compact(o.HeadDim) },
	abi.PoolMean:     func(o Options, _ int) (*codegen.Kernel, error) { return o.pool(ir.ReduceMean) },
	abi.PoolMax:      func(o Options, _ int) (*codegen.Kernel, error) { return o.pool(ir.ReduceMax) },
	abi.BlockScores:  func(o Options, _ int) (*codegen.Kernel, error) { return index.BlockScores(o.HeadDim) },
	abi.SquareScores: func(o Options, _ int) (*codegen.Kernel, error) {
		return index.SquareScores(o.HeadDim, codegen.DType(o.DType))
	},
	abi.BlockShares: func(Options, int) (*codegen.Kernel, error) { return index.BlockShares() },
	abi.Decide:      func(Options, int) (*codegen.Kernel, error) { return index.Decide() },

	abi.BlockSelect:      func(Options, int) (*codegen.Kernel, error) { return index.BlockSelect(ir.Top) },
	abi.BlockSelectMass:  func(Options, int) (*codegen.Kernel, error) { return index.BlockSelect(ir.TopP) },
	abi.BlockSelectAbove: func(Options, int) (*codegen.Kernel, error) { return index.BlockSelect(ir.Above) },

	abi.ProbeStats:             func(o Options, heads int) (*codegen.Kernel, error) { return index.ProbeStats(o.probe(heads, false)) },
	abi.ProbeSums:              func(o Options, heads int) (*codegen.Kernel, error) { return index.ProbeSums(o.probe(heads, false)) },
	abi.Spread(abi.ProbeStats): func(o Options, heads int) (*codegen.Kernel, error) { return index.ProbeStats(o.probe(heads, true)) },
	abi.Spread(abi.ProbeSums):  func(o Options, heads int) (*codegen.Kernel, error) { return index.ProbeSums(o.probe(heads, true)) },
}

func (o Options) pool(with ir.Reduction) (*codegen.Kernel, error) {
	return index.Pool(index.PoolConfig{HeadDim: o.HeadDim, DType: codegen.DType(o.DType), With: with})
}

func (o Options) probe(heads int, spread bool) index.EstimateConfig {
	return index.EstimateConfig{HeadDim: o.HeadDim, DType: codegen.DType(o.DType), HeadsPerBlock: heads, Spread: spread}
}

// indexTarget is what index kernels are compiled for, whatever the attention kernels are: code that every device runs.
const indexTarget = "sm_80"

// maxShared is the shared memory of a block, in bytes, that A100 has. A size of a kernel that does not fit it is left out; what does not
// fit another device is not loaded there.
const maxShared = 163 << 10

// generateIndex compiles the kernels of programs, each once. They do not depend on each other and are more work than attention, so all
// cores take part.
func (o Options) generateIndex(programs ...*ir.Program) ([]indexKernel, error) {
	defer o.clock("index kernels")()
	var names []string
	for _, p := range programs {
		for _, name := range p.KernelNames() {
			if name != abi.Attend && name != abi.Dense && !slices.Contains(names, name) && o.fits(name) {
				names = append(names, name)
			}
		}
	}
	out, errs := make([]indexKernel, len(names)), make([]error, len(names))
	eachAtOnce(len(names), func(i int) { out[i], errs[i] = o.generateKernel(names[i]) })
	for i := range out {
		if errs[i] != nil {
			return nil, errs[i]
		}
		o.show(out[i].Kernel)
	}
	return out, nil
}

// sized splits the name of a kernel that comes in sizes; 0 is of one that does not.
func sized(name string) (kernel string, size int) {
	kernel, text, _ := strings.Cut(name, ".")
	size, _ = strconv.Atoi(text)
	return kernel, size
}

// fits says whether a size of a kernel has room on some device: a block should take the q heads that share a kv head, whose number is known
// at launch.
func (o Options) fits(name string) bool {
	_, heads := sized(name)
	return heads <= 1 || index.HeadsPerBlock(o.HeadDim, heads, maxShared) >= heads
}

func (o Options) generateKernel(name string) (indexKernel, error) {
	kernel, size := sized(name)
	lower := indexKernels[kernel]
	if lower == nil {
		return indexKernel{}, fmt.Errorf("internal: no kernel is called %s", kernel)
	}
	lowered, err := lower(o, size)
	if err != nil {
		return indexKernel{}, err
	}
	k, err := o.ptx(lowered, indexTarget)
	return indexKernel{k, name}, err
}

// eachAtOnce calls f for 0 to n-1 from goroutines of their own and waits for all. A panic of a goroutine is raised again in the caller.
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
