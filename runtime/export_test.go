package runtime

import (
	"github.com/minfc/minfc/internal/cost"
	"github.com/minfc/minfc/runtime/device"
	"github.com/minfc/minfc/runtime/device/devicetest"
)

// HoldScratch sets how many bytes of sums or of block scores k may hold at a time.
func (k *LoadedKernel) HoldScratch(bytes int64) {
	k.scratchBytes = max(1, bytes)
	k.prepared.forget()
}

// denseRates are of the size of what is fitted.
var denseRates = map[string]cost.Rates{
	"sm_80":  {TensorTFLOPS: 4.7, LoadNanos: 1.2, SoftmaxPicos: 60, MaskPicos: 12, TileNanos: 140, RowNanos: 500, Overlap: 3},
	"sm_90a": {TensorTFLOPS: 4.9, SoftmaxPicos: 49, MaskPicos: 12, TileNanos: 100, RowNanos: 1000, Overlap: 3},
}

// PriceLists sets what the lists' work costs, in nanoseconds, and what the dense kernel's work costs, whatever is fitted; and it makes the
// index stage free, so that short inputs are decided on the device.
func (k *LoadedKernel) PriceLists(slot, column, row float64) {
	k.fallback.lists.Slot, k.fallback.lists.Column, k.fallback.lists.Row = slot, column, row
	k.fallback.lists.Mask = 0
	k.fallback.machine.Index = cost.IndexRates{}
	k.fallback.machine.Rates = denseRates[k.fallback.machine.Target]
	k.fallback.machine.MemoryGBs = 1e9
	k.fallback.machine.Multiprocessors = 1
	k.prepared.forget()
}

// NewFakeDevice is a device that only notes what it is asked for.
func NewFakeDevice() device.Device { return devicetest.New() }
