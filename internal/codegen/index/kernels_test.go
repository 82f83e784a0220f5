package index

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/abi"
)

// Every kernel that programs can name is lowered, with the parameters that they give it.
func TestKernelsHaveTheParametersOfTheirNames(t *testing.T) {
	var names []string
	for name := range kernels {
		names = append(names, name)
		if abi.DependsOnLengths(name) {
			names = append(names, abi.ByLengths(name))
		}
	}
	require.ElementsMatch(t, slices.Collect(maps.Keys(abi.IndexParams)), names)
	for _, name := range names {
		sized := name
		if plain, _ := abi.WithoutLengths(name); plain == abi.ProbeStats || plain == abi.ProbeSums || plain == abi.RecallStats || strings.HasSuffix(name, "_spread") ||
			strings.Contains(name, "_packed") && name != abi.CombinePacked {
			sized += ".1"
		}
		k, err := Lower(sized, 64, abi.BF16)
		require.NoError(t, err, name)
		require.Equal(t, abi.IndexParams[name], k.Params, name)
	}
	_, err := Lower("no_such_kernel", 64, abi.BF16)
	require.ErrorContains(t, err, "no kernel is called no_such_kernel")
}

// A size that no device has room for is not compiled: four heads of 256 elements take more shared memory than a block has.
func TestSizesThatFit(t *testing.T) {
	for _, c := range []struct {
		name    string
		headDim int
		want    bool
	}{{"pool_mean", 256, true}, {"probe_stats.1", 256, true}, {"probe_stats.4", 64, true}, {"probe_stats.4", 256, false}} {
		require.Equal(t, c.want, Fits(c.name, c.headDim), "%+v", c)
	}
}
