package compile_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/compile"
)

// The kernels of a recall are the same bytes every time, and there are none of head dims and types that nothing else has.
func TestRecallCompiles(t *testing.T) {
	once, err := compile.Recall(80, abi.F16, nil)
	require.NoError(t, err)
	again, err := compile.Recall(80, abi.F16, nil)
	require.NoError(t, err)
	require.Equal(t, once.Modules, again.Modules)
	for _, name := range []string{abi.Recall, abi.ProbeCombine, abi.StoreWords, "recall_stats.1", "recall_stats.4"} {
		_, there := once.Params(name)
		require.True(t, there, name)
	}
	_, there := once.Params(abi.ProbeSums)
	require.False(t, there)
	_, err = compile.Recall(72, abi.F16, nil)
	require.ErrorContains(t, err, "head dim 72 is not supported")
	_, err = compile.Recall(64, "f32", nil)
	require.ErrorContains(t, err, "f32")
}
