package runtimetest

import (
	"github.com/minfc/minfc/runtime"
	"github.com/minfc/minfc/runtime/device"
)

// Call is all that one run of a pattern takes: for tests that prepare and run at once.
type Call struct {
	runtime.Shape
	runtime.Pointers
	runtime.Part
}

// Prepare prepares the call.
func (c Call) Prepare(l *runtime.Loaded) (*runtime.Prepared, error) {
	return l.Prepare(c.Shape, c.Part)
}

// Run prepares the call and runs it.
func (c Call) Run(l *runtime.Loaded, s device.Stream) error {
	p, err := c.Prepare(l)
	if err != nil {
		return err
	}
	return p.Run(s, c.Pointers)
}
