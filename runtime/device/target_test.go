package device_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/runtime/artifact/artifacttest"
	"github.com/minfc/minfc/runtime/device"
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

// Manifests may have every version of PTX that drivers are known for.
func TestManifestsHaveEveryPTXRelease(t *testing.T) {
	require.NotEmpty(t, device.PTXReleases())
	for _, version := range device.PTXReleases() {
		a := artifacttest.New()
		artifacttest.Attend(a).PTXVersion = version
		require.NoError(t, a.Verify(), version)
	}
}
