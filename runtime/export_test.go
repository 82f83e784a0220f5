package runtime

// HoldScratch sets how many bytes of sums or of block scores k may hold at a time.
func (k *LoadedKernel) HoldScratch(bytes int64) { k.scratchBytes = bytes }
