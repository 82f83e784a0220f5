package emu_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/runtime/device"
	_ "github.com/minfc/minfc/runtime/emu"
	"github.com/minfc/minfc/runtime/runtimetest"
)

// TestConformance runs the suite that the GPU drivers run.
func TestConformance(t *testing.T) {
	runtimetest.Conformance(t, func() device.Device {
		d, err := device.Open("emu", 0)
		require.NoError(t, err)
		return d
	})
}
