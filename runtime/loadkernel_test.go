package runtime

import (
	"testing"

	"github.com/minfc/minfc/runtime/artifact"
	"github.com/minfc/minfc/runtime/artifact/artifacttest"
	"github.com/minfc/minfc/runtime/device"
	"github.com/minfc/minfc/runtime/device/devicetest"
	"github.com/stretchr/testify/require"
)

func TestFind(t *testing.T) {
	hopper := device.Info{Name: "H200", Major: 9, MaxSharedBytes: 227 << 10}
	ampere := device.Info{Name: "A100", Major: 8, MaxSharedBytes: 163 << 10}
	blackwell := device.Info{Name: "B200", Major: 10, MaxSharedBytes: 227 << 10}
	turing := device.Info{Name: "T4", Major: 7, Minor: 5, MaxSharedBytes: 64 << 10}
	ada := device.Info{Name: "L4", Major: 8, Minor: 9, MaxSharedBytes: 99 << 10}
	m := &artifact.Manifest{Kernels: []artifact.Kernel{
		{Target: "sm_80", DType: "bf16", HeadDim: 64, SharedBytes: 64 << 10},
		{Target: "sm_90a", DType: "bf16", HeadDim: 64, SharedBytes: 200 << 10},
		{Target: "sm_80", DType: "bf16", HeadDim: 128, SharedBytes: 128 << 10},
	}}
	for _, c := range []struct {
		dev    device.Info
		sel    artifact.Select
		target string // of the kernel that is found, or "" when none is
		says   string
	}{
		{hopper, artifact.Select{HeadDim: 64}, "sm_90a", ""},
		{ampere, artifact.Select{HeadDim: 64}, "sm_80", ""},
		{blackwell, artifact.Select{HeadDim: 64}, "sm_80", ""}, // sm_90a runs on sm_90 alone
		{hopper, artifact.Select{HeadDim: 64, Target: "sm_80"}, "sm_80", ""},
		{hopper, artifact.Select{HeadDim: 128}, "sm_80", ""},
		{ampere, artifact.Select{Target: "sm_90a"}, "", "the kernel is for sm_90a, A100 is sm_80"},
		{turing, artifact.Select{HeadDim: 64}, "", "T4 is sm_75, and no kernel of minfc runs below compute capability 8.0; use a newer GPU, or the emulator"},
		{ada, artifact.Select{HeadDim: 128}, "", "needs 131072 bytes of shared memory a block, L4 has 101376"},
		{ampere, artifact.Select{HeadDim: 96}, "", "want head dim 96, it has (head dim 64, bf16, sm_80) (head dim 64, bf16, sm_90a) (head dim 128, bf16, sm_80)"},
		{ampere, artifact.Select{HeadDim: 64, DType: "f16"}, "", "want head dim 64, f16, it has"},
		{ampere, artifact.Select{}, "", "any kernel fits several kernels, name the head dim and data type"},
	} {
		k, err := m.Find(c.dev, c.sel)
		if c.target == "" {
			require.ErrorIs(t, err, artifact.ErrTarget, c.says)
			require.ErrorContains(t, err, c.says)
			continue
		}
		require.NoError(t, err)
		require.Equal(t, c.target, k.Target)
	}
}

func TestLoadKernel(t *testing.T) {
	dev, k := loaded(t)
	require.Equal(t, "used 255 registers", k.Log())
	require.Equal(t, 255, k.Attributes().Registers)
	require.Equal(t, "a_shape", k.Schedule().Name)
	require.Equal(t, 2, dev.Live, "the kernel's module and that of its stage")
	require.NoError(t, k.Close())
	require.Zero(t, dev.Live)
}

func TestLoadKernelLeavesNothingOnFailure(t *testing.T) {
	for failAt := 1; failAt <= 5; failAt++ { // load, function, attributes; load and function of a stage
		dev := devicetest.New()
		dev.FailAt = failAt
		_, err := LoadKernel(dev, artifacttest.New(), artifact.Select{DType: "f16"})
		require.ErrorIs(t, err, devicetest.ErrInjected)
		require.Zero(t, dev.Live, "call %d", failAt)
	}
	dev := devicetest.New()
	dev.Entry.MaxThreads = 64
	_, err := LoadKernel(dev, artifacttest.New(), artifact.Select{DType: "f16"})
	require.ErrorIs(t, err, artifact.ErrTarget)
	require.ErrorContains(t, err, "needs 128 threads a block")
	require.Zero(t, dev.Live)
}
