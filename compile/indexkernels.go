package compile

import (
	"slices"
	"sync"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/internal/codegen/index"
	"github.com/minfc/minfc/ir"
)

// indexKernel is a compiled kernel of the index stage, by the name that programs have for it.
type indexKernel struct {
	compiled
	name string
}

// indexTarget is what index kernels are compiled for, whatever the attention kernels are: code that every device runs.
const indexTarget = "sm_80"

// generateIndex compiles the kernels of programs, each once. They do not depend on each other and are more work than attention, so all
// cores take part.
func (c compiler) generateIndex(programs ...*ir.Program) ([]indexKernel, error) {
	defer c.watch.clock("index kernels")()
	var names []string
	for _, p := range programs {
		for _, name := range p.KernelNames() {
			if name != abi.Attend && name != abi.Dense && !slices.Contains(names, name) && index.Fits(name, c.HeadDim) {
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

func (c compiler) generateKernel(name string) (indexKernel, error) {
	lowered, err := index.Lower(name, c.HeadDim, c.DType)
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
