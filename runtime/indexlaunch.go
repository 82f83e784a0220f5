package runtime

import (
	"math"

	"github.com/minfc/minfc/ir"
)

// The launches of the index stage, in the order of the stream. Each stage reads what earlier ones wrote.

// indexLauncher enqueues stages until the first error.
type indexLauncher struct {
	*indexCall
	kernel *LoadedKernel
	stream Stream
	err    error
}

// values are those of a stage's own parameters.
type stageValues map[string]uint64

func (l *indexLauncher) launch(kind string, grid [3]int, threads int, v stageValues) {
	l.launchFor(l.call, kind, grid, threads, v)
}

// launchFor enqueues a stage for a part of the call.
func (l *indexLauncher) launchFor(c *call, kind string, grid [3]int, threads int, v stageValues) {
	if l.err != nil {
		return
	}
	if l.shared() {
		v["heads"] = l.at("route") + uint64(wordBytes*c.first)
	}
	g := [3]uint32{uint32(grid[0]), uint32(grid[1]), uint32(grid[2])}
	l.err = l.kernel.stage(kind, c.sharers).launch(l.stream, c, g, threads, v)
}

// launchIndex enqueues the whole index stage, if it is needed, and the choice between the two attention kernels if that
// depends on it.
func (k *LoadedKernel) launchIndex(s Stream, x *indexCall, v verdict) error {
	l := &indexLauncher{indexCall: x, kernel: k, stream: s}
	l.storeNumbers(v)
	if v.routing == allDense {
		return l.err
	}
	l.chooseSums()
	l.listRuns()
	l.listColumns()
	l.chooseBlocks()
	if v.routing == byHead {
		l.decide(v)
	}
	return l.err
}

// storeNumbers writes the budgets of every choice and head, and which heads take part.
func (l *indexLauncher) storeNumbers(v verdict) {
	if v.routing == allDense && !l.shared() {
		return
	}
	words := make([]int32, l.budgetRows*l.QHeads, l.numberWords())
	for _, n := range l.choices {
		for i, row := range n.rows() {
			copy(words[(n.row+i)*l.QHeads:], row)
		}
	}
	if l.shared() {
		words = append(words, l.routes()...)
	}
	for i := 0; i < len(words); i += storeWordsCount {
		l.store(l.at("budgets")+uint64(wordBytes*i), words[i:min(len(words), i+storeWordsCount)])
	}
}

// store writes up to storeWordsCount words, and zeros behind them.
func (l *indexLauncher) store(to uint64, words []int32) {
	v := stageValues{"to": to}
	for i, w := range words {
		v[storeWordNames[i/2]] |= uint64(uint32(w)) << (32 * (i % 2))
	}
	l.launch(StageStoreWords, [3]int{1, 1, 1}, 0, v)
}

// storeWordNames are the parameters of store_words that hold words.
var storeWordNames = func() (names []string) {
	for _, p := range storeWordsParams()[1:] {
		names = append(names, p.Name)
	}
	return names
}()

func (l *indexLauncher) budgetAt(row int) uint64 {
	return l.at("budgets") + uint64(wordBytes*row*l.QHeads)
}

// chooseSums computes the sums of every probe and chooses from them, one slice of the heads after the other.
func (l *indexLauncher) chooseSums() {
	for _, s := range l.slices {
		if !l.someTakePart(s.call.first, s.heads) {
			continue
		}
		for i := range l.probes {
			l.probeStages(&l.probes[i], s)
			l.selectSums(i, s)
		}
	}
}

// probeStages computes what the rows of a probe give to every key and distance.
func (l *indexLauncher) probeStages(p *probeCall, s probeSlice) {
	if p.spread() {
		l.clear(l.at("col_sum"), product(s.heads, l.keysPad(), 4))
		l.clear(l.at("diag_sum"), product(s.heads, l.distPad(), 4))
	}
	for _, part := range p.parts(s.call) {
		g := l.geometry(p, s, part.tiles)
		v := stageValues{"probe_stats": l.at("probe_stats"), "probe_lse": l.at("probe_lse"), "col_sum": l.at("col_sum"), "diag_sum": l.at("diag_sum"),
			"chunk_tiles": uint64(g.chunkTiles), "chunks": uint64(g.grid[0]),
			"row0": uint64(part.row0), "probe_rows": uint64(part.rows), "step": uint64(p.step),
			"class_tiles": uint64(part.classTiles), "tiles": uint64(part.tiles)}
		l.launchFor(s.call, p.statsStage(), g.grid, 0, v)
		l.launchFor(s.call, StageProbeCombine, [3]int{1, s.call.QHeads, s.call.Batch}, 0, v)
		l.launchFor(s.call, p.sumsStage(), g.grid, 0, v)
	}
}

// clear sets a buffer to 0; its size is a multiple of 16 bytes.
func (l *indexLauncher) clear(to uint64, bytes int64) {
	if vectors := bytes / 16; vectors > 0 {
		blocks := min(int64(clearBlocks), (vectors+clearThreads-1)/clearThreads)
		l.launch(StageClear, [3]int{int(blocks), 1, 1}, 0, stageValues{"to": to, "n": uint64(vectors)})
	}
}

const (
	clearThreads = 256
	clearBlocks  = 4096
)

// selectSums turns the sums of a probe into bitmaps, two choices of one rule at a time: they run side by side.
func (l *indexLauncher) selectSums(probe int, s probeSlice) {
	for rule, kind := range selectStages {
		var jobs []stageValues
		for _, n := range l.choices {
			if n.source.Kind != ir.SourceBlocks && n.probe == probe && int(n.rule) == rule {
				jobs = append(jobs, l.selectJob(n, s))
			}
		}
		for ; len(jobs) > 0; jobs = jobs[min(2, len(jobs)):] {
			v, second := stageValues{}, jobs[min(1, len(jobs)-1)]
			for name, x := range jobs[0] {
				v["a_"+name], v["b_"+name] = x, second[name]
			}
			l.launchFor(s.call, kind, [3]int{s.heads, min(2, len(jobs)), 1}, 0, v)
		}
	}
}

func (l *indexLauncher) selectJob(n choiceCall, s probeSlice) stageValues {
	columns, stride := n.source.Kind == ir.SourceColumns, l.distPad()
	if columns {
		stride = l.keysPad()
	}
	head := 4 * uint64(s.call.first%l.QHeads)
	v := stageValues{"bits": l.at(bitsName(n)) + uint64(product(s.call.first, stride/32, 4)), "stride": uint64(stride),
		"budget": l.budgetAt(n.row) + head, "most": l.budgetAt(n.row+1) + head, "unit": uint64(l.probes[n.probe].massUnit()),
		"first": uint64(n.first), "last": uint64(n.last)}
	if columns {
		v["values"], v["n"] = l.at("col_sum"), uint64(l.columns)
	} else {
		v["values"], v["n"] = l.at("diag_sum"), uint64(l.reach)
	}
	return v
}

func (l *indexLauncher) listRuns() {
	for _, n := range l.choices {
		if n.source.Kind == ir.SourceRuns {
			l.launch(StageRuns, [3]int{l.heads, 1, 1}, 0, stageValues{
				"dist_bits": l.at(bitsName(n)), "words": uint64(l.distPad() / 32),
				"runs": l.at(n.list("runs")), "run_count": l.at(n.list("run_count")), "run_cap": uint64(n.runCap(l.reach)),
				"covered": l.at(n.list("covered")), "cover_words": uint64(l.coverWords()),
			})
		}
	}
}

func (l *indexLauncher) listColumns() {
	for _, n := range l.choices {
		if n.source.Kind == ir.SourceColumns {
			v := l.columnLists(n)
			v["col_bits"], v["words"] = l.at(bitsName(n)), uint64(l.keysPad()/32)
			l.launch(StageColumns, [3]int{l.heads, 1, 1}, 0, v)
			l.compact(n)
		}
	}
}

func (l *indexLauncher) columnLists(n choiceCall) stageValues {
	return stageValues{
		"cols": l.at(n.list("cols")), "col_count": l.at(n.list("col_count")), "col_cap": uint64(n.colCap()),
		"kc": l.at(n.list("kc")), "vc": l.at(n.list("vc")),
	}
}

// compact copies K and V of listed columns.
func (l *indexLauncher) compact(n choiceCall) {
	l.launch(StageCompact, [3]int{n.colCap() / ir.BlockSize, l.heads, 1}, 0, l.columnLists(n))
}

// chooseBlocks scores and chooses blocks, as many row blocks at a time as their scores have room.
func (l *indexLauncher) chooseBlocks() {
	pooled := map[string]bool{}
	for _, n := range l.choices {
		if n.source.Kind != ir.SourceBlocks {
			continue
		}
		for _, p := range n.pools() {
			if name := pooledName(p); !pooled[name] {
				l.pool(p)
				pooled[name] = true
			}
		}
		for t := 0; t < l.rowBlocks(); t += l.slab {
			l.chooseSlab(n, t, min(l.slab, l.rowBlocks()-t))
		}
	}
}

func (l *indexLauncher) pool(p ir.Pool) {
	t, n, heads := l.Q, l.SeqQ, l.QHeads
	if p.Of == ir.TensorK {
		t, n, heads = l.K, l.SeqK, l.KVHeads
	}
	qHeads := uint64(l.QHeads / heads)
	if n > 0 {
		l.launch(poolStage(p), [3]int{blocksOf(n), heads, l.Batch}, 0, stageValues{
			"x": uint64(t.Ptr), "out": l.at(pooledName(p)), "n": uint64(n), "q_heads": qHeads,
			"x_batch": elements(t.BatchStride), "x_head": elements(t.HeadStride), "x_row": elements(t.RowStride),
		})
	}
}

// chooseSlab chooses for the row blocks from t on.
func (l *indexLauncher) chooseSlab(n choiceCall, t, rows int) {
	v := stageValues{
		"scores": l.at("scores"), "slab_start": uint64(t), "slab": uint64(rows),
		"block_n": l.budgetAt(n.row), "block_most": l.budgetAt(n.row + 1),
		"blocks": l.at(n.list("blocks")), "block_count": l.at(n.list("block_count")), "block_cap": uint64(n.blockCap()),
		"first": uint64(n.first), "last": uint64(n.last),
	}
	if n.fold > 0 {
		l.scoreSquares(n, rows, v)
	} else {
		l.scorePooled(n, rows, v)
	}
	l.launch(n.selectStage(), [3]int{rows, l.heads, 1}, blockSelectThreads(l.keyBlocks()), v)
}

// scorePooled computes the scores of pooled blocks, or their shares.
func (l *indexLauncher) scorePooled(n choiceCall, rows int, v stageValues) {
	v["pooled_q"], v["pooled_k"] = l.at(pooledName(n.q)), l.at(pooledName(n.k))
	if l.keyBlocks() > 0 {
		grid := [3]int{ceilDiv(l.keyBlocks(), scoreKeys), ceilDiv(rows, scoreRows), l.heads}
		l.launch(StageBlockScores, grid, 0, v)
	}
	if n.shares {
		v["sums"] = 0
		l.share(rows, ir.BlockSize, l.scaleLog2, v["scores"], v)
	}
}

// scoreSquares computes the shares of blocks from the antidiagonals of their squares.
func (l *indexLauncher) scoreSquares(n choiceCall, rows int, v stageValues) {
	scale := l.scaleLog2 / float32(n.fold)
	v["sums"], v["fold"], v["scale"] = l.at("score_sums"), uint64(n.fold), uint64(math.Float32bits(scale))
	grid := [3]int{ceilDiv(ceilDiv(l.SeqK, n.fold), squareTile), ceilDiv(rows*ir.BlockSize/n.fold, squareTile), l.heads}
	if l.SeqK > 0 {
		l.launch(StageSquareScores, grid, 0, v)
	}
	l.share(rows, n.fold, scale, l.at("shares"), v)
	v["scores"] = v["shares"]
}

// share turns scores into shares of a whole.
func (l *indexLauncher) share(rows, fold int, scale float32, to uint64, v stageValues) {
	v["shares"], v["fold"], v["scale"] = to, uint64(fold), uint64(math.Float32bits(scale))
	l.launch(StageBlockShares, [3]int{rows, l.heads, 1}, 0, v)
}

// decide compares what the lists of each head cost with the dense kernel, one list of each kind a launch.
func (l *indexLauncher) decide(v verdict) {
	shapes, err := l.kernel.listShapes(l.indexCall)
	if err != nil {
		l.err = err
		return
	}
	f := l.kernel.fallback
	for carry := uint64(0); len(shapes) > 0; carry = 1 {
		args := stageValues{
			"route": l.at("route"), "nanos": l.at("nanos"), "row_blocks": uint64(l.rowBlocks()), "carry": carry,
			"start": float32Bits(v.fixed), "dense": float32Bits(v.limit()), "slot": float32Bits(f.lists.Slot), "column": float32Bits(f.lists.Column),
		}
		var later []listShape
		for _, s := range shapes {
			if !l.decideOn(s, args) {
				later = append(later, s)
			}
		}
		shapes = later
		l.launch(StageDecide, [3]int{l.heads, 1, 1}, 0, args)
	}
}

// decideOn adds a list to a launch of decide, unless that has one of the kind.
func (l *indexLauncher) decideOn(s listShape, v stageValues) bool {
	n := l.choices[s.choice]
	count := map[ir.SourceKind]string{ir.SourceRuns: "run_count", ir.SourceColumns: "col_count", ir.SourceBlocks: "block_count"}[s.source.Kind]
	if _, taken := v[count]; taken {
		return false
	}
	v[count] = l.at(n.list(count))
	switch s.source.Kind {
	case ir.SourceRuns:
		v["runs"], v["run_cap"] = l.at(n.list("runs")), uint64(n.runCap(l.reach))
		v["run_low"], v["run_reach"] = uint64(s.low), uint64(int64(s.reach))
	case ir.SourceColumns:
		v["cols"], v["col_cap"] = l.at(n.list("cols")), uint64(n.colCap())
		v["col_high"], v["col_near"] = uint64(int64(s.high)), uint64(int64(s.near))
	}
	return true
}

func float32Bits(x float64) uint64 { return uint64(math.Float32bits(float32(x))) }

// blockSelectThreads is the block size of block_select: whole warps that hold all scores of a row.
func blockSelectThreads(keyBlocks int) int {
	return 32 * max(1, ceilDiv(keyBlocks, 32*blockSelectKeys))
}
