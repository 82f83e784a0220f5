package cuda

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/runtime/device"
	"github.com/minfc/minfc/runtime/runtimetest"
)

// TestDriver runs the conformance suite where there is a GPU. Elsewhere it checks what a user without one is told.
func TestDriver(t *testing.T) {
	list, err := device.Devices("cuda")
	if errors.Is(err, device.ErrNoDevice) {
		t.Logf("no GPU here: %v", err)
		require.Regexp(t, `use the emulator|nvidia-smi`, err.Error(), "the error says what to do")
		require.Regexp(t, `libcuda\.so\.1|NVIDIA driver|linux`, err.Error(), "the error says what is missing")
		_, openErr := device.Open("cuda", 0)
		require.Equal(t, err, openErr)
		return
	}
	require.NoError(t, err)
	for _, i := range list {
		t.Logf("cuda:%d %s, sm_%d%d, %d SMs, %d MB, %d KB shared, %d MB L2, CUDA %s", i.Ordinal, i.Name, i.Major, i.Minor,
			i.Multiprocessors, i.MemoryBytes>>20, i.MaxSharedBytes>>10, i.L2Bytes>>20, i.DriverVersion)
	}
	runtimetest.Conformance(t, func() device.Device {
		dev, err := device.Open("cuda", 0)
		require.NoError(t, err)
		return dev
	})
}
