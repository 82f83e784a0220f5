package runtime

// HoldScores sets how many bytes of block scores k may hold at a time.
func (k *LoadedKernel) HoldScores(bytes int64) { k.scoreBytes = bytes }
