package index

// Launch geometry of the rigs. The program of a pattern has it in its own terms (passes).

// BlockScoresGrid is the launch grid for slab row blocks against keyBlocks key blocks of h heads.
func BlockScoresGrid(keyBlocks, slab, h int) [3]uint32 {
	return [3]uint32{uint32((keyBlocks + scoreKeys - 1) / scoreKeys), uint32((slab + scoreRows - 1) / scoreRows), uint32(h)}
}

// BlockSelectThreads is the block size for a number of key blocks, at most abi.MaxKeyBlocks.
func BlockSelectThreads(keyBlocks int) int {
	return 32 * max(1, (keyBlocks+32*selectKeys-1)/(32*selectKeys))
}

// SquareScoresGrid is the launch grid for slab row blocks against sk keys of h heads.
func SquareScoresGrid(sk, slab, fold, h int) [3]uint32 {
	tiles := func(n int) uint32 { return uint32((n + squareTile - 1) / squareTile) }
	return [3]uint32{tiles((sk + fold - 1) / fold), tiles(slab * blockSize / fold), uint32(h)}
}

// EstimateLaunch is the geometry of one estimate. Grid is the grid of probe_stats and probe_sums, ChunkTiles their parameter
// chunk_tiles: how many tiles of 64 keys a block takes; Chunks is how many chunks that gives, at least one.
type EstimateLaunch struct {
	Grid       [3]uint32
	ChunkTiles int
	Chunks     int
}

const (
	longestChunk = 16  // tiles; loading Q is then a fifth of what a block reads
	fullGrid     = 256 // blocks that keep any GPU busy; shorter chunks make as many of short inputs
)

// EstimateLaunchFor cuts keys by the shape of one batch entry alone, so that every GPU and every batch adds in the same order.
func EstimateLaunchFor(heads, batch, kvHeads, group, sk int) EstimateLaunch {
	rows := kvHeads * ((group + heads - 1) / heads)
	tiles := max(1, (sk+tileKeys-1)/tileKeys)
	n := longestChunk
	for n > 2 && (tiles+n-1)/n*rows < fullGrid {
		n /= 2
	}
	chunks := (tiles + n - 1) / n
	return EstimateLaunch{Grid: [3]uint32{uint32(chunks), uint32(rows), uint32(batch)}, ChunkTiles: n, Chunks: chunks}
}

// DistPad is the number of distances of a head in diag_sum.
func DistPad(qOffset, sq int) int { return (qOffset+sq+63)/64*64 + 128 }
