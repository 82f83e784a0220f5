package e2e

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/minfc/minfc/compile"
	"github.com/minfc/minfc/patterns"
	"github.com/minfc/minfc/runtime"
	"github.com/minfc/minfc/runtime/artifact"
	"github.com/minfc/minfc/runtime/device"
	"github.com/minfc/minfc/runtime/device/devicetest"
)

// What the driver makes of the kernels of attention keeps its registers: how modules are loaded decides on that, too (internal/nvidia).
func TestLoadedKernelsDoNotSpill(t *testing.T) {
	dev := devicetest.GPU(t)
	for _, name := range patterns.Names() {
		for _, target := range compile.Targets() {
			if info := dev.Info(); !device.TargetRuns(target, info.Major, info.Minor) {
				continue
			}
			for _, dim := range []int{64, 128, 256} {
				t.Run(fmt.Sprintf("%s/%s/%d", name, target, dim), func(t *testing.T) {
					file, src, _ := patterns.Source(name)
					art, err := compile.Source(file, src, "", compile.Options{Target: target, DType: "bf16", HeadDim: dim}, nil)
					require.NoError(t, err)
					l, err := runtime.Load(dev, art, artifact.Select{})
					require.NoError(t, err)
					require.Zero(t, l.Attributes().LocalBytes)
					require.NoError(t, l.Close())
				})
			}
		}
	}
}
