package bench

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/internal/ptxgen"
	"github.com/minfc/minfc/runtime/emu"
)

// The rate counts the products that really run.
func TestProbeRunsItsProducts(t *testing.T) {
	for _, dtype := range []abi.DType{abi.BF16, abi.F16} {
		var products, launches int64
		dev := emulator(t, emu.Options{Observe: func(s emu.Stats) {
			launches++
			for op, n := range s.ByOpcode {
				if strings.HasPrefix(op, "mma.sync") {
					products += n
				}
			}
		}})
		rate, err := probeRate(dev, dtype, "sm_80")
		require.NoError(t, err)
		require.Greater(t, rate.TFLOPS, 0.0)
		require.Contains(t, rate.Name, string(dtype))
		require.Equal(t, launches*probeProducts(dev.Info()), products)
	}
}

// Nothing but products and the counter may stand in the loop.
func TestProbeLoopIsTight(t *testing.T) {
	ptx, err := ptxgen.Compile(probeKernel(abi.BF16).Module, ptxgen.Options{Target: "sm_80"})
	require.NoError(t, err)
	_, loop, found := strings.Cut(string(ptx), "loop:")
	require.True(t, found)
	loop, _, found = strings.Cut(loop, "bra")
	require.True(t, found)
	require.Equal(t, probeChains, strings.Count(loop, "mma.sync"))
	require.LessOrEqual(t, strings.Count(loop, ";"), probeChains+4, loop)
}
