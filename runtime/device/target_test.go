package device_test

import (
	"testing"

	"github.com/minfc/minfc/runtime/device"
	"github.com/stretchr/testify/require"
)

func TestCheckTarget(t *testing.T) {
	hopper := func(cuda string) device.Info { return device.Info{Name: "H100", Major: 9, DriverVersion: cuda} }
	for _, c := range []struct {
		dev         device.Info
		target, ptx string
		says        string // "" if it runs
	}{
		{hopper("12.0"), "sm_90a", "8.0", ""},
		{hopper("13.0"), "sm_90a", "8.0", ""},
		{hopper("11.8"), "sm_80", "7.4", ""},
		{hopper("11.4"), "sm_80", "7.4", ""},
		{hopper(""), "sm_90a", "8.0", ""}, // the emulator has no driver
		{hopper("11.8"), "sm_90a", "8.0",
			"the NVIDIA driver of H100 serves CUDA 11.8, and sm_90a code (PTX 8.0) needs one for CUDA 12.0 or later (driver 525); update the driver, or keep to sm_80 code, which runs with this one"},
		{hopper("11.2"), "sm_90a", "8.0", "needs one for CUDA 12.0 or later (driver 525); update the driver"},
		{hopper("11.2"), "sm_80", "7.4", "the NVIDIA driver of H100 serves CUDA 11.2, and sm_80 code (PTX 7.4) needs one for CUDA 11.4 or later (driver 470); update the driver"},
		{hopper("12.4"), "sm_90a", "8.5", "needs one for CUDA 12.5 or later (driver 555)"}, // Hopper's own driver, and text that is newer
		{hopper("12.5"), "sm_90a", "8.5", ""},
		{hopper("12.6"), "sm_90a", "8.5", ""},
		{hopper("12.6"), "sm_90a", "8.6", "needs one for CUDA 12.7 or later"},
		{hopper("9.9"), "sm_80", "7.4", "needs one for CUDA 11.4"}, // numbers, not text
		{hopper("12.10"), "sm_90a", "8.8", ""},                     // numbers, not text
		{hopper("12.9"), "sm_90a", "9.9", ""},                      // not in the table: the driver will say
		{device.Info{Name: "A100", Major: 8, DriverVersion: "13.0"}, "sm_90a", "8.0", "the kernel is for sm_90a, A100 is sm_80; compile the pattern for a target that it runs, or for auto"},
		{device.Info{Name: "T4", Major: 7, Minor: 5, DriverVersion: "13.0"}, "sm_80", "7.4", "T4 is sm_75, and no kernel of minfc runs below compute capability 8.0"},
		{device.Info{Name: "H100", Major: 9, DriverVersion: "12.4", NoTensorMaps: true}, "sm_90a", "8.0",
			"the NVIDIA driver (CUDA 12.4) cannot make the tensor maps of sm_90a code, which came with CUDA 12.0 (driver 525); update the driver, or keep to sm_80 code"},
		{device.Info{Name: "H100", Major: 9, DriverVersion: "12.4", NoTensorMaps: true}, "sm_80", "7.4", ""},
	} {
		err := c.dev.CheckTarget(c.target, c.ptx)
		if c.says == "" {
			require.NoError(t, err, "%+v", c)
			continue
		}
		require.ErrorIs(t, err, device.ErrUnsupported)
		require.ErrorContains(t, err, c.says)
	}
}

// The table is in order, and an older driver never reads newer text.
func TestPTXReleases(t *testing.T) {
	for i, r := range ptxReleases[1:] {
		before := ptxReleases[i]
		require.True(t, olderThan(before.ptx, r.ptx) && olderThan(before.cuda, r.cuda) && before.branch < r.branch, r)
		require.True(t, ptxVersion.MatchString(r.ptx), "versions that manifests may have")
	}
	require.False(t, olderThan("", "12.0"))
	require.False(t, olderThan("12.0", "of late"))
}

// An artifact of both targets on a Hopper GPU: the driver decides, and what was passed over is said.
func TestFindAsksTheDriver(t *testing.T) {
	both := &Manifest{Kernels: []Kernel{
		{Target: "sm_80", PTXVersion: "7.4", DType: "bf16", HeadDim: 64, SharedBytes: 64 << 10},
		{Target: "sm_90a", PTXVersion: "8.0", DType: "bf16", HeadDim: 64, SharedBytes: 200 << 10},
	}}
	hopper := device.Info{Name: "H100", Major: 9, DriverVersion: "12.4", MaxSharedBytes: 227 << 10}
	plan := &Manifest{}
	for _, k := range both.Kernels {
		g := Group{Target: k.Target, PTXVersion: k.PTXVersion, DType: k.DType, HeadDim: k.HeadDim, SharedBytes: k.SharedBytes}
		plan.Groups = append(plan.Groups, g, g)
	}
	for name, m := range map[string]*Manifest{"kernels": both, "groups": plan} {
		found := func(dev device.Info, sel Select, target, passed string) {
			k, err := m.Find(dev, sel)
			require.NoError(t, err, name)
			require.Equal(t, target, k.Target, name)
			why := m.Passed(dev, sel)
			if passed == "" {
				require.NoError(t, why, name)
				return
			}
			require.ErrorContains(t, why, passed, name)
		}
		refused := func(dev device.Info, sel Select, says string) {
			_, err := m.Find(dev, sel)
			require.ErrorIs(t, err, ErrTarget, name)
			require.ErrorIs(t, err, device.ErrUnsupported, name)
			require.ErrorContains(t, err, says, name)
			require.NoError(t, m.Passed(dev, sel), "nothing was found, so nothing was passed over")
		}
		found(hopper, Select{}, "sm_90a", "")
		found(device.Info{Name: "A100", Major: 8, MaxSharedBytes: 163 << 10}, Select{}, "sm_80", "")
		hopper.DriverVersion = "11.8"
		found(hopper, Select{}, "sm_80", "needs one for CUDA 12.0 or later")
		found(hopper, Select{Target: "sm_80"}, "sm_80", "")
		refused(hopper, Select{Target: "sm_90a"}, "needs one for CUDA 12.0 or later")
		hopper.DriverVersion = "11.0"
		refused(hopper, Select{}, "sm_80 code (PTX 7.4) needs one for CUDA 11.4 or later")
		hopper.DriverVersion, hopper.MaxSharedBytes = "12.4", 128<<10
		found(hopper, Select{}, "sm_80", "needs 204800 bytes of shared memory a block, H100 has 131072")
		hopper.MaxSharedBytes = 227 << 10
	}
}

// The groups of a plan are loaded together, so the largest must fit.
func TestFindCountsAllGroups(t *testing.T) {
	m := &Manifest{Groups: []Group{
		{Target: "sm_80", PTXVersion: "7.4", DType: "bf16", HeadDim: 64, SharedBytes: 64 << 10},
		{Target: "sm_80", PTXVersion: "7.4", DType: "bf16", HeadDim: 64, SharedBytes: 128 << 10},
	}}
	_, err := m.Find(device.Info{Name: "L4", Major: 8, Minor: 9, MaxSharedBytes: 99 << 10}, Select{})
	require.ErrorContains(t, err, "needs 131072 bytes of shared memory a block, L4 has 101376")
	_, err = m.Find(device.Info{Name: "A100", Major: 8, MaxSharedBytes: 163 << 10}, Select{})
	require.NoError(t, err)
}
