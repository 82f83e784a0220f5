package lower_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/abi"
	"github.com/minfc/minfc/internal/codegen/lower"
	"github.com/minfc/minfc/internal/ptxgen"
)

// A tensor map is 128 bytes by value, aligned as the hardware wants it, and inline asm gets its address.
func TestMapParameters(t *testing.T) {
	b := lower.NewKernel("k", []lower.Param{{Name: "n", Type: "i32"}, abi.MapParam("q_map", "q", 64, 128)}, 128, 1)
	b.AsmEffect("{ .reg .b64 a; cvta.param.u64 a, $0; prefetch.tensormap [a]; }", "l", b.Param("q_map"))
	b.Block.NewRet(nil)
	ptx, err := ptxgen.Compile(b.Module, ptxgen.Options{Target: "sm_80"})
	require.NoError(t, err)
	require.Contains(t, string(ptx), ".param .align 64 .b8 k_q_map[128]")
	require.Contains(t, string(ptx), "mov.b64 %rd1, k_q_map;")
}
