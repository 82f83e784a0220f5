package runtime

import (
	"github.com/minfc/minfc/internal/cost"
	"github.com/minfc/minfc/runtime/artifact"
	"github.com/minfc/minfc/runtime/device"
	"github.com/minfc/minfc/runtime/device/devicetest"
)

// Call is all that one run of a pattern takes.
type Call struct {
	Shape
	Pointers
	Part
}

// Make prepares a call of an artifact of one pattern.
func (l *Loaded) Make(a Call) (*Prepared, error) { return l.Prepare(a.Shape, a.Part) }

// Launch prepares a call and runs it.
func (l *Loaded) Launch(s device.Stream, a Call) error {
	p, err := l.Make(a)
	if err != nil {
		return err
	}
	return p.Run(s, a.Pointers)
}

// Workspace is how many bytes of workspace a call needs.
func (l *Loaded) Workspace(a Call) (int64, error) {
	p, err := l.Make(a)
	if err != nil {
		return 0, err
	}
	return p.Workspace(), nil
}

// Attend is the first kernel of attention.
func (l *Loaded) Attend() *artifact.Code { return l.attention()[0].Code }

// HoldScratch sets how many bytes of sums or of block scores a pattern may hold at a time.
func (p *Pattern) HoldScratch(bytes int64) {
	p.scratchBytes = max(1, bytes)
	p.loaded.prepared.forget()
}

// denseRates are of the size of what is fitted.
var denseRates = map[string]cost.Rates{
	"sm_80":  {TensorTFLOPS: 4.7, LoadNanos: 1.2, SoftmaxPicos: 60, MaskPicos: 12, TileNanos: 140, RowNanos: 500, Overlap: 3},
	"sm_90a": {TensorTFLOPS: 4.9, SoftmaxPicos: 49, MaskPicos: 12, TileNanos: 100, RowNanos: 1000, Overlap: 3},
}

// PriceLists sets what the lists' work costs, in nanoseconds, and what the dense kernel's work costs, whatever is fitted; and it makes the
// index stage free, so that short inputs are decided on the device.
func (p *Pattern) PriceLists(slot, column, row float64) {
	f := p.fallback
	f.lists.Slot, f.lists.Column, f.lists.Row, f.lists.Mask = slot, column, row, 0
	f.machine.Index = cost.IndexRates{}
	f.machine.Rates = denseRates[f.machine.Target]
	f.machine.MemoryGBs = 1e9
	f.machine.Multiprocessors = 1
	p.loaded.prepared.forget()
}

// NewFakeDevice is a device that only notes what it is asked for.
func NewFakeDevice() device.Device { return devicetest.New() }

// Check says what Launch would say of a call, and enqueues nothing.
func (l *Loaded) Check(a Call) error {
	p, err := l.Make(a)
	if err != nil {
		return err
	}
	return p.Check(a.Pointers)
}

// LaunchIndex prepares a call and runs its index stage.
func (l *Loaded) LaunchIndex(s device.Stream, a Call) error {
	p, err := l.Make(a)
	if err != nil {
		return err
	}
	return p.RunIndex(s, a.Pointers)
}

// LaunchAttention prepares a call and runs its attention, over lists that are there.
func (l *Loaded) LaunchAttention(s device.Stream, a Call) error {
	p, err := l.Make(a)
	if err != nil {
		return err
	}
	return p.RunAttention(s, a.Pointers)
}
