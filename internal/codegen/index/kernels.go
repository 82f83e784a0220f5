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
	Lengths bool // read from device memory
}

// kernels lowers each kernel by the name that programs have for it; abi.IndexParams has its parameters under the same name.
var kernels = map[string]func(c config) (*lower.Kernel, error){
	abi.StoreWords: always(StoreWords),
	abi.Clear:      always(Clear),

	abi.ProbeStats:             probed(ProbeStats, EstimateConfig{}),
	abi.ProbeSums:              probed(ProbeSums, EstimateConfig{}),
	abi.Spread(abi.ProbeStats): probed(ProbeStats, EstimateConfig{Spread: true}),
	abi.Spread(abi.ProbeSums):  probed(ProbeSums, EstimateConfig{Spread: true}),

	abi.Packed(abi.ProbeStats, 16): probed(ProbeStats, EstimateConfig{Packed: 16}),
	abi.Packed(abi.ProbeSums, 16):  probed(ProbeSums, EstimateConfig{Packed: 16}),
	abi.Packed(abi.ProbeStats, 32): probed(ProbeStats, EstimateConfig{Packed: 32}),
	abi.Packed(abi.ProbeSums, 32):  probed(ProbeSums, EstimateConfig{Packed: 32}),
	abi.ProbeCombine:               func(config) (*lower.Kernel, error) { return ProbeCombine(false) },
	abi.CombinePacked:              func(config) (*lower.Kernel, error) { return ProbeCombine(true) },
	abi.SelectTop:                  either(SelectTop),
	abi.SelectMass:                 either(SelectMass),
	abi.SelectAbove:                either(SelectAbove),
	abi.SelectNear:                 either(SelectNear),

	abi.RunSums:      either(RunSums),
	abi.RunDistances: either(RunDistances),

	abi.PoolMean:         pooled(ir.ReduceMean, 64),
	abi.PoolMean128:      pooled(ir.ReduceMean, 128),
	abi.PoolMax:          pooled(ir.ReduceMax, 64),
	abi.PoolMax128:       pooled(ir.ReduceMax, 128),
	abi.BlockScores:      func(c config) (*lower.Kernel, error) { return BlockScores(c.HeadDim, c.Lengths) },
	abi.SquareScores:     func(c config) (*lower.Kernel, error) { return SquareScores(c.HeadDim, c.DType, c.Lengths) },
	abi.BlockShares:      either(BlockShares),
	abi.BlockSelect:      chosen(ir.Top),
	abi.BlockSelectMass:  chosen(ir.TopP),
	abi.BlockSelectAbove: chosen(ir.Above),
	abi.BlockSelectNear:  chosen(ir.NearMax),

	abi.Runs:    always(Runs),
	abi.Columns: always(Columns),
	abi.Compact: func(c config) (*lower.Kernel, error) { return Compact(c.HeadDim, c.Lengths) },
	abi.Means:   func(c config) (*lower.Kernel, error) { return Means(c.HeadDim, c.DType) },
	abi.Decide:  func(config) (*lower.Kernel, error) { return Decide(false) },

	abi.DecideByGroup: func(config) (*lower.Kernel, error) { return Decide(true) },
	abi.GroupMean:     either(GroupMean),
	abi.GroupShares:   either(GroupShares),

	abi.KeptBlocks: always(KeptBlocks),

	abi.Recall: always(Recall),
	abi.RecallStats: func(c config) (*lower.Kernel, error) {
		return RecallStats(EstimateConfig{HeadDim: c.HeadDim, DType: c.DType, HeadsPerBlock: c.Size})
	},
	abi.Lengths: always(Lengths),
}

// always lowers a kernel that is the same for all calls.
func always(lowered func() (*lower.Kernel, error)) func(config) (*lower.Kernel, error) {
	return func(config) (*lower.Kernel, error) { return lowered() }
}

// either lowers a kernel that has two forms.
func either(lowered func(lengths bool) (*lower.Kernel, error)) func(config) (*lower.Kernel, error) {
	return func(c config) (*lower.Kernel, error) { return lowered(c.Lengths) }
}

// probed lowers a kernel of the estimator of some rows.
func probed(lowered func(EstimateConfig) (*lower.Kernel, error), rows EstimateConfig) func(config) (*lower.Kernel, error) {
	return func(c config) (*lower.Kernel, error) {
		own := rows
		own.HeadDim, own.DType, own.HeadsPerBlock, own.Lengths = c.HeadDim, c.DType, c.Size, c.Lengths
		return lowered(own)
	}
}

func pooled(with ir.Reduction, rows int) func(config) (*lower.Kernel, error) {
	return func(c config) (*lower.Kernel, error) {
		return Pool(PoolConfig{HeadDim: c.HeadDim, DType: c.DType, With: with, Rows: rows, Lengths: c.Lengths})
	}
}

func chosen(rule ir.Rule) func(config) (*lower.Kernel, error) {
	return either(func(lengths bool) (*lower.Kernel, error) { return BlockSelect(rule, lengths) })
}

// Lower lowers the kernel that programs call by this name, with its size behind a dot where it comes in sizes: "probe_stats.4". A kernel that
// reads lengths from device memory has the name that abi.ByLengths makes.
func Lower(name string, headDim int, dtype abi.DType) (*lower.Kernel, error) {
	kernel, size := sized(name)
	plain, lengths := abi.WithoutLengths(kernel)
	lowered := kernels[plain]
	if lowered == nil {
		return nil, fmt.Errorf("internal: no kernel is called %s", kernel)
	}
	return lowered(config{headDim, dtype, size, lengths})
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
