package compile

import (
	"fmt"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/passes"
	"github.com/minfc/minfc/runtime/artifact"
)

// Recall compiles what measures the share of the attention mass that calls of a head dim and type kept (docs/recall.md). One code serves
// every pattern and every device. watch may be nil.
func Recall(headDim int, dtype abi.DType, watch *Observer) (*artifact.Recall, error) {
	if err := abi.CheckHeadDim(headDim); err != nil {
		return nil, err
	}
	if err := dtype.Check(); err != nil {
		return nil, err
	}
	out := &artifact.Recall{HeadDim: headDim, DType: dtype, Program: passes.Recall()}
	kernels, err := compiler{Options{Target: indexTarget, HeadDim: headDim, DType: dtype}, watch}.generateIndex(out.Program)
	if err != nil {
		return nil, err
	}
	holder := newArtifact()
	for _, k := range kernels {
		out.Kernels = append(out.Kernels, artifact.Use{Name: k.name, Code: k.addTo(holder, indexTarget)})
	}
	out.Codes, out.Modules = holder.Manifest.Codes, holder.Modules
	if err := out.Program.Verify(passes.RecallParams, out.Params); err != nil {
		return nil, fmt.Errorf("internal: %w", err)
	}
	return out, nil
}
