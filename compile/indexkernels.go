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
var indexKernels = map[string]func(c compiler, heads int) (*codegen.Kernel, error){
	abi.StoreWords:   func(compiler, int) (*codegen.Kernel, error) { return index.StoreWords() },
	abi.Clear:        func(compiler, int) (*codegen.Kernel, error) { return index.Clear() },
	abi.ProbeCombine: func(compiler, int) (*codegen.Kernel, error) { return index.ProbeCombine() },
	abi.SelectTop:    func(compiler, int) (*codegen.Kernel, error) { return index.SelectTop() },
	abi.SelectMass:   func(compiler, int) (*codegen.Kernel, error) { return index.SelectMass() },
	abi.SelectAbove:  func(compiler, int) (*codegen.Kernel, error) { return index.SelectAbove() },
	abi.Runs:         func(compiler, int) (*codegen.Kernel, error) { return index.Runs() },
	abi.Columns:      func(compiler, int) (*codegen.Kernel, error) { return index.Columns() },
	abi.Compact:      func(c compiler, _ int) (*codegen.Kernel, error) { return index.Compact(c.HeadDim) },
	abi.PoolMean:     func(c compiler, _ int) (*codegen.Kernel, error) { return c.pool(ir.ReduceMean) },
	abi.PoolMax:      func(c compiler, _ int) (*codegen.Kernel, error) { return c.pool(ir.ReduceMax) },
	abi.BlockScores:  func(c compiler, _ int) (*codegen.Kernel, error) { return index.BlockScores(c.HeadDim) },
	abi.SquareScores: func(c compiler, _ int) (*codegen.Kernel, error) {
		return index.SquareScores(c.HeadDim, c.DType)
	},
	abi.BlockShares: func(compiler, int) (*codegen.Kernel, error) { return index.BlockShares() },
	abi.Decide:      func(compiler, int) (*codegen.Kernel, error) { return index.Decide() },

	abi.BlockSelect:      func(compiler, int) (*codegen.Kernel, error) { return index.BlockSelect(ir.Top) },
	abi.BlockSelectMass:  func(compiler, int) (*codegen.Kernel, error) { return index.BlockSelect(ir.TopP) },
	abi.BlockSelectAbove: func(compiler, int) (*codegen.Kernel, error) { return index.BlockSelect(ir.Above) },

	abi.ProbeStats:             func(c compiler, heads int) (*codegen.Kernel, error) { return index.ProbeStats(c.probe(heads, false)) },
	abi.ProbeSums:              func(c compiler, heads int) (*codegen.Kernel, error) { return index.ProbeSums(c.probe(heads, false)) },
	abi.Spread(abi.ProbeStats): func(c compiler, heads int) (*codegen.Kernel, error) { return index.ProbeStats(c.probe(heads, true)) },
	abi.Spread(abi.ProbeSums):  func(c compiler, heads int) (*codegen.Kernel, error) { return index.ProbeSums(c.probe(heads, true)) },
}

func (c compiler) pool(with ir.Reduction) (*codegen.Kernel, error) {
	return index.Pool(index.PoolConfig{HeadDim: c.HeadDim, DType: c.DType, With: with})
}

func (c compiler) probe(heads int, spread bool) index.EstimateConfig {
	return index.EstimateConfig{HeadDim: c.HeadDim, DType: c.DType, Heads: heads, Spread: spread}
}

// indexTarget is what index kernels are compiled for, whatever the attention kernels are: code that every device runs.
const indexTarget = "sm_80"

// maxShared is the shared memory of a block, in bytes, that A100 has. A size of a kernel that does not fit it is left out; what does not
// fit another device is not loaded there.
const maxShared = 163 << 10

// generateIndex compiles the kernels of programs, each once. They do not depend on each other and are more work than attention, so all
// cores take part.
func (c compiler) generateIndex(programs ...*ir.Program) ([]indexKernel, error) {
	defer c.watch.clock("index kernels")()
	var names []string
	for _, p := range programs {
		for _, name := range p.KernelNames() {
			if name != abi.Attend && name != abi.Dense && !slices.Contains(names, name) && c.fits(name) {
				names = append(names, name)
			}
		}
	}
	out, errs := make([]indexKernel, len(names)), make([]error, len(names))
	eachAtOnce(len(names), func(i int) { out[i], errs[i] = c.generateKernel(names[i]) })
	for i := range out {
		if errs[i] != nil {
			return nil, errs[i]
		}
		c.watch.show(out[i].Kernel)
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
func (c compiler) fits(name string) bool {
	_, heads := sized(name)
	return heads <= 1 || index.EstimateHeads(c.HeadDim, heads, maxShared) >= heads
}

func (c compiler) generateKernel(name string) (indexKernel, error) {
	kernel, size := sized(name)
	lower := indexKernels[kernel]
	if lower == nil {
		return indexKernel{}, fmt.Errorf("internal: no kernel is called %s", kernel)
	}
	lowered, err := lower(c, size)
	if err != nil {
		return indexKernel{}, err
	}
	k, err := c.ptx(lowered, indexTarget)
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
