package compile

import (
	"slices"

	"github.com/minfc/minfc/internal/codegen"
	"github.com/minfc/minfc/internal/ptxgen"
	"github.com/minfc/minfc/runtime/device"
)

// TargetAuto stands for the targets that suit: all when compiling for devices that are not known, the best one for a device.
const TargetAuto = "auto"

// Targets lists the GPU generations that patterns are compiled for, older ones first.
func Targets() []string { return codegen.Targets() }

// Targets lists what the options compile for, in the order of an artifact's kernels.
func (o Options) Targets() []string {
	if o.Target == TargetAuto {
		return Targets()
	}
	return []string{o.Target}
}

// forTarget compiles for one target of several.
func (c compiler) forTarget(target string) compiler {
	if c.Target != target {
		c.Target, c.watch = target, c.watch.forTarget(target)
	}
	return c
}

// TargetOn is the newest target that a device runs with its driver. passed says why a newer one that its GPU is made for is not it: an old
// driver. Both errors say what would help.
func TargetOn(dev device.Info) (target string, passed, err error) {
	for _, t := range slices.Backward(Targets()) {
		why := Runs(dev, t)
		if why == nil {
			return t, passed, nil
		}
		if err = why; passed == nil && device.TargetRuns(t, dev.Major, dev.Minor) {
			passed = why
		}
	}
	return "", nil, err
}

// Runs returns nil if the device, with its driver, runs what is compiled for a target, else what would help.
func Runs(dev device.Info, target string) error {
	return dev.CheckTarget(target, ptxgen.Version(target))
}

// gpus are the GPUs that a target is for, in words.
var gpus = map[string]string{"sm_80": "A100 and every later GPU", "sm_90a": "H100 and H200"}

// GPUs says which GPUs run the code of a target, "" for an unknown one.
func GPUs(target string) string { return gpus[target] }
