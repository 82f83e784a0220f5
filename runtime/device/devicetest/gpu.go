package devicetest

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/runtime/device"
)

// GPU is the first GPU, open until the test ends; a test without one is skipped. The test imports the driver.
func GPU(t testing.TB) device.Device {
	dev, err := device.Open("cuda", 0)
	if errors.Is(err, device.ErrNoDevice) {
		t.Skip("no GPU here: CI has none, docs/measuring.md says how to run this on one")
	}
	require.NoError(t, err)
	t.Cleanup(func() { dev.Close() })
	return dev
}
