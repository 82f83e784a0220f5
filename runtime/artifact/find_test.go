package artifact_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/runtime/artifact"
	"github.com/minfc/minfc/runtime/device"
)

// compiled is a pattern whose attention is one code a build.
func compiled(builds []artifact.Build, codes []artifact.Code) *artifact.Manifest {
	m := &artifact.Manifest{Builds: builds, Codes: codes, Patterns: []artifact.Pattern{{}}}
	for i := range builds {
		m.Patterns[0].Lowered = append(m.Patterns[0].Lowered, artifact.Lowered{Kernels: []artifact.Use{{Name: "attend", Code: i}}})
	}
	return m
}

// grouped is the same of a head plan, with two groups a build.
func grouped(builds []artifact.Build, codes []artifact.Code) *artifact.Manifest {
	m := &artifact.Manifest{Codes: codes}
	for i, b := range builds {
		b.Groups = []int{2 * i, 2*i + 1}
		m.Builds = append(m.Builds, b)
	}
	return m
}

func TestFind(t *testing.T) {
	hopper := device.Info{Name: "H200", Major: 9, MaxSharedBytes: 227 << 10}
	ampere := device.Info{Name: "A100", Major: 8, MaxSharedBytes: 163 << 10}
	blackwell := device.Info{Name: "B200", Major: 10, MaxSharedBytes: 227 << 10}
	turing := device.Info{Name: "T4", Major: 7, Minor: 5, MaxSharedBytes: 64 << 10}
	ada := device.Info{Name: "L4", Major: 8, Minor: 9, MaxSharedBytes: 99 << 10}
	m := compiled([]artifact.Build{
		{Target: "sm_80", DType: "bf16", HeadDim: 64}, {Target: "sm_90a", DType: "bf16", HeadDim: 64}, {Target: "sm_80", DType: "bf16", HeadDim: 128},
	}, []artifact.Code{
		{Target: "sm_80", SharedBytes: 64 << 10}, {Target: "sm_90a", SharedBytes: 200 << 10}, {Target: "sm_80", SharedBytes: 128 << 10},
	})
	for _, c := range []struct {
		dev    device.Info
		sel    artifact.Select
		target string // of the build that is found, or "" when none is
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
		build, err := m.Find(c.dev, c.sel)
		if c.target == "" {
			require.ErrorIs(t, err, artifact.ErrTarget, c.says)
			require.ErrorContains(t, err, c.says)
			continue
		}
		require.NoError(t, err)
		require.Equal(t, c.target, m.Builds[build].Target)
	}
}

// An artifact of both targets on a Hopper GPU: the driver decides, and what was passed over is said.
func TestFindAsksTheDriver(t *testing.T) {
	builds := []artifact.Build{{Target: "sm_80", DType: "bf16", HeadDim: 64}, {Target: "sm_90a", DType: "bf16", HeadDim: 64}}
	older := artifact.Code{Target: "sm_80", PTXVersion: "7.4", SharedBytes: 64 << 10}
	newer := artifact.Code{Target: "sm_90a", PTXVersion: "8.0", SharedBytes: 200 << 10}
	hopper := device.Info{Name: "H100", Major: 9, DriverVersion: "12.4", MaxSharedBytes: 227 << 10}
	for name, m := range map[string]*artifact.Manifest{
		"kernels": compiled(builds, []artifact.Code{older, newer}),
		"groups":  grouped(builds, []artifact.Code{older, older, newer, newer}),
	} {
		found := func(dev device.Info, sel artifact.Select, target, passed string) {
			build, err := m.Find(dev, sel)
			require.NoError(t, err, name)
			require.Equal(t, target, m.Builds[build].Target, name)
			why := m.Passed(dev, sel)
			if passed == "" {
				require.NoError(t, why, name)
				return
			}
			require.ErrorContains(t, why, passed, name)
		}
		refused := func(dev device.Info, sel artifact.Select, says string) {
			_, err := m.Find(dev, sel)
			require.ErrorIs(t, err, artifact.ErrTarget, name)
			require.ErrorIs(t, err, device.ErrUnsupported, name)
			require.ErrorContains(t, err, says, name)
			require.NoError(t, m.Passed(dev, sel), "nothing was found, so nothing was passed over")
		}
		found(hopper, artifact.Select{}, "sm_90a", "")
		found(device.Info{Name: "A100", Major: 8, MaxSharedBytes: 163 << 10}, artifact.Select{}, "sm_80", "")
		hopper.DriverVersion = "11.8"
		found(hopper, artifact.Select{}, "sm_80", "needs one for CUDA 12.0 or later")
		found(hopper, artifact.Select{Target: "sm_80"}, "sm_80", "")
		refused(hopper, artifact.Select{Target: "sm_90a"}, "needs one for CUDA 12.0 or later")
		hopper.DriverVersion = "11.0"
		refused(hopper, artifact.Select{}, "sm_80 code (PTX 7.4) needs one for CUDA 11.4 or later")
		hopper.DriverVersion, hopper.MaxSharedBytes = "12.4", 128<<10
		found(hopper, artifact.Select{}, "sm_80", "needs 204800 bytes of shared memory a block, H100 has 131072")
		hopper.MaxSharedBytes = 227 << 10
	}
}

// The groups of a plan are loaded together, so the largest must fit.
func TestFindCountsAllGroups(t *testing.T) {
	m := grouped([]artifact.Build{{Target: "sm_80", DType: "bf16", HeadDim: 64}}, []artifact.Code{
		{Target: "sm_80", PTXVersion: "7.4", SharedBytes: 64 << 10}, {Target: "sm_80", PTXVersion: "7.4", SharedBytes: 128 << 10},
	})
	_, err := m.Find(device.Info{Name: "L4", Major: 8, Minor: 9, MaxSharedBytes: 99 << 10}, artifact.Select{})
	require.ErrorContains(t, err, "needs 131072 bytes of shared memory a block, L4 has 101376")
	_, err = m.Find(device.Info{Name: "A100", Major: 8, MaxSharedBytes: 163 << 10}, artifact.Select{})
	require.NoError(t, err)
}
