package search

import (
	"fmt"

	"github.com/minfc/minfc/compile"
	"github.com/minfc/minfc/internal/cost"
	"github.com/minfc/minfc/internal/outlook"
	"github.com/minfc/minfc/runtime/device"
	"github.com/minfc/minfc/runtime/emu"
)

// Pricing finds the machine whose times are predicted: the one that was named, with the rates of a target, "" for the target that dev runs and
// for the machine that dev is; where the cost model does not know it, the first one that runs the target. Where dev runs code of another
// target, there is also an emulator that has the machine's: kernels are loaded there for their prices alone. The search closes it.
func Pricing(dev device.Device, target, machine string) (m cost.Machine, on device.Device, err error) {
	runs, _, err := compile.TargetOn(dev.Info())
	if err != nil {
		return m, nil, err
	}
	own, known := cost.MachineFor(outlook.Device(dev.Info()), runs)
	switch {
	case known && (target == "" || target == runs) && (machine == "" || machine == own.Name):
		return own, nil, nil
	case target == "" && machine == "":
		target = runs
	}
	if m, err = outlook.FindMachine(target, machine); err != nil || m.Target == runs {
		return m, nil, err
	}
	var capability int
	if _, err := fmt.Sscanf(m.Target, "sm_%d", &capability); err != nil {
		return m, nil, fmt.Errorf("internal: machine %s has the target %q", m.Name, m.Target)
	}
	on, err = emu.Open(emu.Options{Capability: capability, Multiprocessors: m.Multiprocessors})
	return m, on, err
}
