package runtime

import "github.com/minfc/minfc/cost"

// HoldScratch sets how many bytes of sums or of block scores k may hold at a time.
func (k *LoadedKernel) HoldScratch(bytes int64) {
	k.scratchBytes = bytes
	k.lastPlan.Store(nil)
}

// PriceLists sets what the lists' work costs, in nanoseconds, and makes the index stage free, so that short inputs are
// decided on the device.
func (k *LoadedKernel) PriceLists(slot, column, row float64) {
	k.fallback.lists.Slot, k.fallback.lists.Column, k.fallback.lists.Row = slot, column, row
	k.fallback.lists.Mask = 0
	k.fallback.machine.Index = cost.IndexRates{}
	k.fallback.machine.MemoryGBs = 1e9
	k.fallback.machine.Multiprocessors = 1
	k.lastPlan.Store(nil)
}
