package e2e

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/runtime/artifact"
)

// A dense kernel serves the same calls as the one beside it, or the artifact is refused.
func TestArtifactsWithBadDenseKernels(t *testing.T) {
	c := attentionCase{program: library(t, "vertical_slash"), headDim: 64, dtype: abi.BF16}
	data, err := c.compile(t).Encode()
	require.NoError(t, err)
	for want, damage := range map[string]func(k *artifact.Kernel){
		"dense is for another target, data type or head dim": func(k *artifact.Kernel) { k.Dense.HeadDim = 128 },
		"dense is a kernel with a program":                   func(k *artifact.Kernel) { k.Dense.Program = k.Program },
		"dense kernel: module is 99":                         func(k *artifact.Kernel) { k.Dense.Module = 99 },
		"dense kernel: kernel parameters are missing: taken": func(k *artifact.Kernel) {
			k.Dense.Params = slices.DeleteFunc(k.Dense.Params, func(p artifact.Param) bool { return p.Name == "taken" })
		},
		"dense kernel: its schedule reads lists": func(k *artifact.Kernel) {
			k.Dense.Schedule, k.Dense.RowTile, k.Dense.KeyTile, k.Dense.Params = k.Schedule, k.RowTile, k.KeyTile, k.Params
		},
		"kernel parameters are missing: route, taken": func(k *artifact.Kernel) {
			k.Params = slices.DeleteFunc(k.Params, func(p artifact.Param) bool { return p.Name == "route" || p.Name == "taken" })
		},
		"there is no kernel store_words": func(k *artifact.Kernel) { k.Index = k.Index[1:] },
		"dense is there, want none beside a kernel without lists": func(k *artifact.Kernel) {
			d := *k.Dense
			k.Schedule, k.RowTile, k.KeyTile, k.Params, k.Index, k.BlocksPerSM, k.BlockRows = d.Schedule, d.RowTile, d.KeyTile, d.Params, k.Index[:1], 0, 0
		},
	} {
		a, err := artifact.Read(data)
		require.NoError(t, err)
		damage(&a.Manifest.Kernels[0])
		err = a.Verify()
		require.ErrorIs(t, err, artifact.ErrManifest, want)
		require.ErrorContains(t, err, want)
	}
}
