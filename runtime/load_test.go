package runtime

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/runtime/artifact"
	"github.com/minfc/minfc/runtime/artifact/artifacttest"
	"github.com/minfc/minfc/runtime/device/devicetest"
)

func TestLoad(t *testing.T) {
	dev, k := loaded(t)
	require.Equal(t, "used 255 registers", k.Log())
	require.Equal(t, 255, k.Attributes().Registers)
	require.Equal(t, "a_shape", k.Patterns()[0].Schedule().Name)
	require.Equal(t, 2, dev.Live, "the kernel's module and that of its stage")
	require.NoError(t, k.Close())
	require.Zero(t, dev.Live)
}

func TestLoadLeavesNothingOnFailure(t *testing.T) {
	for failAt := 1; failAt <= 5; failAt++ { // load, function, attributes; load and function of a stage
		dev := devicetest.New()
		dev.FailAt = failAt
		_, err := Load(dev, artifacttest.New(), artifact.Select{DType: "f16"})
		require.ErrorIs(t, err, devicetest.ErrInjected)
		require.Zero(t, dev.Live, "call %d", failAt)
	}
	dev := devicetest.New()
	dev.Entry.MaxThreads = 64
	_, err := Load(dev, artifacttest.New(), artifact.Select{DType: "f16"})
	require.ErrorIs(t, err, artifact.ErrTarget)
	require.ErrorContains(t, err, "needs 128 threads a block")
	require.Zero(t, dev.Live)
}
