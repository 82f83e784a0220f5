package minfc

import (
	"fmt"
	"slices"
	"time"

	"github.com/minfc/minfc/codegen"
	"github.com/minfc/minfc/runtime"
)

// TargetAuto stands for the targets that suit: all when compiling for devices that are not known, the best one for a device.
const TargetAuto = "auto"

// Targets lists the GPU generations that patterns are compiled for, older ones first.
func Targets() []string { return codegen.Targets() }

// targets lists what the options compile for.
func (o Options) targets() []string {
	if o.Target == TargetAuto {
		return Targets()
	}
	return []string{o.Target}
}

// forTarget are the options for one target of several.
func (o Options) forTarget(target string) Options {
	if timing := o.Timing; timing != nil && o.Target != target {
		o.Timing = func(step string, d time.Duration) { timing(step+" for "+target, d) }
	}
	o.Target = target
	return o
}

// TargetFor is the newest target that a device of compute capability major.minor runs.
func TargetFor(major, minor int) (string, error) { return newest(Targets(), major, minor) }

func newest(targets []string, major, minor int) (string, error) {
	for _, t := range slices.Backward(targets) {
		if runtime.TargetRuns(t, major, minor) {
			return t, nil
		}
	}
	return "", fmt.Errorf("compute capability %d.%d is not supported, want that of %s or later", major, minor, targets[0])
}

// gpus are the GPUs that a target is for, in words.
var gpus = map[string]string{"sm_80": "A100 and every later GPU", "sm_90a": "H100 and H200"}

// GPUs says which GPUs run the code of a target, "" for an unknown one.
func GPUs(target string) string { return gpus[target] }
