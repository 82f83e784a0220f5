package runtime

import (
	"slices"

	"github.com/minfc/minfc/runtime/artifact"
	"github.com/minfc/minfc/runtime/device"
)

// Launcher is what runs calls of one head dim and data type: a kernel, or several that share the heads of a call.
type Launcher interface {
	Info() artifact.Kernel // of all kernels, as far as head dim and data type go
	Check(a Attention) error
	Workspace(a Attention) (int64, error)
	Launch(s device.Stream, a Attention) error
	ReadChosen(dev device.Device, s device.Stream, a Attention) ([]Chosen, error)
}

// Check says what Launch would say of the call, and enqueues nothing.
func (k *LoadedKernel) Check(a Attention) error {
	p, err := k.prepare(a)
	if err != nil {
		return err
	}
	return p.check(pointersOf(a))
}

// HeadParams lists the parameters that Attention.HeadParams may set: budgets of the index stage and nothing else.
func (k *LoadedKernel) HeadParams() []string { return slices.Clone(k.headParams) }
