package index

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/internal/codegen/lower"
	"github.com/minfc/minfc/ir"
)

// config is what a kernel of the index stage is compiled for; Size is the size of a kernel that comes in sizes.
type config struct {
	HeadDim int
	DType   abi.DType
	Size    int
}

// kernels lowers each kernel by the name that programs have for it; abi.IndexParams has its parameters under the same name.
var kernels = map[string]func(c config) (*lower.Kernel, error){
	abi.StoreWords: always(StoreWords),
	abi.Clear:      always(Clear),

	abi.ProbeStats:             probed(ProbeStats, false),
	abi.ProbeSums:              probed(ProbeSums, false),
	abi.Spread(abi.ProbeStats): probed(ProbeStats, true),
	abi.Spread(abi.ProbeSums):  probed(ProbeSums, true),
	abi.ProbeCombine:           always(ProbeCombine),
	abi.SelectTop:              always(SelectTop),
	abi.SelectMass:             always(SelectMass),
	abi.SelectAbove:            always(SelectAbove),

	abi.PoolMean:         pooled(ir.ReduceMean, 64),
	abi.PoolMean128:      pooled(ir.ReduceMean, 128),
	abi.PoolMax:          pooled(ir.ReduceMax, 64),
	abi.PoolMax128:       pooled(ir.ReduceMax, 128),
	abi.BlockScores:      func(c config) (*lower.Kernel, error) { return BlockScores(c.HeadDim) },
	abi.SquareScores:     func(c config) (*lower.Kernel, error) { return SquareScores(c.HeadDim, c.DType) },
	abi.BlockShares:      always(BlockShares),
	abi.BlockSelect:      chosen(ir.Top),
	abi.BlockSelectMass:  chosen(ir.TopP),
	abi.BlockSelectAbove: chosen(ir.Above),

	abi.Runs:    always(Runs),
	abi.Columns: always(Columns),
	abi.Compact: func(c config) (*lower.Kernel, error) { return Compact(c.HeadDim) },
	abi.Decide:  always(Decide),
}

// always lowers a kernel that is the same for all calls.
func always(lowered func() (*lower.Kernel, error)) func(config) (*lower.Kernel, error) {
	return func(config) (*lower.Kernel, error) { return lowered() }
}

func probed(lowered func(EstimateConfig) (*lower.Kernel, error), spread bool) func(config) (*lower.Kernel, error) {
	return func(c config) (*lower.Kernel, error) {
		return lowered(EstimateConfig{HeadDim: c.HeadDim, DType: c.DType, HeadsPerBlock: c.Size, Spread: spread})
	}
}

func pooled(with ir.Reduction, rows int) func(config) (*lower.Kernel, error) {
	return func(c config) (*lower.Kernel, error) {
		return Pool(PoolConfig{HeadDim: c.HeadDim, DType: c.DType, With: with, Rows: rows})
	}
}

func chosen(rule ir.Rule) func(config) (*lower.Kernel, error) {
	return always(func() (*lower.Kernel, error) { return BlockSelect(rule) })
}

// Lower lowers the kernel that programs call by this name, with its size behind a dot where it comes in sizes: "probe_stats.4".
func Lower(name string, headDim int, dtype abi.DType) (*lower.Kernel, error) {
	kernel, size := sized(name)
	lowered := kernels[kernel]
	if lowered == nil {
		return nil, fmt.Errorf("internal: no kernel is called %s", kernel)
	}
	return lowered(config{headDim, dtype, size})
}

// maxShared is the shared memory of a block, in bytes, that A100 has. A size of a kernel that does not fit it is left out; what does not
// fit another device is not loaded there.
const maxShared = 163 << 10

// Fits says whether a size of a kernel has room on some device: a block should take the q heads that share a kv head, whose number is known
// at launch.
func Fits(name string, headDim int) bool {
	_, heads := sized(name)
	return heads <= 1 || HeadsPerBlock(headDim, heads, maxShared) >= heads
}

// sized splits the name of a kernel that comes in sizes; 0 is of one that does not.
func sized(name string) (kernel string, size int) {
	kernel, text, _ := strings.Cut(name, ".")
	size, _ = strconv.Atoi(text)
	return kernel, size
}
